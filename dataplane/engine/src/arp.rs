//! ARP (RFC 826): answering for the gateway's addresses, and learning next hops.

use std::net::Ipv4Addr;

use snapshot::Snapshot;
use wire::arp::{self, Arp, Operation};
use wire::{MacAddr, PacketBuf, ethernet};

use crate::io::Io;
use crate::neighbours::{Neighbour, Request};
use crate::reason::DropReason;
use crate::worker::Worker;

/// Addresses of a port announced at once, so that no change stops traffic for long.
const ANNOUNCED: usize = 256;

impl<B: PacketBuf> Worker<B> {
    /// An ARP message from a port.
    pub(crate) fn arp<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        number: u8,
        header: &ethernet::Header,
        mut buf: B,
        io: &mut I,
    ) {
        let message = match arp::parse(buf.bytes(), header.len) {
            Ok(message) => message,
            Err(e) => return self.drop(buf, e.into()),
        };
        let Some(port) = snapshot.port(number) else { return self.drop(buf, DropReason::WrongVlan) };
        let for_us = snapshot.answers(port, message.target_ip);
        let plausible = port.reaches(message.sender_ip)
            && snapshot.local(message.sender_ip).is_none()
            && !message.sender_mac.is_multicast()
            && message.sender_mac != MacAddr::ZERO;
        if plausible {
            let neighbour =
                Neighbour { port: number, address: message.sender_ip, mac: Some(message.sender_mac) };
            // RFC 826: a known sender is brought up to date whoever is asked; a new one is
            // remembered only if the message is for us.
            if self.learn(snapshot, neighbour, for_us, io) {
                io.announce(neighbour);
            }
        }
        if message.operation == Operation::Reply || !for_us {
            self.counters.punted += 1;
            return drop(buf);
        }
        let answer = Arp {
            operation: Operation::Reply,
            sender_mac: port.mac,
            sender_ip: message.target_ip,
            target_mac: message.sender_mac,
            target_ip: message.sender_ip,
        };
        if !arp::write_frame(&mut buf, message.sender_mac, port.vlan, &answer) {
            return self.drop(buf, DropReason::NoBuffer);
        }
        match io.transmit(port.device, buf) {
            Ok(()) => self.counters.sent += 1,
            Err(buf) => self.drop(buf, DropReason::TxFull),
        }
    }

    /// Another worker learned of a neighbour.
    pub fn hear<I: Io<B>>(&mut self, neighbour: Neighbour, io: &mut I) {
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        self.learn(&snapshot, neighbour, true, io);
    }

    /// Takes a neighbour in and sends what waited for it. False: it is of no interest.
    fn learn<I: Io<B>>(&mut self, snapshot: &Snapshot, n: Neighbour, create: bool, io: &mut I) -> bool {
        let resolver = self.address_owner(n.address) == self.id;
        let Some(waiting) = self.neighbours.learn(n, create, resolver, self.now) else { return false };
        self.forget_ways();
        let Some(mac) = n.mac else { return true };
        for buf in waiting {
            self.counters.held -= 1;
            match ethernet::parse(buf.bytes()) {
                Ok(header) => self.transmit(snapshot, buf, header.len as u16, n.port, mac, io),
                Err(e) => self.drop(buf, e.into()),
            }
        }
        true
    }

    /// Sends the ARP requests that are due and ends what waited in vain.
    /// True: more may be due at once.
    pub(crate) fn ask_neighbours<I: Io<B>>(&mut self, snapshot: &Snapshot, io: &mut I) -> bool {
        let mut asks: [Option<Request>; 16] = [None; 16];
        let mut n = 0;
        let dropped = &mut self.counters.dropped[DropReason::NeighbourUnreachable.index()];
        let held = &mut self.counters.held;
        let ways = &mut self.ways;
        self.neighbours.requests(
            self.now,
            &mut |request| match asks.get_mut(n) {
                Some(slot) => {
                    *slot = Some(request);
                    n += 1;
                    true
                }
                None => false,
            },
            &mut |packet| {
                *dropped += 1;
                *held -= 1;
                drop(packet);
            },
            &mut |neighbour| {
                ways.clear();
                io.announce(neighbour);
            },
        );
        for request in asks.into_iter().flatten() {
            self.ask(snapshot, request, io);
        }
        n == asks.len()
    }

    fn ask<I: Io<B>>(&mut self, snapshot: &Snapshot, request: Request, io: &mut I) {
        let Some(port) = snapshot.port(request.port) else { return };
        let Some(sender_ip) = port.address_towards(request.address) else { return };
        let message = Arp {
            operation: Operation::Request,
            sender_mac: port.mac,
            sender_ip,
            target_mac: MacAddr::ZERO,
            target_ip: request.address,
        };
        self.originate_arp(port.device, request.mac.unwrap_or(MacAddr::BROADCAST), port.vlan, &message, io);
    }

    /// Tells the segments of the ports which addresses live here (RFC 5227 §2.3): at start, at
    /// take-over, and those that a change brought, `before` being the snapshot until then. One
    /// worker does it, for 256 addresses of a port at most: others are asked for.
    pub fn announce_addresses<I: Io<B>>(&mut self, before: Option<&Snapshot>, io: &mut I) {
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        for port in snapshot.ports() {
            let known = |a: &Ipv4Addr| before.is_some_and(|old| old.answers(port, *a));
            for address in snapshot.announced(port).into_iter().filter(|a| !known(a)).take(ANNOUNCED) {
                let message = Arp {
                    operation: Operation::Request,
                    sender_mac: port.mac,
                    sender_ip: address,
                    target_mac: MacAddr::ZERO,
                    target_ip: address,
                };
                self.originate_arp(port.device, MacAddr::BROADCAST, port.vlan, &message, io);
            }
        }
    }

    fn originate_arp<I: Io<B>>(
        &mut self,
        device: u8,
        destination: MacAddr,
        vlan: Option<u16>,
        message: &Arp,
        io: &mut I,
    ) {
        let Some(mut out) = io.alloc() else { return };
        if !arp::write_frame(&mut out, destination, vlan, message) {
            return;
        }
        self.counters.originated += 1;
        match io.transmit(device, out) {
            Ok(()) => self.counters.sent += 1,
            Err(buf) => self.drop(buf, DropReason::TxFull),
        }
    }
}
