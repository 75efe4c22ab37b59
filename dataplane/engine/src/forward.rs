//! The last stages: TTL, next hop, MTU, tracking, rewrite, Ethernet, transmit.

use std::net::Ipv4Addr;

use nat::{Hit, Rewrite, Side, Ttl};
use snapshot::Snapshot;
use wire::fragment::Pieces;
use wire::{MacAddr, PacketBuf, Transport, ethernet, ipv4};

use crate::handoff::{Tag, Task};
use crate::io::Io;
use crate::neighbours::NextHopId;
use crate::originate::flow_hash;
use crate::reason::DropReason;
use crate::worker::{Transit, Worker};

/// The part of a next hop's word that names it.
const WORD: u32 = 0x00ff_ffff;

/// Next hop of a session's direction as its notes keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    /// Through an outside address of our own to another inside host.
    Hairpin,
    /// To a neighbour.
    Neighbour(NextHopId),
}

impl Hop {
    /// Word of the neighbour with number 0.
    pub(crate) const FIRST: u32 = 2;

    /// 0 is unknown. The upper octet tells for which port's packets it was worked out (`express`).
    pub(crate) fn decode(word: u32) -> Option<Hop> {
        match word & WORD {
            0 => None,
            1 => Some(Hop::Hairpin),
            n => Some(Hop::Neighbour(NextHopId(n - Hop::FIRST))),
        }
    }

    pub(crate) fn encode(self) -> u32 {
        match self {
            Hop::Hairpin => 1,
            Hop::Neighbour(id) => id.0 + Hop::FIRST,
        }
    }

    /// Its word, with the note that it was worked out for packets of `port`.
    pub(crate) fn noted(self, port: u8) -> u32 {
        self.encode() | (u32::from(port) + 1) << 24
    }
}

