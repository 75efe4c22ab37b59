//! A snapshot compiled from its predecessor says what one compiled from nothing says, whatever
//! the way that led to it; and the endpoints it knows are those of a model that tells each
//! backend's life in a few lines.

mod support;

use std::collections::BTreeMap;

use lb::Flow;
use model::BackendState;
use nat::Tick;
use proptest::prelude::*;
use snapshot::{BackendKey, Snapshot, compile};
use support::*;
use wire::{Endpoint, Protocol};

const DRAIN: u32 = 300;

/// One change to the Config, to health or to time.
#[derive(Clone, Debug)]
enum Step {
    /// Service, its port kind, its backends with their states.
    Write(u8, u8, Vec<(u8, BackendState)>),
    Remove(u8),
    Health(u8, u8, bool),
    Wait(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        3 => Just(BackendState::Active),
        1 => Just(BackendState::Draining),
        1 => Just(BackendState::Down)
    ];
    prop_oneof![
        5 => (0u8..4, 0u8..3, proptest::collection::btree_map(0u8..6, state, 0..6))
            .prop_map(|(s, kind, b)| Step::Write(s, kind, b.into_iter().collect())),
        1 => (0u8..4).prop_map(Step::Remove),
        2 => (0u8..4, 0u8..6, any::<bool>()).prop_map(|(s, b, h)| Step::Health(s, b, h)),
        2 => (0u32..400).prop_map(Step::Wait),
    ]
}

fn address(backend: u8) -> String {
    format!("10.0.0.{}", 10 + backend)
}

fn write(lab: &mut Lab, service: u8, kind: u8, backends: &[(u8, BackendState)]) {
    let addresses: Vec<String> = backends.iter().map(|(b, _)| address(*b)).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let written = lab.balance(&format!("s{service}"), &format!("203.0.113.{service}"), &addresses);
    for (backend, (_, state)) in written.backends.iter_mut().zip(backends) {
        backend.state = *state;
    }
    written.ports = match kind {
        0 => vec![service_port(80, 80, Some(8080))],
        1 => vec![service_port(80, 80, None), service_port(90, 99, None)],
        _ => vec![service_port(0, 65535, None)],
    };
}

/// A backend's life in the model.
#[derive(Clone, Copy, PartialEq)]
enum Life {
    Serving,
    Draining(u32),
    Down,
}

type Lives = BTreeMap<(u8, u8), Life>;

/// What compiling at `now` makes of the lives.
fn live(lives: &mut Lives, lab: &Lab, now: u32) {
    let objects = lab.config.origins.get(&origin("operator"));
    let mut next = Lives::new();
    for service in 0..4u8 {
        let Some(written) = objects.and_then(|o| o.load_balancers.get(&name(&format!("s{service}")))) else {
            continue;
        };
        for backend in 0..6u8 {
            let before = lives.get(&(service, backend)).copied();
            let stands = written.backends.iter().find(|b| b.address.to_string() == address(backend));
            let life = match (stands.map(|b| b.state), before) {
                (None, None | Some(Life::Down)) => continue,
                (Some(BackendState::Active), _) => Life::Serving,
                (Some(BackendState::Down), _) => Life::Down,
                (_, Some(Life::Draining(since))) => Life::Draining(since),
                (Some(BackendState::Draining), Some(Life::Down)) => Life::Down,
                _ => Life::Draining(now),
            };
            match life {
                Life::Draining(since) if now >= since + DRAIN * 10 => {
                    if stands.is_some() {
                        next.insert((service, backend), Life::Down);
                    }
                }
                life => drop(next.insert((service, backend), life)),
            }
        }
    }
    *lives = next;
}

/// Which backend each of some flows to the services gets.
fn chosen(snapshot: &Snapshot) -> Vec<Option<Endpoint>> {
    let flows = (0..4u8).flat_map(|s| (0..40u16).map(move |p| (s, p)));
    flows
        .map(|(service, port)| {
            let vip = at(&format!("203.0.113.{service}:{}", [80, 95][usize::from(port % 2)]));
            let flow = Flow { protocol: Protocol::TCP, client: Endpoint::new(v4("192.0.2.1"), port), vip };
            let hit = snapshot.vip(Protocol::TCP, vip)?;
            hit.service.service.named(&flow).map(|b| hit.endpoint(b, vip.port))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_does_not_matter_how_a_config_was_come_to(steps in proptest::collection::vec(step(), 1..25)) {
        let mut lab = Lab::new();
        let mut lives = Lives::new();
        for step in steps {
            match &step {
                Step::Write(service, kind, backends) => write(&mut lab, *service, *kind, backends),
                Step::Remove(service) => drop(lab.objects().load_balancers.remove(&name(&format!("s{service}")))),
                Step::Health(service, backend, healthy) => {
                    let key = BackendKey { address: v4(&address(*backend)), port: None };
                    lab.health.note(&origin("operator"), &name(&format!("s{service}")), key, *healthy);
                }
                Step::Wait(seconds) => lab.now = Tick(lab.now.0 + seconds * 10),
            }
            lab.applied();
            live(&mut lives, &lab, lab.now.0);
            let carried = lab.snapshot.as_ref().unwrap();

            // Down after a drain is remembered; written as such, a fresh compilation must agree.
            let mut config = lab.config.clone();
            for ((service, backend), _) in lives.iter().filter(|(_, life)| **life == Life::Down) {
                let objects = config.origins.get_mut(&origin("operator")).unwrap();
                let written = objects.load_balancers.get_mut(&name(&format!("s{service}"))).unwrap();
                for b in written.backends.iter_mut().filter(|b| b.address.to_string() == address(*backend)) {
                    b.state = BackendState::Down;
                }
            }
            let fresh = compile(&config, &lab.node, &lab.health, None, lab.now).unwrap();
            prop_assert_eq!(chosen(carried), chosen(&fresh));

            for backend in 0..6u8 {
                for port in [79u16, 80, 90, 99, 100, 8080] {
                    let serves = |service: u8| {
                        let ports = &lab.config.origins[&origin("operator")].load_balancers
                            [&name(&format!("s{service}"))].ports;
                        ports.iter().any(|p| match p.target_port {
                            Some(target) => target == port,
                            None => (p.ports.first..=p.ports.last).contains(&port),
                        })
                    };
                    let known = lives.iter().any(|(&(service, b), life)| {
                        b == backend && *life != Life::Down && serves(service)
                    });
                    let endpoint = Endpoint::new(v4(&address(backend)), port);
                    prop_assert_eq!(carried.is_backend(Protocol::TCP, endpoint), known, "{}", endpoint);
                    prop_assert!(!carried.is_backend(Protocol::UDP, endpoint));
                }
            }
            // Numbers lead back to their owners.
            for service in carried.services() {
                prop_assert_eq!(&carried.service(service.id()).unwrap().name, &service.name);
                for backend in service.service.backends() {
                    prop_assert_eq!(service.service.backend(backend.id), Some(backend));
                    prop_assert!(backend.id.0 < carried.bounds().1);
                }
            }
        }
    }
}
