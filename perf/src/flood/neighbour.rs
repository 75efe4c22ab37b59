//! ARP (RFC 826) for the generator's own addresses: without a kernel behind the port nobody else
//! would answer, and nobody else would ask for the gateway's.

use std::net::Ipv4Addr;

use wire::arp::{Arp, Operation};
use wire::{MacAddr, PacketBuf, arp, ethernet};

/// An address at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Own {
    /// Hardware address.
    pub mac: MacAddr,
    /// Address.
    pub ip: Ipv4Addr,
}

/// The ARP message of an untagged frame.
pub fn read(frame: &[u8]) -> Option<Arp> {
    let head = ethernet::parse(frame).ok()?;
    (head.ether_type == ethernet::ARP && head.vlan.is_none()).then(|| arp::parse(frame, head.len).ok())?
}

impl Own {
    /// Asks who has `ip`.
    pub fn ask(self, out: &mut impl PacketBuf, ip: Ipv4Addr) -> bool {
        let request = Arp {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender_ip: self.ip,
            target_mac: MacAddr::ZERO,
            target_ip: ip,
        };
        arp::write_frame(out, MacAddr::BROADCAST, None, &request) && pad(out)
    }

    /// The answer to a message that asks for this address.
    pub fn answer(self, out: &mut impl PacketBuf, asked: &Arp) -> bool {
        if asked.operation != Operation::Request || asked.target_ip != self.ip {
            return false;
        }
        let reply = Arp {
            operation: Operation::Reply,
            sender_mac: self.mac,
            sender_ip: self.ip,
            target_mac: asked.sender_mac,
            target_ip: asked.sender_ip,
        };
        arp::write_frame(out, asked.sender_mac, None, &reply) && pad(out)
    }
}

/// Fills a frame up to Ethernet's least, since rings and kernel interfaces do not.
fn pad(out: &mut impl PacketBuf) -> bool {
    let len = out.bytes().len();
    if !out.set_len(len.max(crate::frame::SMALLEST)) {
        return false;
    }
    if let Some(rest) = out.bytes_mut().get_mut(len..) {
        rest.fill(0);
    }
    true
}

/// The hardware address that a message gives for `ip`.
pub fn heard(message: &Arp, ip: Ipv4Addr) -> Option<MacAddr> {
    (message.sender_ip == ip && !message.sender_mac.is_multicast()).then_some(message.sender_mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::HeapBuf;

    const ME: Own = Own { mac: MacAddr([2, 0, 0, 0, 0, 1]), ip: Ipv4Addr::new(10, 0, 0, 5) };
    const GATEWAY: Own = Own { mac: MacAddr([2, 0, 0, 0, 0, 2]), ip: Ipv4Addr::new(10, 0, 0, 1) };

    #[test]
    fn one_asks_and_the_other_answers() {
        let (mut asked, mut said) = (HeapBuf::new(), HeapBuf::new());
        assert!(ME.ask(&mut asked, GATEWAY.ip));
        assert_eq!(asked.bytes().len(), 60);
        let question = read(asked.bytes()).unwrap();
        assert!(!ME.answer(&mut said, &question), "it was not asked for");
        assert!(GATEWAY.answer(&mut said, &question));
        let answer = read(said.bytes()).unwrap();
        assert_eq!(heard(&answer, GATEWAY.ip), Some(GATEWAY.mac));
        assert_eq!(heard(&answer, ME.ip), None);
        assert!(!ME.answer(&mut asked, &answer), "an answer is not answered");
    }
}
