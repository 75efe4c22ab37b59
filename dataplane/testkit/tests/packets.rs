//! The builder against wire's reading of what it builds.

use std::net::Ipv4Addr;

use testkit::packet::flags;
use testkit::{Link, Packet};
use wire::ipv4::{self, Transport};
use wire::{Endpoint, MacAddr};

const A: Endpoint = Endpoint::new(Ipv4Addr::new(10, 0, 0, 5), 4000);
const B: Endpoint = Endpoint::new(Ipv4Addr::new(198, 51, 100, 7), 53);
const LINK: Link =
    Link { source: MacAddr([2, 0, 0, 0, 0, 1]), destination: MacAddr([2, 0, 0, 0, 0, 2]), vlan: None };

#[test]
fn what_is_built_is_what_wire_reads() {
    let kinds = [
        Packet::udp(A, B).payload(b"x"),
        Packet::tcp(A, B, flags::SYN).tcp_options(&[2, 4, 5, 180]).ip_options(&[1, 1, 1]),
        Packet::echo(A.address, B.address, true, 7, 1).payload(&[0; 99]).trailing(9),
        Packet::raw(A.address, B.address, 47).payload(&[1, 2, 3]),
    ];
    for p in kinds {
        let f = p.frame(&LINK);
        let ip = ipv4::parse(&f, 14, false).unwrap();
        assert_eq!(&f[14..usize::from(ip.end)], &p.ip()[..]);
        if let Some(at) = ip.l4_checksum_at() {
            let (at, l4) = (usize::from(at), usize::from(ip.l4));
            let s = &f[l4..usize::from(ip.end)];
            let whole = match ip.protocol {
                wire::Protocol::ICMP => wire::checksum::sum(s),
                p => {
                    wire::checksum::pseudo_header(A.address, B.address, p, s.len() as u16)
                        + wire::checksum::sum(s)
                }
            };
            assert_eq!(wire::checksum::fold(whole), 0xffff, "checksum at {at}");
        }
    }
}

#[test]
fn every_lie_is_found_out() {
    use wire::ParseError::*;
    let udp = || Packet::udp(A, B).payload(b"hello");
    for (p, error) in [
        (udp().bad_ip_checksum(), BadIpChecksum),
        (udp().total_len(34), MalformedIp),
        (udp().total_len(30), MalformedL4),
        (udp().total_len(900), MalformedIp),
        (udp().version_and_length(0x65), MalformedIp),
        (udp().udp_length(7), MalformedL4),
        (udp().udp_length(14), MalformedL4),
        (Packet::icmp_error(A.address, B.address, 3, 1, 0, &udp().ip()).bad_l4_checksum(), BadIcmpChecksum),
    ] {
        assert_eq!(ipv4::parse(&p.frame(&LINK), 14, false), Err(error), "{p:?}");
    }
}

#[test]
fn fragments_carry_the_datagram_between_them() {
    let p = Packet::udp(A, B).payload(&[7; 100]).may_fragment().id(9);
    let all = p.fragments(&LINK, 40);
    assert_eq!(all.len(), 3);
    let parsed: Vec<_> = all.iter().map(|f| ipv4::parse(f, 14, false).unwrap()).collect();
    assert!(matches!(parsed[0].l4_kind, Transport::Udp { .. }));
    assert_eq!(parsed.iter().map(|p| p.fragment_offset).collect::<Vec<_>>(), [0, 40, 80]);
    assert_eq!(parsed.iter().map(|p| p.more_fragments).collect::<Vec<_>>(), [true, true, false]);
}
