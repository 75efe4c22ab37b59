//! What of a TCP header the pipeline needs (RFC 9293 §3.1).

use std::fmt;
use std::ops::BitOr;

/// TCP control bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// No more data from the sender.
    pub const FIN: TcpFlags = TcpFlags(0x01);
    /// Synchronise sequence numbers.
    pub const SYN: TcpFlags = TcpFlags(0x02);
    /// Reset the connection.
    pub const RST: TcpFlags = TcpFlags(0x04);
    /// Push.
    pub const PSH: TcpFlags = TcpFlags(0x08);
    /// The acknowledgement field counts.
    pub const ACK: TcpFlags = TcpFlags(0x10);
    /// The urgent pointer counts.
    pub const URG: TcpFlags = TcpFlags(0x20);

    /// Does it hold all of `other`?
    #[inline]
    pub const fn contains(self, other: TcpFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// SYN.
    #[inline]
    pub const fn syn(self) -> bool {
        self.contains(Self::SYN)
    }

    /// ACK.
    #[inline]
    pub const fn ack(self) -> bool {
        self.contains(Self::ACK)
    }

    /// FIN.
    #[inline]
    pub const fn fin(self) -> bool {
        self.contains(Self::FIN)
    }

    /// RST.
    #[inline]
    pub const fn rst(self) -> bool {
        self.contains(Self::RST)
    }
}

impl BitOr for TcpFlags {
    type Output = TcpFlags;

    fn bitor(self, other: TcpFlags) -> TcpFlags {
        TcpFlags(self.0 | other.0)
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in ["F", "S", "R", "P", "A", "U", "E", "C"].iter().enumerate() {
            if self.0 & (1 << bit) != 0 {
                f.write_str(letter)?;
            }
        }
        if self.0 == 0 { f.write_str("-") } else { Ok(()) }
    }
}

/// What a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSummary {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number; counts only with ACK.
    pub ack: u32,
    /// Window as carried, unscaled.
    pub window: u16,
    /// Octets of header, 20 to 60.
    pub header: u8,
    /// Octets of data in this packet (of a first fragment: what it carries).
    pub payload: u16,
}

impl TcpSummary {
    /// Sequence space the segment takes: data, SYN and FIN (RFC 9293 SEG.LEN).
    #[inline]
    pub fn segment_len(&self) -> u32 {
        u32::from(self.payload) + u32::from(self.flags.syn()) + u32::from(self.flags.fin())
    }
}

/// Window scale of a SYN's options (RFC 7323 §2.2), 0 to 14; `None` without one. `options` is
/// the header after its first 20 octets.
pub fn window_scale(options: &[u8]) -> Option<u8> {
    Options(options)
        .find(|(kind, _, body)| *kind == 3 && body.len() == 1)
        .map(|(.., body)| body.first().copied().unwrap_or(0).min(14))
}

/// Walks TCP options: (kind, offset of the body, body). Ends at the first malformed one.
pub(crate) struct Options<'a>(&'a [u8]);

/// Options of a header whose option octets are `options`, with each body's offset in them.
pub(crate) fn options(options: &[u8]) -> impl Iterator<Item = (u8, usize, &[u8])> {
    let all = options.len();
    Options(options).map(move |(kind, left, body)| (kind, all - left - body.len(), body))
}

impl<'a> Iterator for Options<'a> {
    /// Kind, octets left after it, body.
    type Item = (u8, usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match *self.0 {
                [] | [0, ..] => return None,
                [1, ref rest @ ..] => self.0 = rest,
                [kind, len, ref rest @ ..] => {
                    let (body, rest) = rest.split_at_checked(usize::from(len).checked_sub(2)?)?;
                    self.0 = rest;
                    return Some((kind, rest.len(), body));
                }
                [_] => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_as_letters() {
        assert_eq!(format!("{:?}", TcpFlags::SYN | TcpFlags::ACK), "SA");
        assert_eq!(format!("{:?}", TcpFlags(0)), "-");
    }

    #[test]
    fn options_end_at_the_first_malformed_one() {
        let o = [1, 2, 4, 5, 180, 3, 3, 7, 9, 1, 4, 4];
        let seen: Vec<_> = options(&o).collect();
        assert_eq!(seen, [(2, 3, &[5u8, 180][..]), (3, 7, &[7u8][..])]);
        assert_eq!(window_scale(&o), Some(7));
        assert_eq!(window_scale(&[3, 3, 200]), Some(14));
        assert_eq!(window_scale(&[3]), None);
    }
}
