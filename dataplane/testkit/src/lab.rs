//! A gateway of N workers in memory: no threads, no devices, one packet at a time.
//!
//! A packet arrives at some worker, and whatever the workers hand to each other is delivered
//! until all are quiet. Then every packet must be accounted for, exactly.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use engine::{Counters, DropReason, Io, Neighbour, Settings, Worker};
use model::Config;
use nat::{Limits, Tick, WorkerId};
use snapshot::{Health, NodeFacts, Port, PortId, Snapshot, compile};
use wire::{HeapBuf, PacketBuf, Tuple};

use crate::reference::{Oracle, Output, Side, Space, Topology};
use crate::rng::mix;

/// What a worker's packets go into: shared by all workers of a lab, which run in turn.
#[derive(Default)]
struct Wires {
    me: u16,
    out: Output,
    rings: Vec<VecDeque<HeapBuf>>,
    news: Vec<(u16, Neighbour)>,
}

impl Io<HeapBuf> for Wires {
    fn transmit(&mut self, device: u8, packet: HeapBuf) -> Result<(), HeapBuf> {
        self.out.sent.push((device, packet.bytes().to_vec()));
        Ok(())
    }

    fn hand_off(&mut self, worker: WorkerId, packet: HeapBuf) -> Result<(), HeapBuf> {
        match self.rings.get_mut(usize::from(worker.0)) {
            Some(ring) => {
                ring.push_back(packet);
                Ok(())
            }
            None => Err(packet),
        }
    }

    fn punt(&mut self, packet: HeapBuf) -> Result<(), HeapBuf> {
        self.out.punted.push(packet.bytes().to_vec());
        Ok(())
    }

    fn alloc(&mut self) -> Option<HeapBuf> {
        Some(HeapBuf::new())
    }

    fn announce(&mut self, neighbour: Neighbour) {
        self.news.push((self.me, neighbour));
    }
}

/// N workers under one snapshot.
pub struct Lab {
    workers: Vec<Worker<HeapBuf>>,
    wires: Wires,
    snapshot: Arc<Snapshot>,
    node: NodeFacts,
    seed: u64,
    step: u64,
}

/// A topology as the node's facts.
pub fn node_facts(topology: &Topology) -> NodeFacts {
    let port = |p: &crate::reference::LabPort| Port {
        id: PortId(p.number),
        name: format!("p{}", p.number),
        side: if p.side == Side::Inside { nat::Side::Inside } else { nat::Side::Outside },
        device: p.device,
        vlan: p.vlan,
        mac: p.mac,
        mtu: p.mtu,
        addresses: p.addresses.iter().filter_map(|(a, len)| ipnet::Ipv4Net::new(*a, *len).ok()).collect(),
    };
    let route = |(to, len, via): &(Ipv4Addr, u8, Vec<Ipv4Addr>)| {
        let to = model::IpNet::new(IpAddr::V4(*to), *len).ok()?;
        Some(model::Route { to, via: via.iter().map(|v| IpAddr::V4(*v)).collect() })
    };
    NodeFacts {
        name: "lab".to_owned(),
        ports: topology.ports.iter().map(port).collect(),
        routes: topology.routes.iter().filter_map(route).collect(),
    }
}

impl Lab {
    /// `workers` workers under `config`. Errors are those of compiling it.
    pub fn new(workers: u16, topology: &Topology, config: &Config, seed: u64) -> Result<Lab, String> {
        let node = node_facts(topology);
        let snapshot = Arc::new(compiled(config, &node, None, Tick(0))?);
        let settings = |id| Settings {
            id: WorkerId(id),
            workers,
            limits: Limits::for_sessions(1 << 16),
            seed: [mix(seed), mix(seed ^ 1)],
        };
        let rings = (0..workers).map(|_| VecDeque::new()).collect();
        Ok(Lab {
            workers: (0..workers).map(|id| Worker::new(settings(id), Arc::clone(&snapshot))).collect(),
            wires: Wires { rings, ..Wires::default() },
            snapshot,
            node,
            seed,
            step: 0,
        })
    }

    /// Runs under another configuration; gives the number of what sessions are judged under.
    pub fn configure(&mut self, config: &Config) -> Result<u32, String> {
        let now = self.now();
        self.snapshot = Arc::new(compiled(config, &self.node, Some(&self.snapshot), now)?);
        for worker in &mut self.workers {
            worker.adopt(Arc::clone(&self.snapshot));
        }
        Ok(self.snapshot.judged)
    }

    /// What sessions are judged under.
    pub fn judged(&self) -> u32 {
        self.snapshot.judged
    }

