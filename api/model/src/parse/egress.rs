//! EgressPool and EgressPolicy.

use std::time::Duration;

use super::report::{At, Report};
use super::scalar::Timer;
use crate::{
    AddressRange, EgressAction, EgressPolicy, EgressPool, FilteringBehavior, MappingBehavior, OnDeny,
    PoolingBehavior, PortMatch, PortRange, PrefixExcept, Protocol, Quotas, Timeouts, limits, raw, text,
};

pub(super) fn pool(report: &mut Report<'_>, at: At<'_>, raw: raw::EgressPool) -> EgressPool {
    let addresses = pool_addresses(report, at.field("addresses"), &raw.addresses);
    let before = report.errors.len();
    let ports = match &raw.ports {
        Some(text) => report.ports_text(at.field("ports"), &text.0),
        None => PortRange { first: 1024, last: u16::MAX },
    };
    let block_size = report.number(at.field("blockSize"), raw.block_size, 512, limits::BLOCK_SIZE);
    if !block_size.is_power_of_two() {
        report.fault(
            at.field("blockSize"),
            block_size,
            "not a power of two",
            format!("write {}", (block_size.next_power_of_two() / 2).max(64)),
        );
    }
    let span = u32::from(ports.last) - u32::from(ports.first) + 1;
    if span < block_size && report.errors.len() == before {
        report.fault(
            at.field("ports"),
            text::ports_text(ports),
            format!("fewer ports than one block of {block_size}"),
            "widen the range or make blockSize smaller",
        );
    }
    let most =
        report.number(at.field("maxBlocksPerSubscriber"), raw.max_blocks_per_subscriber, 64, 1..=65_535);
    let rest = raw.port_rest.as_ref().map(|text| text.0.as_str());
    let port_rest = port_rest(report, at.field("portRest"), rest);
    EgressPool {
        addresses,
        ports,
        block_size: block_size as u16,
        max_blocks_per_subscriber: most as u16,
        port_rest,
        timeouts: timeouts(report, at.field("timeouts"), raw.timeouts.unwrap_or_default()),
        quotas: quotas(raw.quotas.unwrap_or_default()),
    }
}

fn port_rest(report: &mut Report<'_>, at: At<'_>, text: Option<&str>) -> Duration {
    let (default, most) = (Duration::from_secs(120), Duration::from_secs(86_400));
    let rest = report.duration(at, text, default, Duration::ZERO, most);
    if rest < default {
        report.warn(
            at,
            text::duration_text(rest),
            "under the 120s that RFC 6888 REQ-8 asks for: late packets may reach another subscriber",
            "write 120s or more, or leave it out",
        );
    }
    rest
}

fn pool_addresses(report: &mut Report<'_>, at: At<'_>, texts: &[String]) -> Vec<AddressRange> {
    if texts.is_empty() {
        report.fault(at, "", "a pool without addresses", "write at least one address, range or prefix");
    }
    report.length(at, texts.len(), limits::POOL_ADDRESSES as usize);
    let mut ranges: Vec<(usize, AddressRange)> = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        if let Some(range) = report.address_range(at.index(i), text.trim()) {
            ranges.push((i, range));
        }
    }
    ranges.sort_by_key(|(_, range)| (range.first, range.last));
    for pair in ranges.windows(2) {
        let [(one, a), (other, b)] = pair else { continue };
        if b.first <= a.last {
            let (i, j) = (one.max(other), one.min(other));
            report.fault(
                at.index(*i),
                &texts[*i],
                format!("overlaps {:?} of the same pool", texts[*j]),
                "write each address once",
            );
        }
    }
    let ranges: Vec<AddressRange> = ranges.into_iter().map(|(_, range)| range).collect();
    let count: u64 = ranges.iter().map(|range| text::address_count(*range)).fold(0, u64::saturating_add);
    if count > limits::POOL_ADDRESSES {
        report.fault(
            at,
            count,
            format!("more than {} addresses in one pool", limits::POOL_ADDRESSES),
            "spread them over several pools",
        );
    }
    ranges
}

