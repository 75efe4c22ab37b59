//! The node file, as written and as parsed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::access::route;
use super::report::{At, Report};
use crate::decode::{decode, documents};
use crate::{
    Api, Attachment, Error, Hugepages, Idle, Listener, Memory, Node, ObjectRef, PortSpec, Side, Tls, Warning,
    Workers, raw,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawNode {
    node: Option<String>,
    workers: Option<Value>,
    idle: Option<String>,
    memory: Option<RawMemory>,
    state: Option<String>,
    ports: Option<Vec<RawPort>>,
    routes: Option<Vec<raw::Route>>,
    api: Option<RawApi>,
    metrics: Option<String>,
    config: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawMemory {
    hugepages: Option<String>,
    sessions: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    side: Option<String>,
    device: Option<String>,
    interface: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
    mtu: Option<u32>,
    vlan: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawApi {
    listen: Option<Vec<String>>,
    tls: Option<RawTls>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawTls {
    cert: String,
    key: String,
    client_ca: String,
}

/// Parses a node file; `file` names it in errors.
///
/// # Errors
/// Everything that is wrong with it, by field.
pub fn node(file: &str, text: &str) -> Result<(Node, Vec<Warning>), Vec<Error>> {
    let object = ObjectRef { origin: None, kind: "node file".to_owned(), name: file.to_owned() };
    let whole = |problem: String, remedy: &str| vec![Error::new(object.clone(), "", "", problem, remedy)];
    let mut documents = documents(text).map_err(|problem| whole(problem, "mend the YAML"))?;
    let value = match (documents.pop(), documents.len()) {
        (Some(value), 0) => value,
        (None, _) => Value::Object(Map::new()),
        (Some(_), more) => {
            return Err(whole(format!("{} documents in one node file", more + 1), "write one document"));
        }
    };
    let mut errors = Vec::new();
    let Some(raw) = decode::<RawNode>(value, "", &object, &mut errors) else { return Err(errors) };
    let mut report = Report::new(&object);
    let node = parsed(&mut report, raw);
    if report.errors.is_empty() { Ok((node, report.warnings)) } else { Err(report.errors) }
}

fn parsed(report: &mut Report<'_>, raw: RawNode) -> Node {
    let root = At::root("");
    let memory = raw.memory.unwrap_or_default();
    let at_memory = root.field("memory");
    let routes = root.field("routes");
    if raw.node.as_deref() == Some("") {
        report.fault(root.field("node"), "", "empty", "write a name, or leave it out for the host's");
    }
    let node = Node {
        name: raw.node,
        workers: workers(report, root.field("workers"), raw.workers.as_ref()),
        idle: report.choice(
            root.field("idle"),
            raw.idle.as_deref(),
            Idle::Adaptive,
            &[("adaptive", Idle::Adaptive), ("spin", Idle::Spin)],
        ),
        memory: Memory {
            hugepages: report.choice(
                at_memory.field("hugepages"),
                memory.hugepages.as_deref(),
                Hugepages::Auto,
                &[("auto", Hugepages::Auto), ("required", Hugepages::Required), ("off", Hugepages::Off)],
            ),
            sessions: report.number(at_memory.field("sessions"), memory.sessions, 1 << 20, 64..=1 << 28),
        },
        state: path(report, root.field("state"), raw.state, "/var/lib/sluice"),
        ports: ports(report, root.field("ports"), raw.ports.unwrap_or_default()),
        routes: raw
            .routes
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(i, it)| route(report, routes.index(i), it))
            .collect(),
        api: api(report, root.field("api"), raw.api.unwrap_or_default()),
        metrics: raw.metrics.and_then(|text| socket(report, root.field("metrics"), &text)),
        config: path(report, root.field("config"), raw.config, "/etc/sluice/config.d"),
    };
    let mut seen = BTreeSet::new();
    for (i, route) in node.routes.iter().enumerate() {
        if !seen.insert(route.to) {
            let remedy = "write all next hops of a destination into one route";
            report.fault(routes.index(i).field("to"), route.to, "named twice", remedy);
        }
    }
    node
}

fn path(report: &mut Report<'_>, at: At<'_>, text: Option<String>, default: &str) -> PathBuf {
    let text = text.unwrap_or_else(|| default.to_owned());
    if text.is_empty() {
        report.fault(at, "", "empty", format!("write a path, as {default}"));
    }
    PathBuf::from(text)
}

fn workers(report: &mut Report<'_>, at: At<'_>, value: Option<&Value>) -> Workers {
    const MOST: usize = 128;
    let remedy = "write a list of CPUs, as [2, 3], or \"auto\"";
    let list = match value {
        None => return Workers::Auto,
        Some(Value::String(word)) if word == "auto" => return Workers::Auto,
        Some(Value::Array(list)) => list,
        Some(other) => {
            report.fault(at, other, "neither a list of CPUs nor auto", remedy);
            return Workers::Auto;
        }
    };
    if list.is_empty() || list.len() > MOST {
        report.fault(at, list.len(), format!("not 1 to {MOST} workers"), remedy);
    }
    let mut seen = BTreeSet::new();
    for (i, value) in list.iter().enumerate() {
        match value.as_u64().and_then(|cpu| u16::try_from(cpu).ok()) {
            Some(cpu) if seen.insert(cpu) => {}
            Some(cpu) => report.fault(at.index(i), cpu, "named twice", "write each CPU once"),
            None => report.fault(at.index(i), value, "not the number of a CPU", remedy),
        }
    }
    Workers::Cpus(list.iter().filter_map(|cpu| cpu.as_u64().map(|cpu| cpu as u16)).collect())
}

fn ports(report: &mut Report<'_>, at: At<'_>, raw: Vec<RawPort>) -> Vec<PortSpec> {
    if raw.is_empty() {
        let remedy = "write at least one port, as {name: in0, side: inside, interface: eth1, addresses: [10.0.0.1/24]}";
        report.fault(at, "", "missing or empty", remedy);
    }
    report.length(at, raw.len(), 64);
    let mut names = BTreeSet::new();
    let mut frames = BTreeSet::new();
    let mut subnets: BTreeMap<IpNet, usize> = BTreeMap::new();
    let mut all = Vec::with_capacity(raw.len());
    for (i, one) in raw.into_iter().enumerate() {
        let here = at.index(i);
        let before = report.errors.len();
        let port = port(report, here, one);
        if report.errors.len() > before {
            continue;
        }
        if !names.insert(port.name.clone()) {
            report.fault(here.field("name"), &port.name, "named twice", "give each port its own name");
        }
        if !frames.insert((port.attachment.clone(), port.vlan)) {
            let (field, value) = match &port.attachment {
                Attachment::Device(device) => ("device", device),
                Attachment::Interface(interface) => ("interface", interface),
            };
            report.fault(
                here.field(field),
                value,
                "used by another port",
                "give each its own device or vlan",
            );
        }
        for (j, address) in port.addresses.iter().enumerate() {
            let subnet = address.trunc();
            let other = subnets.iter().find(|(net, _)| net.contains(&subnet) || subnet.contains(*net));
            if let Some((net, owner)) = other
                && *owner != i
            {
                report.fault(
                    here.field("addresses").index(j),
                    address,
                    format!("its subnet overlaps {net} of ports[{owner}]"),
                    "give each port its own subnet",
                );
            }
            subnets.insert(subnet, i);
        }
        all.push(port);
    }
    all
}

fn port(report: &mut Report<'_>, at: At<'_>, raw: RawPort) -> PortSpec {
    let name = raw.name.unwrap_or_default();
    if name.is_empty() || name.len() > 63 || !name.bytes().all(|b| b.is_ascii_graphic()) {
        report.fault(at.field("name"), &name, "not a name", "write 1 to 63 printable characters, as out0");
    }
    if raw.side.is_none() {
        report.fault(at.field("side"), "", "missing", "write inside or outside");
    }
    let sides = [("inside", Side::Inside), ("outside", Side::Outside)];
    let side = report.choice(at.field("side"), raw.side.as_deref(), Side::Inside, &sides);
    let attachment = match (raw.device, raw.interface) {
        (Some(device), None) if !device.trim().is_empty() => Attachment::Device(device),
        (None, Some(interface)) if !interface.trim().is_empty() => {
            if interface.len() > 15 || interface.contains(['/', ' ']) {
                let remedy = "write the name that `ip link` shows";
                report.fault(at.field("interface"), &interface, "not a name of a kernel interface", remedy);
            }
            Attachment::Interface(interface)
        }
        (device, interface) => {
            let both = device.is_some() && interface.is_some();
            report.fault(
                at.field("device"),
                device.unwrap_or_default(),
                if both { "both device and interface" } else { "neither device nor interface" },
                "write one of device: (what EAL takes) and interface: (a kernel interface)",
            );
            Attachment::Device(String::new())
        }
    };
    PortSpec {
        name,
        side,
        attachment,
        addresses: addresses(report, at.field("addresses"), &raw.addresses),
        mtu: raw.mtu.map(|mtu| report.number(at.field("mtu"), Some(mtu), 1500, 576..=9000) as u16),
        vlan: raw.vlan.map(|vlan| report.number(at.field("vlan"), Some(vlan), 100, 1..=4094) as u16),
    }
}

fn addresses(report: &mut Report<'_>, at: At<'_>, texts: &[String]) -> Vec<IpNet> {
    let mut seen: BTreeSet<IpAddr> = BTreeSet::new();
    let mut all = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        let here = at.index(i);
        let Ok(net) = text.parse::<IpNet>() else {
            report.fault(here, text, "not an address with its prefix length", "write it as 10.0.0.1/24");
            continue;
        };
        report.usable(here, net.addr());
        let ends = net.prefix_len() < 31 && (net.addr() == net.network() || net.addr() == net.broadcast());
        if ends && net.addr().is_ipv4() {
            report.fault(
                here,
                text,
                "the network or broadcast address of its subnet",
                "write a host's address",
            );
        }
        if !seen.insert(net.addr()) {
            report.fault(here, text, "named twice", "write each address once");
        }
        all.push(net);
    }
    all
}

fn socket(report: &mut Report<'_>, at: At<'_>, text: &str) -> Option<SocketAddr> {
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            report.fault(at, text, "not an address with a port", "write it as 127.0.0.1:9441");
            None
        }
    }
}

