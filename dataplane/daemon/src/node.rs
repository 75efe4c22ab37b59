//! The machine and the node file, as facts for the snapshot.

use ipnet::{IpNet, Ipv4Net};
use model::{Attachment, Node, PortSpec, Workers};
use nat::Side;
use snapshot::{NodeFacts, Port, PortId};
use wire::MacAddr;

/// MTU of a port whose device does not say.
const MTU: u16 = 1_500;

/// CPUs that this process may run on, ascending.
pub(crate) fn cpus() -> Vec<u16> {
    allowed("/proc/self/status").unwrap_or_default()
}

fn allowed(path: &str) -> Option<Vec<u16>> {
    let status = std::fs::read_to_string(path).ok()?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    Some(ranges(list))
}

/// A list like `0-2,5`.
fn ranges(list: &str) -> Vec<u16> {
    let mut all = Vec::new();
    for part in list.trim().split(',').filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
            all.extend(first..=last);
        }
    }
    all
}

/// CPUs of the workers: those named, or with `auto` all isolated ones, else all but the first.
pub(crate) fn worker_cpus(workers: &Workers) -> Vec<u16> {
    match workers {
        Workers::Cpus(cpus) => cpus.clone(),
        Workers::Auto => {
            let there = cpus();
            let isolated = std::fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
            let isolated: Vec<u16> = ranges(&isolated).into_iter().filter(|c| there.contains(c)).collect();
            match (isolated.is_empty(), there.len()) {
                (false, _) => isolated,
                (true, 0 | 1) => there,
                (true, _) => there[1..].to_vec(),
            }
        }
    }
}

/// What is known of the device behind a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceFacts {
    /// Its hardware address.
    pub(crate) mac: MacAddr,
    /// Its MTU, if it says.
    pub(crate) mtu: Option<u16>,
}

/// The attachments of the ports, each once, in order: the devices. VLAN ports share theirs.
pub(crate) fn attachments(node: &Node) -> Vec<&Attachment> {
    let mut all: Vec<&Attachment> = Vec::new();
    for port in &node.ports {
        if !all.contains(&&port.attachment) {
            all.push(&port.attachment);
        }
    }
    all
}

/// The facts of a node whose devices, in the order of [`attachments`], are as told.
pub(crate) fn facts(node: &Node, devices: &[DeviceFacts]) -> NodeFacts {
    let attachments = attachments(node);
    let port = |(number, spec): (usize, &PortSpec)| {
        let device = attachments.iter().position(|a| **a == spec.attachment).unwrap_or(0);
        let known = devices.get(device);
        Port {
            id: PortId(number as u8),
            name: spec.name.clone(),
            side: match spec.side {
                model::Side::Inside => Side::Inside,
                model::Side::Outside => Side::Outside,
            },
            device: device as u8,
            vlan: spec.vlan,
            mac: known.map_or(MacAddr::ZERO, |d| d.mac),
            mtu: spec.mtu.or(known.and_then(|d| d.mtu)).unwrap_or(MTU),
            addresses: spec.addresses.iter().filter_map(v4).collect(),
        }
    };
    NodeFacts {
        name: name(node),
        ports: node.ports.iter().enumerate().map(port).collect(),
        routes: node.routes.clone(),
    }
}

/// The same for `--check`, where no device is opened.
pub(crate) fn facts_without_devices(node: &Node) -> NodeFacts {
    facts(node, &[])
}

fn v4(net: &IpNet) -> Option<Ipv4Net> {
    match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    }
}

/// The node's name, else the host's.
pub(crate) fn name(node: &Node) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    node.name.clone().unwrap_or_else(|| host().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_list_is_read() {
        assert_eq!(ranges("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(ranges(""), Vec::<u16>::new());
    }

    #[test]
    fn auto_leaves_the_first_cpu_to_the_rest_of_the_system() {
        let there = cpus();
        let auto = worker_cpus(&Workers::Auto);
        assert!(!auto.is_empty());
        assert!(there.len() == 1 || !auto.contains(&there[0]) || auto.len() < there.len());
        assert_eq!(worker_cpus(&Workers::Cpus(vec![7])), [7]);
    }
}
