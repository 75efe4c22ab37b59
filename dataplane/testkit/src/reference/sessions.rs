//! Sessions of the reference: a list, two indexes and a sorted set of deadlines.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::Ipv4Addr;

use model::{Name, Origin};
use wire::{Protocol, Tuple};

use super::ports::MappingKey;
use super::tcp::{Connection, Phase};

/// Set of keys: of balanced flows, and of all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Packets from an inside host, of all but balanced flows.
    Egress,
    /// Packets to an inside host, of all but balanced flows.
    Inbound,
    /// Balanced flows.
    Ingress,
}

/// How a session came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// On a mapping, opened from inside.
    Snat(MappingKey),
    /// On a mapping, opened by a remote that its filtering admits.
    Admitted(MappingKey),
    /// Untranslated.
    Direct,
    /// By a static mapping; opened from outside or not.
    Static {
        /// The first packet came from outside.
        from_outside: bool,
    },
    /// By a VIP.
    Balanced {
        /// The leased source, under full NAT.
        mapping: Option<MappingKey>,
        /// The service.
        service: (Origin, Name),
        /// Its backend's life.
        life: u64,
    },
}

/// Idle times in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Idle {
    /// UDP.
    pub(super) udp: u32,
    /// TCP opening.
    pub(super) opening: u32,
    /// TCP established.
    pub(super) established: u32,
    /// TCP closing.
    pub(super) closing: u32,
    /// ICMP queries.
    pub(super) icmp: u32,
    /// Everything else.
    pub(super) other: u32,
}

impl Idle {
    /// The defaults of the objects, for sessions without a pool.
    pub(super) const DEFAULT: Idle =
        Idle { udp: 3000, opening: 2400, established: 74_400, closing: 2400, icmp: 600, other: 3000 };

    fn of(&self, protocol: Protocol, tcp: Option<&Connection>) -> u32 {
        match (protocol, tcp.map(Connection::phase)) {
            (_, Some(Phase::Opening)) => self.opening,
            (_, Some(Phase::Established)) => self.established,
            (_, Some(_)) => self.closing,
            (Protocol::UDP, None) => self.udp,
            (Protocol::ICMP, None) => self.icmp,
            _ => self.other,
        }
    }
}

/// Where a direction of a session leaves to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hop {
    /// Back in through an address of the gateway.
    Hairpin,
    /// To a neighbour on a port.
    Neighbour(u8, Ipv4Addr),
}

/// One session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// How it came to be.
    pub(super) kind: Kind,
    /// Key of the first packet's way.
    pub(super) original: Tuple,
    /// Key of the other way.
    pub(super) reply: Tuple,
    /// Which configuration it was judged under.
    pub(super) judged: u32,
    /// The egress policy that let it out.
    pub(super) policy: Option<(Origin, Name)>,
    /// Idle times.
    pub(super) idle: Idle,
    /// Which directions refresh it.
    pub(super) refresh: [bool; 2],
    /// TCP state.
    pub(super) tcp: Option<Connection>,
    /// Next hops, once known.
    pub(super) hops: [Option<Hop>; 2],
    /// Since when it is closed, in the order in which sessions closed.
    pub(super) closed: Option<u64>,
    /// When it ends.
    pub(super) deadline: u32,
}

impl Session {
    /// The set of keys that a direction's belongs to.
    pub(super) fn space(&self, direction: usize) -> Space {
        let from_outside = matches!(self.kind, Kind::Admitted(_) | Kind::Static { from_outside: true });
        match self.kind {
            Kind::Balanced { .. } => Space::Ingress,
            _ if from_outside == (direction == 1) => Space::Egress,
            _ => Space::Inbound,
        }
    }

    /// Key of a direction.
    pub(super) fn key(&self, direction: usize) -> &Tuple {
        if direction == 0 { &self.original } else { &self.reply }
    }

    /// Its idle time now.
    pub(super) fn span(&self) -> u32 {
        self.idle.of(self.original.protocol, self.tcp.as_ref())
    }
}

/// A session found: its number and the packet's direction (0 original, 1 reply).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hit(pub(super) u64, pub(super) usize);

/// All sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    all: BTreeMap<u64, Session>,
    index: HashMap<(Space, Tuple), Hit>,
    deadlines: BTreeSet<(u32, u64)>,
    next: u64,
}

impl Sessions {
    /// The session of a key.
    pub(super) fn find(&self, space: Space, key: &Tuple) -> Option<Hit> {
        self.index.get(&(space, *key)).copied()
    }

    /// One session.
    pub(super) fn get(&self, id: u64) -> Option<&Session> {
        self.all.get(&id)
    }

    /// One session, to change anything but its keys and deadline.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Session> {
        self.all.get_mut(&id)
    }

    /// Are both keys free, and two? A packet from an end to itself makes no session.
    pub(super) fn free(&self, session: &Session) -> bool {
        let (original, reply) = (&session.original, &session.reply);
        original != reply
            && self.find(session.space(0), original).is_none()
            && self.find(session.space(1), reply).is_none()
    }

    /// Adds a session whose keys are free.
    pub(super) fn insert(&mut self, session: Session) -> Hit {
        let id = self.next;
        self.next += 1;
        self.index.insert((session.space(0), session.original), Hit(id, 0));
        self.index.insert((session.space(1), session.reply), Hit(id, 1));
        self.deadlines.insert((session.deadline, id));
        self.all.insert(id, session);
        Hit(id, 0)
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, id: u64) -> Option<Session> {
        let session = self.all.remove(&id)?;
        self.index.remove(&(session.space(0), session.original));
        self.index.remove(&(session.space(1), session.reply));
        self.deadlines.remove(&(session.deadline, id));
        Some(session)
    }

    /// Sets when a session ends.
    pub(super) fn set_deadline(&mut self, id: u64, deadline: u32) {
        if let Some(session) = self.all.get_mut(&id) {
            self.deadlines.remove(&(session.deadline, id));
            session.deadline = deadline;
            self.deadlines.insert((deadline, id));
        }
    }

    /// A session whose time is over.
    pub(super) fn due(&self, now: u32) -> Option<u64> {
        self.deadlines.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