fn api(report: &mut Report<'_>, at: At<'_>, raw: RawApi) -> Api {
    let texts = raw.listen.unwrap_or_else(|| vec!["unix:///run/sluice/api.sock".to_owned()]);
    let list = at.field("listen");
    if texts.is_empty() {
        report.fault(list, "", "empty", "write where the API listens, or leave it out for the default");
    }
    let listen: Vec<Listener> =
        texts.iter().enumerate().filter_map(|(i, text)| listener(report, list.index(i), text)).collect();
    for (i, listener) in listen.iter().enumerate() {
        if listen[..i].contains(listener) {
            report.fault(list.index(i), &texts[i.min(texts.len() - 1)], "named twice", "write it once");
        }
    }
    let beyond = listen.iter().find_map(|listener| match listener {
        Listener::Tcp(address) if !address.ip().is_loopback() => Some(*address),
        _ => None,
    });
    if let (Some(address), true) = (beyond, raw.tls.is_none()) {
        report.fault(
            at.field("tls"),
            "",
            format!("missing, and {address} of api.listen can be reached from beyond this host"),
            "write tls: {cert, key, clientCa}, or listen on 127.0.0.1 or a Unix socket",
        );
    }
    let tls = raw.tls.map(|tls| Tls {
        cert: path(report, at.field("tls").field("cert"), Some(tls.cert), "/etc/sluice/tls/api.crt"),
        key: path(report, at.field("tls").field("key"), Some(tls.key), "/etc/sluice/tls/api.key"),
        client_ca: path(
            report,
            at.field("tls").field("clientCa"),
            Some(tls.client_ca),
            "/etc/sluice/tls/ca.crt",
        ),
    });
    Api { listen, tls }
}

fn listener(report: &mut Report<'_>, at: At<'_>, text: &str) -> Option<Listener> {
    // sockaddr_un holds 108 octets with the final zero; a name beside the path needs a few more than the path.
    const PATH: usize = 100;
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') && path.len() <= PATH => {
            Some(Listener::Unix(PathBuf::from(path)))
        }
        Some(path) => {
            let problem = match path.len() > PATH {
                true => format!("longer than the {PATH} octets that a socket's path may have"),
                false => "not an absolute path".to_owned(),
            };
            report.fault(at, text, problem, "write it as unix:///run/sluice/api.sock");
            None
        }
        None => {
            let address = text.strip_prefix("tcp://").unwrap_or(text).parse::<SocketAddr>();
            if address.is_err() {
                let remedy = "write unix:///run/sluice/api.sock or 127.0.0.1:9440";
                report.fault(at, text, "not a place to listen on", remedy);
            }
            address.ok().map(Listener::Tcp)
        }
    }
}
