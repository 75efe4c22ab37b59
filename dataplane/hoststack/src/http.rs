//! As much of HTTP/1.1 as a health check needs: one GET, and the head of its answer (RFC 9112).

use std::net::Ipv4Addr;

/// A head longer than this is no health page's.
const MAX_HEAD: usize = 8 * 1024;

/// What the octets so far are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The beginning of a head.
    Partial,
    /// A whole final head with this status.
    Status(u16),
    /// Not HTTP/1, or too long.
    Garbage,
}

/// The request. Octets that would end the line or the header are escaped (path) or left out (host),
/// so that a name from the configuration never becomes a second header.
pub(crate) fn request(path: &str, host: Option<&str>, address: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut target = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        target.push('/');
    }
    for octet in path.bytes() {
        if octet.is_ascii_graphic() {
            target.push(char::from(octet));
        } else {
            target.push_str(&format!("%{octet:02X}"));
        }
    }
    let host = match host {
        Some(host) => host.chars().filter(char::is_ascii_graphic).collect(),
        None if port == 80 => address.to_string(),
        None => format!("{address}:{port}"),
    };
    format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: sluice-health/1\r\nAccept: */*\r\nConnection: close\r\n\r\n")
        .into_bytes()
}

/// Reads what has arrived. Interim answers (1xx, RFC 9110 §15.2) are passed over.
pub(crate) fn head(mut bytes: &[u8]) -> Head {
    let whole = bytes.len();
    loop {
        if !begins_like_http(bytes) {
            return Head::Garbage;
        }
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return if whole > MAX_HEAD { Head::Garbage } else { Head::Partial };
        };
        match status(bytes) {
            Some(100..=199) => bytes = bytes.get(end + 4..).unwrap_or_default(),
            Some(status) => return Head::Status(status),
            None => return Head::Garbage,
        }
    }
}

/// Whether what is there of `HTTP/1.` is right: garbage is told early, not at the timeout.
fn begins_like_http(bytes: &[u8]) -> bool {
    const START: &[u8] = b"HTTP/1.";
    bytes.iter().zip(START).all(|(is, should)| is == should)
}

/// `HTTP/1.x NNN ...`
fn status(bytes: &[u8]) -> Option<u16> {
    let [minor, b' ', digits @ ..] = bytes.get(7..12)? else { return None };
    let ends = matches!(bytes.get(12), Some(b' ' | b'\r'));
    if !minor.is_ascii_digit() || !ends || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = digits.iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    (100..=599).contains(&status).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_counts_once_its_head_is_whole() {
        assert_eq!(head(b""), Head::Partial);
        assert_eq!(head(b"HTT"), Head::Partial);
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\nA: b\r\n"), Head::Partial);
        assert_eq!(head(b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\nrest"), Head::Status(204));
        assert_eq!(head(b"HTTP/1.0 503\r\n\r\n"), Head::Status(503));
        assert_eq!(head(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Head::Status(200));
    }

    #[test]
    fn what_is_not_http_is_garbage_at_its_first_wrong_octet() {
        assert_eq!(head(b"SSH-2.0-x\r\n"), Head::Garbage);
        assert_eq!(head(b"HTTP/2 200\r\n\r\n"), Head::Garbage);
        assert_eq!(head(b"HTTP/1.1 2x0 OK\r\n\r\n"), Head::Garbage);
        assert_eq!(head(b"HTTP/1.1 2000 OK\r\n\r\n"), Head::Garbage);
        assert_eq!(head(b"HTTP/1.1 999 Odd\r\n\r\n"), Head::Garbage);
        let mut long = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
        long.resize(MAX_HEAD + 1, b'x');
        assert_eq!(head(&long), Head::Garbage);
    }

    #[test]
    fn a_path_or_host_never_adds_a_header() {
        let text = request("/a b\r\nX: y", Some("h\r\nY: z"), Ipv4Addr::LOCALHOST, 80);
        let text = String::from_utf8(text).expect("ASCII");
        assert!(text.starts_with("GET /a%20b%0D%0AX:%20y HTTP/1.1\r\nHost: hY:z\r\n"), "{text}");
    }
}
