//! First packets of every kind, fragments, ARP and garbage.

use std::net::Ipv4Addr;

use wire::{Endpoint, MacAddr, Protocol};

use super::answers::{payload, vary};
use super::traffic::Traffic;
use super::world::{self, host_mac, ip};
use crate::packet::{Link, Packet, flags};

/// Ports are few, so that flows meet.
fn some_port(t: &mut Traffic) -> u16 {
    4000 + t.rng.below(40) as u16
}

fn service_port(t: &mut Traffic) -> u16 {
    *t.rng.pick(&[53, 80, 80, 81, 443, 443, 8080, 5432, 123, 55])
}

/// A packet that may begin a flow.
fn opening(t: &mut Traffic, from: Endpoint, to: Endpoint) -> Packet {
    let packet = match t.rng.below(20) {
        0..7 => {
            let data = payload(t);
            Packet::udp(from, to).payload(&data)
        }
        7..14 => syn(t, from, to),
        14 => Packet::tcp(from, to, flags::ACK).numbers(t.rng.bits() as u32, t.rng.bits() as u32),
        15..19 => {
            let data = payload(t);
            let request = t.rng.percent(95);
            Packet::echo(from.address, to.address, request, from.port, 1).payload(&data)
        }
        _ => Packet::raw(from.address, to.address, *t.rng.pick(&[47, 50, 132])).payload(&[3; 30]),
    };
    vary(t, packet)
}

fn syn(t: &mut Traffic, from: Endpoint, to: Endpoint) -> Packet {
    let seq = t.rng.bits() as u32;
    let packet = Packet::tcp(from, to, flags::SYN).numbers(seq, 0);
    match t.rng.below(4) {
        0 => packet,
        1 => packet.tcp_options(&[2, 4, 5, 180]),
        2 => packet.tcp_options(&[1, 2, 4, 5, 180, 3, 3, 7]).window(700),
        _ => packet.tcp_options(&[2, 4, 5, 180, 4, 2, 1, 3, 3, 4]).window(900),
    }
}

/// An inside host to somewhere.
pub(super) fn outbound(t: &mut Traffic) {
    let host = *t.rng.pick(&world::inside_hosts());
    // One host is busy enough to fill its blocks.
    let host = if t.rng.percent(12) { ip(10, 0, 0, 33) } else { host };
    let port = if host == ip(10, 0, 0, 33) { 10_000 + t.rng.below(3000) as u16 } else { some_port(t) };
    // Backends are clients too, sometimes from the very port that they serve.
    let port = if t.rng.percent(3) { *t.rng.pick(&[8080, 53, 8443, 9000, 22, 6001]) } else { port };
    let to = match t.rng.below(20) {
        0 => *t.rng.pick(&world::inside_hosts()),
        1 => *t.rng.pick(&ours()),
        _ => *t.rng.pick(&world::remotes()),
    };
    let to = Endpoint::new(to, service_port(t));
    let packet = opening(t, Endpoint::new(host, port), to);
    let (gateway, link) = t.way(host);
    t.send(gateway.device, packet.frame(&link));
}

/// Addresses of the gateway, its pools, VIPs and static mappings.
fn ours() -> Vec<Ipv4Addr> {
    let mut all: Vec<Ipv4Addr> = (1..5).chain(10..14).map(|n| ip(203, 0, 113, n)).collect();
    all.extend([64, 65, 20].map(|n| ip(203, 0, 113, n)));
    all.extend([ip(198, 51, 100, 1), ip(198, 18, 0, 1), ip(10, 0, 0, 1), ip(10, 0, 1, 1)]);
    all
}

/// An endpoint of the gateway that somebody outside may want.
fn target(t: &mut Traffic) -> Endpoint {
    let r = &mut t.rng;
    match r.below(16) {
        0..4 => Endpoint::new(ip(203, 0, 113, 10), 80),
        4..6 => Endpoint::new(ip(203, 0, 113, 11), r.range(52, 61) as u16),
        6 => Endpoint::new(ip(198, 51, 100, 1), 443),
        7 => Endpoint::new(ip(203, 0, 113, 12), 8000),
        8 => Endpoint::new(ip(203, 0, 113, 13), r.bits() as u16),
        9 => Endpoint::new(ip(203, 0, 113, 20), *r.pick(&[22, 80, 4001])),
        10 => Endpoint::new(ip(203, 0, 113, 1), *r.pick(&[2222, 2223, 1023])),
        11 => Endpoint::new(ip(198, 51, 100, 1), r.range(4999, 5004) as u16),
        12 => Endpoint::new(ip(198, 51, 100, 1), *r.pick(&[64_600, 22, 30_000])),
        _ => Endpoint::new(*r.pick(&ours()), r.bits() as u16),
    }
}

