//! IPv4, its transports and the packets inside ICMP errors, byte by byte.

use std::net::Ipv4Addr;

use wire::build::{self, Header, Segment};
use wire::ipv4::{self, Ipv4, Transport};
use wire::{EmbeddedTransport, Endpoint, HeapBuf, PacketBuf, ParseError, Protocol, TcpFlags, checksum};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const L3: usize = build::FRONT;

fn frame(fill: impl FnOnce(&mut HeapBuf) -> bool) -> Vec<u8> {
    let mut b = HeapBuf::new();
    assert!(fill(&mut b));
    b.bytes().to_vec()
}

fn udp(data: &[u8]) -> Vec<u8> {
    frame(|b| build::udp(b, Endpoint::new(A, 4000), Endpoint::new(B, 53), data))
}

fn tcp(flags: TcpFlags) -> Vec<u8> {
    let s = Segment { seq: 7, ack: 9, flags, window: 100 };
    frame(|b| build::tcp_segment(b, Endpoint::new(A, 4000), Endpoint::new(B, 80), &s))
}

fn raw(protocol: u8, payload: &[u8]) -> Vec<u8> {
    frame(|b| build::ip(b, &Header::own(A, B, Protocol(protocol)), &[payload]))
}

/// Edits octets of the IP header and mends its checksum.
fn edited(mut frame: Vec<u8>, edits: &[(usize, u8)]) -> Vec<u8> {
    for (at, value) in edits {
        frame[L3 + at] = *value;
    }
    let header = usize::from(frame[L3] & 15) * 4;
    frame[L3 + 10..L3 + 12].fill(0);
    if let Some(h) = frame.get(L3..L3 + header) {
        let sum = checksum::of(h).to_be_bytes();
        frame[L3 + 10..L3 + 12].copy_from_slice(&sum);
    }
    frame
}

fn parse(frame: &[u8]) -> Result<Ipv4, ParseError> {
    ipv4::parse(frame, L3, false)
}

#[test]
fn a_udp_datagram_is_read_whole_and_padding_is_left_out() {
    let mut f = udp(b"hello");
    f.extend([0; 13]);
    let ip = parse(&f).unwrap();
    assert_eq!((ip.l3, ip.l4, ip.end), (14, 34, 14 + 20 + 8 + 5));
    assert_eq!(ip.l4_kind, Transport::Udp { checksum_zero: false });
    assert_eq!(ip.tuple().to_string(), "UDP 10.0.0.5:4000 > 198.51.100.7:53");
    assert_eq!((ip.ttl, ip.dont_fragment, ip.has_options, ip.is_fragment()), (64, true, false, false));
    assert_eq!(ip.l4_checksum_at(), Some(40));
}

#[test]
fn a_tcp_segment_is_read_with_its_numbers() {
    let f = tcp(TcpFlags::SYN | TcpFlags::ACK);
    let Transport::Tcp(t) = parse(&f).unwrap().l4_kind else { panic!("no TCP") };
    assert_eq!((t.seq, t.ack, t.window, t.header, t.payload), (7, 9, 100, 20, 0));
    assert!(t.flags.syn() && t.flags.ack() && !t.flags.rst());
    assert_eq!(t.segment_len(), 1);
}

#[test]
fn lengths_that_contradict_the_frame_are_malformed() {
    let f = udp(b"hello");
    for cut in L3..f.len() {
        assert_eq!(parse(&f[..cut]), Err(ParseError::MalformedIp), "cut at {cut}");
    }
    assert_eq!(ipv4::parse(&f, f.len() + 1, false), Err(ParseError::MalformedIp));
    for edit in [(0, 0x65), (0, 0x44), (0, 0x40), (3, 19), (3, 34), (2, 0xff)] {
        assert_eq!(parse(&edited(f.clone(), &[edit])), Err(ParseError::MalformedIp), "{edit:?}");
    }
    // A header longer than the packet.
    assert_eq!(parse(&edited(raw(17, &[0; 8]), &[(0, 0x4f)])), Err(ParseError::MalformedIp));
}

#[test]
fn a_wrong_header_checksum_is_seen_unless_the_device_vouches() {
    let mut f = udp(b"hello");
    f[L3 + 8] ^= 1;
    assert_eq!(parse(&f), Err(ParseError::BadIpChecksum));
    assert!(ipv4::parse(&f, L3, true).is_ok());
}

#[test]
fn options_are_skipped_and_their_checksum_counted() {
    let mut f = udp(b"hi");
    f.splice(L3 + 20..L3 + 20, [7, 7, 4, 0, 0, 0, 0, 0]);
    let f = edited(f, &[(0, 0x47), (3, 20 + 8 + 8 + 2)]);
    let ip = parse(&f).unwrap();
    assert!(ip.has_options);
    assert_eq!((ip.header_len(), ip.source_port), (28, 4000));
    let mut wrong = f;
    wrong[L3 + 22] ^= 1;
    assert_eq!(parse(&wrong), Err(ParseError::BadIpChecksum));
}

