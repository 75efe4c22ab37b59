//! Properties over random bytes: nothing panics, deltas equal whole sums, pieces make the whole.

use std::net::Ipv4Addr;

use proptest::prelude::*;
use wire::build::{self, Header};
use wire::checksum::{self, Delta};
use wire::fragment::Pieces;
use wire::{Endpoint, HeapBuf, PacketBuf, Protocol, arp, ethernet, ipv4, mss};

const L3: usize = build::FRONT;
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// Reads `frame` in every way there is and edits it through the offsets handed out.
fn exercise(frame: &mut [u8], l3: usize) {
    let _ = ethernet::parse(frame);
    let _ = arp::parse(frame, l3);
    let Ok(ip) = ipv4::parse(frame, l3, true) else { return };
    assert!(ip.l3 <= ip.l4 && ip.l4 <= ip.end && usize::from(ip.end) <= frame.len());
    if let Some(at) = ip.l4_checksum_at() {
        assert!(Delta(1).apply_at(frame, usize::from(at)));
        assert!(at + 2 <= ip.end);
    }
    if let Ok(e) = ipv4::parse_embedded(frame, &ip) {
        assert!(ip.l4 + 8 == e.l3 && e.l3 < e.l4 && e.l4 <= e.end && e.end <= ip.end);
        assert!(e.l4_checksum_at.is_none_or(|at| at + 2 <= e.end));
    }
    mss::clamp(frame, &ip, 500);
    let mut out = HeapBuf::new();
    build::tcp_rst(&mut out, &ip);
    build::icmp_error(&mut out, &frame[l3..], 3, 1, 0, A);
    if let Some(pieces) = Pieces::plan(frame, &ip, 68, 1) {
        for n in 0..=pieces.count() {
            pieces.write(frame, n, &mut out);
        }
    }
}

/// Bytes that are nearly a packet, so that parsing gets past the first check.
fn nearly_a_packet() -> impl Strategy<Value = Vec<u8>> {
    let protocol = prop_oneof![Just(1u8), Just(6), Just(17), any::<u8>()];
    let fragment = prop_oneof![4 => Just(0u16), 1 => any::<u16>()];
    (prop::collection::vec(any::<u8>(), 40..300), 5u8..=15, protocol, fragment, any::<u8>(), -3i32..3)
        .prop_map(|(mut b, ihl, protocol, fragment, icmp, off)| {
            b[0] = 0x40 | ihl;
            let total = (b.len() as i32 + off) as u16;
            b[2..4].copy_from_slice(&total.to_be_bytes());
            b[6..8].copy_from_slice(&fragment.to_be_bytes());
            b[9] = protocol;
            let l4 = usize::from(ihl) * 4;
            if protocol == 1 && l4 + 8 + 20 < b.len() {
                b[l4] = [0, 3, 8, 11][usize::from(icmp % 4)];
                b[l4 + 8] = 0x45;
                b[l4 + 5] = icmp % 40;
                let inner = checksum::of(&zeroed(&b[l4 + 8..l4 + 28], 10)).to_be_bytes();
                b[l4 + 18..l4 + 20].copy_from_slice(&inner);
                b[l4 + 2..l4 + 4].fill(0);
                let end = usize::from(total).min(b.len());
                let sum = checksum::of(&b[l4..end]).to_be_bytes();
                b[l4 + 2..l4 + 4].copy_from_slice(&sum);
            }
            b
        })
}

fn zeroed(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut b = bytes.to_vec();
    b[at..at + 2].fill(0);
    b
}

