//! Ethernet II with at most one 802.1Q tag.

use crate::{MacAddr, ParseError};

/// Octets of an untagged header.
pub const LEN: usize = 14;
/// Octets of a tagged header.
pub const TAGGED_LEN: usize = 18;
/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// EtherType of an 802.1Q tag.
pub const VLAN: u16 = 0x8100;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// To whom.
    pub destination: MacAddr,
    /// From whom.
    pub source: MacAddr,
    /// VLAN id (12 bits) of an 802.1Q tag; 0, a priority tag, counts as a tag too.
    pub vlan: Option<u16>,
    /// What follows the header (and its tag).
    pub ether_type: u16,
    /// Octets of this header: 14 or 18.
    pub len: usize,
}

/// Reads the header; fails only on a frame that is too short.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Header, ParseError> {
    let h = frame.first_chunk::<LEN>().ok_or(ParseError::MalformedEthernet)?;
    let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t0, t1] = *h;
    let mut header = Header {
        destination: MacAddr([d0, d1, d2, d3, d4, d5]),
        source: MacAddr([s0, s1, s2, s3, s4, s5]),
        vlan: None,
        ether_type: u16::from_be_bytes([t0, t1]),
        len: LEN,
    };
    if header.ether_type == VLAN {
        let tag = frame.get(LEN..).and_then(|t| t.first_chunk::<4>()).ok_or(ParseError::MalformedEthernet)?;
        let [c0, c1, t0, t1] = *tag;
        header.vlan = Some(u16::from_be_bytes([c0, c1]) & 0x0fff);
        header.ether_type = u16::from_be_bytes([t0, t1]);
        header.len = TAGGED_LEN;
    }
    Ok(header)
}

/// Octets of a header with or without a tag.
#[inline]
pub const fn len(vlan: Option<u16>) -> usize {
    if vlan.is_some() { TAGGED_LEN } else { LEN }
}

/// Writes a header over the front of `frame`, [`len`] octets; false, and nothing written, if it is shorter.
#[inline]
pub fn write(
    frame: &mut [u8],
    destination: MacAddr,
    source: MacAddr,
    vlan: Option<u16>,
    ether_type: u16,
) -> bool {
    let Some(front) = frame.get_mut(..len(vlan)) else { return false };
    let (macs, rest) = front.split_at_mut(12);
    let (d, s) = macs.split_at_mut(6);
    d.copy_from_slice(&destination.0);
    s.copy_from_slice(&source.0);
    match (vlan, rest.len()) {
        (Some(id), 6) => {
            let [v0, v1] = VLAN.to_be_bytes();
            let [c0, c1] = (id & 0x0fff).to_be_bytes();
            let [t0, t1] = ether_type.to_be_bytes();
            rest.copy_from_slice(&[v0, v1, c0, c1, t0, t1]);
        }
        _ => rest.copy_from_slice(&ether_type.to_be_bytes()),
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const B: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

    #[test]
    fn what_is_written_is_read_back() {
        for vlan in [None, Some(100), Some(0), Some(4095)] {
            let mut frame = [0u8; 20];
            assert!(write(&mut frame, A, B, vlan, IPV4));
            let h = parse(&frame).unwrap();
            assert_eq!(h, Header { destination: A, source: B, vlan, ether_type: IPV4, len: len(vlan) });
        }
    }

    #[test]
    fn short_frames_are_malformed() {
        assert_eq!(parse(&[0; 13]), Err(ParseError::MalformedEthernet));
        let mut tagged = [0u8; 18];
        assert!(write(&mut tagged, A, B, Some(7), ARP));
        assert_eq!(parse(&tagged[..17]), Err(ParseError::MalformedEthernet));
        assert!(!write(&mut tagged[..17], A, B, Some(7), ARP));
    }
}
