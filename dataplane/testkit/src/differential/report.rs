//! A difference, told so that somebody can find its cause.

use std::collections::BTreeMap;
use std::fmt;

use wire::{ethernet, ipv4};

use super::traffic::Event;
use crate::reference::Output;

/// What one side of a comparison did with an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What came out.
    pub output: Output,
    /// Counters after it.
    pub counters: BTreeMap<&'static str, u64>,
}

/// Two sides disagree.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Number of the event, from 1.
    pub step: u64,
    /// Time.
    pub now: u32,
    /// Who disagrees with whom.
    pub who: String,
    /// The event.
    pub event: Event,
    /// What was expected.
    pub expected: Outcome,
    /// What was got.
    pub got: Outcome,
    /// Choices that were not allowed.
    pub complaints: Vec<String>,
}

/// Octets of a frame that are shown.
const SHOWN: usize = 160;

/// A frame in words, and in hexadecimal.
struct Told<'a>(&'a [u8]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ethernet::parse(self.0) {
            Ok(h) => {
                write!(f, "{} > {} {:04x}", h.source, h.destination, h.ether_type)?;
                if let Some(vlan) = h.vlan {
                    write!(f, " vlan {vlan}")?;
                }
                if h.ether_type == ethernet::IPV4 {
                    write!(f, " ")?;
                    packet(f, self.0, h.len)?;
                }
            }
            Err(e) => write!(f, "{e}")?,
        }
        write!(f, "\n        ")?;
        self.0.iter().take(SHOWN).try_for_each(|b| write!(f, "{b:02x}"))?;
        if self.0.len() > SHOWN { write!(f, "… ({} octets)", self.0.len()) } else { Ok(()) }
    }
}

fn packet(f: &mut fmt::Formatter<'_>, frame: &[u8], l3: usize) -> fmt::Result {
    match ipv4::parse(frame, l3, true) {
        Ok(ip) => {
            let (len, at, more) = (ip.total_len(), ip.fragment_offset, ip.more_fragments);
            write!(f, "{} len {len} ttl {} id {} at {at} more {more}", ip.tuple(), ip.ttl, ip.id)?;
            write!(f, " df {} {:?}", ip.dont_fragment, ip.l4_kind)?;
            if let Ok(inner) = ipv4::parse_embedded(frame, &ip) {
                write!(f, " about {}", inner.tuple())?;
            }
            Ok(())
        }
        Err(e) => write!(f, "{e}"),
    }
}

fn side(f: &mut fmt::Formatter<'_>, name: &str, mine: &Outcome, other: &Outcome) -> fmt::Result {
    writeln!(f, "    {name}:")?;
    for (device, frame) in mine.output.sent.iter().filter(|s| !other.output.sent.contains(s)) {
        writeln!(f, "      sent by device {device}: {}", Told(frame))?;
    }
    for octets in mine.output.punted.iter().filter(|p| !other.output.punted.contains(p)) {
        writeln!(f, "      punted {} octets", octets.len())?;
    }
    for (counter, n) in &mine.counters {
        let theirs = other.counters.get(counter).copied().unwrap_or(0);
        if *n > theirs {
            writeln!(f, "      {counter} +{}", n - theirs)?;
        }
    }
    Ok(())
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "step {} at tick {}: {}", self.step, self.now, self.who)?;
        match &self.event {
            Event::Frame(device, frame) => writeln!(f, "    frame by device {device}: {}", Told(frame))?,
            Event::Tick(now) => writeln!(f, "    time goes on to {now}")?,
            Event::Configure(config) => writeln!(f, "    configuration {}", config.generation.0)?,
        }
        side(f, "expected, and not got", &self.expected, &self.got)?;
        side(f, "got, and not expected", &self.got, &self.expected)?;
        for complaint in &self.complaints {
            writeln!(f, "    not allowed: {complaint}")?;
        }
        Ok(())
    }
}
