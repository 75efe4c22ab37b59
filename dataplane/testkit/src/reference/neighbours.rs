//! Next hops of the reference: who answered ARP, whom is asked, what waits.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use wire::{MacAddr, arp, ethernet};

use super::Reference;
use super::view::{LabPort, Side, within};
use crate::packet::Link;

#[derive(Debug, Default)]
struct Entry {
    mac: Option<MacAddr>,
    /// When it is asked for again, if it was ever learned.
    stale: Option<u32>,
    asking: bool,
    requests: u8,
    next_request: u32,
    /// Whole IP packets that wait, in order.
    waiting: Vec<Vec<u8>>,
}

/// All next hops, by port and address.
#[derive(Debug, Default)]
pub(super) struct Neighbours(BTreeMap<(u8, Ipv4Addr), Entry>);

impl Neighbours {
    /// Packets that wait.
    pub(super) fn waiting(&self) -> usize {
        self.0.values().map(|e| e.waiting.len()).sum()
    }
}

impl LabPort {
    /// Is it in one of the port's subnets?
    pub(super) fn reaches(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(own, len)| within(address, *own, *len))
    }

    /// Its address in the subnet that holds `neighbour`, else its first.
    pub(super) fn address_towards(&self, neighbour: Ipv4Addr) -> Option<Ipv4Addr> {
        let near = self.addresses.iter().find(|(own, len)| within(neighbour, *own, *len));
        near.or(self.addresses.first()).map(|(a, _)| *a)
    }

    /// The hop of a frame that it sends to `to`.
    pub(super) fn link(&self, to: MacAddr) -> Link {
        Link { source: self.mac, destination: to, vlan: self.vlan }
    }
}

impl Reference {
    /// A port by number.
    pub(super) fn port(&self, number: u8) -> Option<LabPort> {
        self.view.topology.ports.get(usize::from(number)).cloned()
    }

    /// Next hop and port towards an address; among equal ones by `hash`.
    pub(super) fn route(&self, to: Ipv4Addr, hash: u32) -> Option<(u8, Ipv4Addr)> {
        let ports = &self.view.topology.ports;
        let connected =
            ports.iter().flat_map(|p| p.addresses.iter().map(move |(a, len)| (*len, 1u8, *a, p.number)));
        let connected = connected.filter(|(len, _, a, _)| within(to, *a, *len)).max();
        let routed = self
            .view
            .routes
            .iter()
            .filter(|(net, _)| net.contains(&std::net::IpAddr::V4(to)))
            .max_by_key(|(net, _)| net.prefix_len());
        match (connected, routed) {
            (Some((len, .., port)), Some((net, _))) if len >= net.prefix_len() => Some((port, to)),
            (Some((.., port)), None) => Some((port, to)),
            (_, Some((_, via))) => {
                let port_of = |a: &Ipv4Addr| ports.iter().find(|p| p.reaches(*a)).map(|p| (p.number, *a));
                let mut ways: Vec<(u8, Ipv4Addr)> = via.iter().filter_map(port_of).collect();
                ways.sort_unstable();
                let at = (u64::from(hash) * ways.len() as u64) >> 32;
                ways.get(at as usize).copied()
            }
            (None, None) => None,
        }
    }

    /// The side that the best route to an address leads to.
    pub(super) fn side_of(&self, address: Ipv4Addr) -> Option<Side> {
        let (port, _) = self.route(address, 0)?;
        self.port(port).map(|p| p.side)
    }

    /// An ARP message from a port.
    pub(super) fn arp(&mut self, port: &LabPort, frame: &[u8], at: usize) {
        let Ok(m) = arp::parse(frame, at) else { return self.drop("malformed_arp") };
        let for_us = port.reaches(m.target_ip) && self.is_ours(m.target_ip);
        let plausible = port.reaches(m.sender_ip)
            && !self.is_ours(m.sender_ip)
            && !m.sender_mac.is_multicast()
            && m.sender_mac != MacAddr::ZERO;
        if plausible {
            self.learn(port.number, m.sender_ip, m.sender_mac, for_us);
        }
        if m.operation == arp::Operation::Reply || !for_us {
            return self.count("punted");
        }
        let link = port.link(m.sender_mac);
        let answer = link.arp(2, (port.mac, m.target_ip), (m.sender_mac, m.sender_ip));
        self.send(port.device, answer);
    }

    fn learn(&mut self, port: u8, address: Ipv4Addr, mac: MacAddr, create: bool) {
        let now = self.now;
        if !create && !self.neighbours.0.contains_key(&(port, address)) {
            return;
        }
        let entry = self.neighbours.0.entry((port, address)).or_default();
        entry.mac = Some(mac);
        entry.stale = Some(now + 3000);
        entry.asking = false;
        for packet in std::mem::take(&mut entry.waiting) {
            self.send_to(port, mac, &packet);
        }
    }

    fn send_to(&mut self, port: u8, mac: MacAddr, packet: &[u8]) {
        let Some(port) = self.port(port) else { return self.drop("no_route") };
        let frame = port.link(mac).wrap(ethernet::IPV4, packet);
        self.send(port.device, frame);
    }

    /// Remembers that a next hop is of interest.
    pub(super) fn interest(&mut self, port: u8, address: Ipv4Addr) {
        self.neighbours.0.entry((port, address)).or_default();
    }

    /// Sends an IP packet to a next hop, or lets it wait for the answer to an ARP request.
    pub(super) fn send_via(&mut self, port: u8, address: Ipv4Addr, packet: Vec<u8>) {
        let total = self.neighbours.waiting();
        let now = self.now;
        let entry = self.neighbours.0.entry((port, address)).or_default();
        if let Some(mac) = entry.mac {
            return self.send_to(port, mac, &packet);
        }
        if entry.waiting.len() >= 16 || total >= 256 {
            return self.drop("neighbour_queue_full");
        }
        entry.waiting.push(packet);
        if !entry.asking {
            (entry.asking, entry.requests, entry.next_request) = (true, 0, now);
        }
        self.ask_neighbours();
    }

    /// Sends the requests that are due, and ends what waited in vain.
    pub(super) fn ask_neighbours(&mut self) {
        let now = self.now;
        let keys: Vec<(u8, Ipv4Addr)> = self
            .neighbours
            .0
            .iter()
            .filter(|(_, e)| e.asking || e.stale.is_some_and(|s| s <= now))
            .map(|(k, _)| *k)
            .collect();
        for key in keys {
            let Some(entry) = self.neighbours.0.get_mut(&key) else { continue };
            if entry.stale.is_some_and(|s| s <= now) && entry.mac.is_some() && !entry.asking {
                entry.stale = None;
                (entry.asking, entry.requests, entry.next_request) = (true, 0, now);
            }
            if !entry.asking || now < entry.next_request {
                continue;
            }
            if entry.requests == 3 {
                entry.asking = false;
                entry.mac = None;
                entry.stale = None;
                for _ in std::mem::take(&mut entry.waiting) {
                    self.drop("neighbour_unreachable");
                }
                continue;
            }
            entry.requests += 1;
            entry.next_request = now + 10;
            let to = entry.mac.unwrap_or(MacAddr::BROADCAST);
            self.ask(key, to);
        }
    }

    fn ask(&mut self, (number, address): (u8, Ipv4Addr), to: MacAddr) {
        let Some(port) = self.port(number) else { return };
        let Some(own) = port.address_towards(address) else { return };
        self.count("originated");
        let frame = port.link(to).arp(1, (port.mac, own), (MacAddr::ZERO, address));
        self.send(port.device, frame);
    }
}
