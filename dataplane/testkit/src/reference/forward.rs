//! A packet of a session on its way out: TTL, next hop, MTU, state, translation, pieces.

use wire::{Transport, Tuple, tcp, toeplitz};

use super::rewrite;
use super::sessions::{Hit, Hop, Kind, Session};
use super::tcp::{Connection, Phase, flags_valid};
use super::view::Side;
use super::{Oracle, Packet, Reference};
use crate::naive;

impl Reference {
    pub(super) fn ttl_expired(&mut self, packet: &Packet, oracle: &mut dyn Oracle) {
        self.error(packet, 11, 0, 0, oracle);
        self.drop("ttl_expired");
    }

    /// Keys of a packet of this hit before and after translation.
    fn keys_of(&self, Hit(id, direction): Hit) -> Option<(Tuple, Tuple)> {
        let session = self.sessions.get(id)?;
        Some((*session.key(direction), session.key(1 - direction).reversed()))
    }

    pub(super) fn forward(&mut self, mut packet: Packet, hit: Hit, oracle: &mut dyn Oracle) {
        if packet.ip.ttl <= 1 && !packet.hairpin {
            return self.ttl_expired(&packet, oracle);
        }
        let Some((old, new)) = self.keys_of(hit) else { return };
        let hop = match self.hop(&packet, hit, &new) {
            Ok(hop) => hop,
            Err(reason) => return self.drop(reason),
        };
        let mut mtu = u16::MAX;
        if let Hop::Neighbour(port, _) = hop {
            mtu = self.port(port).map_or(0, |p| p.mtu);
            if packet.ip.total_len() > mtu && packet.ip.dont_fragment {
                self.error(&packet, 3, 4, mtu, oracle);
                return self.drop("too_big");
            }
        }
        if packet.inner.is_none() && !self.track(&packet, hit) {
            return self.drop("tcp_invalid");
        }
        if let Hop::Neighbour(port, _) = hop {
            self.clamp(&mut packet, hit, port);
        }
        match &packet.inner {
            Some(inner) => {
                rewrite::translate_error(&mut packet.octets, &packet.ip, &inner.clone(), &old, &new);
            }
            None => rewrite::translate(&mut packet.octets, &packet.ip, &old, &new),
        }
        if !packet.hairpin {
            rewrite::lower_ttl(&mut packet.octets, &packet.ip);
        }
        match hop {
            Hop::Hairpin => {
                let ports = (packet.ip.l4_kind == Transport::LaterFragment)
                    .then_some((new.source.port, new.destination.port));
                match self.packet(packet.octets, packet.port, ports, true) {
                    Ok(packet) => self.steer(packet, oracle),
                    Err(reason) => self.drop(reason),
                }
            }
            Hop::Neighbour(port, address) => self.leave(packet, mtu, port, address),
        }
    }

    /// Out to a neighbour, in pieces if need be.
    fn leave(&mut self, packet: Packet, mtu: u16, port: u8, address: std::net::Ipv4Addr) {
        if packet.ip.total_len() <= mtu {
            return self.send_via(port, address, packet.octets);
        }
        let pieces = split(&packet.octets, usize::from(mtu));
        for (n, piece) in pieces.into_iter().enumerate() {
            if n > 0 {
                self.count("originated");
            }
            self.send_via(port, address, piece);
        }
    }

