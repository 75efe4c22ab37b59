//! Where a packet belongs: to a VIP, to a balanced flow's reply, to an outside endpoint, to an
//! inside host's own traffic, or to the gateway itself.

use wire::{Protocol, Transport};

use super::sessions::{Hit, Space};
use super::tcp::Phase;
use super::view::Side;
use super::{Oracle, Packet, Reference};

impl Reference {
    pub(super) fn steer(&mut self, packet: Packet, oracle: &mut dyn Oracle) {
        let key = packet.key;
        if self.view.vip(key.protocol, key.destination).is_some() {
            return self.balanced(packet, oracle);
        }
        if self.is_backend(key.protocol, key.source)
            && !packet.hairpin
            && let Some(hit) = self.lookup(Space::Ingress, &packet)
        {
            return self.forward(packet, hit, oracle);
        }
        self.steer_plain(packet, oracle);
    }

    fn steer_plain(&mut self, packet: Packet, oracle: &mut dyn Oracle) {
        let key = packet.key;
        let to = key.destination;
        let port_side = self.port(packet.port).map_or(Side::Outside, |p| p.side);
        let side = if packet.hairpin { Side::Outside } else { port_side };
        let echo_request = matches!(packet.ip.l4_kind, Transport::Echo { request: true, .. });
        let own = self.view.is_own(to.address);
        let ported = matches!(key.protocol, Protocol::TCP | Protocol::UDP);
        let inside = side == Side::Inside;
        if self.static_by_outside(key.protocol, to).is_some() {
            return if inside { self.egress(packet, oracle) } else { self.inbound(packet, oracle) };
        }
        if own && (echo_request || (ported && to.port >= 64_512)) {
            return self.punt(&packet);
        }
        if self.view.pool_of(to.address).is_some() {
            if !inside && key.protocol != Protocol::TCP && !self.is_leased(&key) {
                // Nobody's: there is nothing it could be forwarded to, whatever its TTL.
                return self.drop(Self::opener(&packet).err().unwrap_or("no_mapping"));
            }
            return if inside { self.egress(packet, oracle) } else { self.inbound(packet, oracle) };
        }
        if own {
            return self.drop("local_no_service");
        }
        if self.view.is_vip_address(to.address) {
            return match Self::opener(&packet) {
                _ if echo_request => self.punt(&packet),
                Err(reason) => self.drop(reason),
                Ok(()) => self.drop("no_mapping"),
            };
        }
        if inside {
            return self.egress(packet, oracle);
        }
        match self.side_of(to.address) {
            Some(Side::Inside) => self.inbound(packet, oracle),
            Some(Side::Outside) => self.drop("transit_outside"),
            None => self.drop("no_route"),
        }
    }

    /// To the host stack.
    fn punt(&mut self, packet: &Packet) {
        if packet.ip.is_fragment() {
            return self.drop("local_no_service");
        }
        self.count("punted");
        self.out.punted.push(packet.octets.clone());
    }

    /// The live session of a packet, judged again if the configuration changed since.
    fn lookup(&mut self, space: Space, packet: &Packet) -> Option<Hit> {
        let hit = self.sessions.find(space, &packet.key)?;
        self.still_allowed(hit.0).then_some(hit)
    }

    /// May this packet open a session? Else why not.
    fn opener(packet: &Packet) -> Result<(), &'static str> {
        if packet.inner.is_some() {
            return Err("icmp_unknown");
        }
        if packet.ip.l4_kind == Transport::LaterFragment {
            return Err("no_session");
        }
        Ok(())
    }

    /// Opens a session by `open` and sends the packet on, or refuses it.
    fn first_packet(
        &mut self,
        packet: Packet,
        oracle: &mut dyn Oracle,
        open: fn(&mut Reference, &Packet, &mut dyn Oracle) -> Result<Hit, Refusal>,
    ) {
        if let Err(reason) = Self::opener(&packet) {
            return self.drop(reason);
        }
        if packet.ip.ttl <= 1 && !packet.hairpin {
            return self.ttl_expired(&packet, oracle);
        }
        match open(self, &packet, oracle) {
            Ok(hit) => self.forward(packet, hit, oracle),
            Err(Refusal { reason, answer: Answer::Unreachable }) => {
                self.unreachable(&packet, oracle);
                self.drop(reason);
            }
            Err(Refusal { reason, answer }) => {
                self.refuse(&packet, reason, answer == Answer::Prohibited, oracle);
            }
        }
    }

    /// An inside host's own traffic.
    ///
    /// One inside host's answer to another may look like its own traffic: the flow that it
    /// answers comes first.
    fn egress(&mut self, packet: Packet, oracle: &mut dyn Oracle) {
        if let Some(hit) = self.lookup(Space::Inbound, &packet) {
            return self.forward(packet, hit, oracle);
        }
        match self.lookup(Space::Egress, &packet) {
            Some(hit) => self.forward(packet, hit, oracle),
            None => self.first_packet(packet, oracle, Self::open_egress),
        }
    }

    /// To an outside endpoint, or to an inside address as it is.
    fn inbound(&mut self, packet: Packet, oracle: &mut dyn Oracle) {
        match self.lookup(Space::Inbound, &packet) {
            Some(hit) => self.forward(packet, hit, oracle),
            None => self.first_packet(packet, oracle, Self::open_inbound),
        }
    }

    /// To a VIP.
    fn balanced(&mut self, packet: Packet, oracle: &mut dyn Oracle) {
        match self.lookup(Space::Ingress, &packet) {
            Some(hit) if self.begins_anew(&packet, hit) => {
                self.end(hit.0);
                self.first_packet(packet, oracle, Self::open_balanced);
            }
            Some(hit) => self.forward(packet, hit, oracle),
            None => self.first_packet(packet, oracle, Self::open_balanced),
        }
    }

    /// A client's SYN on the tuple of a connection that has closed is a new flow: the table chooses.
    fn begins_anew(&self, packet: &Packet, hit: Hit) -> bool {
        let syn = match packet.ip.l4_kind {
            Transport::Tcp(tcp) => packet.inner.is_none() && tcp.flags.syn() && !tcp.flags.ack(),
            _ => false,
        };
        let session = self.sessions.get(hit.0);
        let closed = session.and_then(|s| s.tcp.as_ref()).is_some_and(|t| t.phase() == Phase::Closed);
        syn && hit.1 == 0 && closed
    }
}

/// How a refused packet is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Not at all.
    Silence,
    /// ICMP 3/13.
    Prohibited,
    /// TCP RST, or ICMP 3/3.
    Unreachable,
}

/// Why a first packet opens no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) answer: Answer,
}

/// A refusal that is not answered.
pub(super) const fn silent(reason: &'static str) -> Refusal {
    Refusal { reason, answer: Answer::Silence }
}

/// A refusal that the sender may be told.
pub(super) const fn told(reason: &'static str, told: bool) -> Refusal {
    Refusal { reason, answer: if told { Answer::Prohibited } else { Answer::Silence } }
}
