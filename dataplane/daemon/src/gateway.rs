//! What the API asks of the gateway, answered from the workers, the devices and the snapshot.

use std::sync::Arc;

use engine::{Asked, DropReason, Outcome};
use model::{Config, Error, Generation};
use nat::{Cursor, WorkerId};
use server::{
    DropCount, Explanation, Gateway, Identity, PortStatus, Question, SessionCursor, SessionFilter,
    SessionPage, SessionStatus, Totals, WorkerStatus,
};
use snapshot::Snapshot;
use wire::{Endpoint, TcpFlags, Tuple};

use crate::clock::Clock;
use crate::desk::Desk;
use crate::devices::Device;
use crate::explain::{drop_count, words};
use crate::findings::Findings;
use crate::publish::Publisher;
use crate::pulse::Pulse;
use crate::sessions::{protocol_number, status};
use crate::trend::Trend;

/// Session numbers that a worker looks at for one job: some tens of microseconds.
const SCAN: usize = 2_048;

/// One worker, from outside.
pub(crate) struct Seat {
    /// Where jobs go.
    pub(crate) desk: Desk,
    /// What it reports of itself.
    pub(crate) pulse: Arc<Pulse>,
    /// The CPU it is pinned to.
    pub(crate) cpu: u16,
}

/// The gateway behind the API.
pub(crate) struct Edge {
    /// Name of the node.
    pub(crate) node: String,
    /// The time.
    pub(crate) clock: Clock,
    /// Snapshots.
    pub(crate) publisher: Arc<Publisher>,
    /// The workers.
    pub(crate) seats: Vec<Seat>,
    /// The devices behind the ports.
    pub(crate) devices: Vec<Device>,
    /// Why backends fail their checks.
    pub(crate) findings: Arc<Findings>,
    /// How fast pools fill.
    pub(crate) trend: Arc<Trend>,
}

impl Edge {
    /// What `job` finds on every worker that answers.
    pub(crate) fn each<R: Send + 'static>(
        &self,
        job: impl Fn(&mut crate::desk::Worker) -> R + Clone + Send + 'static,
    ) -> Vec<R> {
        self.seats.iter().filter_map(|seat| seat.desk.ask(job.clone())).collect()
    }

    /// Sums of the workers' counters.
    fn counters(&self) -> engine::Counters {
        let mut sum = engine::Counters::default();
        self.each(|worker| worker.counters().clone()).iter().for_each(|c| sum.add(c));
        sum
    }
}

impl Gateway for Edge {
    fn publish(&self, config: Arc<Config>) -> Result<(), Vec<Error>> {
        self.publisher.publish(config, self.clock.tick())
    }

    fn plan(&self, config: &Config) -> Result<(), Vec<Error>> {
        self.publisher.plan(config, self.clock.tick())
    }

    fn applied(&self) -> Generation {
        self.publisher.applied()
    }

    fn not_ready(&self) -> Option<String> {
        if let Some(device) = self.devices.iter().find(|d| !d.link().up) {
            return Some(format!("the link of {} is down", device.name()));
        }
        let silent = self.seats.iter().position(|seat| seat.desk.ask(|_| ()).is_none());
        silent.map(|worker| format!("worker {worker} does not answer"))
    }

    fn identity(&self) -> Identity {
        Identity {
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: self.clock.elapsed(),
        }
    }

    fn workers(&self) -> Vec<WorkerStatus> {
        let report = |(number, seat): (usize, &Seat)| {
            let (counters, counts, memory) = seat
                .desk
                .ask(|worker| (worker.counters().clone(), worker.nat().counts(), worker.nat().memory()))?;
            let pulse = seat.pulse.read();
            Some(WorkerStatus {
                worker: number as u16,
                cpu: seat.cpu,
                generation: self.publisher.generation(number),
                busy: pulse.busy,
                cycles_per_packet: pulse.cycles_per_packet,
                sessions: u64::from(counts.sessions),
                packets: counters.received,
                handed_in: counters.handed_in,
                handed_out: counters.handed_out,
                bursts: pulse.bursts,
                slow_turns: pulse.slow,
                memory: memory as u64,
            })
        };
        self.seats.iter().enumerate().filter_map(report).collect()
    }

    fn totals(&self) -> Totals {
        let c = self.counters();
        let counts = self.each(|worker| worker.nat().counts());
        Totals {
            received: c.received,
            originated: c.originated,
            sent: c.sent,
            handed_off: c.handed_out.saturating_sub(c.handed_in),
            punted: c.punted,
            held: c.held,
            dropped: c.dropped_total(),
            sessions: counts.iter().map(|n| u64::from(n.sessions)).sum(),
            mappings: counts.iter().map(|n| u64::from(n.mappings)).sum(),
            sessions_opened: counts.iter().map(|n| n.opened).sum(),
            sessions_ended: counts.iter().map(|n| n.ended).sum(),
        }
    }

    fn ports(&self) -> Vec<PortStatus> {
        crate::status::ports(&self.publisher.current(), &self.devices)
    }

    fn pools(&self) -> Vec<server::PoolStatus> {
        crate::status::pools(self, &self.publisher.current())
    }

    fn backends(&self) -> Vec<server::BackendStatus> {
        crate::status::backends(self, &self.publisher.current())
    }

    fn vips(&self) -> Vec<server::VipStatus> {
        crate::status::vips(self, &self.publisher.current())
    }

