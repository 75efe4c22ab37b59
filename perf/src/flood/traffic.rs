//! What is sent: which flow the next packet belongs to, between which addresses, how long it is.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use wire::Endpoint;

use super::marker::{Marker, Template};
use crate::draw::{Draw, Flows, mix};
use crate::flows::{self, Flow};
use crate::frame::Link;
use crate::loads::Sizes;

/// Order of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// At random.
    Drawn(Flows),
    /// One after the other, and again: as sessions are opened.
    InTurn,
}

impl Order {
    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Order::Drawn(flows) => flows.name(),
            Order::InTurn => "turn",
        }
    }
}

/// Lengths of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// All alike, octets with FCS.
    Fixed(u16),
    /// 64, 594 and 1,518 octets, 7:4:1.
    Imix,
}

/// Octets of FCS, which buffers do not have.
const FCS: usize = 4;

impl Size {
    /// Every length, octets without FCS.
    fn lengths(self) -> Vec<usize> {
        match self {
            Size::Fixed(octets) => vec![usize::from(octets) - FCS],
            Size::Imix => vec![60, 590, 1514],
        }
    }

    /// The longest frame without FCS.
    pub fn longest(self) -> usize {
        self.lengths().into_iter().max().unwrap_or(0)
    }

    /// Octets without FCS, on average.
    pub fn mean(self) -> f64 {
        match self {
            Size::Fixed(octets) => f64::from(octets) - FCS as f64,
            Size::Imix => (7.0 * 60.0 + 4.0 * 590.0 + 1514.0) / 12.0,
        }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "imix" {
            return Ok(Size::Imix);
        }
        let octets = text.parse().ok().filter(|n| (64..=1518).contains(n));
        octets
            .map(Size::Fixed)
            .ok_or_else(|| format!("{text:?} is neither imix nor a frame of 64 to 1518 octets"))
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Size::Fixed(octets) => write!(f, "{octets}"),
            Size::Imix => f.write_str("imix"),
        }
    }
}

/// The flows, by number: from hosts of one network to hosts of another.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Whose hosts send.
    pub sources: Ipv4Net,
    /// Flows of each.
    pub per_source: u64,
    /// Who receives.
    pub targets: Ipv4Net,
    /// Its port.
    pub target_port: u16,
    /// Flows.
    pub flows: u64,
}

/// Hosts of a network: all but the first and last address where it has others.
fn hosts(net: Ipv4Net) -> (u32, u64) {
    let (first, all) = (net.network().to_bits(), 1u64 << (32 - net.prefix_len()));
    if all > 2 { (first + 1, all - 2) } else { (first, all) }
}

impl Ends {
    /// `Err`: the networks have too few addresses, and what to change.
    pub fn check(&self) -> Result<(), String> {
        let (_, have) = hosts(self.sources);
        let need = self.flows.div_ceil(self.per_source.max(1));
        if need > have {
            return Err(format!(
                "--flows {} need {need} source addresses with --per-source {}, and {} has {have}: \
                 give a larger --sources network, more --per-source (at most 40000), or fewer --flows",
                self.flows, self.per_source, self.sources
            ));
        }
        Ok(())
    }

    /// Flow `n`.
    #[inline]
    pub fn flow(&self, n: u64) -> Flow {
        let (source, _) = hosts(self.sources);
        let (target, targets) = hosts(self.targets);
        let address = |first: u32, k: u64| Ipv4Addr::from_bits(first.wrapping_add(k as u32));
        let port = flows::source_port(n % self.per_source);
        Flow {
            source: Endpoint::new(address(source, n / self.per_source), port),
            destination: Endpoint::new(address(target, mix(n) % targets), self.target_port),
        }
    }
}

/// Writes one packet after the other.
#[derive(Debug)]
pub struct Traffic {
    ends: Ends,
    order: Order,
    draw: Draw,
    sizes: Draw,
    size: Size,
    templates: Vec<Template>,
    turn: u64,
}

impl Traffic {
    /// The sequence of that seed, over `link`.
    pub fn new(ends: Ends, order: Order, size: Size, link: &Link, seed: u64) -> Self {
        let flows = if let Order::Drawn(flows) = order { flows } else { Flows::Uniform };
        Traffic {
            ends,
            order,
            draw: Draw::new(flows, seed),
            sizes: Draw::new(Flows::Uniform, mix(seed)),
            size,
            templates: size.lengths().into_iter().map(|len| Template::new(len, link)).collect(),
            turn: 0,
        }
    }