fn timeouts(report: &mut Report<'_>, at: At<'_>, raw: raw::Timeouts) -> Timeouts {
    let mut timer = |name: &str, text: Option<raw::Text>, default: u64, least: u64, clause: &'static str| {
        let text = text.as_ref().map(|text| text.0.as_str());
        report.timer(at.field(name), text, Timer { default, least, clause })
    };
    Timeouts {
        udp: timer("udp", raw.udp, 300, 120, "RFC 4787 REQ-5"),
        tcp_established: timer("tcpEstablished", raw.tcp_established, 7440, 7440, "RFC 5382 REQ-5"),
        tcp_opening: timer("tcpOpening", raw.tcp_opening, 240, 240, "RFC 5382 REQ-5"),
        tcp_closing: timer("tcpClosing", raw.tcp_closing, 240, 240, "RFC 5382 REQ-5"),
        icmp: timer("icmp", raw.icmp, 60, 60, "RFC 5508 REQ-2"),
    }
}

fn quotas(raw: raw::Quotas) -> Quotas {
    Quotas {
        ports: raw.ports.unwrap_or(0),
        sessions: raw.sessions.unwrap_or(0),
        new_sessions_per_second: raw.new_sessions_per_second.unwrap_or(0),
        burst: raw.burst.unwrap_or(0),
        half_open: raw.half_open.unwrap_or(0),
    }
}

pub(super) fn policy(report: &mut Report<'_>, at: At<'_>, raw: raw::EgressPolicy) -> EgressPolicy {
    let action = action(report, at, &raw);
    let from =
        required(report, at.field("from"), raw.from, "which sources it is for, as [{prefix: 10.0.0.0/24}]");
    let to =
        required(report, at.field("to"), raw.to, "which destinations it is for, as [{prefix: 0.0.0.0/0}]");
    let mss_clamp = raw.mss_clamp.map(|mss| {
        if mss != 0 && !(88..=65_495).contains(&mss) {
            report.fault(
                at.field("mssClamp"),
                mss,
                "not an MSS that TCP over IPv4 can have",
                "write 0 for the ports' MTU, or 88 to 65495",
            );
        }
        mss as u16
    });
    EgressPolicy {
        priority: raw.priority.unwrap_or(100),
        from,
        to,
        ports: port_matches(report, at.field("ports"), raw.ports),
        action,
        on_deny: on_deny(report, at.field("onDeny"), raw.on_deny.as_deref()),
        adopt_mid_stream: raw.adopt_mid_stream.unwrap_or(false),
        mss_clamp,
    }
}

fn required(
    report: &mut Report<'_>,
    at: At<'_>,
    raw: Option<Vec<raw::PrefixExcept>>,
    what: &str,
) -> Vec<PrefixExcept> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        report.fault(at, "", "missing or empty", format!("write {what}"));
    }
    selectors(report, at, raw)
}

