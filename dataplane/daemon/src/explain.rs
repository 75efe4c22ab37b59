//! The engine's facts about a packet, put into words.

use std::net::IpAddr;

use engine::{DropReason, Explanation as Facts, Fact, Outcome, Task};
use nat::{Tick, WorkerId};
use policy::{Access, Action, NoMatch};
use server::{DropCount, Explanation, Fate, Step};
use snapshot::Snapshot;
use wire::Tuple;

use crate::sessions::{endpoint, status};

/// A drop reason with its count.
pub(crate) fn drop_count(reason: DropReason, packets: u64) -> DropCount {
    DropCount {
        reason: reason.name().to_owned(),
        stage: format!("{:?}", reason.stage()).to_lowercase(),
        cause: reason.cause().to_owned(),
        remedy: reason.remedy().to_owned(),
        packets,
    }
}

fn step(stage: &str, matched: bool, text: String) -> Step {
    Step { stage: stage.to_owned(), matched, text, ..Step::default() }
}

/// Collects what `facts` say.
pub(crate) fn words(facts: &Facts, worker: WorkerId, snapshot: &Snapshot, now: Tick) -> Explanation {
    let mut out = Explanation {
        fate: Fate::Drop,
        steps: Vec::new(),
        worker: worker.0,
        generation: snapshot.generation,
        session: None,
        source: None,
        destination: None,
        egress_port: None,
        next_hop: None,
        next_hop_mac: None,
        dropped: None,
        policy: None,
        pool: None,
        backend: None,
    };
    for fact in &facts.facts {
        tell(&mut out, fact, worker, snapshot, now);
    }
    match facts.outcome {
        Outcome::Forward { source, destination } => {
            out.fate = Fate::Forward;
            out.source = Some(endpoint(source));
            out.destination = Some(endpoint(destination));
        }
        Outcome::Punt => {
            out.fate = Fate::Punt;
            out.steps.push(step("local", true, "The gateway itself answers it.".to_owned()));
        }
        Outcome::Hold => {
            out.fate = Fate::Hold;
            out.steps.push(step("forward", true, "It waits until the next hop answers ARP.".to_owned()));
        }
        Outcome::Drop(reason) => out.dropped = Some(drop_count(reason, 0)),
        Outcome::Ask(other) => {
            out.steps.push(step("owner", false, format!("Worker {} owns its flow.", other.0)));
        }
    }
    out
}

fn tell(out: &mut Explanation, fact: &Fact, worker: WorkerId, snapshot: &Snapshot, now: Tick) {
    let port_name = |id: u8| snapshot.port(id).map_or_else(|| format!("port {id}"), |port| port.name.clone());
    match fact {
        Fact::Arrives { port } => {
            let side = snapshot.port(*port).map_or("?", |p| side_name(p.side));
            out.steps.push(step("arrive", true, format!("It arrives by {} ({side}).", port_name(*port))));
        }
        Fact::Owner { worker, task } => {
            let what = match task {
                Task::Egress => "as a flow of its inside address",
                Task::Balanced => "as a flow to a VIP",
                Task::BalancedReply => "as a backend's reply, if it is one",
                Task::Inbound => "as a packet to an outside address",
                Task::Return => "as a reply to another inside host, if it is one",
                Task::Meet | Task::Resolve => "on its way",
            };
            out.steps.push(step("owner", true, format!("Worker {} owns it {what}.", worker.0)));
        }
        Fact::Session(view) => {
            let session = status(view, worker, snapshot, now);
            let text = format!(
                "It belongs to a session: {} {} > {}, {}.",
                view.protocol(),
                view.original.source,
                view.original.destination,
                session.state
            );
            out.policy = Some(session.policy.clone()).filter(|name| !name.0.is_empty());
            out.session = Some(session);
            out.steps.push(step("session", true, text));
        }
        Fact::SessionEnds => {
            let text = "The session would end: the configuration allows it no more.".to_owned();
            out.steps.push(step("session", false, text));
        }
        Fact::Policy(key) => {
            egress(out, key, snapshot);
            access(out, key, snapshot);
        }
        Fact::Static(to) => {
            out.steps.push(step("nat", true, format!("A StaticMapping translates it to {to}.")));
        }
        Fact::Pool { pool, leased, blocks } => {
            let name = snapshot.pool_by_id(*pool).and_then(|n| snapshot.pool_name(n));
            if let Some((origin, name)) = name {
                out.pool = Some(name.clone());
                out.steps.push(Step {
                    stage: "nat".to_owned(),
                    object: format!("EgressPool/{}", name.0),
                    origin: origin.0.to_string(),
                    matched: true,
                    text: format!(
                        "Its source is taken from this pool: {leased} of {blocks} blocks are leased."
                    ),
                });
            }
        }
        Fact::Vip(vip) => out.steps.push(step("balance", true, format!("{vip} is a service's address."))),
        Fact::Backend(backend) => {
            out.backend = Some(endpoint(*backend));
            out.steps.push(step("balance", true, format!("A new flow goes to backend {backend}.")));
        }
        Fact::AnyBackend => {
            let text = "Backends are taken in turn or by load: one of them is shown.".to_owned();
            out.steps.push(step("balance", true, text));
        }
        Fact::NextHop { port, address, mac } => {
            out.egress_port = Some(port_name(*port));
            out.next_hop = Some(IpAddr::V4(*address));
            out.next_hop_mac = mac.map(|mac| mac.to_string());
            let known = mac.map_or_else(|| "not resolved yet".to_owned(), |mac| mac.to_string());
            let text = format!("It leaves by {} to {address} ({known}).", port_name(*port));
            out.steps.push(step("forward", true, text));
        }
    }
}