/// A remote to the gateway.
pub(super) fn inbound(t: &mut Traffic) {
    let remote = *t.rng.pick(&world::remotes());
    let from = Endpoint::new(remote, some_port(t));
    let packet = match t.rng.below(10) {
        0 => {
            let Some((protocol, end)) = t.outside_end() else { return };
            return to_mapping(t, from, protocol, end, remote);
        }
        1 => {
            let to = Endpoint::new(*t.rng.pick(&world::inside_hosts()), 80);
            opening(t, from, to)
        }
        2 => {
            let to = Endpoint::new(*t.rng.pick(&world::remotes()), 80);
            opening(t, from, to)
        }
        _ => {
            let to = target(t);
            opening(t, from, to)
        }
    };
    let (gateway, link) = t.way(remote);
    t.send(gateway.device, packet.frame(&link));
}

fn to_mapping(t: &mut Traffic, from: Endpoint, protocol: Protocol, end: Endpoint, sender: Ipv4Addr) {
    let packet = match protocol {
        Protocol::TCP => syn(t, from, end),
        Protocol::ICMP => Packet::echo(from.address, end.address, true, end.port, 9),
        _ => Packet::udp(from, end).payload(b"hello"),
    };
    let (gateway, link) = t.way(sender);
    t.send(gateway.device, packet.frame(&link));
}

/// An inside host to an address of the gateway: another's mapping, a static one, a VIP.
pub(super) fn hairpin(t: &mut Traffic) {
    let host = *t.rng.pick(&world::inside_hosts());
    let from = Endpoint::new(host, some_port(t));
    if t.rng.percent(50)
        && let Some((protocol, end)) = t.outside_end()
    {
        return to_mapping(t, from, protocol, end, host);
    }
    let to = target(t);
    let packet = opening(t, from, to);
    let (gateway, link) = t.way(host);
    t.send(gateway.device, packet.frame(&link));
}

/// A datagram in fragments, in some order, maybe not all of them, maybe overlapping.
pub(super) fn pieces(t: &mut Traffic) {
    let inside = t.rng.percent(60);
    let host = if inside { *t.rng.pick(&world::inside_hosts()) } else { *t.rng.pick(&world::remotes()) };
    let from = Endpoint::new(host, some_port(t));
    let to = if inside { Endpoint::new(*t.rng.pick(&world::remotes()), 53) } else { target(t) };
    let data = {
        let n = t.rng.range(60, 2800) as usize;
        t.rng.octets(n)
    };
    let packet = match t.rng.below(4) {
        0 => Packet::echo(from.address, to.address, true, from.port, 1),
        1 => Packet::tcp(from, to, flags::SYN),
        _ => Packet::udp(from, to),
    };
    let packet = packet.payload(&data).may_fragment().id(t.rng.range(1, 65_535) as u16);
    let (gateway, link) = t.way(host);
    let sizes: &[usize] = if t.rng.percent(5) { &[24, 64] } else { &[256, 512, 1024, 1480] };
    let size = (*t.rng.pick(sizes)).max(data.len() / 60 / 8 * 8 + 8);
    let mut all = packet.fragments(&link, size);
    match t.rng.below(12) {
        0 => {
            // The first one comes last, or never.
            all.rotate_left(1);
            if t.rng.percent(30) {
                all.pop();
            }
        }
        1 | 2 => all.reverse(),
        3 => {
            for i in (1..all.len()).rev() {
                let j = t.rng.below(i as u64 + 1) as usize;
                all.swap(i, j);
            }
        }
        4 if all.len() < 9 => {
            let mut other = packet.fragments(&link, size + 8);
            all.append(&mut other);
        }
        _ => {}
    }
    for frame in all {
        t.send(gateway.device, frame);
    }
}

