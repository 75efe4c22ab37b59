//! Endpoints and filters as they are typed: `10.0.0.5`, `10.0.0.0/24`, `10.0.0.5:443`, `:80-90`.

use std::net::IpAddr;

use api::v1;
use ipnet::IpNet;

/// Addresses and ports of one end of a session; both absent never happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Prefix or address; empty: all.
    pub(crate) prefix: String,
    /// Ports; absent: all.
    pub(crate) ports: Option<v1::PortRange>,
}

/// For clap: an address or prefix, with `:PORT` or `:FIRST-LAST` or without; or ports alone.
pub(crate) fn end(text: &str) -> Result<End, String> {
    let wrong = || format!("{text:?} is neither ADDRESS, PREFIX nor either with :PORT or :FIRST-LAST");
    // An IPv6 address has colons of its own; with a port it stands in brackets.
    let (place, ports) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((place, "")) => (place, None),
        Some((place, rest)) => (place, Some(rest.strip_prefix(':').ok_or_else(wrong)?)),
        None if text.matches(':').count() > 1 => (text, None),
        None => text.split_once(':').map_or((text, None), |(place, ports)| (place, Some(ports))),
    };
    let net = place.parse::<IpNet>();
    let whole = net.is_ok() || place.parse::<IpAddr>().is_ok();
    let alone = place.is_empty() && ports.is_some();
    if !whole && !alone {
        return Err(wrong());
    }
    // Whether one host or its whole prefix is meant matters most to `kill`.
    if let Ok(net) = net
        && net.trunc() != net
    {
        return Err(format!(
            "{net} has host bits: write {} for the prefix or {} for the host",
            net.trunc(),
            net.addr()
        ));
    }
    let ports = ports.map(|ports| port_range(ports).map_err(|_| wrong())).transpose()?;
    Ok(End { prefix: place.to_owned(), ports })
}

/// For clap: `443` or `443-450`.
pub(crate) fn port_range(text: &str) -> Result<v1::PortRange, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => {
            Ok(v1::PortRange { first: first.into(), last: last.into() })
        }
        _ => Err("write PORT or FIRST-LAST, 0 to 65535".to_owned()),
    }
}

/// For clap: `tcp`, `UDP`, `icmp`, `47`.
pub(crate) fn protocol(text: &str) -> Result<u8, String> {
    let protocol = model::text::parse_protocol(&text.to_ascii_uppercase());
    protocol
        .map(|protocol| protocol.number())
        .ok_or_else(|| "write tcp, udp, icmp, sctp or a number from 1 to 255".to_owned())
}

/// One end of a packet, with the protocol where one was written: `1.1.1.1:443/tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PacketEnd {
    pub(crate) address: IpAddr,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<u8>,
}

/// For clap: `ADDRESS[:PORT][/PROTOCOL]`.
pub(crate) fn packet_end(text: &str) -> Result<PacketEnd, String> {
    let (place, word) = text.split_once('/').map_or((text, None), |(place, word)| (place, Some(word)));
    let wrong = || format!("{text:?}: write ADDRESS:PORT or ADDRESS:PORT/PROTOCOL");
    let protocol = word.map(protocol).transpose()?;
    let whole = end(place).map_err(|_| wrong())?;
    let address = whole.prefix.parse().map_err(|_| wrong())?;
    let port = match whole.ports {
        None => None,
        Some(range) if range.first == range.last => u16::try_from(range.first).ok(),
        Some(_) => return Err(wrong()),
    };
    Ok(PacketEnd { address, port, protocol })
}

/// An endpoint as `address:port`; IPv6 in brackets.
pub(crate) fn text(endpoint: Option<&v1::Endpoint>) -> String {
    match endpoint {
        None => "-".to_owned(),
        Some(v1::Endpoint { address, port }) if address.contains(':') => format!("[{address}]:{port}"),
        Some(v1::Endpoint { address, port }) => format!("{address}:{port}"),
    }
}

/// A protocol number as `TCP`, `UDP`, `ICMP`, `SCTP`, or the number.
pub(crate) fn protocol_text(number: u32) -> String {
    u8::try_from(number).map_or_else(
        |_| number.to_string(),
        |number| model::text::protocol_text(model::Protocol::from_number(number)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(text: &str) -> Option<(String, Option<(u32, u32)>)> {
        end(text).ok().map(|end| (end.prefix, end.ports.map(|ports| (ports.first, ports.last))))
    }

    #[test]
    fn an_end_is_an_address_a_prefix_or_ports() {
        let some = |prefix: &str, ports| Some((prefix.to_owned(), ports));
        assert_eq!(ends("10.0.0.5"), some("10.0.0.5", None));
        assert_eq!(ends("10.0.0.0/24:80-90"), some("10.0.0.0/24", Some((80, 90))));
        assert_eq!(ends(":443"), some("", Some((443, 443))));
        assert_eq!(ends("2001:db8::1"), some("2001:db8::1", None));
        assert_eq!(ends("[2001:db8::/32]:443"), some("2001:db8::/32", Some((443, 443))));
        for wrong in [
            "",
            ":",
            "web",
            "10.0.0.5:",
            "10.0.0.5:x",
            "10.0.0.5:90-80",
            "10.0.0.5:70000",
            "[::1]80",
            "10.0.0.0/33",
            "10.0.0.5/24",
        ] {
            assert_eq!(ends(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_packets_end_is_one_address_and_one_port() {
        let end = packet_end("1.1.1.1:443/tcp").expect("right");
        assert_eq!(
            (end.port, end.protocol, end.address.to_string()),
            (Some(443), Some(6), "1.1.1.1".to_owned())
        );
        assert_eq!(packet_end("10.0.0.5/icmp").map(|end| (end.port, end.protocol)), Ok((None, Some(1))));
        for wrong in ["", "1.1.1.1:1-2", "1.1.1.1:443/smtp", "1.1.1.0/24:3", "web:80"] {
            assert!(packet_end(wrong).is_err(), "{wrong:?}");
        }
    }
}
