//! Which protocols and destination ports a rule names.

use model::{PortMatch, Protocol as Named};
use wire::Protocol;

/// A protocol (`None`: any that has ports) and a port range, inclusive (`None`: all).
type Match = (Option<u8>, Option<(u16, u16)>);

/// Compiled `ports` of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// `None`: every packet.
    matches: Option<Box<[Match]>>,
}

/// IANA number of a protocol that an object names.
pub(crate) fn number(protocol: Named) -> u8 {
    match protocol {
        Named::Tcp => 6,
        Named::Udp => 17,
        Named::Icmp => 1,
        Named::Sctp => 132,
        Named::Other(n) => n,
    }
}

/// Does the protocol have ports that an object may name?
fn has_ports(protocol: Protocol) -> bool {
    matches!(protocol.0, 6 | 17 | 132)
}

impl PortSet {
    /// The set that `ports` names; empty names everything, and so does a match without protocol and ports.
    pub fn new(ports: &[PortMatch]) -> Self {
        let all = ports.is_empty() || ports.iter().any(|m| m.protocol.is_none() && m.ports.is_none());
        let matches = (!all).then(|| {
            ports.iter().map(|m| (m.protocol.map(number), m.ports.map(|r| (r.first, r.last)))).collect()
        });
        PortSet { matches }
    }

    /// Does it name everything?
    #[inline]
    pub fn is_all(&self) -> bool {
        self.matches.is_none()
    }

    /// Does it name `port` of `protocol`? A match with ports is never one for a protocol without them,
    /// whatever `port` is (for ICMP queries it is an identifier).
    #[inline]
    pub fn contains(&self, protocol: Protocol, port: u16) -> bool {
        let Some(matches) = &self.matches else { return true };
        matches.iter().any(|&(named, ports)| {
            named.is_none_or(|n| n == protocol.0)
                && ports.is_none_or(|(first, last)| has_ports(protocol) && (first..=last).contains(&port))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::PortRange;

    fn m(protocol: Option<Named>, ports: Option<(u16, u16)>) -> PortMatch {
        PortMatch { protocol, ports: ports.map(|(first, last)| PortRange { first, last }) }
    }

    #[test]
    fn no_ports_name_everything() {
        for set in [PortSet::new(&[]), PortSet::new(&[m(None, None)])] {
            assert!(set.is_all());
            assert!(set.contains(Protocol::ICMP, 0));
            assert!(set.contains(Protocol(47), 0));
            assert!(set.contains(Protocol::TCP, 80));
        }
    }

    #[test]
    fn a_range_includes_both_ends_and_only_its_protocol() {
        let set = PortSet::new(&[m(Some(Named::Tcp), Some((443, 444)))]);
        for (port, inside) in [(442, false), (443, true), (444, true), (445, false)] {
            assert_eq!(set.contains(Protocol::TCP, port), inside);
        }
        assert!(!set.contains(Protocol::UDP, 443));
    }

    #[test]
    fn a_rule_with_ports_never_matches_icmp_even_if_its_identifier_looks_like_one() {
        assert!(!PortSet::new(&[m(Some(Named::Tcp), Some((1, 65535)))]).contains(Protocol::ICMP, 80));
        assert!(!PortSet::new(&[m(None, Some((0, 65535)))]).contains(Protocol::ICMP, 80));
        assert!(!PortSet::new(&[m(Some(Named::Tcp), None)]).contains(Protocol::ICMP, 80));
    }

    #[test]
    fn a_protocol_without_ports_matches_all_of_it() {
        assert!(PortSet::new(&[m(Some(Named::Icmp), None)]).contains(Protocol::ICMP, 9));
        assert!(PortSet::new(&[m(Some(Named::Other(47)), None)]).contains(Protocol(47), 0));
        assert!(PortSet::new(&[m(Some(Named::Sctp), Some((1, 2)))]).contains(Protocol(132), 2));
    }
}
