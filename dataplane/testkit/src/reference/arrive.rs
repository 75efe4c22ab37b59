//! Arrival: from a frame to a packet with a key.

use wire::{EmbeddedTransport, Endpoint, MacAddr, ParseError, Transport, ethernet, ipv4};

use super::fragments::{Fate, Piece};
use super::view::{LabPort, Side};
use super::{Oracle, Packet, Reference};

fn reason(error: ParseError) -> &'static str {
    error.name()
}

impl Reference {
    pub(super) fn arrive(&mut self, device: u8, frame: &[u8], oracle: &mut dyn Oracle) {
        let header = match ethernet::parse(frame) {
            Ok(header) => header,
            Err(e) => return self.drop(reason(e)),
        };
        let ports = &self.view.topology.ports;
        let Some(port) = ports.iter().find(|p| p.device == device && p.vlan == header.vlan).cloned() else {
            return self.drop("wrong_vlan");
        };
        let arp = header.ether_type == ethernet::ARP;
        if header.destination != port.mac && !(arp && header.destination == MacAddr::BROADCAST) {
            return self.drop("not_for_us");
        }
        match header.ether_type {
            ethernet::ARP => return self.arp(&port, frame, header.len),
            ethernet::IPV4 => {}
            ethernet::IPV6 => return self.drop("ipv6_unsupported"),
            _ => return self.drop("unknown_ethertype"),
        }
        let octets = &frame[header.len..];
        let ip = match ipv4::parse(octets, 0, false) {
            Ok(ip) => ip,
            Err(e) => return self.drop(reason(e)),
        };
        let octets = octets[..usize::from(ip.end)].to_vec();
        if let Err(reason) = self.check_addresses(&port, &ip) {
            return self.drop(reason);
        }
        let piece = Piece { port: port.number, packet: octets };
        if !ip.is_fragment() {
            return self.go(piece, None, oracle);
        }
        let first = u32::from(ip.fragment_offset);
        let place = (first, first + u32::from(ip.payload_len()));
        let ports = (first == 0).then_some((ip.source_port, ip.destination_port));
        let datagram = (ip.source, ip.destination, ip.protocol.0, ip.id);
        let now = self.now;
        match self.fragments.offer(datagram, place, ip.more_fragments, ports, piece, now) {
            Fate::Held => {}
            Fate::Go(pieces, ports) => {
                for piece in pieces {
                    self.go(piece, Some(ports), oracle);
                }
            }
            Fate::Drop(reason, pieces) => {
                for _ in pieces {
                    self.drop(reason);
                }
            }
        }
    }

    fn check_addresses(&self, port: &LabPort, ip: &ipv4::Ipv4) -> Result<(), &'static str> {
        let [s, s1, ..] = ip.source.octets();
        let [d, ..] = ip.destination.octets();
        if s == 0 || s == 127 || s >= 224 || (s == 169 && s1 == 254 && port.side == Side::Outside) {
            return Err("martian_source");
        }
        if d == 0 || d == 127 || d >= 224 {
            return Err("martian_destination");
        }
        let inside = self.side_of(ip.source) == Some(Side::Inside);
        if self.is_ours(ip.source) || inside != (port.side == Side::Inside) {
            return Err("spoofed_source");
        }
        Ok(())
    }

    /// A whole packet, or a fragment with the ports of its datagram.
    fn go(&mut self, piece: Piece, ports: Option<(u16, u16)>, oracle: &mut dyn Oracle) {
        match self.packet(piece.packet, piece.port, ports, false) {
            Ok(packet) => self.steer(packet, oracle),
            Err(reason) => self.drop(reason),
        }
    }

    /// Reads a packet and finds the key of its flow: of an ICMP error, the key of a packet that
    /// would come this way in the flow that the error is about.
    pub(super) fn packet(
        &self,
        octets: Vec<u8>,
        port: u8,
        ports: Option<(u16, u16)>,
        hairpin: bool,
    ) -> Result<Packet, &'static str> {
        let ip = ipv4::parse(&octets, 0, true).map_err(reason)?;
        let mut key = ip.tuple();
        let mut inner = None;
        match ip.l4_kind {
            Transport::IcmpError { .. } => {
                let e = ipv4::parse_embedded(&octets, &ip).map_err(reason)?;
                if matches!(e.transport, EmbeddedTransport::LaterFragment | EmbeddedTransport::IcmpOther) {
                    return Err("icmp_unknown");
                }
                key = e.tuple().reversed();
                inner = Some(e);
            }
            Transport::IcmpOther { .. } => return Err("icmp_unsupported"),
            Transport::LaterFragment => {
                let (source, destination) = ports.unwrap_or_default();
                key.source = Endpoint::new(ip.source, source);
                key.destination = Endpoint::new(ip.destination, destination);
            }
            _ => {}
        }
        Ok(Packet { port, octets, ip, key, inner, hairpin })
    }
}
