//! What would happen to a packet: the same decisions on the live tables, changing nothing.
//!
//! The worker gives facts; words are made of them by whoever asked, on another thread.

use lb::Flow;
use nat::{Pool, PoolId, SessionView, Side, Space, WorkerId};
use snapshot::Snapshot;
use wire::{Endpoint, Ipv4, MacAddr, PacketBuf, Protocol, TcpFlags, TcpSummary, Transport, Tuple};

use crate::balanced::source_pool;
use crate::handoff::{Tag, Task};
use crate::judge::{Judgement, Leave, judge};
use crate::reason::DropReason;
use crate::steer::{Steered, own_egress, steer, steer_plain};
use crate::worker::Worker;

/// The packet that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Its key; of an ICMP echo request the id stands in both ports.
    pub key: Tuple,
    /// Port it arrives by; `None`: the one that its source is routed to.
    pub port: Option<u8>,
    /// TCP: its flags.
    pub tcp: TcpFlags,
    /// Octets of it, IP header included.
    pub length: u16,
    /// It must not be fragmented.
    pub dont_fragment: bool,
    /// Its TTL.
    pub ttl: u8,
}

/// One thing found out on the way.
#[derive(Clone, Debug)]
pub enum Fact {
    /// Where it arrives.
    Arrives {
        /// Port.
        port: u8,
    },
    /// Which worker it belongs to, and as what.
    Owner {
        /// The worker.
        worker: WorkerId,
        /// Egress, balanced, inbound.
        task: Task,
    },
    /// A session that it belongs to.
    Session(Box<SessionView>),
    /// The session was judged under an older configuration and would end now.
    SessionEnds,
    /// Egress and access policies judged this key.
    Policy(Tuple),
    /// A static mapping translates it to this endpoint.
    Static(Endpoint),
    /// A pool would give it an outside address; blocks leased and leasable.
    Pool {
        /// The pool.
        pool: PoolId,
        /// Blocks leased.
        leased: u32,
        /// Blocks in all.
        blocks: u32,
    },
    /// A service is addressed.
    Vip(Endpoint),
    /// A new flow would go to this backend.
    Backend(Endpoint),
    /// No table names a new flow's backend: it goes to one of them in turn, or to the least busy.
    AnyBackend,
    /// The next hop.
    NextHop {
        /// Port it leaves by.
        port: u8,
        /// Whose hardware address it goes to.
        address: std::net::Ipv4Addr,
        /// That address, if it is known.
        mac: Option<MacAddr>,
    },
}

/// What would become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It would be sent. Source and destination as it leaves; port 0: chosen when it happens.
    Forward {
        /// Source.
        source: Endpoint,
        /// Destination.
        destination: Endpoint,
    },
    /// It would go to the gateway's own services.
    Punt,
    /// It would wait: for a neighbour.
    Hold,
    /// It would be dropped.
    Drop(DropReason),
    /// Another worker knows: ask it.
    Ask(WorkerId),
}

/// Facts in order, and the end.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was found out.
    pub facts: Vec<Fact>,
    /// The end.
    pub outcome: Outcome,
}

/// A stand-in for the packet, as a parser would have read it.
fn packet(asked: &Asked) -> Ipv4 {
    let l4_kind = match asked.key.protocol {
        Protocol::TCP => Transport::Tcp(TcpSummary {
            flags: asked.tcp,
            seq: 0,
            ack: 0,
            window: 0,
            header: 20,
            payload: asked.length.saturating_sub(40),
        }),
        Protocol::UDP => Transport::Udp { checksum_zero: false },
        Protocol::ICMP => Transport::Echo { request: true, id: asked.key.source.port, seq: 0 },
        _ => Transport::Other,
    };
    Ipv4 {
        l3: 14,
        l4: 34,
        end: asked.length.saturating_add(14),
        source: asked.key.source.address,
        destination: asked.key.destination.address,
        protocol: asked.key.protocol,
        ttl: asked.ttl,
        tos: 0,
        id: 0,
        dont_fragment: asked.dont_fragment,
        more_fragments: false,
        fragment_offset: 0,
        has_options: false,
        l4_kind,
        source_port: asked.key.source.port,
        destination_port: asked.key.destination.port,
    }
}

impl<B: PacketBuf> Worker<B> {
    /// What would happen to a packet now. [`Outcome::Ask`] where another worker owns its flow.
    pub fn explain(&mut self, asked: &Asked) -> Explanation {
        let snapshot = std::sync::Arc::clone(&self.snapshot);
        let mut facts = Vec::new();
        let outcome = self.outcome(&snapshot, asked, &mut facts);
        Explanation { facts, outcome }
    }

