//! What the reference sends of its own: ICMP errors, resets, answers to held SYNs.

use std::net::Ipv4Addr;

use wire::{Endpoint, Transport, toeplitz};

use super::{Oracle, Packet, Reference};
use crate::packet::{Packet as Builder, flags};

impl Reference {
    /// An ICMP error about a packet, unless none may be sent about it.
    pub(super) fn error(&mut self, about: &Packet, kind: u8, code: u8, mtu: u16, oracle: &mut dyn Oracle) {
        let icmp = matches!(about.ip.l4_kind, Transport::IcmpError { .. } | Transport::IcmpOther { .. });
        if icmp || about.ip.fragment_offset != 0 {
            return;
        }
        let to = about.ip.source;
        let Some(source) = self.port(about.port).and_then(|p| p.address_towards(to)) else { return };
        let octets = error_packet(source, to, kind, code, mtu, &about.octets);
        self.originate(octets, about.port, oracle);
    }

    /// A packet made here: out by its route, or in again where it is for an address of ours.
    fn originate(&mut self, octets: Vec<u8>, port: u8, oracle: &mut dyn Oracle) {
        self.count("originated");
        let to = Ipv4Addr::new(octets[16], octets[17], octets[18], octets[19]);
        if self.is_ours(to) {
            return match self.packet(octets, port, None, true) {
                Ok(packet) => self.steer(packet, oracle),
                Err(reason) => self.drop(reason),
            };
        }
        match self.route(to, toeplitz::address(to)) {
            Some((port, hop)) => self.send_via(port, hop, octets),
            None => self.drop("no_route"),
        }
    }

    /// Drops a packet that policy or a limit refuses; its sender may be told, 10 times a second at most.
    pub(super) fn refuse(
        &mut self,
        packet: &Packet,
        reason: &'static str,
        reject: bool,
        oracle: &mut dyn Oracle,
    ) {
        let now = self.now;
        if reject {
            let (left, at) = self.rejects.get(&packet.ip.source).copied().unwrap_or((10, now));
            let left = left.saturating_add(now - at).min(10);
            self.rejects.insert(packet.ip.source, (left.saturating_sub(1), now));
            if left > 0 {
                self.error(packet, 3, 13, 0, oracle);
            }
        }
        self.drop(reason);
    }

    /// Answers a packet to a VIP without backends: TCP by RST, else ICMP 3/3.
    pub(super) fn unreachable(&mut self, packet: &Packet, oracle: &mut dyn Oracle) {
        let Transport::Tcp(tcp) = packet.ip.l4_kind else { return self.error(packet, 3, 3, 0, oracle) };
        if tcp.flags.rst() {
            return;
        }
        let back = packet.ip.tuple().reversed();
        let reset = if tcp.flags.ack() {
            Builder::tcp(back.source, back.destination, flags::RST).numbers(tcp.ack, 0)
        } else {
            let ack = tcp.seq.wrapping_add(tcp.segment_len());
            Builder::tcp(back.source, back.destination, flags::RST | flags::ACK).numbers(0, ack)
        };
        self.originate(reset.window(0).ip(), packet.port, oracle);
    }

    /// ICMP 3/3 for SYNs that nothing asked for and nothing crossed.
    pub(super) fn answer_held_syns(&mut self, oracle: &mut dyn Oracle) {
        let now = self.now;
        let (due, wait): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held_syns).into_iter().partition(|s| s.due <= now);
        self.held_syns = wait;
        for syn in due {
            let remote: Endpoint = syn.key.source;
            let Some((port, _)) = self.route(remote.address, 0) else { continue };
            let Some(source) = self.port(port).and_then(|p| p.address_towards(remote.address)) else {
                continue;
            };
            let octets = error_packet(source, remote.address, 3, 3, 0, &syn.octets);
            self.originate(octets, port, oracle);
        }
    }
}

fn error_packet(source: Ipv4Addr, to: Ipv4Addr, kind: u8, code: u8, mtu: u16, about: &[u8]) -> Vec<u8> {
    let quoted = &about[..about.len().min(548)];
    Builder::icmp_error(source, to, kind, code, mtu, quoted).ip()
}
