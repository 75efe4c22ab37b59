//! The gateway's counters in the OpenMetrics text format.
//!
//! Cardinality is bounded: nothing has a label by session, subscriber or backend address, and a family
//! that grows with the configuration ends after [`SERIES`] label sets, with the rest counted.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use model::{Kind, text};

use crate::service::side_text;
use crate::{BackendLife, Gateway, PoolStatus, PortStatus, Store, WorkerStatus};

/// The format's media type.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most label sets of one family.
const SERIES: usize = 2000;

/// Upper bounds of the buckets of burst sizes.
const BURSTS: [&str; 7] = ["1", "2", "4", "8", "16", "32", "+Inf"];

/// Everything that is known, as text. Blocks.
pub fn render(store: &Store, gateway: &dyn Gateway) -> String {
    let mut page = Page::default();
    about(&mut page, store, gateway);
    packets(&mut page, gateway);
    ports(&mut page, &gateway.ports());
    pools(&mut page, &gateway.pools());
    services(&mut page, gateway);
    workers(&mut page, &gateway.workers());
    page.end()
}

#[derive(Default)]
struct Page {
    text: String,
    left_out: BTreeMap<&'static str, usize>,
    series: usize,
    family: &'static str,
}

impl Page {
    /// Begins a family. `kind` is the format's word for it.
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        self.series = 0;
        let _ = writeln!(self.text, "# TYPE {name} {kind}\n# HELP {name} {help}");
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        self.series += 1;
        if self.series > SERIES {
            *self.left_out.entry(self.family).or_default() += 1;
            return;
        }
        self.text.push_str(self.family);
        self.text.push_str(suffix);
        for (i, (label, value)) in labels.iter().enumerate() {
            self.text.push(if i == 0 { '{' } else { ',' });
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{label}=\"{value}\"");
        }
        let _ = writeln!(self.text, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample("", &[], value);
    }

    fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample("_total", &[], value);
    }

    fn end(mut self) -> String {
        let left_out = std::mem::take(&mut self.left_out);
        self.family("sluice_metrics_left_out", "gauge", "Series beyond the bound of their family.");
        for (family, count) in left_out {
            self.sample("", &[("family", family)], count);
        }
        self.text.push_str("# EOF\n");
        self.text
    }
}

fn about(page: &mut Page, store: &Store, gateway: &dyn Gateway) {
    let identity = gateway.identity();
    page.family("sluice_build", "info", "Which gateway this is.");
    page.sample("_info", &[("version", &identity.version), ("node", &identity.node)], 1);
    page.family("sluice_uptime_seconds", "gauge", "Time since the program started.");
    page.sample("", &[], identity.uptime.as_secs_f64());
    page.gauge(
        "sluice_ready",
        "Whether ports are up and workers run.",
        u8::from(gateway.not_ready().is_none()),
    );
    let head = store.head();
    page.gauge("sluice_generation", "The accepted generation.", head.config.generation);
    page.gauge("sluice_applied_generation", "The lowest generation that a worker runs.", gateway.applied());
    page.family("sluice_objects", "gauge", "Accepted objects.");
    for (origin, objects) in &head.config.origins {
        for kind in Kind::ALL {
            page.sample("", &[("origin", &origin.0), ("kind", kind.as_str())], objects.count(kind));
        }
    }
    page.family("sluice_applies", "counter", "Changes of the configuration by outcome.");
    for (outcome, count) in ["accepted", "unchanged", "refused"].into_iter().zip(store.counts()) {
        page.sample("_total", &[("outcome", outcome)], count);
    }
}

