//! What a load is: packets to write, and what must become of them.

use engine::Counters;

use crate::world::Spec;

/// A frame was written: its length, and the device that it comes in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Device.
    pub device: u8,
    /// Octets.
    pub len: usize,
}

/// A kind of traffic.
pub trait Load {
    /// What the gateway must be configured with.
    fn spec(&self) -> Spec;

    /// Sessions that the worker's tables are to hold at most.
    fn limit(&self) -> u32;

    /// Writes the next packet of what comes before the timed part; `None`: that is all.
    fn prepare(&mut self, out: &mut [u8]) -> Option<Written>;

    /// Writes the next packet of the timed part. `None`: this batch ends here, since what follows
    /// depends on what comes out.
    fn write(&mut self, out: &mut [u8]) -> Option<Written>;

    /// A frame came out: of the preparation, or of a load that [listens](Load::listens).
    fn learn(&mut self, device: u8, frame: &[u8]) -> Result<(), String>;

    /// Must it hear of every frame in the timed part too?
    fn listens(&self) -> bool {
        false
    }

    /// A frame came out in the timed part: is it right?
    fn check(&self, device: u8, frame: &[u8]) -> Result<(), String>;

    /// Ticks that pass with each packet, where the load needs time to pass faster than it does.
    fn ticks_a_packet(&self) -> f64 {
        0.0
    }

    /// What the worker counted over `packets` packets of the timed part: is it right?
    fn verdict(&self, packets: u64, before: &Counters, after: &Counters) -> Result<(), String> {
        let lost = after.dropped_total() - before.dropped_total();
        // ARP requests and other packets of the gateway's own are no part of the load.
        let sent = (after.sent - before.sent) - (after.originated - before.originated);
        if lost == 0 && sent == packets {
            return Ok(());
        }
        Err(format!(
            "{packets} packets came in, {sent} went out, {lost} were dropped{}",
            drops(before, after)
        ))
    }

    /// Packets of the timed part that make one of what the load counts (a connection), if not one.
    fn packets_a_unit(&self) -> u64 {
        1
    }
}

/// The reasons that grew, as `: name count, ...`.
pub fn drops(before: &Counters, after: &Counters) -> String {
    let grown: Vec<String> = engine::DropReason::ALL
        .iter()
        .filter_map(|r| match after.dropped(*r) - before.dropped(*r) {
            0 => None,
            n => Some(format!("{} {n}", r.name())),
        })
        .collect();
    if grown.is_empty() { String::new() } else { format!(": {}", grown.join(", ")) }
}