/// ARP of hosts: for addresses of the gateway, of others, and gratuitous.
pub(super) fn neighbourly(t: &mut Traffic) {
    let at = t.rng.below(t.topology.ports.len() as u64) as usize;
    let port = t.topology.ports[at].clone();
    let Some((own, _)) = port.addresses.first().copied() else { return };
    let [a, b, c, _] = own.octets();
    let sender = ip(a, b, c, t.rng.range(2, 20) as u8);
    let mac = host_mac(sender);
    let (target, sender, mac) = match t.rng.below(6) {
        0 => (*t.rng.pick(&ours()), sender, mac),
        1 => (ip(a, b, c, 99), ip(a, b, c, 200), Traffic::STRANGER),
        2 => (own, own, Traffic::STRANGER),
        3 => (own, ip(9, 9, 9, 9), Traffic::STRANGER),
        _ => (own, sender, mac),
    };
    let operation = if t.rng.percent(90) { 1 } else { *t.rng.pick(&[2, 3]) };
    let destination = if t.rng.percent(80) { MacAddr::BROADCAST } else { port.mac };
    let link = Link { source: mac, destination, vlan: port.vlan };
    let frame = link.arp(operation, (mac, sender), (MacAddr::ZERO, target));
    t.send(port.device, frame);
}

/// What no honest host sends.
pub(super) fn garbage(t: &mut Traffic) {
    let at = t.rng.below(t.topology.ports.len() as u64) as usize;
    let port = t.topology.ports[at].clone();
    let link = Link { source: Traffic::STRANGER, destination: port.mac, vlan: port.vlan };
    let inside = *t.rng.pick(&world::inside_hosts());
    let remote = *t.rng.pick(&world::remotes());
    let host = if port.device == 0 { inside } else { remote };
    let (way, link_of_host) = t.way(host);
    let (from, to) = (Endpoint::new(host, some_port(t)), Endpoint::new(*t.rng.pick(&ours()), 80));
    let udp = Packet::udp(from, to).payload(b"garbage");
    let strange = |source: Ipv4Addr| Packet::udp(Endpoint::new(source, 1), to);
    let frame = match t.rng.below(20) {
        0 => {
            let n = t.rng.below(100) as usize;
            t.rng.octets(n)
        }
        1 => {
            let n = t.rng.below(100) as usize;
            link.wrap(0x0800, &t.rng.octets(n))
        }
        2 => Link { destination: Traffic::STRANGER, ..link_of_host }.wrap(0x0800, &udp.ip()),
        3 => Link { vlan: Some(7), ..link }.wrap(0x0800, &udp.ip()),
        4 => link.wrap(0x86dd, &[0x60; 60]),
        5 => link.wrap(0x88cc, &[2; 40]),
        6 => strange(*t.rng.pick(&[
            ip(0, 1, 1, 1),
            ip(127, 0, 0, 1),
            ip(224, 0, 0, 1),
            ip(255, 255, 255, 255),
        ]))
        .frame(&link),
        7 => strange(ip(169, 254, 1, 1)).frame(&link),
        // Of the other side, or of the gateway itself.
        8 => strange(if port.device == 0 { remote } else { inside }).frame(&link),
        9 => strange(*t.rng.pick(&ours())).frame(&link),
        10 => {
            let d =
                *t.rng.pick(&[ip(224, 0, 0, 5), ip(255, 255, 255, 255), ip(127, 0, 0, 1), ip(0, 0, 0, 0)]);
            Packet::udp(from, Endpoint::new(d, 5)).frame(&link_of_host)
        }
        11 => udp.bad_ip_checksum().frame(&link_of_host),
        12 => udp.total_len(t.rng.bits() as u16).frame(&link_of_host),
        13 => udp.version_and_length(t.rng.bits() as u8).frame(&link_of_host),
        14 => udp.udp_length(t.rng.below(40) as u16).frame(&link_of_host),
        15 => {
            let kind = *t.rng.pick(&[4, 5, 9, 10, 13, 17]);
            Packet::icmp(host, to.address, kind, 0, [0; 4]).frame(&link_of_host)
        }
        16 => link.wrap(0x0806, &[0, 1, 8, 0, 6, 4, 0, 1, 9]),
        17 => {
            let f = *t.rng.pick(&[0, flags::FIN, flags::SYN | flags::FIN, flags::SYN | flags::RST]);
            Packet::tcp(from, to, f).frame(&link_of_host)
        }
        18 => Link { destination: MacAddr::BROADCAST, ..link_of_host }.wrap(0x0800, &udp.ip()),
        _ => udp.ttl(t.rng.below(3) as u8).frame(&link_of_host),
    };
    t.send(way.device, frame);
}
