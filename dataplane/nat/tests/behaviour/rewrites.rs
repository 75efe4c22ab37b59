//! RFC 5508 and the translation of packets in place. The checksums are summed again from scratch.

use nat::{Direction, Hit, Rewrite, Space, Ttl};
use proptest::prelude::*;
use wire::{Endpoint, HeapBuf, Ipv4, PacketBuf, Protocol, Transport, Tuple, build, ipv4};

use crate::support::*;

const L3: usize = build::FRONT;

fn words(bytes: &[u8]) -> u32 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    }
    sum
}

fn folded(mut sum: u32) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Are the IP header's and the transport's checksum right?
fn is_sound(packet: &[u8]) -> bool {
    let header = usize::from(packet[0] & 15) * 4;
    let segment = &packet[header..];
    let protocol = packet[9];
    let pseudo = match protocol {
        1 => 0,
        _ => words(&packet[12..20]) + u32::from(protocol) + segment.len() as u32,
    };
    folded(words(&packet[..header])) == 0xffff && folded(pseudo + words(segment)) == 0xffff
}

fn bytes(buf: &HeapBuf) -> &[u8] {
    &buf.bytes()[L3..]
}

fn parsed(buf: &HeapBuf) -> Ipv4 {
    ipv4::parse(buf.bytes(), L3, false).unwrap()
}

#[test]
fn all_checksums_are_right_after_translation_both_ways() {
    let mut w = World::new();
    for protocol in [Protocol::UDP, Protocol::TCP, Protocol::ICMP] {
        let mut out = Packet::of(protocol, inside(1, 5000), remote(1, 53));
        let hit = w.goes(&out).unwrap();
        let rewrite = w.nat.rewrite(hit);
        assert!(rewrite.apply(out.buf.bytes_mut(), &out.ip, Ttl::Decrement));
        let sent = parsed(&out.buf);
        assert!(is_sound(bytes(&out.buf)), "{protocol:?}");
        assert_eq!((sent.ttl, sent.source), (63, rewrite.source.address));
        assert_eq!(sent.source_port, rewrite.source.port);
        assert_eq!(sent.destination, remote(1, 0).address);
        let mut back =
            Packet::of(protocol, Endpoint::new(sent.destination, sent.destination_port), rewrite.source);
        let hit = w.nat.lookup(Space::Inbound, &back.tuple(), w.now).unwrap();
        assert_eq!(hit.direction, Direction::Reply);
        assert!(w.nat.rewrite(hit).apply(back.buf.bytes_mut(), &back.ip, Ttl::Keep));
        let got = parsed(&back.buf);
        assert!(is_sound(bytes(&back.buf)), "{protocol:?}");
        assert_eq!((got.ttl, got.destination, got.destination_port), (64, inside(1, 0).address, 5000));
    }
    drain(&mut w);
}

#[test]
fn rfc5508_req1_echo_ids_are_mapped_like_ports() {
    let mut w = World::new();
    let a = w.seen_as(&Packet::echo(inside(1, 0).address, remote(1, 0).address, true, 9)).unwrap();
    let b = w.seen_as(&Packet::echo(inside(2, 0).address, remote(1, 0).address, true, 9)).unwrap();
    assert_ne!(a, b);
    // Endpoint-independent: the same id towards another remote.
    assert_eq!(w.seen_as(&Packet::echo(inside(1, 0).address, remote(2, 0).address, true, 9)), Ok(a));
    let reply = Packet::echo(remote(1, 0).address, b.address, false, b.port);
    assert_eq!(w.comes(&reply), Came::In(inside(2, 9)));
    drain(&mut w);
}

#[test]
fn rfc5508_req2_a_query_lives_sixty_seconds() {
    let mut w = World::new();
    let echo = Packet::echo(inside(1, 0).address, remote(1, 0).address, true, 9);
    w.seen_as(&echo).unwrap();
    w.pass_ticks(599);
    assert!(w.alive(&echo.tuple()));
    w.pass_ticks(1);
    assert!(!w.alive(&echo.tuple()));
}

#[test]
fn a_udp_checksum_of_zero_stays_zero() {
    let mut w = World::new();
    let mut packet = Packet::udp(inside(1, 5000), remote(1, 53));
    packet.buf.bytes_mut()[L3 + 26..L3 + 28].fill(0);
    packet.ip = parsed(&packet.buf);
    let hit = w.goes(&packet).unwrap();
    assert!(w.nat.rewrite(hit).apply(packet.buf.bytes_mut(), &packet.ip, Ttl::Decrement));
    assert_eq!(packet.buf.bytes()[L3 + 26..L3 + 28], [0, 0]);
}

