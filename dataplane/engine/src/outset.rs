//! The short way of first packets: plain UDP that an inside host sends of its own.
//!
//! All that the long way asks of such a packet is asked here too, in the same order, but of its key alone,
//! so that nothing of a packet under way is carried from stage to stage. Whatever is not plain (a
//! VIP, another worker's flow, a hairpin, a next hop without an Ethernet address) goes the long way, which says why.

use nat::{Action, Direction, Hit, KeyHash, Notes, OpenEgress, Side, Space, WorkerId};
use snapshot::{Port, Snapshot};
use wire::{PacketBuf, Tuple, ethernet, ipv4};

use crate::arrive::check_addresses;
use crate::egress::refusal;
use crate::forward::Hop;
use crate::handoff::{Tag, Task};
use crate::io::Io;
use crate::judge::{Judgement, Leave, judge};
use crate::originate::flow_hash;
use crate::reason::DropReason;
use crate::steer::plain_owner;
use crate::worker::{Transit, Worker};

/// What became of a first packet's flow.
pub(crate) enum Outset {
    /// Its session is open, its way noted; where it is in the index.
    Open(u32),
    /// It has one, there.
    Known(u32),
    /// It may not leave; whether its sender is told.
    Refused(DropReason, bool),
    /// Nothing is done.
    NotPlain,
}

impl<B: PacketBuf> Worker<B> {
    /// What is to be done with a plain packet that has no session here, and by whom, unless the long way
    /// must say.
    pub(crate) fn find_owner(
        &self,
        snapshot: &Snapshot,
        port: &Port,
        key: &Tuple,
    ) -> Option<(Task, WorkerId)> {
        let (from, to) = (key.source.address, key.destination.address);
        let own = port.side == Side::Inside && snapshot.local(to).is_none();
        if (!own && self.workers == 1) || check_addresses(snapshot, port, from, to).is_err() {
            return None;
        }
        plain_owner(snapshot, key, port.side, self.workers)
    }

    /// Opens the session of a plain UDP packet that came in by `port` and is this worker's to send out.
    #[inline(never)]
    pub(crate) fn set_out(&mut self, snapshot: &Snapshot, port: &Port, key: &Tuple, hash: KeyHash) -> Outset {
        let (from, to) = (key.source.address, key.destination.address);
        if port.side != Side::Inside || snapshot.local(to).is_some() {
            return Outset::NotPlain;
        }
        if let Some(hit) = self.nat.lookup_hashed(hash, Space::Egress, key, self.now) {
            return Outset::Known(hit.session.0 << 1 | hit.direction as u32);
        }
        let (leave, policy, adopt) = match judge(snapshot, key) {
            Judgement::Allow { leave, policy, adopt } => (leave, policy, adopt),
            Judgement::Refuse { reason, reject } => return Outset::Refused(reason, reject),
        };
        let Leave::Snat { pool, mapping, filtering, pooling } = leave else { return Outset::NotPlain };
        if snapshot.next_hop(to, 0, Side::Outside).is_none() {
            return Outset::Refused(DropReason::NoRoute, false);
        }
        let notes = Notes { judged: self.judged, policy, next_hop: [0; 2] };
        let action = Action::Snat { pool, mapping, filtering, pooling, udp: None };
        let open = OpenEgress { tuple: *key, tcp: None, adopt, action, notes };
        let place = (std::sync::Arc::as_ptr(pool) as usize, mapping);
        if self.expected != place {
            self.expected = place;
            self.nat.expect_pool(pool, mapping);
        }
        let random = self.random();
        let id = match self.nat.open_egress(&open, self.now, random) {
            Ok(id) => id,
            Err(error) => return Outset::Refused(refusal(error), true),
        };
        // Its way; what of it cannot be had the long way says.
        let outside = self.nat.rewrite(Hit::original(id)).source.port;
        let next = snapshot.next_hop(to, flow_hash(from, to, outside, key.destination.port), Side::Outside);
        let hop = next.and_then(|n| Some((n.port, self.neighbours.intern(n.port.0, n.address)?)));
        if let Some((out, hop)) = hop {
            // What holds for one packet of the flow holds for each, unless it leads inside again.
            let outside = snapshot.port(out.0).is_some_and(|p| p.side == Side::Outside);
            let hop = Hop::Neighbour(hop);
            let word = if outside { hop.noted(port.id.0) } else { hop.encode() };
            self.nat.set_notes(id, Notes { next_hop: [word, 0], ..notes });
        }
        Outset::Open(id.0 << 1 | Direction::Original as u32)
    }

    /// Sends the first packet of a session that [`Worker::set_out`] opened the long way from there.
    #[inline(never)]
    pub(crate) fn send_first<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        port: u8,
        buf: B,
        entry: u32,
        io: &mut I,
    ) {
        match under_way(buf, port) {
            Ok(transit) => {
                self.forward(snapshot, transit, Hit::original(nat::SessionId(entry >> 1)), io);
            }
            Err((buf, reason)) => self.drop(buf, reason),
        }
    }

    /// Ends a plain packet that may not leave.
    #[inline(never)]
    pub(crate) fn turn_away<I: Io<B>>(
        &mut self,
        snapshot: &Snapshot,
        port: u8,
        buf: B,
        why: (DropReason, bool),
        io: &mut I,
    ) {
        let (reason, true) = why else { return self.drop(buf, why.0) };
        match under_way(buf, port) {
            Ok(transit) => self.refuse(snapshot, transit, reason, true, io),
            Err((buf, _)) => self.drop(buf, reason),
        }
    }
}

/// A plain packet as the long way has it.
fn under_way<B: PacketBuf>(buf: B, port: u8) -> Result<Transit<B>, (B, DropReason)> {
    let tag = Tag::new(Task::Egress, port);
    let read = ipv4::parse(buf.bytes(), ethernet::len(None), true).map_err(DropReason::from);
    match read.and_then(|ip| Ok((ip, crate::steer::key(buf.bytes(), &ip, tag)?))) {
        Ok((ip, (key, error))) => Ok(Transit { buf, ip, key, error, tag }),
        Err(reason) => Err((buf, reason)),
    }
}
