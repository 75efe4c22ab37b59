//! What travels with a packet from one worker to another: eight octets.
//!
//! The worker that a packet arrives at classifies it far enough to know its owner, and
//! writes down what it found. The owner reads that and goes on; it never classifies a
//! packet's arrival again, so results do not depend on which worker a packet came by.

/// What the owner is to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Task {
    /// From an inside port: the egress flow of its source address.
    Egress = 1,
    /// From a backend: a balanced flow's reply, else its own egress.
    BalancedReply = 2,
    /// To a VIP: choose or find its backend.
    Balanced = 3,
    /// From outside (or after a hairpin's first pass) to an outside or inside address.
    Inbound = 4,
    /// A fragment on its way to where its datagram's fragments meet.
    Meet = 5,
    /// Rewritten and routed: wait for the next hop's hardware address. `extra` is the next hop.
    Resolve = 6,
    /// From inside, to an outside or inside address: an inside host's reply to another, else its
    /// sender's own egress.
    Return = 7,
}

/// The tag of a packet in hand-over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What is to be done.
    pub task: Task,
    /// Port it arrived by; for [`Task::Resolve`] the port it leaves by.
    pub port: u8,
    /// Its TTL was lowered already: it is in the second pass of a hairpin.
    pub hairpin: bool,
    /// `extra` holds the ports of a later fragment.
    pub ports_known: bool,
    /// Fragments: it went through the meeting point, do not send it there again.
    pub met: bool,
    /// Source and destination port of a later fragment, or an IPv4 address.
    pub extra: u32,
}

impl Tag {
    /// A tag with nothing but its task and port.
    pub fn new(task: Task, port: u8) -> Tag {
        Tag { task, port, hairpin: false, ports_known: false, met: false, extra: 0 }
    }

    /// Is it of a whole packet on its way to its owner, as it came in?
    #[inline]
    pub fn is_plain(&self) -> bool {
        let owned = matches!(self.task, Task::Egress | Task::BalancedReply | Task::Balanced | Task::Inbound);
        owned && !self.hairpin && !self.ports_known && !self.met
    }

    /// As eight octets: `extra | port | task | flags`.
    pub fn encode(self) -> u64 {
        let flags = u64::from(self.hairpin) | u64::from(self.ports_known) << 1 | u64::from(self.met) << 2;
        u64::from(self.extra) << 32 | u64::from(self.port) << 16 | (self.task as u64) << 8 | flags
    }

    /// Back from eight octets; `None` where the task is none of ours.
    pub fn decode(word: u64) -> Option<Tag> {
        let task = match (word >> 8) as u8 {
            1 => Task::Egress,
            2 => Task::BalancedReply,
            3 => Task::Balanced,
            4 => Task::Inbound,
            5 => Task::Meet,
            6 => Task::Resolve,
            7 => Task::Return,
            _ => return None,
        };
        Some(Tag {
            task,
            port: (word >> 16) as u8,
            hairpin: word & 1 != 0,
            ports_known: word & 2 != 0,
            met: word & 4 != 0,
            extra: (word >> 32) as u32,
        })
    }

    /// The ports of a later fragment: source, destination.
    pub fn ports(self) -> (u16, u16) {
        ((self.extra >> 16) as u16, self.extra as u16)
    }

    /// The same tag with a later fragment's ports.
    pub fn with_ports(mut self, source: u16, destination: u16) -> Tag {
        self.extra = u32::from(source) << 16 | u32::from(destination);
        self.ports_known = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_the_ring() {
        for task in [
            Task::Egress,
            Task::BalancedReply,
            Task::Balanced,
            Task::Inbound,
            Task::Meet,
            Task::Resolve,
            Task::Return,
        ] {
            let mut tag = Tag::new(task, 7).with_ports(4000, 443);
            tag.met = true;
            assert_eq!(Tag::decode(tag.encode()), Some(tag));
            tag.hairpin = true;
            assert_eq!(Tag::decode(tag.encode()), Some(tag));
            assert_eq!(tag.ports(), (4000, 443));
        }
        assert_eq!(Tag::decode(0), None);
    }
}
