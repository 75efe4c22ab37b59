//! TCP of both ends as the middle sees it (RFC 5382, RFC 7857 §2, RFC 9293).
//!
//! For each side the record knows `end`, the sequence number after the last one it sent, and what it
//! acknowledged (`acked`) with which window. From these:
//!
//! 1. Valid flags: exactly one or none of SYN, FIN and RST, and ACK unless SYN or RST. Else the
//!    packet is dropped.
//! 2. *In window*: a segment with `position = seq + payload` is in the window when its sender's peer
//!    has acknowledged something and `position - acked[peer] <= window[peer]` (modulo 2^32).
//! 3. RST (with `position = seq`): valid when in window; while the peer has acknowledged nothing, valid when it has ACK
//!    with `ack == end[peer]` and the peer has sent a SYN (RFC 9293 §3.10.7.3). A valid one closes the
//!    session, another changes nothing (RFC 7857 §2.2).
//! 4. SYN without ACK: on a closed session it starts anew, on the same mapping;
//!    while opening it sets `end = seq + 1` of its side, unless that SYN was acknowledged. Both sides
//!    may send one (simultaneous open, RFC 5382 REQ-2). Later it changes nothing.
//! 5. SYN with ACK: the same while opening, then its ACK counts. On a closed session nothing.
//! 6. ACK: while the peer's SYN is not acknowledged, a SYN was seen and `ack - end[peer] <= 65,535`
//!    acknowledges it and sets `end[peer] = ack`; any other ACK does nothing then. Where `end[peer]`
//!    is unknown (adopted), it becomes `ack`. Then `acked` and `window` of its side are set,
//!    unless `ack` is older than `acked` or beyond `end[peer]`; those set, it acknowledges the peer's
//!    FIN when `ack == end[peer]`.
//! 7. Then, without SYN and once its own side's SYN is acknowledged: where `end` of its side is
//!    unknown (adopted), it becomes `seq + segment length`; when in window, or while the peer has
//!    acknowledged nothing, `end` rises to that, and a FIN counts.
//! 8. Windows are scaled as both SYNs say (RFC 7323 §2.2); adopted flows by the largest scale.
//!
//! Phases: `Opening` until both SYNs are acknowledged, `Established` until both sides sent FIN, `Closing`
//! until both FINs are acknowledged, `Closed` then or after a valid RST.

use mem::plain_struct;
use wire::{TcpFlags, TcpSummary};

use crate::{Direction, TcpPhase};

const SYN: u16 = 1;
const SYN_ACKED: u16 = 1 << 2;
const FIN: u16 = 1 << 4;
const FIN_ACKED: u16 = 1 << 6;
const HAS_ACKED: u16 = 1 << 8;
const KNOWN: u16 = 1 << 10;
const RESET: u16 = 1 << 12;
const BOTH: u16 = 3;
/// "No window scale option seen".
const UNSCALED: u8 = 15;

/// What is known of one TCP session. All zero: nothing seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Tcp {
    end: [u32; 2],
    acked: [u32; 2],
    window: [u32; 2],
    bits: u16,
    scale: [u8; 2],
}

plain_struct!(Tcp { end: [u32; 2], acked: [u32; 2], window: [u32; 2], bits: u16, scale: [u8; 2] });

/// Flags that some TCP sends (rule 1).
#[inline]
pub(crate) const fn flags_valid(flags: TcpFlags) -> bool {
    match (flags.syn(), flags.fin(), flags.rst()) {
        (true, false, false) | (false, false, true) => true,
        (false, _, false) => flags.ack(),
        _ => false,
    }
}

/// May this packet begin a session?
#[inline]
pub(crate) const fn opens(flags: TcpFlags) -> bool {
    flags_valid(flags) && flags.syn() && !flags.ack()
}

impl Tcp {
    /// A session taken over in mid-stream: established, nothing else known.
    pub(crate) const fn adopted() -> Self {
        Tcp {
            end: [0; 2],
            acked: [0; 2],
            window: [0; 2],
            bits: (BOTH * SYN) | (BOTH * SYN_ACKED),
            scale: [14; 2],
        }
    }

    #[inline]
    const fn has(&self, what: u16, side: usize) -> bool {
        self.bits & (what << side) != 0
    }

    #[inline]
    const fn has_both(&self, what: u16) -> bool {
        self.bits & (BOTH * what) == BOTH * what
    }

    /// How far the session is.
    #[inline]
    pub(crate) const fn phase(&self) -> TcpPhase {
        if self.bits & RESET != 0 || self.has_both(FIN_ACKED) {
            TcpPhase::Closed
        } else if self.has_both(FIN) {
            TcpPhase::Closing
        } else if self.has_both(SYN_ACKED) {
            TcpPhase::Established
        } else {
            TcpPhase::Opening
        }
    }

