//! Ports, pools, backends and VIPs as the API shows them.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use engine::{BackendOf, VipPort};
use hoststack::TargetKey;
use lb::Standing;
use model::PortRange;
use server::{BackendLife, BackendStatus, PoolStatus, PortStatus, VipStatus};
use snapshot::{BalancedService, Snapshot};

use crate::desk::Worker;
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
    let asked = Arc::new(ids);
    let by_worker = edge.each(move |worker| {
        let nat = worker.nat();
        asked.iter().map(|id| nat.pool_usage(*id)).collect::<Vec<_>>()
    });
    let show = |(number, pool): (usize, &Arc<nat::Pool>)| {
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

/// What `count` says of each of `asked`, summed over the workers.
fn sums<K: Copy + Eq + Hash + Send + Sync + 'static, const N: usize>(
    edge: &Edge,
    asked: Vec<K>,
    count: impl Fn(&Worker, &K) -> [u64; N] + Clone + Send + 'static,
) -> HashMap<K, [u64; N]> {
    let asked = Arc::new(asked);
    let keys = Arc::clone(&asked);
    let by_worker = edge.each(move |worker| keys.iter().map(|key| count(worker, key)).collect::<Vec<_>>());
    let mut sums = HashMap::new();
    for counts in by_worker {
        for (key, counts) in asked.iter().zip(counts) {
            let sum = sums.entry(*key).or_insert([0; N]);
            sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
    }
    sums
}

fn backend_of(service: &BalancedService, backend: &lb::Backend) -> BackendOf {
    BackendOf { service: service.id(), id: backend.id, address: backend.address, port: backend.port }
}

/// Live and ever opened sessions of each backend over all workers.
fn backend_sessions(edge: &Edge, snapshot: &Snapshot) -> HashMap<BackendOf, [u64; 2]> {
    let of = |s: &'_ Arc<BalancedService>| {
        s.service.backends().iter().map(|b| backend_of(s, b)).collect::<Vec<_>>()
    };
    let asked = snapshot.services().iter().flat_map(of).collect();
    sums(edge, asked, |worker, backend| {
        let live = worker.nat().backend_sessions(nat::BackendId(backend.id.0));
        [u64::from(live), worker.opened().to_backend(backend)]
    })
}

/// Every service port of every VIP.
fn vip_ports(service: &BalancedService) -> Vec<(VipPort, PortRange)> {
    let mut found = Vec::new();
    for vip in &service.written().vips {
        let IpAddr::V4(address) = *vip else { continue };
        for port in &service.written().ports {
            let (protocol, first) = (port.protocol, port.ports.first);
            found.push((VipPort { service: service.id(), address, protocol, first }, port.ports));
        }
    }
    found
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
            let [live, opened] = sessions.get(&backend_of(service, backend)).copied().unwrap_or_default();
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
                sessions: live,
                sessions_opened: opened,
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
    let asked = snapshot.services().iter().flat_map(|s| vip_ports(s)).map(|(vip, _)| vip).collect();
    let opened = sums(edge, asked, |worker, vip| [worker.opened().by_vip(vip)]);
    let mut shown = Vec::new();
    for service in snapshot.services() {
        let backends = service.service.backends();
        let live = backends.iter().filter_map(|b| sessions.get(&backend_of(service, b)));
        let live: u64 = live.map(|[live, _]| live).sum();
        let members = service.service.members().len();
        let healthy = backends.iter().filter(|b| b.healthy).count();
        let threshold = usize::from(service.written().panic_threshold);
        let panic = service.health_check().is_some()
            && healthy < backends.len()
            && healthy * 100 < threshold * backends.len();
        for (vip, ports) in vip_ports(service) {
            shown.push(VipStatus {
                origin: service.origin.clone(),
                load_balancer: service.name.clone(),
                address: IpAddr::V4(vip.address),
                protocol: vip.protocol,
                ports,
                backends: members as u32,
                sessions: live,
                sessions_opened: opened.get(&vip).map_or(0, |[opened]| *opened),
                panic,
            });
        }
    }
    shown
}