/// An ICMP error from `router` to `to`, about the packet `about`, of which `quoted` octets are quoted; then a
/// padding and extensions if `extended`.
fn error(
    about: &[u8],
    router: std::net::Ipv4Addr,
    to: std::net::Ipv4Addr,
    quoted: usize,
    extended: bool,
) -> Packet {
    let quoted = &about[..quoted.min(about.len())];
    let mut message = vec![11, 0, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(quoted);
    if extended {
        message.resize(8 + 128, 0);
        message[5] = 32;
        // RFC 4884 §7: a header of version 2 and one object of 8 octets.
        message.extend_from_slice(&[0x20, 0, 0xdc, 0xf1, 0, 8, 1, 1, 1, 2, 3, 4]);
    }
    let sum = (!folded(words(&message))).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let mut buf = HeapBuf::new();
    assert!(build::ip(&mut buf, &build::Header::own(router, to, Protocol::ICMP), &[&message]));
    Packet::new(buf)
}

/// Translates an error as the engine does: the session of the reversed quotation.
fn translate(w: &mut World, packet: &mut Packet) -> (Hit, Rewrite) {
    let embedded = ipv4::parse_embedded(packet.buf.bytes(), &packet.ip).unwrap();
    let hit = w.find(&embedded.tuple().reversed()).expect("a session");
    let rewrite = w.nat.rewrite(hit);
    assert!(rewrite.apply_embedded(packet.buf.bytes_mut(), &packet.ip, &embedded, Ttl::Decrement));
    (hit, rewrite)
}

#[test]
fn rfc5508_req4_errors_from_outside_are_translated_outer_and_quoted() {
    let router = remote(200, 0).address;
    for protocol in [Protocol::UDP, Protocol::TCP, Protocol::ICMP] {
        // Not 37 octets: half of a TCP checksum can be neither translated nor used.
        for quoted in [28, 30, 36, 38, 40, 1000] {
            for extended in [false, true] {
                let mut w = World::new();
                let mut sent = Packet::of(protocol, inside(1, 5000), remote(1, 53));
                let original = bytes(&sent.buf).to_vec();
                let hit = w.goes(&sent).unwrap();
                let rewrite = w.nat.rewrite(hit);
                rewrite.apply(sent.buf.bytes_mut(), &sent.ip, Ttl::Keep);
                let mut e = error(bytes(&sent.buf), router, rewrite.source.address, quoted, extended);
                translate(&mut w, &mut e);
                let got = parsed(&e.buf);
                let at = usize::from(got.l4) + 8;
                let kept = quoted.min(original.len());
                // What the inside host sent comes back to it, as far as it was quoted.
                assert_eq!(
                    e.buf.bytes()[at..at + kept],
                    original[..kept],
                    "{protocol:?} {quoted} {extended}"
                );
                assert_eq!((got.source, got.destination), (router, inside(1, 0).address));
                assert_eq!(folded(words(&e.buf.bytes()[usize::from(got.l4)..])), 0xffff);
                assert_eq!(e.buf.bytes().len(), usize::from(got.end));
            }
        }
    }
}

#[test]
fn rfc5508_req5_errors_from_inside_show_the_outside_address_alone() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    let mut reply = Packet::udp(remote(1, 53), x);
    let original = bytes(&reply.buf).to_vec();
    let hit = w.nat.lookup(Space::Inbound, &reply.tuple(), w.now).unwrap();
    w.nat.rewrite(hit).apply(reply.buf.bytes_mut(), &reply.ip, Ttl::Keep);
    // From the host itself, and from a router before it.
    for sender in [inside(1, 0).address, inside(99, 0).address] {
        let mut e = error(bytes(&reply.buf), sender, remote(1, 0).address, 1000, false);
        translate(&mut w, &mut e);
        let got = parsed(&e.buf);
        assert_eq!((got.source, got.destination), (x.address, remote(1, 0).address));
        let at = usize::from(got.l4) + 8;
        assert_eq!(e.buf.bytes()[at..], original);
    }
    drain(&mut w);
}

#[test]
fn rfc5508_req3_options_of_the_quoted_header_are_skipped() {
    let mut w = World::new();
    let x = w.udp(inside(1, 5000), remote(1, 53)).unwrap();
    // A header of 24 octets: three no-operations and an end.
    let sent = Packet::udp(x, remote(1, 53));
    let plain = bytes(&sent.buf);
    let mut about = plain[..20].to_vec();
    about.extend_from_slice(&[1, 1, 1, 0]);
    about.extend_from_slice(&plain[20..]);
    about[0] = 0x46;
    let total = (about.len() as u16).to_be_bytes();
    about[2..4].copy_from_slice(&total);
    about[10..12].fill(0);
    let sum = (!folded(words(&about[..24]))).to_be_bytes();
    about[10..12].copy_from_slice(&sum);
    let mut e = error(&about, remote(9, 0).address, x.address, 1000, false);
    translate(&mut w, &mut e);
    let at = usize::from(parsed(&e.buf).l4) + 8;
    assert!(is_sound(&e.buf.bytes()[at..]));
    assert_eq!(e.buf.bytes()[at + 24..at + 26], 5000u16.to_be_bytes());
    assert_eq!(e.buf.bytes()[at + 20..at + 24], [1, 1, 1, 0]);
}

