//! What the gateway originates and edits: errors, resets, clamped SYNs.

use std::net::Ipv4Addr;

use wire::build::{self, Header, Segment};
use wire::ipv4::{self, Transport};
use wire::{Endpoint, HeapBuf, PacketBuf, Protocol, TcpFlags, checksum, mss};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
const B: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const ME: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const L3: usize = build::FRONT;

fn segment(seq: u32, ack: u32, flags: TcpFlags) -> HeapBuf {
    let mut b = HeapBuf::new();
    let s = Segment { seq, ack, flags, window: 5 };
    assert!(build::tcp_segment(&mut b, Endpoint::new(A, 4000), Endpoint::new(B, 80), &s));
    b
}

fn transport_is_valid(frame: &[u8]) -> bool {
    let ip = ipv4::parse(frame, L3, false).unwrap();
    let segment = &frame[usize::from(ip.l4)..usize::from(ip.end)];
    let pseudo = checksum::pseudo_header(ip.source, ip.destination, ip.protocol, ip.payload_len());
    checksum::fold(pseudo + checksum::sum(segment)) == 0xffff
}

#[test]
fn an_icmp_error_quotes_as_much_as_fits_in_576_octets() {
    let mut original = HeapBuf::new();
    assert!(build::udp(&mut original, Endpoint::new(A, 1), Endpoint::new(B, 2), &[7; 1000]));
    let mut e = HeapBuf::new();
    assert!(build::icmp_error(&mut e, &original.bytes()[L3..], 3, 4, 1400, ME));
    assert_eq!(e.bytes().len(), L3 + 576);
    let ip = ipv4::parse(e.bytes(), L3, false).unwrap();
    assert_eq!((ip.source, ip.destination, ip.ttl, ip.tos, ip.id, ip.dont_fragment), (ME, A, 64, 0, 0, true));
    assert_eq!(ip.l4_kind, Transport::IcmpError { kind: 3, code: 4 });
    assert_eq!(&e.bytes()[38..42], &[0, 0, 0x05, 0x78], "unused, then the next hop's MTU (RFC 1191 §4)");
    assert_eq!(&e.bytes()[42..], &original.bytes()[L3..L3 + 548]);
}

#[test]
fn an_icmp_error_leaves_ethernet_padding_out() {
    let mut original = HeapBuf::new();
    assert!(build::udp(&mut original, Endpoint::new(A, 1), Endpoint::new(B, 2), &[7]));
    let len = original.bytes().len() - L3;
    assert!(original.set_len(60));
    let mut e = HeapBuf::new();
    assert!(build::icmp_error(&mut e, &original.bytes()[L3..], 11, 0, 0, ME));
    assert_eq!(e.bytes().len(), L3 + 28 + len);
    assert!(!build::icmp_error(&mut e, &[0; 19], 11, 0, 0, ME));
}

#[test]
fn a_reset_takes_its_numbers_from_what_it_answers() {
    // RFC 9293 §3.10.7.1: with an ACK, seq = SEG.ACK; without, seq 0 and ack = SEG.SEQ + SEG.LEN.
    for (flags, seq, ack, answer) in [
        (TcpFlags::ACK, 99, 0, TcpFlags::RST),
        (TcpFlags::SYN, 0, 43, TcpFlags::RST | TcpFlags::ACK),
        (TcpFlags::FIN | TcpFlags::SYN, 0, 44, TcpFlags::RST | TcpFlags::ACK),
        (TcpFlags(0), 0, 42, TcpFlags::RST | TcpFlags::ACK),
    ] {
        let original = segment(42, 99, flags);
        let ip = ipv4::parse(original.bytes(), L3, false).unwrap();
        let mut r = HeapBuf::new();
        assert!(build::tcp_rst(&mut r, &ip));
        let rst = ipv4::parse(r.bytes(), L3, false).unwrap();
        assert_eq!(rst.tuple(), ip.tuple().reversed());
        let Transport::Tcp(t) = rst.l4_kind else { panic!("no TCP") };
        assert_eq!((t.flags, t.seq, t.ack), (answer, seq, ack), "{flags:?}");
        assert!(transport_is_valid(r.bytes()));
    }
}

#[test]
fn nothing_answers_a_reset() {
    let original = segment(1, 2, TcpFlags::RST);
    let ip = ipv4::parse(original.bytes(), L3, false).unwrap();
    assert!(!build::tcp_rst(&mut HeapBuf::new(), &ip));
}

/// A SYN with these options (whole words).
fn syn(options: &[u8], flags: TcpFlags) -> HeapBuf {
    let plain = segment(1, 0, flags);
    let mut t = plain.bytes()[L3 + 20..].to_vec();
    t.extend(options);
    t[12] = ((t.len() / 4) << 4) as u8;
    t[16..18].fill(0);
    let sum = checksum::transport(A, B, Protocol::TCP, &t).to_be_bytes();
    t[16..18].copy_from_slice(&sum);
    let mut b = HeapBuf::new();
    assert!(build::ip(&mut b, &Header::own(A, B, Protocol::TCP), &[&t]));
    b
}

#[test]
fn the_mss_is_lowered_and_never_raised() {
    for options in [[2, 4, 5, 180, 1, 1, 1, 1], [1, 2, 4, 5, 180, 1, 1, 1], [3, 3, 7, 2, 4, 5, 180, 0]] {
        let mut b = syn(&options, TcpFlags::SYN);
        let ip = ipv4::parse(b.bytes(), L3, false).unwrap();
        assert!(!mss::clamp(b.bytes_mut(), &ip, 1460), "it is 1460 already");
        assert!(mss::clamp(b.bytes_mut(), &ip, 1360));
        assert!(transport_is_valid(b.bytes()), "{options:?}");
        assert!(b.bytes().windows(4).any(|w| w == [2, 4, 5, 80]));
        assert!(!mss::clamp(b.bytes_mut(), &ip, 1360));
    }
}

#[test]
fn only_a_syn_with_the_option_is_clamped() {
    let mut b = syn(&[2, 4, 5, 180], TcpFlags::ACK);
    let ip = ipv4::parse(b.bytes(), L3, false).unwrap();
    assert!(!mss::clamp(b.bytes_mut(), &ip, 500));
    for options in [&[][..], &[3, 3, 7, 0], &[2, 3, 5, 1], &[2, 40, 5, 180], &[0, 2, 4, 5, 180, 0, 0, 0]] {
        let mut b = syn(options, TcpFlags::SYN);
        let ip = ipv4::parse(b.bytes(), L3, false).unwrap();
        assert!(!mss::clamp(b.bytes_mut(), &ip, 500), "{options:?}");
    }
}

#[test]
fn the_window_scale_of_a_syn_is_read() {
    let b = syn(&[2, 4, 5, 180, 1, 3, 3, 9], TcpFlags::SYN);
    let ip = ipv4::parse(b.bytes(), L3, false).unwrap();
    let Transport::Tcp(t) = ip.l4_kind else { panic!("no TCP") };
    let options = &b.bytes()[usize::from(ip.l4) + 20..usize::from(ip.l4) + usize::from(t.header)];
    assert_eq!(wire::tcp::window_scale(options), Some(9));
}
