//! How single values are written: durations, protocols, names, ranges of addresses and ports.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::{AddressRange, PortRange, Protocol, limits};

/// Parses `300s`, `2m`, `120ms`, `1h30m`; a bare `0` is zero. `None`: not a duration.
pub fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&at| at > 0)?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let part = match &rest[..unit] {
            "d" => Duration::from_secs(number.checked_mul(86_400)?),
            "h" => Duration::from_secs(number.checked_mul(3_600)?),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "s" => Duration::from_secs(number),
            "ms" => Duration::from_millis(number),
            "us" => Duration::from_micros(number),
            "ns" => Duration::from_nanos(number),
            _ => return None,
        };
        rest = &rest[unit..];
        total = total.checked_add(part)?;
    }
    (!text.is_empty()).then_some(total)
}

/// Writes a duration so that [`parse_duration`] reads the same: seconds, or the finest unit it needs.
pub fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.subsec_nanos() {
        0 => format!("{seconds}s"),
        nanos if nanos % 1_000_000 == 0 => format!("{}ms", duration.as_millis()),
        nanos if nanos % 1_000 == 0 => format!("{seconds}s{}us", nanos / 1_000),
        nanos => format!("{seconds}s{nanos}ns"),
    }
}

/// Parses `TCP`, `UDP`, `ICMP`, `SCTP` or an IP protocol number from 1 to 255.
pub fn parse_protocol(text: &str) -> Option<Protocol> {
    match text {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "ICMP" => Some(Protocol::Icmp),
        "SCTP" => Some(Protocol::Sctp),
        number => number.parse().ok().filter(|&number| number > 0).map(Protocol::from_number),
    }
}

/// Writes a protocol so that [`parse_protocol`] reads the same.
pub fn protocol_text(protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => "TCP".to_owned(),
        Protocol::Udp => "UDP".to_owned(),
        Protocol::Icmp => "ICMP".to_owned(),
        Protocol::Sctp => "SCTP".to_owned(),
        Protocol::Other(number) => number.to_string(),
    }
}

impl Protocol {
    /// The protocol of an IP protocol number.
    pub fn from_number(number: u8) -> Protocol {
        match number {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            1 => Protocol::Icmp,
            132 => Protocol::Sctp,
            other => Protocol::Other(other),
        }
    }

    /// Its IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Icmp => 1,
            Protocol::Sctp => 132,
            Protocol::Other(number) => number,
        }
    }
}

/// Writes a range as `first-last`.
pub fn ports_text(range: PortRange) -> String {
    format!("{}-{}", range.first, range.last)
}

/// Writes a range as one address, a prefix where it is one, or `first-last`.
pub fn address_range_text(range: AddressRange) -> String {
    if range.first == range.last {
        return range.first.to_string();
    }
    let most = if range.first.is_ipv4() { 32 } else { 128 };
    (0..most)
        .filter_map(|length| IpNet::new(range.first, length).ok())
        .find(|net| net.network() == range.first && net.broadcast() == range.last)
        .map_or_else(|| format!("{}-{}", range.first, range.last), |net| net.to_string())
}

/// How many addresses a range has; saturates.
pub fn address_count(range: AddressRange) -> u64 {
    match (range.first, range.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (u64::from(u32::from(last)) + 1).saturating_sub(u32::from(first).into())
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            u64::try_from(u128::from(last).saturating_sub(u128::from(first)).saturating_add(1))
                .unwrap_or(u64::MAX)
        }
        _ => 0,
    }
}

/// Whether `text` is an RFC 1123 name: 1 to 253 of `a-z0-9.-`, labels beginning and ending with a letter or digit.
pub fn is_name(text: &str) -> bool {
    text.len() <= limits::NAME && text.split('.').all(is_label)
}

/// Whether `text` may name an origin: one RFC 1123 label of 1 to 63 characters.
pub fn is_origin(text: &str) -> bool {
    text.len() <= limits::ORIGIN && is_label(text)
}

fn is_label(label: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = label.as_bytes();
    edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}