    fn outcome(&mut self, snapshot: &Snapshot, asked: &Asked, facts: &mut Vec<Fact>) -> Outcome {
        let arrives = asked
            .port
            .or_else(|| snapshot.next_hop(asked.key.source.address, 0, Side::Inside).map(|hop| hop.port.0));
        let Some((number, port)) = arrives.and_then(|n| Some((n, snapshot.port(n)?))) else {
            return Outcome::Drop(DropReason::SpoofedSource);
        };
        facts.push(Fact::Arrives { port: number });
        let ip = packet(asked);
        if let Err(reason) = crate::arrive::check_addresses(snapshot, port, ip.source, ip.destination) {
            return Outcome::Drop(reason);
        }
        let tag = Tag::new(Task::Egress, number);
        let mut steered = steer(snapshot, &asked.key, &ip, tag, self.workers);
        loop {
            let (task, owner) = match steered {
                Steered::To { task, owner } => (task, WorkerId(owner.0 % self.workers)),
                Steered::Punt => return Outcome::Punt,
                Steered::Drop(reason) => return Outcome::Drop(reason),
            };
            if owner != self.id {
                return Outcome::Ask(owner);
            }
            facts.push(Fact::Owner { worker: owner, task });
            let space = match task {
                Task::Balanced | Task::BalancedReply => Space::Ingress,
                Task::Inbound | Task::Return => Space::Inbound,
                _ => Space::Egress,
            };
            if let Some(outcome) = self.explain_session(snapshot, asked, &ip, space, facts) {
                return outcome;
            }
            if task == Task::BalancedReply {
                steered = steer_plain(snapshot, &asked.key, port.side, false, self.workers);
                continue;
            }
            if task == Task::Return {
                steered = own_egress(&asked.key, self.workers);
                continue;
            }
            if ip.ttl <= 1 {
                return Outcome::Drop(DropReason::TtlExpired);
            }
            return match task {
                Task::Balanced => self.explain_balanced(snapshot, asked, &ip, facts),
                Task::Inbound => explain_inbound(snapshot, asked, facts, self),
                _ => self.explain_egress(snapshot, asked, &ip, facts),
            };
        }
    }

    fn explain_session(
        &mut self,
        snapshot: &Snapshot,
        asked: &Asked,
        ip: &Ipv4,
        space: Space,
        facts: &mut Vec<Fact>,
    ) -> Option<Outcome> {
        let hit = self.nat.lookup(space, &asked.key, self.now)?;
        let view = self.nat.session(hit.session)?;
        facts.push(Fact::Session(Box::new(view)));
        if !self.is_judged(view.judged) && crate::change::verdict(snapshot, &view).is_none() {
            facts.push(Fact::SessionEnds);
            return None;
        }
        let rewrite = self.nat.rewrite(hit);
        Some(self.explain_way(snapshot, ip, rewrite.source, rewrite.destination, facts))
    }

    fn explain_egress(
        &self,
        snapshot: &Snapshot,
        asked: &Asked,
        ip: &Ipv4,
        facts: &mut Vec<Fact>,
    ) -> Outcome {
        let key = &asked.key;
        match explain_policy(snapshot, key, facts) {
            Judgement::Refuse { reason, .. } => Outcome::Drop(reason),
            Judgement::Allow { leave, adopt, .. } => {
                if key.protocol == Protocol::TCP && !asked.tcp.syn() && !adopt {
                    return Outcome::Drop(DropReason::TcpNotSyn);
                }
                let source = match leave {
                    Leave::Static { outside } => {
                        facts.push(Fact::Static(outside));
                        outside
                    }
                    Leave::Snat { pool, .. } => {
                        facts.push(pool_fact(pool));
                        let address = pool.addresses.first().map_or(key.source.address, |a| a.address);
                        Endpoint::new(address, 0)
                    }
                    Leave::Direct => key.source,
                };
                self.explain_way(snapshot, ip, source, key.destination, facts)
            }
        }
    }

