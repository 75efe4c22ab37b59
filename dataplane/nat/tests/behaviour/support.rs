//! A worker's NAT with one pool, driven by whole packets.

use std::net::Ipv4Addr;
use std::sync::Arc;

use nat::{
    Action, BlockLayout, FilteringBehavior, Hit, Inbound, LeaseTable, Limits, MappingBehavior, Nat, Notes,
    OpenEgress, OpenError, Pool, PoolAddress, PoolId, PoolSettings, PoolingBehavior, SessionId, Space, Tick,
    Ticks, TrackDrop, Unsolicited, WorkerId,
};
use wire::{Endpoint, HeapBuf, Ipv4, PacketBuf, Protocol, TcpFlags, Transport, Tuple, build, ipv4};

pub(crate) const SYN: u8 = 2;
pub(crate) const ACK: u8 = 16;
pub(crate) const FIN: u8 = 1;
pub(crate) const RST: u8 = 4;

/// `10.0.0.n:port`.
pub(crate) fn inside(n: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(10, 0, 0, n), port)
}

/// `203.0.113.n:port`.
pub(crate) fn remote(n: u8, port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::new(203, 0, 113, n), port)
}

/// `198.51.100.n`.
pub(crate) fn outside(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 51, 100, n)
}

/// A pool of `addresses` addresses with these ports and blocks.
pub(crate) fn pool(addresses: u8, ports: (u16, u16), block: u16, settings: PoolSettings) -> Arc<Pool> {
    let layout = BlockLayout::new(ports.0, ports.1, block).expect("a right layout");
    let addresses = (1..=addresses)
        .map(|n| PoolAddress { address: outside(n), leases: Arc::new(LeaseTable::new(layout, &[])) })
        .collect();
    Arc::new(Pool { id: PoolId(7), settings, addresses })
}

/// A packet and what is in it.
pub(crate) struct Packet {
    pub(crate) buf: HeapBuf,
    pub(crate) ip: Ipv4,
}

impl Packet {
    pub(crate) fn new(buf: HeapBuf) -> Self {
        let ip = ipv4::parse(buf.bytes(), build::FRONT, false).expect("a well-formed packet");
        Packet { buf, ip }
    }

    pub(crate) fn udp(from: Endpoint, to: Endpoint) -> Self {
        let mut buf = HeapBuf::new();
        assert!(build::udp(&mut buf, from, to, b"data"));
        Self::new(buf)
    }

    pub(crate) fn echo(from: Ipv4Addr, to: Ipv4Addr, request: bool, id: u16) -> Self {
        let mut buf = HeapBuf::new();
        assert!(build::icmp_echo(&mut buf, from, to, request, (id, 1), b"data"));
        Self::new(buf)
    }

    pub(crate) fn tcp(from: Endpoint, to: Endpoint, flags: u8, seq: u32, ack: u32) -> Self {
        let mut buf = HeapBuf::new();
        let segment = build::Segment { seq, ack, flags: TcpFlags(flags), window: 1000 };
        assert!(build::tcp_segment(&mut buf, from, to, &segment));
        Self::new(buf)
    }

    pub(crate) fn portless(protocol: u8, from: Ipv4Addr, to: Ipv4Addr) -> Self {
        let mut buf = HeapBuf::new();
        assert!(build::ip(&mut buf, &build::Header::own(from, to, Protocol(protocol)), &[b"whatever"]));
        Self::new(buf)
    }

    pub(crate) fn of(protocol: Protocol, from: Endpoint, to: Endpoint) -> Self {
        match protocol {
            Protocol::TCP => Self::tcp(from, to, SYN, 1000, 0),
            Protocol::UDP => Self::udp(from, to),
            Protocol::ICMP => Self::echo(from.address, to.address, true, from.port),
            other => Self::portless(other.0, from.address, to.address),
        }
    }

    pub(crate) fn flags(&self) -> Option<TcpFlags> {
        match &self.ip.l4_kind {
            Transport::Tcp(t) => Some(t.flags),
            _ => None,
        }
    }

    pub(crate) fn tuple(&self) -> Tuple {
        self.ip.tuple()
    }
}

/// What came of a packet from outside.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Came {
    In(Endpoint),
    Not(Inbound),
}

pub(crate) struct World {
    pub(crate) nat: Nat,
    pub(crate) pool: Arc<Pool>,
    pub(crate) mapping: MappingBehavior,
    pub(crate) filtering: FilteringBehavior,
    pub(crate) pooling: PoolingBehavior,
    pub(crate) now: Tick,
    pub(crate) random: u64,
}

impl World {
    pub(crate) fn with(pool: Arc<Pool>) -> Self {
        let nat = Nat::new(WorkerId(0), Limits::for_sessions(20_000), [11, 22]);
        World {
            nat,
            pool,
            mapping: MappingBehavior::default(),
            filtering: FilteringBehavior::default(),
            pooling: PoolingBehavior::default(),
            now: Tick(1000),
            random: 99,
        }
    }

