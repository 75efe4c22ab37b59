//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::Ipv4Addr;

use crate::{MacAddr, PacketBuf, ParseError, ethernet};

/// Octets of a message.
pub const LEN: usize = 28;

/// What a message wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's Ethernet address.
    pub sender_mac: MacAddr,
    /// Sender's IPv4 address; 0.0.0.0 in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// Target's Ethernet address; zero in a request.
    pub target_mac: MacAddr,
    /// Target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

/// Reads the message that starts at `at` in `frame`; trailing octets are padding.
pub fn parse(frame: &[u8], at: usize) -> Result<Arp, ParseError> {
    let m = frame.get(at..).and_then(|m| m.first_chunk::<LEN>()).ok_or(ParseError::MalformedArp)?;
    let (head, body) = (m.first_chunk::<8>(), m.last_chunk::<20>());
    let (Some(head), Some(body)) = (head, body) else { return Err(ParseError::MalformedArp) };
    // Hardware type Ethernet, protocol type IPv4, lengths 6 and 4.
    let [0, 1, 8, 0, 6, 4, 0, operation] = *head else { return Err(ParseError::MalformedArp) };
    let operation = match operation {
        1 => Operation::Request,
        2 => Operation::Reply,
        _ => return Err(ParseError::MalformedArp),
    };
    let [m0, m1, m2, m3, m4, m5, i0, i1, i2, i3, n0, n1, n2, n3, n4, n5, j0, j1, j2, j3] = *body;
    Ok(Arp {
        operation,
        sender_mac: MacAddr([m0, m1, m2, m3, m4, m5]),
        sender_ip: Ipv4Addr::new(i0, i1, i2, i3),
        target_mac: MacAddr([n0, n1, n2, n3, n4, n5]),
        target_ip: Ipv4Addr::new(j0, j1, j2, j3),
    })
}

/// Makes `out` a whole frame that carries the message from `arp.sender_mac` to `destination`;
/// 42 or 46 octets, padding is the device's. False if there is no room.
pub fn write_frame(out: &mut impl PacketBuf, destination: MacAddr, vlan: Option<u16>, arp: &Arp) -> bool {
    let l2 = ethernet::len(vlan);
    if !out.set_len(l2 + LEN) {
        return false;
    }
    let frame = out.bytes_mut();
    if !ethernet::write(frame, destination, arp.sender_mac, vlan, ethernet::ARP) {
        return false;
    }
    let Some(m) = frame.get_mut(l2..).and_then(|m| m.first_chunk_mut::<LEN>()) else { return false };
    let operation = match arp.operation {
        Operation::Request => 1,
        Operation::Reply => 2,
    };
    m[..8].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, operation]);
    m[8..14].copy_from_slice(&arp.sender_mac.0);
    m[14..18].copy_from_slice(&arp.sender_ip.octets());
    m[18..24].copy_from_slice(&arp.target_mac.0);
    m[24..].copy_from_slice(&arp.target_ip.octets());
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeapBuf;

    #[test]
    fn what_is_written_is_read_back_and_cuts_are_malformed() {
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            sender_ip: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: MacAddr::ZERO,
            target_ip: Ipv4Addr::new(10, 0, 0, 2),
        };
        let mut b = HeapBuf::new();
        assert!(write_frame(&mut b, MacAddr::BROADCAST, Some(9), &arp));
        let h = ethernet::parse(b.bytes()).unwrap();
        assert_eq!((h.ether_type, h.vlan, h.source), (ethernet::ARP, Some(9), arp.sender_mac));
        assert_eq!(parse(b.bytes(), h.len), Ok(arp));
        for cut in 0..b.bytes().len() {
            assert_eq!(parse(&b.bytes()[..cut], h.len), Err(ParseError::MalformedArp));
        }
    }

    #[test]
    fn other_hardware_and_operations_are_malformed() {
        let mut b = HeapBuf::new();
        let arp = Arp {
            operation: Operation::Reply,
            sender_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            sender_ip: Ipv4Addr::new(10, 0, 0, 1),
            target_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            target_ip: Ipv4Addr::new(10, 0, 0, 2),
        };
        assert!(write_frame(&mut b, arp.target_mac, None, &arp));
        for (at, wrong) in [(15, 6), (16, 0x86), (18, 8), (19, 16), (21, 3)] {
            let mut bytes = b.bytes().to_vec();
            bytes[at] = wrong;
            assert_eq!(parse(&bytes, 14), Err(ParseError::MalformedArp));
        }
    }
}
