//! How hosts answer what comes out of the gateway.

use wire::{Endpoint, TcpSummary, Transport, tcp};

use super::traffic::Traffic;
use super::world;
use crate::packet::{Link, Packet, flags};
use crate::rng::mix;

/// A host answers a packet that reached it.
pub(super) fn answer(t: &mut Traffic) {
    let Some((device, frame, header, ip)) = t.glimpse() else { return };
    let link = Link { source: header.destination, destination: header.source, vlan: header.vlan };
    let back = ip.tuple().reversed();
    let (mut from, to) = (back.source, back.destination);
    // Sometimes somebody else does: filtering decides.
    match t.rng.below(40) {
        0 => from.port = from.port.wrapping_add(1),
        1 => from.address = *t.rng.pick(&world::remotes()),
        _ => {}
    }
    let packet = match ip.l4_kind {
        Transport::Udp { .. } => {
            let data = payload(t);
            Packet::udp(from, to).payload(&data)
        }
        Transport::Echo { request: true, id, seq } => {
            Packet::echo(from.address, to.address, false, id, seq).payload(&[7; 20])
        }
        Transport::Tcp(segment) => {
            let start = usize::from(ip.l4) + 20;
            let options = frame.get(start..usize::from(ip.l4) + usize::from(segment.header));
            let scaled = tcp::window_scale(options.unwrap_or(&[])).is_some();
            match tcp_answer(t, from, to, &segment, scaled) {
                Some(packet) => packet,
                None => return,
            }
        }
        Transport::Other => Packet::raw(from.address, to.address, ip.protocol.0).payload(&[1; 40]),
        _ => return,
    };
    let packet = vary(t, packet);
    t.send(device, packet.frame(&link));
}

/// Small changes that most stacks make at times.
pub(super) fn vary(t: &mut Traffic, packet: Packet) -> Packet {
    let r = &mut t.rng;
    let packet = packet.id(r.range(1, 65_535) as u16).ttl(match r.below(60) {
        0 => 1,
        1 => 2,
        2 => 0,
        _ => 64,
    });
    let packet = if r.percent(40) { packet.may_fragment() } else { packet };
    let packet = if r.percent(2) { packet.ip_options(&[7, 7, 4, 0, 0, 0, 0, 136, 4, 1, 2]) } else { packet };
    let packet = if r.percent(3) { packet.trailing(r.range(1, 18) as usize) } else { packet };
    let packet = if r.percent(3) { packet.no_checksum() } else { packet };
    let packet = if r.percent(1) { packet.bad_l4_checksum() } else { packet };
    if r.percent(10) { packet.tos(0xb8) } else { packet }
}

/// Some data: mostly little, at times about as much as an MTU holds.
pub(super) fn payload(t: &mut Traffic) -> Vec<u8> {
    let len = match t.rng.below(30) {
        0 => t.rng.range(1230, 1300),
        1 => t.rng.range(1330, 1480),
        2 => t.rng.range(1480, 3000),
        3..8 => 0,
        _ => t.rng.range(1, 200),
    };
    t.rng.octets(len as usize)
}

/// First sequence number of an end: its own for as long as the run.
fn first_number(end: Endpoint) -> u32 {
    mix(u64::from(end.address.to_bits()) << 16 | u64::from(end.port)) as u32
}

fn tcp_answer(t: &mut Traffic, from: Endpoint, to: Endpoint, s: &TcpSummary, scaled: bool) -> Option<Packet> {
    let next = s.seq.wrapping_add(s.segment_len());
    let r = &mut t.rng;
    if s.flags.rst() {
        return None;
    }
    if s.flags.syn() {
        let first = first_number(from);
        if s.flags.ack() {
            return Some(
                Packet::tcp(from, to, flags::ACK).numbers(s.ack, next).window(r.bits() as u16 | 512),
            );
        }
        let syn_ack = Packet::tcp(from, to, flags::SYN | flags::ACK).numbers(first, next);
        return Some(match r.below(20) {
            0 => Packet::tcp(from, to, flags::RST | flags::ACK).numbers(0, next),
            1 => Packet::tcp(from, to, flags::SYN).numbers(first, 0),
            2 => Packet::tcp(from, to, flags::RST | flags::ACK).numbers(0, next ^ 77),
            3..8 => syn_ack,
            _ if scaled => syn_ack.tcp_options(&[2, 4, 5, 180, 1, 3, 3, 6]).window(600),
            _ => syn_ack.tcp_options(&[2, 4, 5, 180]),
        });
    }
    let window = r.bits() as u16 | 64;
    let bare = |f: u8| Packet::tcp(from, to, f).numbers(s.ack, next).window(window);
    let kind = r.below(100);
    Some(match kind {
        0..14 => bare(flags::FIN | flags::ACK),
        14..18 => bare(flags::RST),
        18..20 => bare(flags::RST | flags::ACK).numbers(s.ack.wrapping_add(1 << 30), next),
        20..22 => bare(flags::SYN).numbers(first_number(from), 0),
        22..23 => bare(*r.pick(&[0, flags::FIN, flags::SYN | flags::FIN, flags::RST | flags::FIN])),
        23..26 => bare(flags::ACK).numbers(r.bits() as u32, r.bits() as u32),
        26..60 => bare(flags::ACK),
        _ => {
            let data = payload(t);
            bare(flags::ACK | flags::PSH).payload(&data)
        }
    })
}

/// A router or host sends an ICMP error about a packet that it saw.
pub(super) fn complain(t: &mut Traffic) {
    let Some((device, frame, header, ip)) = t.glimpse() else { return };
    let link = Link { source: header.destination, destination: header.source, vlan: header.vlan };
    let original = &frame[usize::from(ip.l3)..usize::from(ip.end)];
    let r = &mut t.rng;
    let from = match r.below(3) {
        0 if device != 0 => *r.pick(&world::remotes()),
        0 => *r.pick(&world::inside_hosts()),
        _ => ip.destination,
    };
    let quoted = match r.below(6) {
        0 => &original[..original.len().min(28)],
        1 => &original[..original.len().min(r.range(20, 60) as usize)],
        _ => &original[..original.len().min(548)],
    };
    let (kind, code) = *r.pick(&[(3, 1), (3, 3), (3, 4), (3, 13), (11, 0), (12, 0)]);
    let mut quoted = quoted.to_vec();
    let mut rest = [0, 0, 5, 0x14];
    if r.percent(15) {
        // RFC 4884: padded to 128 octets, then an extension.
        quoted.resize(128, 0);
        quoted.extend([0x20, 0, 0, 0, 0, 8, 1, 1, 0, 1, 2, 3]);
        rest[1] = 32;
    }
    if r.percent(3) {
        let at = r.below(quoted.len() as u64) as usize;
        quoted[at] ^= 1 << r.below(8);
    }
    let packet = Packet::icmp(from, ip.source, kind, code, rest).payload(&quoted);
    let packet = if r.percent(3) { packet.bad_l4_checksum() } else { packet };
    let packet = if r.percent(5) { packet.ttl(1) } else { packet };
    t.send(device, packet.frame(&link));
}
