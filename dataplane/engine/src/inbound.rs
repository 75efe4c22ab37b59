//! Packets to an outside endpoint, or to an inside address without translation: at the worker
//! that leases the port's block or owns the inside address.

use nat::{Hit, Inbound, Notes, OpenStatic, Side, Space, Unsolicited};
use snapshot::Snapshot;
use wire::{PacketBuf, Tuple};

use crate::egress::{opener, refusal, tcp_flags};
use crate::io::Io;
use crate::reason::DropReason;
use crate::worker::{Transit, Worker};

impl<B: PacketBuf> Worker<B> {
    /// A packet from a remote (or, after a hairpin's first pass, from another inside host).
    pub(crate) fn inbound<I: Io<B>>(&mut self, snapshot: &Snapshot, transit: Transit<B>, io: &mut I) {
        if let Some(hit) = self.nat.lookup(Space::Inbound, &transit.key, self.now)
            && self.still_allowed(snapshot, hit)
        {
            self.counters.fast += 1;
            return self.forward(snapshot, transit, hit, io);
        }
        if let Err(reason) = opener(&transit) {
            return self.drop(transit.buf, reason);
        }
        if transit.ip.ttl <= 1 && !transit.tag.hairpin {
            return self.ttl_expired(snapshot, transit, io);
        }
        match self.admit_inbound(snapshot, &transit) {
            Ok(hit) => self.forward(snapshot, transit, hit, io),
            Err(reason) => self.drop(transit.buf, reason),
        }
    }

    /// Opens the session that a static mapping or a mapping's filtering allows.
    fn admit_inbound(&mut self, snapshot: &Snapshot, transit: &Transit<B>) -> Result<Hit, DropReason> {
        let key = transit.key;
        let tcp = tcp_flags(transit);
        let notes = Notes { judged: self.judged, policy: 0, next_hop: [0; 2] };
        if let Some(fixed) = snapshot.static_by_outside(key.protocol, key.destination) {
            let open = OpenStatic {
                tuple: key,
                translated: Tuple { destination: fixed.inside, ..key },
                from: Side::Outside,
                tcp,
                adopt: false,
                timeouts: &self.timeouts,
                notes,
            };
            return self.nat.open_static(&open, self.now).map(Hit::original).map_err(refusal);
        }
        let Some(outside) = snapshot.outside_address(key.destination.address) else {
            return Err(DropReason::NoSession);
        };
        let leased = outside.owner(&key).is_some();
        let (l3, end) = (usize::from(transit.ip.l3), usize::from(transit.ip.end));
        let packet = transit.buf.bytes().get(l3..end).unwrap_or(&[]);
        match self.nat.inbound(&Unsolicited { tuple: key, tcp, leased, packet, notes }, self.now) {
            Inbound::Admit(id) => Ok(Hit::original(id)),
            Inbound::Filtered => Err(DropReason::Filtered),
            Inbound::NoMapping => Err(DropReason::NoMapping),
            Inbound::HoldSyn => Err(DropReason::UnsolicitedSyn),
            Inbound::Refused(error) => Err(refusal(error)),
        }
    }
}
