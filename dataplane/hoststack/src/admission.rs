//! Which punted packets the stack wants: decided from the headers before anything is queued.
//!
//! smoltcp would answer everything else with a reset or an ICMP error; the engine has already decided
//! what a packet to the gateway gets (a named drop), so here the rest ends silently.

use std::net::Ipv4Addr;

use smoltcp::time::Instant;
use smoltcp::wire::{Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet};

use crate::stack::Addresses;

/// Packets and probes since the start.
/// `received = answered or handed to a probe + rate_limited + queue_full + unwanted + malformed + queued`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets given to [`receive`](crate::HostStack::receive).
    pub received: u64,
    /// Packets sent, of all kinds.
    pub sent: u64,
    /// Echo requests dropped by the rate limit.
    pub rate_limited: u64,
    /// Packets dropped since a queue was full.
    pub queue_full: u64,
    /// Packets that are neither an echo request nor an answer to a probe under way.
    pub unwanted: u64,
    /// Packets whose headers do not parse, and fragments.
    pub malformed: u64,
    /// Health checks started.
    pub probes_started: u64,
    /// Health checks that failed.
    pub probes_failed: u64,
}

/// What a packet is to the stack.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// An echo request to an address we answer for.
    Echo,
    /// From the target that a probe asks, to that probe's port.
    Answer { port: u16 },
    /// Nothing for us.
    Unwanted,
    /// Not a whole IPv4 packet.
    Malformed,
}

/// `asked` tells whom the probe with this source port asks.
pub(crate) fn classify(
    bytes: &[u8],
    addresses: &Addresses,
    asked: impl Fn(u16) -> Option<Ipv4Addr>,
) -> Class {
    let Ok(packet) = Ipv4Packet::new_checked(bytes) else { return Class::Malformed };
    if packet.version() != 4 || packet.more_frags() || packet.frag_offset() != 0 {
        return Class::Malformed;
    }
    let (own, payload) = (addresses.own.contains(&packet.dst_addr()), packet.payload());
    match packet.next_header() {
        IpProtocol::Icmp => match Icmpv4Packet::new_checked(payload) {
            Err(_) => Class::Malformed,
            Ok(icmp) if icmp.msg_type() != Icmpv4Message::EchoRequest => Class::Unwanted,
            Ok(_) if own || addresses.vips.contains(&packet.dst_addr()) => Class::Echo,
            Ok(_) => Class::Unwanted,
        },
        IpProtocol::Tcp | IpProtocol::Udp => match payload.get(2..4) {
            None => Class::Malformed,
            Some(&[high, low]) => {
                let port = u16::from_be_bytes([high, low]);
                let expected = own && asked(port) == Some(packet.src_addr());
                if expected { Class::Answer { port } } else { Class::Unwanted }
            }
            Some(_) => Class::Malformed,
        },
        _ => Class::Unwanted,
    }
}

/// A token bucket that counts in microseconds, so that low rates lose nothing to rounding.
pub(crate) struct TokenBucket {
    /// Microseconds that one token costs.
    cost: u64,
    /// Microseconds' worth that fit.
    full: u64,
    level: u64,
    filled_at: Option<Instant>,
}

impl TokenBucket {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let cost = 1_000_000 / u64::from(per_second.clamp(1, 1_000_000));
        let full = cost * u64::from(burst.max(1));
        TokenBucket { cost, full, level: full, filled_at: None }
    }

    /// A clock that steps back adds nothing.
    pub(crate) fn refill(&mut self, now: Instant) {
        let elapsed = self.filled_at.map_or(0, |then| now.total_micros().saturating_sub(then.total_micros()));
        self.level = self.full.min(self.level.saturating_add(u64::try_from(elapsed).unwrap_or(0)));
        self.filled_at = Some(now);
    }

    pub(crate) fn take(&mut self) -> bool {
        let enough = self.level >= self.cost;
        if enough {
            self.level -= self.cost;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = TokenBucket::new(10, 3);
        bucket.refill(Instant::from_millis(0));
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 3);
        bucket.refill(Instant::from_millis(250));
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 2);
        bucket.refill(Instant::from_millis(300));
        assert_eq!((0..5).filter(|_| bucket.take()).count(), 1);
        bucket.refill(Instant::from_millis(100));
        assert!(!bucket.take());
    }
}