    fn drops(&self) -> Vec<DropCount> {
        let counters = self.counters();
        DropReason::ALL.iter().map(|r| drop_count(*r, counters.dropped(*r))).collect()
    }

    fn sessions(&self, filter: &SessionFilter, cursor: SessionCursor, most: usize) -> SessionPage {
        let snapshot = self.publisher.current();
        let mut page = SessionPage { sessions: Vec::new(), next: Some(cursor) };
        // A page of nothing after a while lets the caller go away.
        for _ in 0..64 {
            let Some(at) = page.next else { break };
            let room = most.saturating_sub(page.sessions.len());
            if room == 0 {
                break;
            }
            page.next = self.some_sessions(&snapshot, filter, at, room, &mut page.sessions);
        }
        page
    }

    fn count_sessions(&self, filter: &SessionFilter) -> u64 {
        if *filter == SessionFilter::default() {
            return self.totals().sessions;
        }
        let snapshot = self.publisher.current();
        let (mut count, mut next) = (0, Some(SessionCursor::default()));
        let mut found = Vec::new();
        while let Some(at) = next {
            next = self.some_sessions(&snapshot, filter, at, SCAN, &mut found);
            count += found.len() as u64;
            found.clear();
        }
        count
    }

    fn kill_sessions(&self, filter: &SessionFilter) -> u64 {
        let snapshot = self.publisher.current();
        let filter = Arc::new(filter.clone());
        let mut killed = 0;
        for (number, seat) in self.seats.iter().enumerate() {
            let id = WorkerId(number as u16);
            let mut next = Some(Cursor(0));
            while let Some(at) = next {
                let (snapshot, filter) = (Arc::clone(&snapshot), Arc::clone(&filter));
                let answer = seat.desk.ask(move |worker| {
                    let (now, mut ended) = (worker.now(), 0);
                    let mut doomed =
                        |view: &nat::SessionView| filter.selects(&status(view, id, &snapshot, now));
                    let next = worker.nat_mut().kill(at, SCAN, &mut doomed, &mut ended);
                    (next, ended)
                });
                let Some((on, ended)) = answer else { break };
                killed += ended as u64;
                next = on;
            }
        }
        killed
    }

    fn explain(&self, question: &Question) -> Result<Explanation, String> {
        let snapshot = self.publisher.current();
        let asked = asked(question, &snapshot)?;
        let mut worker = 0usize;
        // The first worker names the owner, the owner answers.
        for _ in 0..=self.seats.len() {
            let seat = self.seats.get(worker).ok_or("no such worker")?;
            let facts = seat.desk.ask(move |w| (w.explain(&asked), w.now()));
            let (facts, now) = facts.ok_or_else(|| format!("worker {worker} does not answer"))?;
            match facts.outcome {
                Outcome::Ask(owner) if usize::from(owner.0) != worker => worker = usize::from(owner.0),
                _ => return Ok(words(&facts, WorkerId(worker as u16), &snapshot, now)),
            }
        }
        Err("the workers do not agree on an owner: ask again".to_owned())
    }
}

impl Edge {
    /// Sessions from `at` on into `found`, at most `room`; where to go on.
    fn some_sessions(
        &self,
        snapshot: &Arc<Snapshot>,
        filter: &SessionFilter,
        at: SessionCursor,
        room: usize,
        found: &mut Vec<SessionStatus>,
    ) -> Option<SessionCursor> {
        let number = at.worker;
        let next_worker = || {
            let next = number.checked_add(1)?;
            (usize::from(next) < self.seats.len()).then_some(SessionCursor { worker: next, position: 0 })
        };
        let seat = self.seats.get(usize::from(number))?;
        if filter.worker.is_some_and(|only| only != number) {
            return next_worker();
        }
        let from = Cursor(u32::try_from(at.position).unwrap_or(u32::MAX));
        let scan = SCAN.min(room);
        // The worker only copies; names are looked up and filters asked on this thread.
        let (views, next, now) = seat.desk.ask(move |worker| {
            let mut views = Vec::with_capacity(scan);
            let next = worker.nat().walk(from, scan, &mut |view| views.push(view));
            (views, next, worker.now())
        })?;
        let shown = views.iter().map(|view| status(view, WorkerId(number), snapshot, now));
        found.extend(shown.filter(|session| filter.selects(session)));
        match next {
            Some(Cursor(position)) => Some(SessionCursor { worker: number, position: u64::from(position) }),
            None => next_worker(),
        }
    }
}

/// The question in the engine's terms.
fn asked(question: &Question, snapshot: &Snapshot) -> Result<Asked, String> {
    let v4 = |e: server::Endpoint| match e.address {
        std::net::IpAddr::V4(address) => Ok(Endpoint::new(address, e.port)),
        std::net::IpAddr::V6(_) => Err("IPv6 is not served yet: ask about IPv4 addresses".to_owned()),
    };
    let port = match &question.port {
        None => None,
        Some(name) => {
            let found = snapshot.ports().iter().find(|p| p.name == *name);
            let names = || snapshot.ports().iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
            Some(found.ok_or_else(|| format!("no port {name}: there are {}", names()))?.id.0)
        }
    };
    let key = Tuple::new(protocol_number(question.protocol), v4(question.source)?, v4(question.destination)?);
    Ok(Asked {
        key,
        port,
        tcp: TcpFlags(question.tcp_flags),
        length: question.length,
        dont_fragment: question.dont_fragment,
        ttl: question.ttl,
    })
}