impl<B: PacketBuf> Worker<B> {
    /// Sends a packet of a session on its way.
    pub(crate) fn forward<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        mut transit: Transit<B>,
        hit: Hit,
        io: &mut I,
    ) {
        if transit.ip.ttl <= 1 && !transit.tag.hairpin {
            return self.ttl_expired(snapshot, transit, io);
        }
        let rewrite = self.nat.rewrite(hit);
        let hop = match self.hop(snapshot, &transit, hit, &rewrite) {
            Ok(hop) => hop,
            Err(reason) => return self.drop(transit.buf, reason),
        };
        let mut mtu = u16::MAX;
        if let Hop::Neighbour(id) = hop {
            let port = self.neighbours.lookup(id).and_then(|(port, ..)| snapshot.port(port));
            let Some(port) = port else { return self.drop(transit.buf, DropReason::NoRoute) };
            mtu = port.mtu;
            if transit.ip.total_len() > mtu && transit.ip.dont_fragment {
                // RFC 1191 §4: the MTU of the next hop goes back with the error.
                self.originate_error(snapshot, &transit, 3, 4, mtu, io);
                return self.drop(transit.buf, DropReason::TooBig);
            }
        }
        if transit.error.is_none() {
            // RFC 4787 REQ-12, RFC 5382 REQ-9: errors neither refresh nor end a session.
            let tracked = self.nat.track(hit, &transit.ip, transit.buf.bytes(), self.now);
            if tracked.is_err() {
                return self.drop(transit.buf, DropReason::TcpInvalid);
            }
        }
        self.clamp_mss(snapshot, &mut transit, hit, hop);
        let ttl = if transit.tag.hairpin { Ttl::Keep } else { Ttl::Decrement };
        let frame = transit.buf.bytes_mut();
        let done = match (&transit.error, transit.ip.l4_kind) {
            (Some(inner), _) => rewrite.apply_embedded(frame, &transit.ip, inner, ttl),
            (None, Transport::LaterFragment) => rewrite.apply_later_fragment(frame, &transit.ip, ttl),
            (None, _) => rewrite.apply(frame, &transit.ip, ttl),
        };
        if !done {
            return self.drop(transit.buf, DropReason::MalformedL4);
        }
        match hop {
            Hop::Hairpin => self.second_pass(snapshot, transit, &rewrite, io),
            Hop::Neighbour(id) if transit.ip.total_len() > mtu => {
                self.send_in_pieces(snapshot, transit, mtu, id, io);
            }
            Hop::Neighbour(id) => self.send(snapshot, transit.buf, transit.ip.l3, id, io),
        }
    }

    /// The next hop of a session's direction, worked out at its first packet.
    fn hop(
        &mut self,
        snapshot: &Snapshot,
        transit: &Transit<B>,
        hit: Hit,
        rewrite: &Rewrite,
    ) -> Result<Hop, DropReason> {
        let word = self.nat.route(hit).map_or(0, |(_, word)| word);
        if let Some(hop) = Hop::decode(word) {
            if word & !WORD == 0 && self.serves_port(snapshot, transit, hop) {
                self.note(hit, hop.noted(transit.tag.port));
            }
            return Ok(hop);
        }
        let to = rewrite.destination;
        let arrived = snapshot.port(transit.tag.port).map_or(Side::Outside, |p| p.side);
        let inside = arrived == Side::Inside && !transit.tag.hairpin;
        let hop = if snapshot.local(to.address).is_some() {
            // Only what comes from inside turns round, and only once.
            if !inside {
                return Err(DropReason::NoRoute);
            }
            Hop::Hairpin
        } else {
            let hash = flow_hash(transit.ip.source, transit.ip.destination, rewrite.source.port, to.port);
            let prefer = if inside { Side::Outside } else { Side::Inside };
            let next = snapshot.next_hop(to.address, hash, prefer).ok_or(DropReason::NoRoute)?;
            let id = self.neighbours.intern(next.port.0, next.address);
            Hop::Neighbour(id.ok_or(DropReason::NeighbourQueueFull)?)
        };
        let serves = self.serves_port(snapshot, transit, hop);
        self.note(hit, if serves { hop.noted(transit.tag.port) } else { hop.encode() });
        Ok(hop)
    }

    fn note(&mut self, hit: Hit, word: u32) {
        let mut notes = self.nat.notes(hit.session);
        notes.next_hop[hit.direction as usize] = word;
        self.nat.set_notes(hit.session, notes);
    }

    /// May later packets of this direction that come in by the same port go the short way, because
    /// what this one met holds for each of them?
    fn serves_port(&self, snapshot: &Snapshot, transit: &Transit<B>, hop: Hop) -> bool {
        let (tag, Hop::Neighbour(id)) = (transit.tag, hop) else { return false };
        if tag.hairpin || transit.error.is_some() || tag.port == u8::MAX {
            return false;
        }
        let side = |port: u8| snapshot.port(port).map(|p| p.side);
        match tag.task {
            Task::Balanced | Task::BalancedReply => true,
            // Another worker may be asked first: about what one inside host sends to another, and about
            // what a backend sends.
            Task::Egress | Task::Inbound => {
                let to = self.neighbours.lookup(id).and_then(|(port, ..)| side(port));
                (side(tag.port), to) != (Some(Side::Inside), Some(Side::Inside))
                    && !snapshot.is_backend(transit.key.protocol, transit.key.source)
            }
            Task::Return | Task::Meet | Task::Resolve => false,
        }
    }

    /// RFC 879's option lowered on SYNs where a policy says so or the ports' MTUs differ.
    fn clamp_mss(&mut self, snapshot: &Snapshot, transit: &mut Transit<B>, hit: Hit, hop: Hop) {
        let Transport::Tcp(tcp) = transit.ip.l4_kind else { return };
        if !tcp.flags.syn() {
            return;
        }
        let Hop::Neighbour(id) = hop else { return };
        let Some((out, ..)) = self.neighbours.lookup(id) else { return };
        // What a balanced session notes as its policy is its VIP.
        let balanced = matches!(transit.tag.task, Task::Balanced | Task::BalancedReply);
        let policy = self.nat.notes(hit.session).policy.checked_sub(1).filter(|_| !balanced);
        let setting = policy.and_then(|n| snapshot.egress.rule(n)).and_then(|rule| rule.mss_clamp);
        if let Some(mss) = snapshot.mss_clamp(setting, transit.tag.port.into(), out.into()) {
            wire::mss::clamp(transit.buf.bytes_mut(), &transit.ip, mss);
        }
    }

    /// A hairpinned packet, its source translated, comes in again as if from outside.
    fn second_pass<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        transit: Transit<B>,
        rewrite: &Rewrite,
        io: &mut I,
    ) {
        let mut tag = Tag { hairpin: true, ..Tag::new(Task::Inbound, transit.tag.port) };
        if transit.ip.l4_kind == Transport::LaterFragment {
            tag = tag.with_ports(rewrite.source.port, rewrite.destination.port);
        }
        let buf = transit.buf;
        let again = ipv4::parse(buf.bytes(), usize::from(transit.ip.l3), true)
            .map_err(DropReason::from)
            .and_then(|ip| crate::steer::key(buf.bytes(), &ip, tag).map(|(key, error)| (ip, key, error)));
        match again {
            Ok((ip, key, error)) => self.steer_on(snapshot, Transit { buf, ip, key, error, tag }, io),
            Err(reason) => self.drop(buf, reason),
        }
    }

    /// RFC 791 §3.2: a datagram that may be fragmented goes out in pieces.
    fn send_in_pieces<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        mut transit: Transit<B>,
        mtu: u16,
        hop: NextHopId,
        io: &mut I,
    ) {
        let id = match transit.ip.id {
            0 => self.random() as u16 | 1,
            id => id,
        };
        let Some(plan) = Pieces::plan(transit.buf.bytes(), &transit.ip, mtu, id) else {
            return self.drop(transit.buf, DropReason::TooBig);
        };
        let mut rest = Vec::with_capacity(plan.count());
        for number in 1..plan.count() {
            let Some(mut piece) = io.alloc() else {
                return self.drop(transit.buf, DropReason::NoBuffer);
            };
            if !plan.write(transit.buf.bytes(), number, &mut piece) {
                return self.drop(transit.buf, DropReason::NoBuffer);
            }
            rest.push(piece);
        }
        if !plan.cut_first(&mut transit.buf) {
            return self.drop(transit.buf, DropReason::TooBig);
        }
        self.counters.originated += rest.len() as u64;
        let l3 = transit.ip.l3;
        self.send(snapshot, transit.buf, l3, hop, io);
        for piece in rest {
            self.send(snapshot, piece, l3, hop, io);
        }
    }

    /// Sends to a next hop, whose hardware address may have to be asked for first.
    pub(crate) fn send<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        buf: B,
        l3: u16,
        hop: NextHopId,
        io: &mut I,
    ) {
        match self.neighbours.lookup(hop) {
            Some((port, _, Some(mac))) => {
                if let Some(port) = snapshot.port(port) {
                    self.note_way(hop, port, mac);
                }
                self.transmit(snapshot, buf, l3, port, mac, io);
            }
            Some((port, address, None)) => {
                let tag = Tag { extra: u32::from(address), ..Tag::new(Task::Resolve, port) };
                let owner = self.address_owner(address);
                if owner == self.id {
                    self.resolve_here(snapshot, buf, l3, tag, io);
                } else {
                    self.hand_off(owner, buf, tag, io);
                }
            }
            None => self.drop(buf, DropReason::NoRoute),
        }
    }

    /// The resolving worker's part: send if the answer came meanwhile, else wait and ask.
    pub(crate) fn resolve_here<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        buf: B,
        l3: u16,
        tag: Tag,
        io: &mut I,
    ) {
        let Some(id) = self.neighbours.intern(tag.port, Ipv4Addr::from(tag.extra)) else {
            return self.drop(buf, DropReason::NeighbourQueueFull);
        };
        if let Some((port, _, Some(mac))) = self.neighbours.lookup(id) {
            return self.transmit(snapshot, buf, l3, port, mac, io);
        }
        match self.neighbours.wait(id, buf, self.now) {
            Ok(()) => {
                self.counters.held += 1;
                self.ask_neighbours(snapshot, io);
            }
            Err((_, buf)) => self.drop(buf, DropReason::NeighbourQueueFull),
        }
    }

    /// Writes the Ethernet header and gives the frame to the device.
    pub(crate) fn transmit<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        mut buf: B,
        l3: u16,
        port: u8,
        mac: MacAddr,
        io: &mut I,
    ) {
        let Some(port) = snapshot.port(port) else { return self.drop(buf, DropReason::NoRoute) };
        let (have, want) = (usize::from(l3), ethernet::len(port.vlan));
        let fits = match want.checked_sub(have) {
            Some(0) => true,
            Some(more) => buf.grow_front(more),
            None => buf.trim_front(have - want),
        };
        if !fits || !ethernet::write(buf.bytes_mut(), mac, port.mac, port.vlan, ethernet::IPV4) {
            return self.drop(buf, DropReason::NoBuffer);
        }
        match io.transmit(port.device, buf) {
            Ok(()) => self.counters.sent += 1,
            Err(buf) => self.drop(buf, DropReason::TxFull),
        }
    }
}