    /// The next packet's flow and form.
    #[inline]
    pub fn pick(&mut self) -> (u64, &Template) {
        let flow = match self.order {
            Order::Drawn(_) => self.draw.flow(self.ends.flows),
            Order::InTurn => {
                let flow = self.turn;
                self.turn = if flow + 1 >= self.ends.flows { 0 } else { flow + 1 };
                flow
            }
        };
        let which = match self.size {
            Size::Fixed(_) => 0,
            Size::Imix => {
                let len = Sizes::Imix.next(&mut self.sizes);
                self.templates.iter().position(|t| t.len() == len).unwrap_or(0)
            }
        };
        (flow, &self.templates[which])
    }

    /// Writes that packet.
    #[inline]
    pub fn write(ends: &Ends, template: &Template, out: &mut [u8], marker: &Marker) -> bool {
        template.write(out, &ends.flow(u64::from(marker.flow)), marker)
    }

    /// The flows.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use wire::MacAddr;

    fn ends(sources: &str, per_source: u64, flows: u64) -> Ends {
        let (sources, targets) = (sources.parse().unwrap(), "93.0.0.0/14".parse().unwrap());
        Ends { sources, per_source, targets, target_port: 443, flows }
    }

    #[test]
    fn every_flow_has_a_source_of_its_own_inside_the_network() {
        let ends = ends("10.1.0.0/16", 256, 100_000);
        assert_eq!(ends.check(), Ok(()));
        let all: HashSet<_> = (0..ends.flows).map(|n| ends.flow(n).source).collect();
        assert_eq!(all.len() as u64, ends.flows);
        assert!(all.iter().all(|s| ends.sources.contains(&s.address)));
        assert!((0..1000).all(|n| ends.targets.contains(&ends.flow(n).destination.address)));
    }

    #[test]
    fn one_host_has_up_to_forty_thousand_flows() {
        let ends = ends("10.0.0.5/32", 40_000, 40_000);
        assert_eq!(ends.check(), Ok(()));
        let all: HashSet<_> = (0..ends.flows).map(|n| ends.flow(n).source).collect();
        assert_eq!(all.len(), 40_000);
    }

    #[test]
    fn too_small_a_network_is_told_with_what_to_change() {
        let told = ends("10.0.0.0/24", 256, 1_000_000).check().unwrap_err();
        assert!(told.contains("3907") && told.contains("254") && told.contains("--sources"), "{told}");
    }

    #[test]
    fn in_turn_every_flow_comes_once_before_any_comes_again() {
        let link = Link { source: MacAddr::ZERO, destination: MacAddr::ZERO };
        let mut traffic =
            Traffic::new(ends("10.1.0.0/16", 256, 1000), Order::InTurn, Size::Fixed(64), &link, 1);
        for round in 0..3 {
            for n in 0..1000 {
                assert_eq!(traffic.pick().0, n, "round {round}");
            }
        }
    }

    #[test]
    fn imix_is_seven_to_four_to_one() {
        let link = Link { source: MacAddr::ZERO, destination: MacAddr::ZERO };
        let order = Order::Drawn(Flows::Zipf);
        let mut traffic = Traffic::new(ends("10.1.0.0/16", 256, 1000), order, Size::Imix, &link, 1);
        let lengths: Vec<usize> = (0..120_000).map(|_| traffic.pick().1.len()).collect();
        for (len, wanted) in [(60, 70_000.0), (590, 40_000.0), (1514, 10_000.0)] {
            let got = lengths.iter().filter(|l| **l == len).count() as f64;
            assert!((got - wanted).abs() < 1000.0, "{len}: {got}");
        }
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        assert!((mean - Size::Imix.mean()).abs() < 5.0);
    }

    #[test]
    fn a_size_is_a_number_of_octets_or_imix() {
        assert_eq!("64".parse(), Ok(Size::Fixed(64)));
        assert_eq!("imix".parse(), Ok(Size::Imix));
        for wrong in ["63", "1519", "", "big"] {
            assert!(wrong.parse::<Size>().is_err());
        }
    }
}