#[test]
fn rfc5508_req6_an_error_ends_no_session() {
    let mut w = World::new();
    let hit = w.goes(&Packet::udp(inside(1, 5000), remote(1, 53))).unwrap();
    let x = w.nat.rewrite(hit).source;
    let mut e = error(bytes(&Packet::udp(x, remote(1, 53)).buf), remote(9, 0).address, x.address, 100, false);
    let (about, _) = translate(&mut w, &mut e);
    assert_eq!(about.session, hit.session);
    w.track(about, &Packet::new(HeapBuf::from_frame(e.buf.bytes()))).unwrap();
    assert!(w.nat.session(hit.session).is_some());
}

#[test]
fn a_later_fragment_has_its_addresses_translated_alone() {
    let mut w = World::new();
    let hit = w.goes(&Packet::udp(inside(1, 5000), remote(1, 53))).unwrap();
    let mut buf = HeapBuf::new();
    let header = build::Header::own(inside(1, 0).address, remote(1, 0).address, Protocol::UDP);
    assert!(build::ip(&mut buf, &header, &[b"the rest of it"]));
    let frame = buf.bytes_mut();
    frame[L3 + 6..L3 + 8].copy_from_slice(&[0, 100]);
    frame[L3 + 10..L3 + 12].fill(0);
    let sum = (!folded(words(&frame[L3..L3 + 20]))).to_be_bytes();
    frame[L3 + 10..L3 + 12].copy_from_slice(&sum);
    let mut packet = Packet::new(buf);
    assert_eq!(packet.ip.l4_kind, Transport::LaterFragment);
    let body = bytes(&packet.buf)[20..].to_vec();
    let rewrite = w.nat.rewrite(hit);
    assert!(rewrite.apply_later_fragment(packet.buf.bytes_mut(), &packet.ip, Ttl::Decrement));
    assert_eq!(parsed(&packet.buf).source, rewrite.source.address);
    assert_eq!(bytes(&packet.buf)[20..], body);
}

proptest! {
    #[test]
    fn any_translation_keeps_sums_right_and_wrong_ones_wrong(
        protocol in prop::sample::select(vec![1u8, 6, 17]),
        (s, d, ns, nd) in any::<(u32, u32, u32, u32)>(),
        (sp, dp, nsp, ndp) in any::<(u16, u16, u16, u16)>(),
        ttl in any::<bool>(),
        spoil in any::<u16>(),
    ) {
        let protocol = Protocol(protocol);
        let end = |a: u32, p| Endpoint::new(std::net::Ipv4Addr::from_bits(a), p);
        let (sp, dp, nsp, ndp) = if protocol == Protocol::ICMP { (sp, sp, nsp, nsp) } else { (sp, dp, nsp, ndp) };
        let (from, to) = (end(s, sp), end(d, dp));
        let mut packet = match protocol {
            Protocol::ICMP => Packet::echo(from.address, to.address, true, sp),
            _ => Packet::of(protocol, from, to),
        };
        // Some wrong transport checksums, never UDP's "none".
        let at = usize::from(packet.ip.l4_checksum_at().unwrap());
        let right = u16::from_be_bytes([packet.buf.bytes()[at], packet.buf.bytes()[at + 1]]);
        let field = right ^ (spoil & 0x0101);
        prop_assume!(field != 0 && field != 0xffff);
        packet.buf.bytes_mut()[at..at + 2].copy_from_slice(&field.to_be_bytes());
        let was_sound = is_sound(bytes(&packet.buf));
        let leaving = Tuple::new(protocol, end(ns, nsp), end(nd, ndp));
        let rewrite = Rewrite::new(&packet.tuple(), &leaving);
        let ttl = if ttl { Ttl::Decrement } else { Ttl::Keep };
        prop_assert!(rewrite.apply(packet.buf.bytes_mut(), &packet.ip, ttl));
        let got = ipv4::parse(packet.buf.bytes(), L3, false).unwrap();
        prop_assert_eq!(got.tuple(), leaving);
        prop_assert_eq!(is_sound(bytes(&packet.buf)), was_sound);
        // The way back restores it, octet for octet.
        let back = Rewrite::new(&leaving, &packet.ip.tuple());
        prop_assert!(back.apply(packet.buf.bytes_mut(), &got, Ttl::Keep));
        let again = packet.buf.bytes()[at..at + 2].to_vec();
        prop_assert_eq!(again, field.to_be_bytes().to_vec());
    }

    #[test]
    fn no_frame_makes_a_rewrite_panic(frame in prop::collection::vec(any::<u8>(), 0..200), l3 in 0u16..300) {
        let packet = Packet::udp(inside(1, 1), remote(1, 1));
        let leaving = Tuple::new(Protocol::UDP, remote(3, 3), remote(4, 4));
        let rewrite = Rewrite::new(&packet.tuple(), &leaving);
        let ip = Ipv4 { l3, l4: l3.saturating_add(20), end: u16::MAX, ..packet.ip };
        let mut frame = frame;
        rewrite.apply(&mut frame, &ip, Ttl::Decrement);
        rewrite.apply_later_fragment(&mut frame, &ip, Ttl::Keep);
        if let Ok(ip) = ipv4::parse(&frame, 0, true)
            && let Ok(embedded) = ipv4::parse_embedded(&frame, &ip)
        {
            rewrite.apply_embedded(&mut frame, &ip, &embedded, Ttl::Decrement);
        }
    }
}