fn side_name(side: nat::Side) -> &'static str {
    match side {
        nat::Side::Inside => "inside",
        nat::Side::Outside => "outside",
    }
}

fn why(no: &NoMatch) -> String {
    match no {
        NoMatch::Source => "its `from` does not hold the source".to_owned(),
        NoMatch::SourceExcepted(net) => format!("its `from` excepts the source ({net})"),
        NoMatch::Destination => "its `to` does not hold the destination".to_owned(),
        NoMatch::DestinationExcepted(net) => format!("its `to` excepts the destination ({net})"),
        NoMatch::Ports => "its `ports` do not hold protocol and port".to_owned(),
    }
}

fn egress(out: &mut Explanation, key: &Tuple, snapshot: &Snapshot) {
    let (from, to) = (key.source.address, key.destination.address);
    let explained = snapshot.egress.explain(from, to, key.protocol, key.destination.port);
    for passed in &explained.passed {
        out.steps.push(Step {
            stage: "policy".to_owned(),
            object: format!("EgressPolicy/{}", passed.name.0),
            origin: passed.origin.0.to_string(),
            matched: false,
            text: format!("No match: {}.", why(&passed.why)),
        });
    }
    match explained.rule {
        Some(rule) => {
            out.policy = Some(rule.name.clone());
            let does = match rule.action {
                Action::Snat { .. } => "translates the source",
                Action::Direct => "lets it pass untranslated",
                Action::Deny => "denies it",
            };
            out.steps.push(Step {
                stage: "policy".to_owned(),
                object: format!("EgressPolicy/{}", rule.name.0),
                origin: rule.origin.0.to_string(),
                matched: true,
                text: format!("Matches, and {does}."),
            });
        }
        None => out.steps.push(step("policy", false, "No EgressPolicy matches.".to_owned())),
    }
}

fn access(out: &mut Explanation, key: &Tuple, snapshot: &Snapshot) {
    let (from, to) = (key.source.address, key.destination.address);
    let explained = snapshot.access.explain(from, to, key.protocol, key.destination.port);
    for origin in &explained.origins {
        for policy in &origin.policies {
            let text = match (policy.allows, policy.rules.first()) {
                (true, _) => "Allows it.".to_owned(),
                (false, None) => "Selects the source and allows nothing.".to_owned(),
                (false, Some(first)) => format!("Does not allow it: {}.", why(first)),
            };
            out.steps.push(Step {
                stage: "policy".to_owned(),
                object: format!("AccessPolicy/{}", policy.name.0),
                origin: origin.origin.0.to_string(),
                matched: policy.allows,
                text,
            });
        }
    }
    let text = match explained.access {
        Access::Free => "No AccessPolicy speaks of the source.",
        Access::Allowed => "Every origin with AccessPolicies for the source allows it.",
        Access::Denied => "An origin's AccessPolicies select the source and none allows it.",
        Access::Pending => "The source lies in an AccessGuard and has no AccessPolicy yet.",
    };
    out.steps.push(step("policy", explained.access.passes(), text.to_owned()));
}