    fn explain_balanced(
        &self,
        snapshot: &Snapshot,
        asked: &Asked,
        ip: &Ipv4,
        facts: &mut Vec<Fact>,
    ) -> Outcome {
        let key = &asked.key;
        let Some(vip) = snapshot.vip(key.protocol, key.destination) else {
            return Outcome::Drop(DropReason::NoMapping);
        };
        facts.push(Fact::Vip(key.destination));
        let service = vip.service;
        if !service.admits(key.source.address) {
            return Outcome::Drop(DropReason::VipSourceDenied);
        }
        let flow = Flow { protocol: key.protocol, client: key.source, vip: key.destination };
        let Some(chosen) = service.service.named(&flow).or_else(|| {
            facts.push(Fact::AnyBackend);
            service.service.members().next().map(|(backend, _)| backend)
        }) else {
            return Outcome::Drop(DropReason::VipNoBackend);
        };
        let backend = vip.endpoint(chosen, key.destination.port);
        facts.push(Fact::Backend(backend));
        if snapshot.side_of(key.source.address) == Some(Side::Inside) {
            facts.push(Fact::Policy(Tuple { destination: backend, ..*key }));
        }
        let source_nat = service.source_nat.and_then(|number| snapshot.pool(number));
        let source = match source_pool(snapshot, key, backend, source_nat) {
            Ok((Some(pool), _)) => {
                facts.push(pool_fact(pool));
                Endpoint::new(pool.addresses.first().map_or(key.source.address, |a| a.address), 0)
            }
            Ok((None, _)) => key.source,
            Err(refused) => return Outcome::Drop(refused.reason),
        };
        self.explain_way(snapshot, ip, source, backend, facts)
    }

    /// The last stages: next hop, MTU, neighbour.
    fn explain_way(
        &self,
        snapshot: &Snapshot,
        ip: &Ipv4,
        source: Endpoint,
        destination: Endpoint,
        facts: &mut Vec<Fact>,
    ) -> Outcome {
        if ip.ttl <= 1 {
            return Outcome::Drop(DropReason::TtlExpired);
        }
        if snapshot.local(destination.address).is_some() {
            // A hairpin's second pass has an owner of its own; its first pass ends here.
            return Outcome::Forward { source, destination };
        }
        let hash = crate::originate::flow_hash(ip.source, ip.destination, source.port, destination.port);
        let inside = snapshot.side_of(source.address) == Some(Side::Inside);
        let prefer = if inside { Side::Outside } else { Side::Inside };
        let Some(hop) = snapshot.next_hop(destination.address, hash, prefer) else {
            return Outcome::Drop(DropReason::NoRoute);
        };
        let mac = self.neighbours.find(hop.port.0, hop.address).and_then(|(.., mac)| mac);
        facts.push(Fact::NextHop { port: hop.port.0, address: hop.address, mac });
        let mtu = snapshot.port(hop.port).map_or(u16::MAX, |p| p.mtu);
        if ip.total_len() > mtu && ip.dont_fragment {
            return Outcome::Drop(DropReason::TooBig);
        }
        if mac.is_none() { Outcome::Hold } else { Outcome::Forward { source, destination } }
    }
}

fn pool_fact(pool: &Pool) -> Fact {
    let usage = pool.usage();
    Fact::Pool { pool: pool.id, leased: usage.leased, blocks: usage.blocks }
}

/// Judges a flow, and notes that it did.
fn explain_policy<'a>(snapshot: &'a Snapshot, key: &Tuple, facts: &mut Vec<Fact>) -> Judgement<'a> {
    facts.push(Fact::Policy(*key));
    judge(snapshot, key)
}

fn explain_inbound<B: PacketBuf>(
    snapshot: &Snapshot,
    asked: &Asked,
    facts: &mut Vec<Fact>,
    worker: &Worker<B>,
) -> Outcome {
    let key = &asked.key;
    if let Some(fixed) = snapshot.static_by_outside(key.protocol, key.destination) {
        facts.push(Fact::Static(fixed.inside));
        return worker.explain_way(snapshot, &packet(asked), key.source, fixed.inside, facts);
    }
    if snapshot.outside_address(key.destination.address).is_none() {
        return Outcome::Drop(DropReason::NoSession);
    }
    let begins = key.protocol != Protocol::TCP || (asked.tcp.syn() && !asked.tcp.ack());
    match worker.nat.would_admit(key) {
        Some((inside, true)) if begins => {
            worker.explain_way(snapshot, &packet(asked), key.source, inside, facts)
        }
        Some((_, true)) => Outcome::Drop(DropReason::TcpNotSyn),
        _ if key.protocol == Protocol::TCP && begins => Outcome::Drop(DropReason::UnsolicitedSyn),
        Some((_, false)) => Outcome::Drop(DropReason::Filtered),
        None => Outcome::Drop(DropReason::NoMapping),
    }
}