    /// The next hop of a session's direction: worked out at its first packet and kept.
    fn hop(&mut self, packet: &Packet, Hit(id, direction): Hit, new: &Tuple) -> Result<Hop, &'static str> {
        if let Some(hop) = self.sessions.get(id).and_then(|s| s.hops[direction]) {
            return Ok(hop);
        }
        let to = new.destination.address;
        let hop = if self.is_ours(to) {
            let inside = self.port(packet.port).is_some_and(|p| p.side == Side::Inside);
            if packet.hairpin || !inside {
                return Err("no_route");
            }
            Hop::Hairpin
        } else {
            let ports = u32::from(new.source.port) << 16 | u32::from(new.destination.port);
            let hash = toeplitz::words([packet.ip.source.to_bits(), packet.ip.destination.to_bits(), ports]);
            let (port, address) = self.route(to, hash).ok_or("no_route")?;
            self.interest(port, address);
            Hop::Neighbour(port, address)
        };
        if let Some(session) = self.sessions.get_mut(id) {
            session.hops[direction] = Some(hop);
        }
        Ok(hop)
    }

    /// Follows the session's state; false for TCP flags that nobody sends.
    fn track(&mut self, packet: &Packet, Hit(id, direction): Hit) -> bool {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(id) else { return true };
        let phase = |s: &Session| s.tcp.as_ref().map(Connection::phase);
        let before = phase(session);
        let mut alive = true;
        if let Transport::Tcp(t) = packet.ip.l4_kind {
            if !flags_valid(&t) {
                return false;
            }
            let l4 = usize::from(packet.ip.l4);
            let options = packet.octets.get(l4 + 20..l4 + usize::from(t.header)).unwrap_or(&[]);
            let scale = tcp::window_scale(options);
            if let Some(connection) = &mut session.tcp {
                alive = connection.follow(direction, &t, scale);
            }
        }
        let after = phase(session);
        let deadline = now.saturating_add(session.span());
        if after != before {
            self.closings += 1;
            session.closed = (after == Some(Phase::Closed)).then_some(self.closings);
        }
        if after != before || (alive && session.refresh[direction]) {
            self.sessions.set_deadline(id, deadline);
        }
        self.count_half_open(id, before == Some(Phase::Opening), after == Some(Phase::Opening));
        true
    }

    fn count_half_open(&mut self, id: u64, was: bool, is: bool) {
        let Some(Kind::Snat(key) | Kind::Admitted(key)) = self.sessions.get(id).map(|s| &s.kind) else {
            return;
        };
        let key = *key;
        let Some(who) = self.ports.mapping(&key).map(|m| m.subscriber) else { return };
        let subscriber = self.ports.subscriber(key.pool, who);
        match (was, is) {
            (true, false) => subscriber.half_open = subscriber.half_open.saturating_sub(1),
            (false, true) => subscriber.half_open += 1,
            _ => {}
        }
    }

    /// Lowers a SYN's MSS where a policy says so, or where the ports' MTUs differ.
    fn clamp(&mut self, packet: &mut Packet, Hit(id, _): Hit, out: u8) {
        let Transport::Tcp(t) = packet.ip.l4_kind else { return };
        if !t.flags.syn() {
            return;
        }
        // A balanced flow has no egress policy of its own.
        let own = self.sessions.get(id).filter(|s| !matches!(s.kind, Kind::Balanced { .. }));
        let policy = own.and_then(|s| s.policy.clone());
        let setting = policy
            .and_then(|id| self.view.policies.iter().find(|p| p.id == id))
            .and_then(|p| p.object.mss_clamp);
        let mtu = |n| self.port(n).map_or(u16::MAX, |p| p.mtu);
        let (one, other) = (mtu(packet.port), mtu(out));
        let most = match setting {
            None if one == other => return,
            None | Some(0) => one.min(other) - 40,
            Some(octets) => octets,
        };
        clamp_option(packet, most, usize::from(t.header));
    }
}

/// Lowers the MSS option, and sums the segment again.
fn clamp_option(packet: &mut Packet, most: u16, header: usize) {
    let (l4, end) = (usize::from(packet.ip.l4), usize::from(packet.ip.end));
    let key = packet.ip.tuple();
    let mut at = l4 + 20;
    while at < l4 + header {
        let length = match packet.octets[at] {
            0 => return,
            1 => 1,
            _ => packet.octets.get(at + 1).map_or(0, |l| usize::from(*l)),
        };
        if packet.octets[at] != 1 && (length < 2 || at + length > l4 + header) {
            return;
        }
        if packet.octets[at] == 2 && length == 4 {
            let old = u16::from_be_bytes([packet.octets[at + 2], packet.octets[at + 3]]);
            if old > most {
                let sum = |octets: &[u8]| {
                    naive::segment_checksum(key.source.address, key.destination.address, 6, &octets[l4..end])
                };
                let before = sum(&packet.octets);
                packet.octets[at + 2..at + 4].copy_from_slice(&most.to_be_bytes());
                let after = sum(&packet.octets);
                rewrite::carry(&mut packet.octets, l4 + 16, before, after);
            }
            return;
        }
        at += length;
    }
}

/// Fragments of a packet that may be fragmented (RFC 791 §3.2).
fn split(packet: &[u8], mtu: usize) -> Vec<Vec<u8>> {
    let header = usize::from(packet[0] & 15) * 4;
    let fields = u16::from_be_bytes([packet[6], packet[7]]);
    let (more, offset) = (fields & 0x2000 != 0, usize::from(fields & 0x1fff) * 8);
    let copied = copied_options(&packet[20..header]);
    let payload = &packet[header..];
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let mut piece = packet[..if at == 0 { header } else { 20 }].to_vec();
        if at > 0 {
            piece.extend(&copied);
        }
        let len = piece.len();
        let room = (mtu - len) / 8 * 8;
        let here = room.min(payload.len() - at);
        let last = at + here == payload.len();
        piece[0] = 0x40 | (len / 4) as u8;
        piece[2..4].copy_from_slice(&((len + here) as u16).to_be_bytes());
        let flags = if more || !last { 0x2000 } else { 0 };
        piece[6..8].copy_from_slice(&(((offset + at) / 8) as u16 | flags).to_be_bytes());
        naive::seal_header(&mut piece, len);
        piece.extend(&payload[at..at + here]);
        pieces.push(piece);
        at += here;
    }
    pieces
}

/// Options whose copied flag is set, padded to whole words.
fn copied_options(mut options: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => break,
            1 => 1,
            _ => options.get(1).map_or(0, |l| usize::from(*l)),
        };
        if kind != 1 && (length < 2 || length > options.len()) {
            break;
        }
        if kind & 0x80 != 0 {
            out.extend(&options[..length]);
        }
        options = &options[length..];
    }
    out.resize(out.len().div_ceil(4) * 4, 0);
    out
}