    pub(crate) fn new() -> Self {
        Self::with(pool(4, (1024, 65_535), 512, PoolSettings::default()))
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn pass(&mut self, seconds: u32) {
        self.pass_ticks(seconds * 10);
    }

    pub(crate) fn pass_ticks(&mut self, ticks: u32) {
        self.now = self.now + Ticks(ticks);
        while self.nat.expire(self.now, 1_000_000).1 {}
    }

    pub(crate) fn open(&mut self, packet: &Packet) -> Result<SessionId, OpenError> {
        let random = self.draw();
        let open = OpenEgress {
            tuple: packet.tuple(),
            tcp: packet.flags(),
            adopt: false,
            action: Action::Snat {
                pool: &self.pool,
                mapping: self.mapping,
                filtering: self.filtering,
                pooling: self.pooling,
                udp: None,
            },
            notes: Notes::default(),
        };
        self.nat.open_egress(&open, self.now, random)
    }

    pub(crate) fn track(&mut self, hit: Hit, packet: &Packet) -> Result<(), TrackDrop> {
        self.nat.track(hit, &packet.ip, packet.buf.bytes(), self.now)
    }

    /// An inside host sends; its hit.
    pub(crate) fn goes(&mut self, packet: &Packet) -> Result<Hit, OpenError> {
        let hit = match self.nat.lookup(Space::Egress, &packet.tuple(), self.now) {
            Some(hit) => hit,
            None => Hit::original(self.open(packet)?),
        };
        self.track(hit, packet).expect("valid flags");
        Ok(hit)
    }

    /// An inside host sends; the outside endpoint that it is seen as.
    pub(crate) fn seen_as(&mut self, packet: &Packet) -> Result<Endpoint, OpenError> {
        let hit = self.goes(packet)?;
        Ok(self.nat.rewrite(hit).source)
    }

    pub(crate) fn udp(&mut self, from: Endpoint, to: Endpoint) -> Result<Endpoint, OpenError> {
        self.seen_as(&Packet::udp(from, to))
    }

    /// A remote sends.
    pub(crate) fn comes(&mut self, packet: &Packet) -> Came {
        let hit = match self.nat.lookup(Space::Inbound, &packet.tuple(), self.now) {
            Some(hit) => hit,
            None => {
                let unsolicited = Unsolicited {
                    leased: true,
                    tuple: packet.tuple(),
                    tcp: packet.flags(),
                    packet: packet.buf.bytes().get(build::FRONT..).unwrap_or(&[]),
                    notes: Notes::default(),
                };
                match self.nat.inbound(&unsolicited, self.now) {
                    Inbound::Admit(id) => Hit::original(id),
                    other => return Came::Not(other),
                }
            }
        };
        self.track(hit, packet).expect("valid flags");
        Came::In(self.nat.rewrite(hit).destination)
    }

    pub(crate) fn tcp(&mut self, from: Endpoint, to: Endpoint, flags: u8, seq: u32, ack: u32) -> Endpoint {
        self.seen_as(&Packet::tcp(from, to, flags, seq, ack)).expect("a session")
    }

    pub(crate) fn tcp_in(&mut self, from: Endpoint, to: Endpoint, flags: u8, seq: u32, ack: u32) -> Came {
        self.comes(&Packet::tcp(from, to, flags, seq, ack))
    }

    /// A three-way handshake from inside; ISNs 1000 and 5000. The outside endpoint.
    pub(crate) fn handshake(&mut self, from: Endpoint, to: Endpoint) -> Endpoint {
        let x = self.tcp(from, to, SYN, 1000, 0);
        assert_eq!(self.tcp_in(to, x, SYN | ACK, 5000, 1001), Came::In(from));
        self.tcp(from, to, ACK, 1001, 5001);
        x
    }

    /// Closes it from both ends.
    pub(crate) fn close(&mut self, from: Endpoint, to: Endpoint, x: Endpoint) {
        self.tcp(from, to, FIN | ACK, 1001, 5001);
        self.tcp_in(to, x, FIN | ACK, 5001, 1002);
        self.tcp(from, to, ACK, 1002, 5002);
    }

    /// The session of a packet from or to an inside host.
    pub(crate) fn find(&mut self, tuple: &Tuple) -> Option<Hit> {
        let outward = self.nat.lookup(Space::Egress, tuple, self.now);
        outward.or_else(|| self.nat.lookup(Space::Inbound, tuple, self.now))
    }

    pub(crate) fn alive(&mut self, tuple: &Tuple) -> bool {
        self.find(tuple).is_some()
    }

    pub(crate) fn session(&mut self, tuple: &Tuple) -> nat::SessionView {
        let hit = self.find(tuple).expect("a session");
        self.nat.session(hit.session).expect("a session")
    }
}

pub(crate) fn tuple(protocol: Protocol, from: Endpoint, to: Endpoint) -> Tuple {
    Tuple::new(protocol, from, to)
}

/// Ends every session and lets every block rest.
pub(crate) fn drain(world: &mut World) {
    let mut from = Some(nat::Cursor(0));
    let mut ended = 0;
    while let Some(cursor) = from {
        from = world.nat.kill(cursor, 1000, &mut |_| true, &mut ended);
    }
    world.pass(10_000);
    assert_eq!(world.nat.counts().sessions, 0);
    assert_eq!(world.nat.counts().mappings, 0);
    assert_eq!(world.nat.counts().subscribers, 0);
    // Refusals are counted for ever; everything else was given back.
    let usage = nat::PoolUsage { out_of_ports: [0; 3], ..world.nat.pool_usage(world.pool.id) };
    assert_eq!(usage, nat::PoolUsage::default());
    assert_eq!(world.pool.usage().leased, 0);
}
