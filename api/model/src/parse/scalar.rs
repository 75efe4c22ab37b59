//! Single values: addresses, prefixes, ports, durations, words.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::report::{At, Report};
use crate::limits;
use crate::text::{self, duration_text};
use crate::{AddressRange, PortRange, Protocol};

/// Stands in for a value that could not be parsed; the report holds its fault, so it is never used.
const NOWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

/// An idle time and the RFC clause that bounds it from below.
pub(crate) struct Timer {
    pub(crate) default: u64,
    pub(crate) least: u64,
    pub(crate) clause: &'static str,
}

impl Report<'_> {
    /// One address of either family.
    pub(crate) fn address(&mut self, at: At<'_>, text: &str) -> IpAddr {
        match text.parse() {
            Ok(address) => address,
            Err(_) => {
                self.fault(at, text, "not an IP address", "write it as 203.0.113.10");
                NOWHERE
            }
        }
    }

    /// A unicast IPv4 address that packets may be sent to or from.
    pub(crate) fn host(&mut self, at: At<'_>, text: &str) -> IpAddr {
        let address = self.address(at, text);
        if address != NOWHERE || text == "0.0.0.0" {
            self.usable(at, address);
        }
        address
    }

    /// Notes a fault unless `address` is a unicast IPv4 address.
    pub(crate) fn usable(&mut self, at: At<'_>, address: IpAddr) {
        match address {
            IpAddr::V6(_) => self.fault(at, address, "IPv6 is not served here yet", "write an IPv4 address"),
            IpAddr::V4(v4) => {
                if v4.octets()[0] == 0 || v4.is_loopback() || v4.octets()[0] >= 224 {
                    self.fault(
                        at,
                        address,
                        "not a unicast address that packets can be sent to",
                        "write the address of a host, not one of 0/8, 127/8, 224/4 or 240/4",
                    );
                }
            }
        }
    }

    /// A prefix without host bits, of either family.
    pub(crate) fn prefix(&mut self, at: At<'_>, text: &str) -> IpNet {
        match text.parse::<IpNet>() {
            Ok(net) if net.trunc() == net => net,
            Ok(net) => {
                self.fault(
                    at,
                    text,
                    format!("the address has bits set behind its /{} prefix", net.prefix_len()),
                    format!(
                        "write {} for the network, or {}/{} for the host",
                        net.trunc(),
                        net.addr(),
                        net.max_prefix_len()
                    ),
                );
                net.trunc()
            }
            Err(_) => {
                let remedy = match text.parse::<IpAddr>() {
                    Ok(IpAddr::V4(address)) => format!("write {address}/32 for the one address"),
                    Ok(IpAddr::V6(address)) => format!("write {address}/128 for the one address"),
                    Err(_) => "write it as 10.0.0.0/24".to_owned(),
                };
                self.fault(at, text, "not a prefix", remedy);
                IpNet::from(NOWHERE)
            }
        }
    }

    /// Several prefixes.
    pub(crate) fn prefixes(&mut self, at: At<'_>, texts: &[String]) -> Vec<IpNet> {
        self.length(at, texts.len(), limits::LIST);
        texts.iter().enumerate().map(|(i, text)| self.prefix(at.index(i), text)).collect()
    }

    /// `a`, `a-b` or a prefix.
    pub(crate) fn address_range(&mut self, at: At<'_>, text: &str) -> Option<AddressRange> {
        let before = self.errors.len();
        let (first, last) = if let Some((first, last)) = text.split_once('-') {
            (self.host(at, first.trim()), self.host(at, last.trim()))
        } else if text.contains('/') {
            let net = self.prefix(at, text);
            if self.errors.len() == before {
                self.usable(at, net.network());
            }
            (net.network(), net.broadcast())
        } else {
            let address = self.host(at, text);
            (address, address)
        };
        if self.errors.len() > before {
            return None;
        }
        if last < first {
            self.fault(at, text, "the range is reversed", format!("write {last}-{first}"));
            return None;
        }
        Some(AddressRange { first, last })
    }

    /// One port of 1 to 65535.
    pub(crate) fn port(&mut self, at: At<'_>, number: u32) -> u16 {
        match u16::try_from(number) {
            Ok(port) if port > 0 => port,
            _ => {
                self.fault(at, number, "not a port", "write a number from 1 to 65535");
                1
            }
        }
    }

    /// `port` and `endPort` of one place.
    pub(crate) fn port_range(&mut self, at: At<'_>, port: u32, end: Option<u32>) -> PortRange {
        let before = self.errors.len();
        let first = self.port(at.field("port"), port);
        let last = end.map_or(first, |end| self.port(at.field("endPort"), end));
        if last < first && self.errors.len() == before {
            self.fault(
                at.field("endPort"),
                last,
                format!("the port range is reversed: it starts at {first}"),
                format!("write port: {last} and endPort: {first}"),
            );
        }
        PortRange { first, last: last.max(first) }
    }

    /// `first-last` or one port, as text.
    pub(crate) fn ports_text(&mut self, at: At<'_>, text: &str) -> PortRange {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            (Ok(first), Ok(last)) => {
                let range = (self.port(at, first), self.port(at, last));
                if range.1 < range.0 {
                    self.fault(
                        at,
                        text,
                        "the port range is reversed",
                        format!("write {}-{}", range.1, range.0),
                    );
                }
                PortRange { first: range.0, last: range.1.max(range.0) }
            }
            _ => {
                self.fault(at, text, "not a range of ports", "write it as 1024-65535");
                PortRange { first: 1, last: 1 }
            }
        }
    }

    /// A duration between `least` and `most`, `default` where absent.
    pub(crate) fn duration(
        &mut self,
        at: At<'_>,
        text: Option<&str>,
        default: Duration,
        least: Duration,
        most: Duration,
    ) -> Duration {
        let Some(text) = text else { return default };
        match text::parse_duration(text) {
            Some(duration) if duration < least || duration > most => {
                self.fault(
                    at,
                    text,
                    format!("not between {} and {}", duration_text(least), duration_text(most)),
                    format!("write for example {}", duration_text(default.clamp(least, most))),
                );
                default
            }
            Some(duration) => duration,
            None => {
                self.fault(
                    at,
                    text,
                    "not a duration",
                    "write a number with its unit, as 300s, 2m, 120ms or 1h30m",
                );
                default
            }
        }
    }

    /// An idle time, with a warning under the RFC's minimum.
    pub(crate) fn timer(&mut self, at: At<'_>, text: Option<&str>, timer: Timer) -> Duration {
        let least = Duration::from_millis(100);
        let most = Duration::from_secs(30 * 86_400);
        let default = Duration::from_secs(timer.default);
        let duration = self.duration(at, text, default, least, most);
        let floor = Duration::from_secs(timer.least);
        if duration < floor {
            self.warn(
                at,
                duration_text(duration),
                format!(
                    "under the {} that {} asks for: idle sessions may break",
                    duration_text(floor),
                    timer.clause
                ),
                format!("write {} or more, or leave it out", duration_text(floor)),
            );
        }
        duration
    }

    /// A number of a range, `default` where absent.
    pub(crate) fn number(
        &mut self,
        at: At<'_>,
        number: Option<u32>,
        default: u32,
        range: std::ops::RangeInclusive<u32>,
    ) -> u32 {
        let Some(number) = number else { return default };
        if !range.contains(&number) {
            self.fault(
                at,
                number,
                format!("not between {} and {}", range.start(), range.end()),
                format!("write for example {default}"),
            );
            return default;
        }
        number
    }

    /// One of a few words, `default` where absent.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        at: At<'_>,
        word: Option<&str>,
        default: T,
        words: &[(&str, T)],
    ) -> T {
        let Some(word) = word else { return default };
        match words.iter().find(|(text, _)| *text == word) {
            Some((_, value)) => *value,
            None => {
                let list: Vec<&str> = words.iter().map(|(text, _)| *text).collect();
                self.fault(
                    at,
                    word,
                    "not one of the words that stand here",
                    format!("write {}", list.join(", ")),
                );
                default
            }
        }
    }

    /// A protocol by its name or number.
    pub(crate) fn protocol(&mut self, at: At<'_>, word: &str) -> Protocol {
        match text::parse_protocol(word) {
            Some(protocol) => protocol,
            None => {
                self.fault(
                    at,
                    word,
                    "not a protocol",
                    "write TCP, UDP, ICMP or SCTP in capitals, or an IP protocol number from 1 to 255",
                );
                Protocol::Tcp
            }
        }
    }

    /// TCP or UDP.
    pub(crate) fn transport(&mut self, at: At<'_>, word: &str) -> Protocol {
        match text::parse_protocol(word) {
            Some(protocol @ (Protocol::Tcp | Protocol::Udp)) => protocol,
            _ => {
                self.fault(at, word, "not a protocol that can be mapped by port", "write TCP or UDP");
                Protocol::Tcp
            }
        }
    }

    /// A name that refers to another object.
    pub(crate) fn reference(&mut self, at: At<'_>, text: &str) -> crate::Name {
        if !text::is_name(text) {
            self.fault(at, text, "not a name", super::NAME_REMEDY);
        }
        crate::Name(text.into())
    }
}