    fn in_window(&self, peer: usize, position: u32) -> bool {
        let (Some(acked), Some(window)) = (self.acked.get(peer), self.window.get(peer)) else { return false };
        self.has(HAS_ACKED, peer) && position.wrapping_sub(*acked) <= *window
    }

    /// Follows a segment with valid flags; false when it must not count for anything, not even as a sign
    /// of life (an RST that is not valid). `scale` is its window scale option, read from a SYN alone.
    pub(crate) fn follow(
        &mut self,
        direction: Direction,
        segment: &TcpSummary,
        scale: impl FnOnce() -> Option<u8>,
    ) -> bool {
        let side = direction.index();
        let peer = direction.opposite().index();
        let flags = segment.flags;
        if flags.rst() {
            return self.reset(peer, segment);
        }
        let phase = self.phase();
        if flags.syn() {
            match phase {
                TcpPhase::Opening => {}
                TcpPhase::Closed if !flags.ack() => *self = Tcp::default(),
                _ => return true,
            }
            self.synchronise(side, segment, scale());
        } else if phase == TcpPhase::Closed {
            return true;
        }
        if flags.ack() {
            self.acknowledge(side, peer, segment);
        }
        if !flags.syn() {
            self.advance(side, peer, segment);
        }
        true
    }

    fn reset(&mut self, peer: usize, segment: &TcpSummary) -> bool {
        let valid = if self.has(HAS_ACKED, peer) {
            self.in_window(peer, segment.seq)
        } else {
            self.has(KNOWN, peer) && segment.flags.ack() && self.end.get(peer) == Some(&segment.ack)
        };
        if valid {
            self.bits |= RESET;
        }
        valid
    }

    fn synchronise(&mut self, side: usize, segment: &TcpSummary, scale: Option<u8>) {
        if self.has(SYN_ACKED, side) {
            return;
        }
        self.bits |= (SYN | KNOWN) << side;
        if let (Some(end), Some(known)) = (self.end.get_mut(side), self.scale.get_mut(side)) {
            *end = segment.seq.wrapping_add(1);
            *known = scale.unwrap_or(UNSCALED);
        }
    }

    fn acknowledge(&mut self, side: usize, peer: usize, segment: &TcpSummary) {
        let scaled = !segment.flags.syn() && self.scale.iter().all(|s| *s != UNSCALED);
        let shift = if scaled { self.scale.get(side).copied().unwrap_or(0) } else { 0 };
        let (known, syn_acked) = (self.has(KNOWN, peer), self.has(SYN_ACKED, peer));
        let has_acked = self.has(HAS_ACKED, side);
        let (Some(end), Some(acked), Some(window)) =
            (self.end.get_mut(peer), self.acked.get_mut(side), self.window.get_mut(side))
        else {
            return;
        };
        if !syn_acked {
            if !known || segment.ack.wrapping_sub(*end) > 65_535 {
                return;
            }
            self.bits |= SYN_ACKED << peer;
            *end = segment.ack;
        } else if !known {
            self.bits |= KNOWN << peer;
            *end = segment.ack;
        }
        let older = has_acked && is_after(*acked, segment.ack);
        if older || is_after(segment.ack, *end) {
            return;
        }
        *acked = segment.ack;
        *window = u32::from(segment.window) << shift;
        self.bits |= HAS_ACKED << side;
        if self.has(FIN, peer) && self.end.get(peer) == Some(&segment.ack) {
            self.bits |= FIN_ACKED << peer;
        }
    }

    fn advance(&mut self, side: usize, peer: usize, segment: &TcpSummary) {
        if !self.has(SYN_ACKED, side) {
            return;
        }
        let position = segment.seq.wrapping_add(u32::from(segment.payload));
        let after = segment.seq.wrapping_add(segment.segment_len());
        let known = self.has(KNOWN, side);
        let Some(end) = self.end.get_mut(side) else { return };
        if !known {
            *end = after;
            self.bits |= KNOWN << side;
        }
        if self.has(HAS_ACKED, peer) && !self.in_window(peer, position) {
            return;
        }
        if let Some(end) = self.end.get_mut(side)
            && is_after(after, *end)
        {
            *end = after;
        }
        if segment.flags.fin() {
            self.bits |= FIN << side;
        }
    }
}