#[test]
fn transport_headers_that_do_not_fit_are_malformed() {
    let long_header = [&[0u8; 12][..], &[0xf0, 2, 0, 0, 0, 0, 0, 0]].concat();
    let short_header = [&[0u8; 12][..], &[0x40, 2, 0, 0, 0, 0, 0, 0]].concat();
    let cases: [(u8, &[u8]); 8] = [
        (6, &[0; 19]),
        (6, &long_header),
        (6, &short_header),
        (17, &[0; 7]),
        (17, &[0, 1, 0, 2, 0, 7, 0, 0]),
        (17, &[0, 1, 0, 2, 0, 9, 0, 0]),
        (1, &[8, 0, 0, 0]),
        (1, &[3, 1, 0xfc, 0xfe, 0, 0, 0]),
    ];
    for (protocol, payload) in cases {
        assert_eq!(parse(&raw(protocol, payload)), Err(ParseError::MalformedL4), "{protocol} {payload:?}");
    }
}

#[test]
fn a_udp_length_below_the_payload_is_let_through() {
    let ip = parse(&raw(17, &[0, 1, 0, 2, 0, 8, 0, 0, 99])).unwrap();
    assert_eq!(ip.l4_kind, Transport::Udp { checksum_zero: true });
}

#[test]
fn icmp_kinds_are_told_apart() {
    let echo = frame(|b| build::icmp_echo(b, A, B, true, (77, 3), b"x"));
    let ip = parse(&echo).unwrap();
    assert_eq!(ip.l4_kind, Transport::Echo { request: true, id: 77, seq: 3 });
    assert_eq!((ip.source_port, ip.destination_port), (77, 77));
    for kind in [4, 5, 9, 10, 13, 17, 30] {
        let ip = parse(&raw(1, &[kind, 0, 0, 0, 0, 0, 0, 0])).unwrap();
        assert_eq!(ip.l4_kind, Transport::IcmpOther { kind, code: 0 });
    }
    // An echo has code 0.
    assert_eq!(
        parse(&raw(1, &[8, 1, 0, 0, 0, 0, 0, 0])).unwrap().l4_kind,
        Transport::IcmpOther { kind: 8, code: 1 }
    );
}

#[test]
fn an_icmp_error_with_a_wrong_checksum_is_refused() {
    let original = udp(b"data");
    let mut f = frame(|b| build::icmp_error(b, &original[L3..], 3, 3, 0, B));
    assert_eq!(parse(&f).unwrap().l4_kind, Transport::IcmpError { kind: 3, code: 3 });
    let last = f.len() - 1;
    f[last] ^= 1;
    assert_eq!(parse(&f), Err(ParseError::BadIcmpChecksum));
}

