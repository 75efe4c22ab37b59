//! Clamping the maximum segment size of TCP SYNs, so that connections fit a smaller MTU
//! without path-MTU discovery (RFC 9293 §3.7.1; behind a NAT it often fails).

use crate::checksum::Delta;
use crate::ipv4::{Ipv4, Transport};
use crate::tcp;

/// Lowers the MSS option of a SYN to `mss` in place, the checksum with it. True if it changed
/// anything; a SYN without the option, and any other packet, stay as they are.
pub fn clamp(frame: &mut [u8], ip: &Ipv4, mss: u16) -> bool {
    let Transport::Tcp(summary) = ip.l4_kind else { return false };
    if !summary.flags.syn() {
        return false;
    }
    let (l4, header) = (usize::from(ip.l4), usize::from(summary.header));
    let first = l4 + 20;
    let Some(options) = frame.get(first..l4 + header) else { return false };
    let found = tcp::options(options).find(|(kind, _, body)| *kind == 2 && body.len() == 2);
    let Some((_, at, &[m0, m1])) = found else { return false };
    let old = u16::from_be_bytes([m0, m1]);
    if old <= mss {
        return false;
    }
    let Some(field) = frame.get_mut(first + at..).and_then(|f| f.first_chunk_mut::<2>()) else {
        return false;
    };
    *field = mss.to_be_bytes();
    // An option may start at an odd offset: its octets then sit crosswise in the checksum's words.
    let delta = if at % 2 == 0 {
        Delta::NONE.replace16(old, mss)
    } else {
        Delta::NONE.replace16(old.swap_bytes(), mss.swap_bytes())
    };
    delta.apply_at(frame, l4 + 16)
}