/// Does sequence number `a` come after `b` (RFC 9293 §3.4)?
#[inline]
const fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) as i32 > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(flags: u8, seq: u32, ack: u32, window: u16, payload: u16) -> TcpSummary {
        TcpSummary { flags: TcpFlags(flags), seq, ack, window, header: 20, payload }
    }

    const O: Direction = Direction::Original;
    const R: Direction = Direction::Reply;
    const F: u8 = 1;
    const S: u8 = 2;
    const RST: u8 = 4;
    const A: u8 = 16;

    /// A handshake with these scales and a window of 10 each after it.
    fn established(scales: [Option<u8>; 2]) -> Tcp {
        let mut tcp = Tcp::default();
        tcp.follow(O, &segment(S, 100, 0, 10, 0), || scales[0]);
        tcp.follow(R, &segment(S | A, 500, 101, 10, 0), || scales[1]);
        tcp.follow(O, &segment(A, 101, 501, 10, 0), || None);
        tcp.follow(R, &segment(A, 501, 101, 10, 0), || None);
        assert_eq!(tcp.phase(), TcpPhase::Established);
        tcp
    }

    #[test]
    fn windows_are_scaled_when_both_syns_say_so_and_not_otherwise() {
        for (scales, edge) in [([Some(3), Some(7)], 501 + 80), ([Some(3), None], 511), ([None, None], 511)] {
            for (seq, valid) in [(edge, true), (edge + 1, false)] {
                let mut tcp = established(scales);
                assert_eq!(tcp.follow(R, &segment(RST, seq, 0, 0, 0), || None), valid, "{scales:?} {seq}");
                assert_eq!(tcp.phase() == TcpPhase::Closed, valid);
            }
        }
    }

    #[test]
    fn the_window_of_a_syn_itself_is_never_scaled() {
        let mut tcp = Tcp::default();
        tcp.follow(O, &segment(S, 100, 0, 10, 0), || Some(14));
        tcp.follow(R, &segment(S | A, 500, 101, 10, 0), || Some(14));
        // The reply's SYN said: 101 to 111.
        assert!(!tcp.follow(O, &segment(RST, 112, 0, 0, 0), || None));
        assert!(tcp.follow(O, &segment(RST, 111, 0, 0, 0), || None));
    }

    #[test]
    fn an_acknowledgement_of_what_was_never_sent_moves_nothing() {
        let mut tcp = established([None, None]);
        tcp.follow(R, &segment(A, 501, 5000, 60_000, 0), || None);
        assert!(!tcp.follow(O, &segment(RST, 5000, 0, 0, 0), || None));
        assert_eq!(tcp.phase(), TcpPhase::Established);
    }

    #[test]
    fn a_syn_retransmitted_with_another_number_counts_with_that() {
        let mut tcp = Tcp::default();
        tcp.follow(O, &segment(S, 100, 0, 10, 0), || None);
        tcp.follow(O, &segment(S, 90_000_000, 0, 10, 0), || None);
        tcp.follow(R, &segment(S | A, 500, 101, 10, 0), || None);
        assert_eq!(tcp.phase(), TcpPhase::Opening);
        tcp.follow(R, &segment(S | A, 500, 90_000_001, 10, 0), || None);
        tcp.follow(O, &segment(A, 90_000_001, 501, 10, 0), || None);
        assert_eq!(tcp.phase(), TcpPhase::Established);
    }

    #[test]
    fn data_on_a_syn_is_acknowledged_with_it() {
        // TCP Fast Open, RFC 7413.
        let mut tcp = Tcp::default();
        tcp.follow(O, &segment(S, 100, 0, 10, 200), || None);
        tcp.follow(R, &segment(S | A, 500, 301, 1000, 0), || None);
        tcp.follow(O, &segment(A, 301, 501, 1000, 0), || None);
        assert_eq!(tcp.phase(), TcpPhase::Established);
        assert!(tcp.follow(O, &segment(RST, 301, 0, 0, 0), || None));
    }

    /// A segment relative to both sides' first numbers.
    type Relative = (bool, u8, u32, u32, u16, u16);

    fn relative() -> impl Strategy<Value = Relative> {
        let flags = prop::sample::select(vec![S, S | A, A, A, A, F | A, F | A, RST, RST | A]);
        let number = prop_oneof![4 => 0u32..12, 1 => Just(70_000u32), 1 => Just(u32::MAX - 3)];
        (any::<bool>(), flags, number.clone(), number, 0u16..12, 0u16..4)
    }

    proptest! {
        #[test]
        fn what_counts_are_distances_and_not_where_numbers_begin(
            segments in prop::collection::vec(relative(), 1..60),
            begin in any::<[u32; 2]>(),
            adopted in any::<bool>(),
        ) {
            let start = if adopted { Tcp::adopted() } else { Tcp::default() };
            let (mut here, mut there) = (start, start);
            for (reply, flags, seq, ack, window, payload) in segments {
                let (direction, own, other) = if reply { (R, begin[1], begin[0]) } else { (O, begin[0], begin[1]) };
                let before = here.phase();
                let a = here.follow(direction, &segment(flags, seq, ack, window, payload), || Some(1));
                let moved = segment(flags, seq.wrapping_add(own), ack.wrapping_add(other), window, payload);
                let b = there.follow(direction, &moved, || Some(1));
                prop_assert_eq!((a, here.phase()), (b, there.phase()));
                // Phases go on in order; only a SYN begins anew.
                let after = here.phase();
                prop_assert!(after as u8 >= before as u8 || (before == TcpPhase::Closed && flags == S));
            }
        }
    }
}