fn action(report: &mut Report<'_>, at: At<'_>, raw: &raw::EgressPolicy) -> EgressAction {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        Snat,
        Direct,
        Deny,
    }
    let words = [("Snat", Word::Snat), ("Direct", Word::Direct), ("Deny", Word::Deny)];
    let before = report.errors.len();
    if raw.action.is_none() {
        report.fault(at.field("action"), "", "missing", "write Snat, Direct or Deny");
    }
    let word = report.choice(at.field("action"), raw.action.as_deref(), Word::Snat, &words);
    // Without an action nothing can be said about what goes with it.
    let known = report.errors.len() == before;
    let mapping = report.choice(
        at.field("mapping"),
        raw.mapping.as_deref(),
        MappingBehavior::default(),
        &[
            ("EndpointIndependent", MappingBehavior::EndpointIndependent),
            ("AddressDependent", MappingBehavior::AddressDependent),
            ("AddressAndPortDependent", MappingBehavior::AddressAndPortDependent),
        ],
    );
    let filtering = report.choice(
        at.field("filtering"),
        raw.filtering.as_deref(),
        FilteringBehavior::default(),
        &[
            ("EndpointIndependent", FilteringBehavior::EndpointIndependent),
            ("AddressDependent", FilteringBehavior::AddressDependent),
            ("AddressAndPortDependent", FilteringBehavior::AddressAndPortDependent),
        ],
    );
    let pooling = report.choice(
        at.field("pooling"),
        raw.pooling.as_deref(),
        PoolingBehavior::default(),
        &[
            ("Paired", PoolingBehavior::Paired),
            ("PairedStrict", PoolingBehavior::PairedStrict),
            ("Arbitrary", PoolingBehavior::Arbitrary),
        ],
    );
    if word != Word::Snat {
        let only_snat = [
            ("pool", &raw.pool),
            ("mapping", &raw.mapping),
            ("filtering", &raw.filtering),
            ("pooling", &raw.pooling),
        ];
        for (field, value) in only_snat {
            if let Some(value) = value {
                report.fault(at.field(field), value, "has a meaning only with action Snat", "leave it out");
            }
        }
    }
    match word {
        Word::Direct => EgressAction::Direct,
        Word::Deny => EgressAction::Deny,
        Word::Snat => {
            if raw.pool.is_none() && known {
                report.fault(at.field("pool"), "", "missing", "write the name of an EgressPool");
            }
            let pool = raw.pool.as_deref().map_or_else(
                || crate::Name("missing".into()),
                |pool| report.reference(at.field("pool"), pool),
            );
            EgressAction::Snat { pool, mapping, filtering, pooling }
        }
    }
}

pub(super) fn on_deny(report: &mut Report<'_>, at: At<'_>, word: Option<&str>) -> OnDeny {
    report.choice(at, word, OnDeny::Reject, &[("Reject", OnDeny::Reject), ("Drop", OnDeny::Drop)])
}

pub(super) fn selectors(
    report: &mut Report<'_>,
    at: At<'_>,
    raw: Vec<raw::PrefixExcept>,
) -> Vec<PrefixExcept> {
    report.length(at, raw.len(), limits::LIST);
    let mut all = Vec::with_capacity(raw.len());
    for (i, one) in raw.into_iter().enumerate() {
        let before = report.errors.len();
        let here = at.index(i);
        let prefix = report.prefix(here.field("prefix"), &one.prefix);
        let list = here.field("except");
        let except = report.prefixes(list, &one.except);
        if report.errors.len() == before {
            for (j, inner) in except.iter().enumerate() {
                if !prefix.contains(inner) {
                    report.fault(
                        list.index(j),
                        inner,
                        format!("not inside {prefix}"),
                        "leave it out, or write a prefix of which it is a part",
                    );
                }
            }
        }
        all.push(PrefixExcept { prefix, except });
    }
    all
}

pub(super) fn port_matches(report: &mut Report<'_>, at: At<'_>, raw: Vec<raw::PortMatch>) -> Vec<PortMatch> {
    report.length(at, raw.len(), limits::LIST);
    raw.into_iter().enumerate().map(|(i, one)| port_match(report, at.index(i), one)).collect()
}

fn port_match(report: &mut Report<'_>, at: At<'_>, raw: raw::PortMatch) -> PortMatch {
    let mut protocol = raw.protocol.map(|word| report.protocol(at.field("protocol"), &word.0));
    if raw.end_port.is_some() && raw.port.is_none() {
        report.fault(at.field("endPort"), "", "an end without a start", "write port beside it");
    }
    let ports = raw.port.map(|port| report.port_range(at, port, raw.end_port));
    if let Some(range) = ports {
        match protocol {
            // As in a NetworkPolicy: a port alone is one of TCP.
            None => protocol = Some(Protocol::Tcp),
            Some(Protocol::Tcp | Protocol::Udp | Protocol::Sctp) => {}
            Some(other) => report.fault(
                at.field("port"),
                range.first,
                format!("protocol {} has no ports", text::protocol_text(other)),
                "leave port out",
            ),
        }
    }
    PortMatch { protocol, ports }
}