    /// The snapshot that all workers run under.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The workers' time.
    pub fn now(&self) -> Tick {
        self.workers.first().map_or(Tick(0), Worker::now)
    }

    /// One step's choices are the same whatever worker makes them.
    fn begin(&mut self) {
        self.step += 1;
        let seed = mix(self.seed ^ mix(self.step));
        for worker in &mut self.workers {
            worker.seed(seed);
        }
    }

    /// A frame arrives; by which worker's queue is drawn from the step.
    pub fn receive(&mut self, device: u8, frame: &[u8]) -> Output {
        self.begin();
        let at = (mix(self.seed ^ self.step) % self.workers.len().max(1) as u64) as u16;
        self.wires.me = at;
        if let Some(worker) = self.workers.get_mut(usize::from(at)) {
            worker.receive(device, [HeapBuf::from_frame(frame)], &mut self.wires);
        }
        self.settle()
    }

    /// Time goes on to `now`.
    pub fn tick(&mut self, now: u32) -> Output {
        self.begin();
        for at in 0..self.workers.len() {
            self.wires.me = at as u16;
            if let Some(worker) = self.workers.get_mut(at) {
                while worker.tick(Tick(now), &mut self.wires) {}
            }
        }
        self.settle()
    }

    /// Delivers hand-overs and news until all workers are quiet.
    fn settle(&mut self) -> Output {
        loop {
            let mut quiet = true;
            for (from, neighbour) in std::mem::take(&mut self.wires.news) {
                for at in (0..self.workers.len() as u16).filter(|at| *at != from) {
                    quiet = false;
                    self.wires.me = at;
                    if let Some(worker) = self.workers.get_mut(usize::from(at)) {
                        worker.hear(neighbour, &mut self.wires);
                    }
                }
            }
            for at in 0..self.workers.len() {
                let Some(packets) = self.wires.rings.get_mut(at).map(std::mem::take) else { continue };
                if packets.is_empty() {
                    continue;
                }
                quiet = false;
                self.wires.me = at as u16;
                if let Some(worker) = self.workers.get_mut(at) {
                    worker.accept(packets, &mut self.wires);
                }
            }
            if quiet {
                return std::mem::take(&mut self.wires.out);
            }
        }
    }

    /// Counters of all workers together.
    pub fn total(&self) -> Counters {
        let mut all = Counters::default();
        self.workers.iter().for_each(|w| all.add(w.counters()));
        all
    }

    /// Packets that came in and did not end, or ended twice, over all workers; zero when quiet. What is
    /// handed over must have arrived.
    pub fn conservation_error(&self) -> i64 {
        let all = self.total();
        let each: i64 = self.workers.iter().map(|w| w.counters().conservation_error().abs()).sum();
        each + (all.handed_out as i64 - all.handed_in as i64).abs()
    }

    /// Counters by the reference's names, zeros left out.
    pub fn counters(&self) -> BTreeMap<&'static str, u64> {
        let all = self.total();
        let mut named = BTreeMap::from([
            ("received", all.received),
            ("originated", all.originated),
            ("sent", all.sent),
            ("punted", all.punted),
            ("held", all.held),
        ]);
        for reason in DropReason::ALL {
            named.insert(reason.name(), all.dropped(*reason));
        }
        named.retain(|_, n| *n > 0);
        named
    }

    /// Live sessions over all workers.
    pub fn sessions(&self) -> usize {
        self.workers.iter().map(|w| w.nat().counts().sessions as usize).sum()
    }

    /// The workers.
    pub fn workers(&self) -> &[Worker<HeapBuf>] {
        &self.workers
    }
}

impl Oracle for Lab {
    fn session(&mut self, space: Space, key: &Tuple) -> Option<(Tuple, Tuple)> {
        let space = match space {
            Space::Egress => nat::Space::Egress,
            Space::Inbound => nat::Space::Inbound,
            Space::Ingress => nat::Space::Ingress,
        };
        self.workers.iter_mut().find_map(|worker| {
            let now = worker.now();
            let hit = worker.nat_mut().lookup(space, key, now)?;
            let view = worker.nat().session(hit.session)?;
            Some((view.original, view.reply))
        })
    }
}

fn compiled(
    config: &Config,
    node: &NodeFacts,
    previous: Option<&Snapshot>,
    now: Tick,
) -> Result<Snapshot, String> {
    compile(config, node, &Health::default(), previous, now)
        .map_err(|errors| errors.iter().map(|e| format!("{e}")).collect::<Vec<_>>().join("\n"))
}