#[test]
fn fragments_are_told_apart_and_checked() {
    let payload = [0x12, 0x34, 0x56, 0x78, 0xff, 0xff, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    // First: its UDP length reaches beyond it.
    let first = edited(raw(17, &payload), &[(6, 0x20)]);
    let ip = parse(&first).unwrap();
    assert!(ip.more_fragments && ip.is_fragment() && ip.fragment_offset == 0);
    assert_eq!(ip.source_port, 0x1234);
    let later = edited(raw(17, &payload), &[(6, 0), (7, 2)]);
    let ip = parse(&later).unwrap();
    assert_eq!((ip.l4_kind, ip.fragment_offset, ip.source_port), (Transport::LaterFragment, 16, 0));
    assert_eq!(ip.l4_checksum_at(), None);
    // Middle ones carry whole units of 8; none is empty; none reaches beyond 65,535.
    assert_eq!(parse(&edited(raw(17, &payload[..15]), &[(6, 0x20), (7, 2)])), Err(ParseError::MalformedIp));
    assert_eq!(parse(&edited(raw(17, &[]), &[(6, 0), (7, 2)])), Err(ParseError::MalformedIp));
    assert_eq!(parse(&edited(raw(17, &payload), &[(6, 0x1f), (7, 0xfe)])), Err(ParseError::MalformedIp));
    // A TCP header must be whole in the first fragment (RFC 1858).
    assert_eq!(parse(&edited(raw(6, &payload), &[(6, 0x20)])), Err(ParseError::MalformedL4));
}

/// An ICMP error from B about `original`, whose source is then the packet's destination.
fn error_about(original: &[u8]) -> Vec<u8> {
    frame(|b| build::icmp_error(b, original, 11, 0, 0, B))
}

#[test]
fn the_quoted_packet_is_read_for_each_protocol() {
    for (original, transport, at) in [
        (udp(b"data"), EmbeddedTransport::Udp { checksum_zero: false }, Some(62 + 6)),
        (tcp(TcpFlags::SYN), EmbeddedTransport::Tcp, Some(62 + 16)),
        (
            frame(|b| build::icmp_echo(b, A, B, true, (9, 1), b"")),
            EmbeddedTransport::Echo { request: true },
            Some(62 + 2),
        ),
        (raw(1, &[3, 3, 0xfc, 0xfc, 0, 0, 0, 0]), EmbeddedTransport::IcmpOther, None),
        (raw(47, &[0; 4]), EmbeddedTransport::Other, None),
    ] {
        let f = error_about(&original[L3..]);
        let ip = parse(&f).unwrap();
        let e = ipv4::parse_embedded(&f, &ip).unwrap();
        assert_eq!((e.l3, e.l4, usize::from(e.end)), (42, 62, f.len()));
        assert_eq!((e.source, e.destination, e.transport, e.l4_checksum_at), (A, B, transport, at));
        assert_eq!(e.tuple(), parse(&original).unwrap().tuple());
    }
}

#[test]
fn a_quotation_cut_after_eight_octets_has_ports_and_maybe_no_checksum() {
    let original = tcp(TcpFlags::SYN);
    let f = error_about(&original[L3..L3 + 28]);
    let e = ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap();
    assert_eq!((e.source_port, e.destination_port, e.l4_checksum_at), (4000, 80, None));
    let f = error_about(&original[L3..L3 + 27]);
    assert_eq!(ipv4::parse_embedded(&f, &parse(&f).unwrap()), Err(ParseError::MalformedL4));
    let f = error_about(&original[L3..L3 + 37]);
    assert_eq!(ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap().l4_checksum_at, None);
    let f = error_about(&original[L3..L3 + 38]);
    assert_eq!(ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap().l4_checksum_at, Some(78));
}

#[test]
fn a_quoted_header_with_a_wrong_checksum_is_refused() {
    let mut original = udp(b"data");
    original[L3 + 8] = 1;
    let f = error_about(&original[L3..]);
    let ip = parse(&f).unwrap();
    assert_eq!(ipv4::parse_embedded(&f, &ip), Err(ParseError::BadIcmpChecksum));
}

#[test]
fn options_of_the_quoted_header_are_traversed() {
    let mut original = udp(b"data");
    original.splice(L3 + 20..L3 + 20, [1, 1, 1, 0]);
    let original = edited(original, &[(0, 0x46), (3, 20 + 4 + 8 + 4)]);
    let f = error_about(&original[L3..]);
    let e = ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap();
    assert_eq!((e.l4 - e.l3, e.source_port), (24, 4000));
}

#[test]
fn a_quoted_later_fragment_has_no_ports() {
    let original = edited(udp(b"datadata"), &[(6, 0), (7, 3)]);
    let f = error_about(&original[L3..]);
    let e = ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap();
    assert_eq!((e.transport, e.source_port, e.l4_checksum_at), (EmbeddedTransport::LaterFragment, 0, None));
}

#[test]
fn extensions_after_the_quotation_are_not_part_of_it() {
    // RFC 4884: 128 octets of quotation (here 32 and padding), then an extension.
    let original = udp(b"data");
    let mut quoted = original[L3..].to_vec();
    quoted.resize(128, 0);
    let message =
        [&[11, 0, 0, 0, 0, 32, 0, 0][..], &quoted, &[0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3]].concat();
    let mut message = message;
    let sum = checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let f = raw(1, &message);
    let e = ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap();
    assert_eq!(usize::from(e.end), L3 + 20 + 8 + 32, "the quoted packet's own length bounds it");
    // The same of a long TCP packet whose total length says more than is quoted.
    let long = edited(tcp(TcpFlags::ACK), &[(2, 4), (3, 0)]);
    let mut quoted = long[L3..].to_vec();
    quoted.resize(128, 0);
    let mut message = [&[3, 1, 0, 0, 0, 32, 0, 0][..], &quoted, &[9; 16]].concat();
    let sum = checksum::of(&message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let f = raw(1, &message);
    let e = ipv4::parse_embedded(&f, &parse(&f).unwrap()).unwrap();
    assert_eq!(usize::from(e.end), L3 + 20 + 8 + 128);
}

#[test]
fn only_errors_quote() {
    let f = udp(b"data");
    assert_eq!(ipv4::parse_embedded(&f, &parse(&f).unwrap()), Err(ParseError::MalformedL4));
}
