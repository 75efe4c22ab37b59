//! What a worker counts, and the sum that must come out even.
//!
//! Plain integers, written by their worker alone. The daemon copies them out between
//! bursts; nothing here is shared.

use crate::reason::{DropReason, REASONS};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Frames.
    pub packets: u64,
    /// Octets of them, Ethernet header included, FCS not.
    pub bytes: u64,
}

impl Volume {
    /// Counts one frame of `bytes` octets.
    #[inline]
    pub fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// Packets by how they came and how they ended.
///
/// `received + originated + handed_in = sent + handed_out + punted + held + Σ dropped`
/// holds for each worker whenever it is between bursts; summed over workers `handed_in`
/// and `handed_out` differ only by what is in flight in the rings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Frames from ports.
    pub received: u64,
    /// Packets made here: ICMP errors, RST, ARP, extra fragments, and what the host stack sent.
    pub originated: u64,
    /// Packets taken from other workers.
    pub handed_in: u64,
    /// Packets given to other workers.
    pub handed_out: u64,
    /// Frames given to a port.
    pub sent: u64,
    /// Packets for the gateway itself: to the host stack, and ARP messages that were taken in.
    pub punted: u64,
    /// Packets that wait here now: for a neighbour, or for their datagram's first fragment.
    pub held: u64,
    /// Packets dropped, by reason.
    pub dropped: [u64; REASONS],
    /// Established-path packets: a session was there and still allowed.
    pub fast: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            received: 0,
            originated: 0,
            handed_in: 0,
            handed_out: 0,
            sent: 0,
            punted: 0,
            held: 0,
            dropped: [0; REASONS],
            fast: 0,
        }
    }
}

impl Counters {
    /// Drops of one reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason.index()]
    }

    /// Drops of all reasons.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Packets that came in and did not end, or ended twice: zero between bursts.
    pub fn conservation_error(&self) -> i64 {
        let came = self.received + self.originated + self.handed_in;
        let went = self.sent + self.handed_out + self.punted + self.held + self.dropped_total();
        came as i64 - went as i64
    }

    /// Adds another worker's counters to these.
    pub fn add(&mut self, other: &Counters) {
        self.received += other.received;
        self.originated += other.originated;
        self.handed_in += other.handed_in;
        self.handed_out += other.handed_out;
        self.sent += other.sent;
        self.punted += other.punted;
        self.held += other.held;
        self.fast += other.fast;
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped.iter()) {
            *mine += *theirs;
        }
    }
}
