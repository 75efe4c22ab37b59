//! Ports, pools, backends and VIPs as the API shows them.

use std::collections::HashMap;
use std::net::IpAddr;

use hoststack::TargetKey;
use lb::Standing;
use server::{BackendLife, BackendStatus, PoolStatus, PortStatus, VipStatus};
use snapshot::{BalancedService, Snapshot};

use crate::devices::Device;
use crate::gateway::Edge;
use crate::host::service_key;

/// Every port. Counters are the device's: ports that share one show the same.
pub(crate) fn ports(snapshot: &Snapshot, devices: &[Device]) -> Vec<PortStatus> {
    let show = |port: &snapshot::Port| {
        let device = devices.get(usize::from(port.device))?;
        let stats = device.stats();
        Some(PortStatus {
            name: port.name.clone(),
            side: match port.side {
                nat::Side::Inside => model::Side::Inside,
                nat::Side::Outside => model::Side::Outside,
            },
            up: device.link().up,
            device: device.name().to_owned(),
            mac: port.mac.to_string(),
            mtu: port.mtu,
            addresses: port.addresses.iter().map(ToString::to_string).collect(),
            received_packets: stats.rx_packets,
            received_bytes: stats.rx_bytes,
            sent_packets: stats.tx_packets,
            sent_bytes: stats.tx_bytes,
            missed: stats.rx_missed + stats.rx_no_mbuf,
            errors: stats.rx_errors + stats.tx_errors,
        })
    };
    snapshot.ports().iter().filter_map(show).collect()
}

/// Every pool.
pub(crate) fn pools(edge: &Edge, snapshot: &Snapshot) -> Vec<PoolStatus> {
    let ids: Vec<_> = snapshot.pools.iter().map(|pool| pool.id).collect();
    let asked = std::sync::Arc::new(ids);
    let by_worker = edge.each(move |worker| {
        let nat = worker.nat();
        asked.iter().map(|id| nat.pool_usage(*id)).collect::<Vec<_>>()
    });
    let show = |(number, pool): (usize, &std::sync::Arc<nat::Pool>)| {
        let (origin, name) = snapshot.pool_name(policy::PoolNumber(number as u32))?;
        let usage = pool.usage();
        let of = |f: fn(&nat::PoolUsage) -> u64| {
            by_worker.iter().filter_map(|worker| worker.get(number)).map(f).sum::<u64>()
        };
        let size = pool.addresses.first().map_or(0, |a| u64::from(a.leases.layout().size()));
        let blocks = u64::from(usage.blocks);
        let shortages = nat::PortShortage::ALL.iter().enumerate().map(|(i, reason)| {
            let packets = by_worker.iter().filter_map(|w| w.get(number)).map(|u| u.out_of_ports[i]).sum();
            (reason.name().to_owned(), packets)
        });
        Some(PoolStatus {
            origin: origin.clone(),
            name: name.clone(),
            addresses: pool.addresses.len() as u32,
            blocks,
            blocks_leased: u64::from(usage.leased),
            ports: blocks * size,
            ports_in_use: of(|u| u.ports.iter().map(|n| u64::from(*n)).sum()),
            mappings: of(|u| u.ports.iter().map(|n| u64::from(*n)).sum()),
            sessions: of(|u| u64::from(u.sessions)),
            subscribers: of(|u| u64::from(u.subscribers)),
            out_of_ports: shortages.filter(|(_, packets)| *packets > 0).collect(),
            exhausted_in: edge.trend.exhausted_in(pool.id, usage, edge.clock.elapsed()),
        })
    };
    snapshot.pools.iter().enumerate().filter_map(show).collect()
}

/// Live sessions of each backend over all workers, by number.
fn backend_sessions(edge: &Edge, snapshot: &Snapshot) -> HashMap<u32, u64> {
    let backends = snapshot.services().iter().flat_map(|s| s.service.backends());
    let ids = std::sync::Arc::new(backends.map(|b| b.id.0).collect::<Vec<_>>());
    let asked = std::sync::Arc::clone(&ids);
    let by_worker = edge.each(move |worker| {
        let nat = worker.nat();
        asked.iter().map(|id| nat.backend_sessions(nat::BackendId(*id))).collect::<Vec<_>>()
    });
    let mut sums = HashMap::new();
    for counts in by_worker {
        for (id, n) in ids.iter().zip(counts) {
            *sums.entry(*id).or_insert(0) += u64::from(n);
        }
    }
    sums
}

/// Every backend of every service.
pub(crate) fn backends(edge: &Edge, snapshot: &Snapshot) -> Vec<BackendStatus> {
    let sessions = backend_sessions(edge, snapshot);
    let mut shown = Vec::new();
    for service in snapshot.services() {
        for backend in service.service.backends() {
            let at = service.checked_at(backend);
            let target = TargetKey {
                service: service_key(&service.origin, &service.name),
                address: at.address,
                port: at.port,
            };
            let problem = edge.findings.of(&target).filter(|_| !backend.healthy);
            shown.push(BackendStatus {
                origin: service.origin.clone(),
                load_balancer: service.name.clone(),
                address: IpAddr::V4(backend.address),
                port: backend.port.or_else(|| target_port(service)).unwrap_or(0),
                state: match backend.standing {
                    Standing::Filling(_) => BackendLife::Filling,
                    Standing::Active => BackendLife::Active,
                    Standing::Draining => BackendLife::Draining,
                    Standing::Down => BackendLife::Down,
                },
                weight: backend.weight,
                healthy: service.health_check().map(|_| backend.healthy),
                sessions: sessions.get(&backend.id.0).copied().unwrap_or(0),
                sessions_opened: 0,
                problem: problem.map_or_else(String::new, |found| found.to_string()),
            });
        }
    }
    shown
}

/// Port that traffic of the first service port goes to.
fn target_port(service: &BalancedService) -> Option<u16> {
    let first = service.written().ports.first()?;
    first.target_port.or((first.ports.first == first.ports.last).then_some(first.ports.first))
}

/// Every service address and port.
pub(crate) fn vips(edge: &Edge, snapshot: &Snapshot) -> Vec<VipStatus> {
    let sessions = backend_sessions(edge, snapshot);
    let mut shown = Vec::new();
    for service in snapshot.services() {
        let backends = service.service.backends();
        let live: u64 = backends.iter().filter_map(|b| sessions.get(&b.id.0)).sum();
        let members = service.service.members().len();
        let healthy = backends.iter().filter(|b| b.healthy).count();
        let threshold = usize::from(service.written().panic_threshold);
        let panic = service.health_check().is_some()
            && healthy < backends.len()
            && healthy * 100 < threshold * backends.len();
        for address in &service.written().vips {
            for port in &service.written().ports {
                shown.push(VipStatus {
                    origin: service.origin.clone(),
                    load_balancer: service.name.clone(),
                    address: *address,
                    protocol: port.protocol,
                    ports: port.ports,
                    backends: members as u32,
                    sessions: live,
                    sessions_opened: 0,
                    panic,
                });
            }
        }
    }
    shown
}