proptest! {
    #[test]
    fn random_bytes_never_panic(mut b in prop::collection::vec(any::<u8>(), 0..200), l3 in 0usize..40) {
        exercise(&mut b, l3);
    }

    #[test]
    fn near_packets_never_panic(mut b in nearly_a_packet()) {
        exercise(&mut b, 0);
    }

    #[test]
    fn a_delta_equals_the_sum_taken_again(
        mut words in prop::collection::vec(any::<u16>(), 12..40), at in 0usize..10, new in any::<u32>(),
    ) {
        // Word 11 is the checksum; the whole is never all zero, like a pseudo header.
        words[10] |= 1;
        words[11] = 0;
        let bytes = |w: &[u16]| w.iter().flat_map(|x| x.to_be_bytes()).collect::<Vec<u8>>();
        let before = checksum::of(&bytes(&words));
        let at = at.min(8);
        let old = u32::from(words[at]) << 16 | u32::from(words[at + 1]);
        words[at] = (new >> 16) as u16;
        words[at + 1] = new as u16;
        let delta = Delta::NONE.replace32(old, new);
        let after = checksum::of(&bytes(&words));
        prop_assert_eq!(delta.apply(before), after);
        prop_assert_eq!(delta.inverse().apply(after), before);
        let halves = Delta::NONE
            .replace16((old >> 16) as u16, (new >> 16) as u16)
            .and(Delta::NONE.replace16(old as u16, new as u16));
        prop_assert_eq!(halves.apply(before), after);
        // UDP: what is sent is never 0, and "none" stays "none".
        prop_assert_eq!(delta.apply_udp(0), 0);
        let sent = |c: u16| if c == 0 { 0xffff } else { c };
        prop_assert_eq!(delta.apply_udp(sent(before)), sent(after));
    }

    #[test]
    fn the_sum_of_chunks_is_the_sum_of_words(b in prop::collection::vec(any::<u8>(), 0..70)) {
        let mut naive = 0u64;
        for pair in b.chunks(2) {
            naive += u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |x| u64::from(*x));
        }
        while naive >> 16 != 0 {
            naive = (naive & 0xffff) + (naive >> 16);
        }
        prop_assert_eq!(checksum::fold(checksum::sum(&b)), naive as u16);
    }

    #[test]
    fn pieces_reassemble_to_the_whole(
        data in prop::collection::vec(any::<u8>(), 60..3000), mtu in 68u16..1600, with_options in any::<bool>(),
    ) {
        let mut b = HeapBuf::new();
        prop_assert!(build::udp(&mut b, Endpoint::new(A, 1), Endpoint::new(B, 2), &data));
        let mut frame = b.bytes().to_vec();
        frame[L3 + 6] = 0;
        if with_options {
            // Record route (not copied), no-op, stream id (copied).
            frame.splice(L3 + 20..L3 + 20, [7, 7, 4, 1, 2, 3, 4, 1, 136, 4, 9, 9]);
            frame[L3] = 0x48;
            let total = (frame.len() - L3) as u16;
            frame[L3 + 2..L3 + 4].copy_from_slice(&total.to_be_bytes());
        }
        mend(&mut frame);
        let ip = ipv4::parse(&frame, L3, false).unwrap();
        let Some(pieces) = Pieces::plan(&frame, &ip, mtu, 0x4242) else {
            prop_assert!(ip.total_len() <= mtu);
            return Ok(());
        };
        let mut whole = vec![0u8; usize::from(ip.payload_len())];
        let mut first = HeapBuf::from_frame(&frame);
        let mut all = Vec::new();
        for n in 1..pieces.count() {
            let mut out = HeapBuf::new();
            prop_assert!(pieces.write(&frame, n, &mut out));
            all.push(out);
        }
        prop_assert!(!pieces.write(&frame, pieces.count(), &mut HeapBuf::new()));
        prop_assert!(pieces.cut_first(&mut first));
        all.insert(0, first);
        let mut covered = 0;
        for (n, piece) in all.iter().enumerate() {
            let p = ipv4::parse(piece.bytes(), L3, false).unwrap();
            prop_assert!(p.total_len() <= mtu);
            prop_assert_eq!((p.id, p.more_fragments), (0x4242, n + 1 < all.len()));
            prop_assert_eq!((p.source, p.destination, p.protocol), (A, B, Protocol::UDP));
            if with_options {
                prop_assert_eq!(p.header_len(), if n == 0 { 32 } else { 24 });
            }
            let at = usize::from(p.fragment_offset);
            let part = &piece.bytes()[usize::from(p.l4)..usize::from(p.end)];
            prop_assert_eq!(at, covered);
            whole[at..at + part.len()].copy_from_slice(part);
            covered += part.len();
        }
        prop_assert_eq!(&whole[..], &frame[usize::from(ip.l4)..]);
    }
}

fn mend(frame: &mut [u8]) {
    let header = usize::from(frame[L3] & 15) * 4;
    frame[L3 + 10..L3 + 12].fill(0);
    let sum = checksum::of(&frame[L3..L3 + header]).to_be_bytes();
    frame[L3 + 10..L3 + 12].copy_from_slice(&sum);
}

#[test]
fn a_fragment_split_again_keeps_its_place_in_the_datagram() {
    let mut b = HeapBuf::new();
    let header = Header { dont_fragment: false, ..Header::own(A, B, Protocol::UDP) };
    assert!(build::ip(&mut b, &header, &[&[3; 400]]));
    let mut frame = b.bytes().to_vec();
    frame[L3 + 6..L3 + 8].copy_from_slice(&(0x2000u16 | 10).to_be_bytes());
    mend(&mut frame);
    let ip = ipv4::parse(&frame, L3, false).unwrap();
    let pieces = Pieces::plan(&frame, &ip, 220, 7).unwrap();
    assert_eq!(pieces.count(), 2);
    let mut second = HeapBuf::new();
    assert!(pieces.write(&frame, 1, &mut second));
    let p = ipv4::parse(second.bytes(), L3, false).unwrap();
    assert_eq!((p.fragment_offset, p.more_fragments), (80 + 200, true), "the datagram goes on after it");
    let mut first = HeapBuf::from_frame(&frame);
    assert!(pieces.cut_first(&mut first));
    let p = ipv4::parse(first.bytes(), L3, false).unwrap();
    assert_eq!((p.fragment_offset, p.more_fragments, p.payload_len()), (80, true, 200));
}
