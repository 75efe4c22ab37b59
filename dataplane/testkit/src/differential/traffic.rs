//! Random traffic of every kind, and a little malice.
//!
//! Hosts are simple: they begin flows at random, and answer what they see come out of the
//! gateway, so that connections open, carry data, close and break. All of it is drawn from one
//! seed and goes over a faulty wire.

use std::collections::VecDeque;

use model::Config;
use wire::{Endpoint, MacAddr, arp, ethernet, ipv4};

use super::answers;
use super::kinds;
use super::world::{self, alive, host_mac};
use crate::packet::Link;
use crate::reference::{LabPort, Output, Topology};
use crate::{FaultInjector, FaultRates, Rng};

/// One thing that happens to the gateway.
#[derive(Clone, Debug)]
pub enum Event {
    /// A frame comes by a device.
    Frame(u8, Vec<u8>),
    /// Time goes on to this tick.
    Tick(u32),
    /// This configuration is applied.
    Configure(Box<Config>),
}

/// The source of events.
pub struct Traffic {
    pub(super) rng: Rng,
    pub(super) topology: Topology,
    wire: FaultInjector<u8>,
    /// Frames that lately came out of the gateway.
    pub(super) seen: VecDeque<(u8, Vec<u8>)>,
    /// Frames that lately went in.
    pub(super) sent: VecDeque<(u8, Vec<u8>)>,
    now: u32,
    generation: u64,
}

const REMEMBERED: usize = 96;

impl Traffic {
    /// Traffic of that seed, from tick 1 on.
    pub fn new(seed: u64) -> Self {
        let rates = FaultRates { loss: 10, reorder: 30, duplicate: 10, corrupt: 4, truncate: 2 };
        Traffic {
            rng: Rng::new(seed),
            topology: world::topology(),
            wire: FaultInjector::new(rates, seed ^ 0xfa17),
            seen: VecDeque::new(),
            sent: VecDeque::new(),
            now: 1,
            generation: 1,
        }
    }

    /// The configuration that a run begins with.
    pub fn first_config(&mut self) -> Config {
        world::config(self.generation, &mut self.rng)
    }

    /// The next event.
    pub fn event(&mut self) -> Event {
        loop {
            if let Some((device, frame)) = self.wire.receive() {
                return Event::Frame(device, frame);
            }
            match self.rng.below(20_000) {
                0..8 => return self.configure(),
                8..700 => return self.pass(),
                _ => self.make(),
            }
        }
    }

    /// What came out of the gateway: hosts will answer some of it, ARP at once.
    pub fn observe(&mut self, output: &Output) {
        for (device, frame) in &output.sent {
            if !self.answer_arp(*device, frame) {
                self.seen.push_back((*device, frame.clone()));
            }
        }
        let surplus = self.seen.len().saturating_sub(REMEMBERED);
        self.seen.drain(..surplus);
    }

    fn configure(&mut self) -> Event {
        self.generation += 1;
        Event::Configure(Box::new(world::config(self.generation, &mut self.rng)))
    }

    fn pass(&mut self) -> Event {
        let ticks = match self.rng.below(1000) {
            0 => 75_000,
            1..3 => 25_000,
            3..8 => *self.rng.pick(&[1_250, 3_100, 650]),
            8..40 => self.rng.range(20, 130),
            _ => self.rng.range(1, 4),
        };
        self.now += ticks as u32;
        Event::Tick(self.now)
    }

    /// Sends a frame into the wire towards a device of the gateway.
    pub(super) fn send(&mut self, device: u8, frame: Vec<u8>) {
        self.sent.push_back((device, frame.clone()));
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        self.wire.send(device, frame);
    }

    fn make(&mut self) {
        match self.rng.below(100) {
            0..34 => answers::answer(self),
            34..44 => self.again(),
            44..66 => kinds::outbound(self),
            66..80 => kinds::inbound(self),
            80..86 => kinds::hairpin(self),
            86..90 => kinds::pieces(self),
            90..93 => answers::complain(self),
            93..95 => kinds::neighbourly(self),
            _ => kinds::garbage(self),
        }
    }

    /// The same frame once more: a retransmission, or the next datagram of the flow.
    fn again(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let at = self.rng.below(self.sent.len() as u64) as usize;
        let Some((device, frame)) = self.sent.get(at).cloned() else { return };
        let read = ethernet::parse(&frame).and_then(|h| ipv4::parse(&frame, h.len, false));
        // A fragment alone is seldom more than an overlap.
        if self.rng.percent(10) || !read.is_ok_and(|ip| ip.is_fragment()) {
            self.wire.send(device, frame);
        }
    }

    fn answer_arp(&mut self, device: u8, frame: &[u8]) -> bool {
        let Ok(header) = ethernet::parse(frame) else { return false };
        if header.ether_type != ethernet::ARP {
            return false;
        }
        let Ok(message) = arp::parse(frame, header.len) else { return true };
        if message.operation == arp::Operation::Request && alive(message.target_ip) && self.rng.percent(95) {
            let mac = host_mac(message.target_ip);
            let link = Link { source: mac, destination: message.sender_mac, vlan: header.vlan };
            let reply = link.arp(2, (mac, message.target_ip), (message.sender_mac, message.sender_ip));
            self.wire.send(device, reply);
        }
        true
    }

    /// The port that a host is behind, and how its frames get there.
    pub(super) fn way(&self, host: std::net::Ipv4Addr) -> (LabPort, Link) {
        let ports = &self.topology.ports;
        let (at, from) = match host.octets() {
            [10, 0, 1, _] => (1, host),
            [10, 244, ..] => (0, world::ip(10, 0, 0, 7)),
            [10, ..] => (0, host),
            [198, 18, ..] => (3, host),
            [192, 0, 2, _] => (3, world::ip(198, 18, 0, 254)),
            [198, 51, 100, _] => (2, host),
            _ => (2, world::ip(198, 51, 100, 254)),
        };
        let port = ports[at].clone();
        let link = Link { source: host_mac(from), destination: port.mac, vlan: port.vlan };
        (port, link)
    }

    /// A random frame that came out of the gateway with an IPv4 packet in it.
    pub(super) fn glimpse(&mut self) -> Option<(u8, Vec<u8>, ethernet::Header, ipv4::Ipv4)> {
        if self.seen.is_empty() {
            return None;
        }
        let at = self.rng.below(self.seen.len() as u64) as usize;
        let (device, frame) = self.seen.get(at).cloned()?;
        let header = ethernet::parse(&frame).ok()?;
        let ip = ipv4::parse(&frame, header.len, false).ok()?;
        Some((device, frame, header, ip))
    }

    /// An outside end that some inside host has now, if one was seen lately.
    pub(super) fn outside_end(&mut self) -> Option<(wire::Protocol, Endpoint)> {
        let (device, _, _, ip) = self.glimpse()?;
        (device != 0).then_some((ip.protocol, Endpoint::new(ip.source, ip.source_port)))
    }

    /// A hardware address of nobody.
    pub(super) const STRANGER: MacAddr = MacAddr([0x02, 0xcc, 1, 2, 3, 4]);
}