fn packets(page: &mut Page, gateway: &dyn Gateway) {
    let totals = gateway.totals();
    page.counter("sluice_received_packets", "Packets from ports.", totals.received);
    page.counter("sluice_originated_packets", "Packets that the gateway made itself.", totals.originated);
    page.counter("sluice_sent_packets", "Packets given to ports.", totals.sent);
    page.counter("sluice_punted_packets", "Packets given to the host stack.", totals.punted);
    page.counter("sluice_dropped_packets", "Packets dropped, over all reasons.", totals.dropped);
    page.gauge("sluice_handed_off_packets", "Packets on their way between two workers.", totals.handed_off);
    page.gauge("sluice_held_packets", "Packets that wait for a neighbour or a first fragment.", totals.held);
    page.gauge(
        "sluice_packet_conservation_error",
        "Packets that came less packets that went somewhere; 0 whenever the workers are quiet.",
        totals.conservation_error(),
    );
    page.gauge("sluice_sessions", "Live sessions.", totals.sessions);
    page.gauge("sluice_mappings", "Live mappings.", totals.mappings);
    page.counter("sluice_sessions_opened", "Sessions ever opened.", totals.sessions_opened);
    page.counter("sluice_sessions_ended", "Sessions ever ended.", totals.sessions_ended);
    page.family("sluice_drops", "counter", "Packets dropped, by reason.");
    for drop in gateway.drops() {
        page.sample("_total", &[("reason", &drop.reason), ("stage", &drop.stage)], drop.packets);
    }
}

