//! Fragments: order, overlaps, bounds, time.

use nat::Tick;
use nat::fragments::{FragmentDrop, FragmentKey, FragmentTable, Outcome, Piece};
use proptest::prelude::*;
use wire::{HeapBuf, PacketBuf, Protocol};

use crate::support::*;

fn key(source: u8, id: u32) -> FragmentKey {
    FragmentKey {
        source: inside(source, 0).address,
        destination: remote(1, 0).address,
        protocol: Protocol::UDP,
        id,
    }
}

fn piece(offset: u16, len: u16, more: bool) -> Piece {
    Piece { offset, len, more, ports: (offset == 0).then_some((7, 8)) }
}

fn tagged(tag: u64) -> HeapBuf {
    let mut buf = HeapBuf::new();
    buf.set_tag(tag);
    buf
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Sent,
    Held,
    Dropped(FragmentDrop),
}

fn offer(table: &mut FragmentTable<HeapBuf>, key: FragmentKey, piece: Piece, now: u32) -> End {
    match table.offer(key, piece, tagged(u64::from(piece.offset)), Tick(now)) {
        Outcome::Forward(_, ports) => {
            assert_eq!(ports, (7, 8));
            End::Sent
        }
        Outcome::Held => End::Held,
        Outcome::Drop(reason, _) => End::Dropped(reason),
    }
}

#[test]
fn fragments_after_the_first_go_on_at_once() {
    let mut t = FragmentTable::new([1, 2]);
    assert_eq!(offer(&mut t, key(1, 1), piece(0, 8, true), 0), End::Sent);
    assert_eq!(offer(&mut t, key(1, 1), piece(16, 8, false), 0), End::Sent);
    assert_eq!(offer(&mut t, key(1, 1), piece(8, 8, true), 0), End::Sent);
    // Whole: the same id begins another datagram.
    assert_eq!(offer(&mut t, key(1, 1), piece(16, 8, false), 1), End::Held);
}

#[test]
fn those_held_come_out_in_order_of_arrival() {
    let mut t = FragmentTable::new([1, 2]);
    for offset in [24, 8, 16] {
        assert_eq!(offer(&mut t, key(1, 1), piece(offset, 8, offset != 24), 0), End::Held);
    }
    assert_eq!(t.held(), 3);
    assert_eq!(offer(&mut t, key(1, 1), piece(0, 8, true), 0), End::Sent);
    let order: Vec<u64> = std::iter::from_fn(|| t.released()).map(|(b, _)| b.tag()).collect();
    assert_eq!(order, [24, 8, 16]);
    assert_eq!(t.held(), 0);
}

#[test]
fn an_overlap_drops_the_datagram_and_what_follows_of_it() {
    for second in [piece(8, 8, true), piece(12, 8, true), piece(0, 16, true), piece(4, 100, true)] {
        let mut t = FragmentTable::new([1, 2]);
        offer(&mut t, key(1, 1), piece(8, 8, true), 0);
        assert_eq!(offer(&mut t, key(1, 1), second, 0), End::Dropped(FragmentDrop::Overlap), "{second:?}");
        assert_eq!(t.dropped().map(|d| d.1), Some(FragmentDrop::Overlap));
        assert_eq!(offer(&mut t, key(1, 1), piece(64, 8, true), 19), End::Dropped(FragmentDrop::Overlap));
        assert_eq!(offer(&mut t, key(1, 1), piece(64, 8, true), 20), End::Held);
    }
}

#[test]
fn two_ends_or_octets_beyond_the_end_are_contradictions() {
    for (first, second) in [
        (piece(16, 8, false), piece(24, 8, true)),
        (piece(16, 8, false), piece(24, 8, false)),
        (piece(16, 8, false), piece(8, 8, false)),
        (piece(24, 8, true), piece(8, 8, false)),
    ] {
        let mut t = FragmentTable::new([1, 2]);
        offer(&mut t, key(1, 1), first, 0);
        assert_eq!(offer(&mut t, key(1, 1), second, 0), End::Dropped(FragmentDrop::Overlap), "{second:?}");
    }
}

#[test]
fn after_two_seconds_held_fragments_are_dropped() {
    let mut t = FragmentTable::new([1, 2]);
    offer(&mut t, key(1, 1), piece(8, 8, true), 5);
    t.expire(Tick(24));
    assert!(t.dropped().is_none());
    t.expire(Tick(25));
    assert_eq!(t.dropped().map(|d| d.1), Some(FragmentDrop::Timeout));
    assert_eq!((t.held(), t.dropped().is_none()), (0, true));
}

#[test]
fn a_source_has_sixteen_datagrams_and_all_have_a_thousand_and_twenty_four() {
    let mut t = FragmentTable::new([1, 2]);
    for id in 0..16 {
        assert_eq!(offer(&mut t, key(1, id), piece(8, 8, true), 0), End::Held);
    }
    assert_eq!(offer(&mut t, key(1, 16), piece(8, 8, true), 0), End::Dropped(FragmentDrop::Limit));
    for i in 16..1024 {
        assert_eq!(offer(&mut t, key(2 + (i / 16) as u8, i), piece(8, 8, true), 0), End::Held);
    }
    assert_eq!(offer(&mut t, key(200, 1), piece(8, 8, true), 0), End::Dropped(FragmentDrop::Limit));
    assert_eq!(offer(&mut t, key(200, 1), piece(8, 8, true), 20), End::Held);
    assert_eq!(t.held(), 1025, "1,024 of them dropped and not yet asked for");
}

#[test]
fn a_datagram_has_sixty_four_fragments_at_most() {
    let mut t = FragmentTable::new([1, 2]);
    for i in 0..64 {
        assert_eq!(offer(&mut t, key(1, 1), piece(i * 8, 8, true), 0), End::Sent);
    }
    assert_eq!(offer(&mut t, key(1, 1), piece(512, 8, true), 0), End::Dropped(FragmentDrop::Limit));
}

proptest! {
    #[test]
    fn every_fragment_offered_comes_out_once(
        ops in prop::collection::vec((1u8..4, 0u32..4, 0u16..12, 1u16..3, any::<bool>(), 0u32..8), 1..200),
    ) {
        let mut t = FragmentTable::<HeapBuf>::new([1, 2]);
        let (mut now, mut offered, mut out) = (0, 0usize, 0usize);
        for (source, id, at, len, more, step) in ops {
            now += step;
            offered += 1;
            let buf = HeapBuf::new();
            match t.offer(key(source, id), piece(at * 8, len * 8, more), buf, Tick(now)) {
                Outcome::Held => {}
                _ => out += 1,
            }
            while t.released().is_some() || t.dropped().is_some() {
                out += 1;
            }
            prop_assert_eq!(offered, out + t.held());
        }
        t.expire(Tick(now + 20));
        while t.dropped().is_some() {
            out += 1;
        }
        prop_assert_eq!((offered, t.held()), (out, 0));
    }
}