fn ports(page: &mut Page, ports: &[PortStatus]) {
    let mut family = |name, kind, help, value: fn(&PortStatus) -> u64| {
        page.family(name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for port in ports {
            page.sample(suffix, &[("port", &port.name), ("side", side_text(port.side))], value(port));
        }
    };
    family("sluice_port_up", "gauge", "Whether the port's link is up.", |it| it.up.into());
    family("sluice_port_mtu_bytes", "gauge", "The port's MTU.", |it| it.mtu.into());
    family("sluice_port_received_packets", "counter", "Packets received.", |it| it.received_packets);
    family("sluice_port_received_bytes", "counter", "Octets received.", |it| it.received_bytes);
    family("sluice_port_sent_packets", "counter", "Packets sent.", |it| it.sent_packets);
    family("sluice_port_sent_bytes", "counter", "Octets sent.", |it| it.sent_bytes);
    family("sluice_port_missed_packets", "counter", "Packets that the device lost.", |it| it.missed);
    family("sluice_port_errors", "counter", "Packets that the device found broken.", |it| it.errors);
}

fn pools(page: &mut Page, pools: &[PoolStatus]) {
    let mut family = |name, help, value: fn(&PoolStatus) -> u64| {
        page.family(name, "gauge", help);
        for pool in pools {
            page.sample("", &[("origin", &pool.origin.0), ("pool", &pool.name.0)], value(pool));
        }
    };
    family("sluice_pool_addresses", "Outside addresses.", |it| it.addresses.into());
    family("sluice_pool_blocks", "Port blocks.", |it| it.blocks);
    family("sluice_pool_leased_blocks", "Port blocks that are leased.", |it| it.blocks_leased);
    family("sluice_pool_ports", "Ports of all blocks.", |it| it.ports);
    family("sluice_pool_used_ports", "Ports in use.", |it| it.ports_in_use);
    family("sluice_pool_mappings", "Live mappings.", |it| it.mappings);
    family("sluice_pool_sessions", "Live sessions.", |it| it.sessions);
    family("sluice_pool_subscribers", "Subscribers that have a block.", |it| it.subscribers);
    page.family(
        "sluice_pool_exhaustion_seconds",
        "gauge",
        "Time until no block is free if they are leased on as in the last minute.",
    );
    for pool in pools {
        let labels = [("origin", &*pool.origin.0), ("pool", &*pool.name.0)];
        match pool.exhausted_in {
            Some(time) => page.sample("", &labels, time.as_secs_f64()),
            None => page.sample("", &labels, "+Inf"),
        }
    }
    page.family("sluice_out_of_ports", "counter", "Packets dropped for want of a port.");
    for pool in pools {
        for (reason, count) in &pool.out_of_ports {
            let labels = [("origin", &*pool.origin.0), ("pool", &*pool.name.0), ("reason", reason.as_str())];
            page.sample("_total", &labels, count);
        }
    }
}

fn services(page: &mut Page, gateway: &dyn Gateway) {
    let mut by_state = BTreeMap::new();
    let mut unhealthy = BTreeMap::new();
    for backend in gateway.backends() {
        let service = (backend.origin, backend.load_balancer);
        *unhealthy.entry(service.clone()).or_insert(0u64) += u64::from(backend.healthy == Some(false));
        *by_state.entry((service, backend.state)).or_insert(0u64) += 1;
    }
    page.family("sluice_backends", "gauge", "Backends by state.");
    for (origin, name) in unhealthy.keys() {
        for state in BackendLife::ALL {
            let count = by_state.get(&((origin.clone(), name.clone()), state)).copied().unwrap_or(0);
            let labels = [("origin", &*origin.0), ("load_balancer", &*name.0), ("state", state.as_str())];
            page.sample("", &labels, count);
        }
    }
    page.family("sluice_unhealthy_backends", "gauge", "Backends that fail their checks.");
    for ((origin, name), count) in &unhealthy {
        page.sample("", &[("origin", &*origin.0), ("load_balancer", &*name.0)], count);
    }
    let vips = gateway.vips();
    let mut family = |name, kind, help, value: fn(&crate::VipStatus) -> u64| {
        page.family(name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for vip in &vips {
            let (address, protocol) = (vip.address.to_string(), text::protocol_text(vip.protocol));
            let port = match vip.ports.first == vip.ports.last {
                true => vip.ports.first.to_string(),
                false => text::ports_text(vip.ports),
            };
            let labels = [
                ("origin", &*vip.origin.0),
                ("load_balancer", &*vip.load_balancer.0),
                ("vip", address.as_str()),
                ("protocol", protocol.as_str()),
                ("port", port.as_str()),
            ];
            page.sample(suffix, &labels, value(vip));
        }
    };
    family("sluice_vip_backends", "gauge", "Backends that new sessions may go to.", |it| it.backends.into());
    family("sluice_vip_sessions", "gauge", "Live balanced sessions.", |it| it.sessions);
    family("sluice_vip_sessions_opened", "counter", "Balanced sessions ever opened.", |it| {
        it.sessions_opened
    });
    family(
        "sluice_vip_panic",
        "gauge",
        "Whether too few backends are healthy, so that all are used.",
        |it| it.panic.into(),
    );
}

fn workers(page: &mut Page, workers: &[WorkerStatus]) {
    let mut family = |name, kind, help, value: fn(&WorkerStatus) -> f64| {
        page.family(name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for worker in workers {
            let (number, cpu) = (worker.worker.to_string(), worker.cpu.to_string());
            page.sample(suffix, &[("worker", &number), ("cpu", &cpu)], value(worker));
        }
    };
    family("sluice_worker_generation", "gauge", "The generation it runs.", |it| it.generation.0 as f64);
    family("sluice_worker_busy_ratio", "gauge", "Share of its time spent on packets.", |it| it.busy);
    family("sluice_worker_cycles_per_packet", "gauge", "CPU cycles a packet.", |it| it.cycles_per_packet);
    family("sluice_worker_sessions", "gauge", "Live sessions.", |it| it.sessions as f64);
    family("sluice_worker_memory_bytes", "gauge", "Octets of its session tables.", |it| it.memory as f64);
    family("sluice_worker_received_packets", "counter", "Packets from ports.", |it| it.packets as f64);
    family("sluice_worker_handed_in_packets", "counter", "Packets from other workers.", |it| {
        it.handed_in as f64
    });
    family("sluice_worker_handed_out_packets", "counter", "Packets to other workers.", |it| {
        it.handed_out as f64
    });
    page.family(
        "sluice_worker_slow_turns",
        "counter",
        "Turns of its loop that took longer than that: what came in meanwhile waited.",
    );
    for worker in workers {
        let number = worker.worker.to_string();
        for (bound, count) in ["100us", "1ms", "10ms"].into_iter().zip(worker.slow_turns) {
            page.sample("_total", &[("worker", &number), ("over", bound)], count);
        }
    }
    page.family("sluice_worker_burst_packets", "histogram", "Packets by burst.");
    for worker in workers {
        let number = worker.worker.to_string();
        let mut sum = 0u64;
        for (bound, count) in BURSTS.into_iter().zip(worker.bursts) {
            sum += count;
            page.sample("_bucket", &[("worker", &number), ("le", bound)], sum);
        }
        page.sample("_sum", &[("worker", &number)], worker.packets);
        page.sample("_count", &[("worker", &number)], sum);
    }
}
