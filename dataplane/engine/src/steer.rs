//! Who owns a packet: a function of its key and the snapshot, the same on every worker.
//!
//! Egress flows belong to hash(inside address), balanced ones to hash(remote endpoint), what
//! comes to an outside endpoint to whoever leases its block. An ICMP error goes where a packet
//! of the flow that it is about would go.

use nat::{Side, WorkerId};
use snapshot::{HOST_PORTS, Snapshot};
use wire::{Embedded, EmbeddedTransport, Ipv4, Protocol, Transport, Tuple, ipv4, toeplitz};

use crate::handoff::{Tag, Task};
use crate::reason::DropReason;

/// Where a packet goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Steered {
    /// To its owner.
    To { task: Task, owner: WorkerId },
    /// To the host stack.
    Punt,
    /// Nowhere.
    Drop(DropReason),
}

/// The key that a packet's flow is looked up by, and the packet inside an ICMP error.
pub(crate) fn key(frame: &[u8], ip: &Ipv4, tag: Tag) -> Result<(Tuple, Option<Embedded>), DropReason> {
    match ip.l4_kind {
        Transport::IcmpError { .. } => {
            let inner = ipv4::parse_embedded(frame, ip)?;
            match inner.transport {
                // Its ports are unknown, or nothing may answer it (RFC 1122 §3.2.2).
                EmbeddedTransport::LaterFragment | EmbeddedTransport::IcmpOther => {
                    Err(DropReason::IcmpUnknown)
                }
                _ => Ok((inner.tuple().reversed(), Some(inner))),
            }
        }
        Transport::IcmpOther { .. } => Err(DropReason::IcmpUnsupported),
        Transport::LaterFragment if tag.ports_known => {
            let mut key = ip.tuple();
            (key.source.port, key.destination.port) = tag.ports();
            Ok((key, None))
        }
        _ => Ok((ip.tuple(), None)),
    }
}

fn by_address(address: std::net::Ipv4Addr, workers: u16) -> WorkerId {
    WorkerId((toeplitz::address(address) % u32::from(workers)) as u16)
}

fn by_endpoint(endpoint: wire::Endpoint, workers: u16) -> WorkerId {
    WorkerId((toeplitz::endpoint(endpoint.address, endpoint.port) % u32::from(workers)) as u16)
}

/// The owner of a packet with this key.
pub(crate) fn steer(snapshot: &Snapshot, key: &Tuple, ip: &Ipv4, tag: Tag, workers: u16) -> Steered {
    let Some(port) = snapshot.port(tag.port) else { return Steered::Drop(DropReason::NoRoute) };
    // In the second pass of a hairpin the packet comes from an outside address, as if from outside.
    let side = if tag.hairpin { Side::Outside } else { port.side };
    let echo_request = matches!(ip.l4_kind, Transport::Echo { request: true, .. });
    match steer_key(snapshot, key, side, echo_request, workers, tag.hairpin) {
        // The same reason whether or not a block around the port happens to be leased.
        Steered::Drop(DropReason::NoMapping) => Steered::Drop(match ip.l4_kind {
            Transport::IcmpError { .. } => DropReason::IcmpUnknown,
            Transport::LaterFragment => DropReason::NoSession,
            _ => DropReason::NoMapping,
        }),
        steered => steered,
    }
}

/// The same by the key alone, all reasons for ports unknown taken as one.
fn steer_key(
    snapshot: &Snapshot,
    key: &Tuple,
    side: Side,
    echo_request: bool,
    workers: u16,
    hairpin: bool,
) -> Steered {
    let to = |task, owner| Steered::To { task, owner };
    if snapshot.vip(key.protocol, key.destination).is_some() {
        return to(Task::Balanced, by_endpoint(key.source, workers));
    }
    if snapshot.is_backend(key.protocol, key.source) && !hairpin {
        // Under full NAT the reply goes to whoever leases the source that was taken.
        let owner = snapshot
            .outside_address(key.destination.address)
            .and_then(|outside| outside.owner(key))
            .unwrap_or_else(|| by_endpoint(key.destination, workers));
        return to(Task::BalancedReply, owner);
    }
    steer_plain(snapshot, key, side, echo_request, workers)
}

/// The owner of a UDP or TCP packet with this key from a port of `side`: [`steer`] in short. `None`: punted or dropped.
pub(crate) fn plain_owner(
    snapshot: &Snapshot,
    key: &Tuple,
    side: Side,
    workers: u16,
) -> Option<(Task, WorkerId)> {
    let to = key.destination.address;
    if side == Side::Inside && snapshot.local(to).is_none() {
        // To no address of ours: to no VIP, pool or static mapping.
        if !snapshot.is_backend(key.protocol, key.source) && !snapshot.leads(to, Side::Inside) {
            return Some((Task::Egress, by_address(key.source.address, workers)));
        }
    }
    match steer_key(snapshot, key, side, false, workers, false) {
        Steered::To { task, owner } => Some((task, WorkerId(owner.0 % workers.max(1)))),
        Steered::Punt | Steered::Drop(_) => None,
    }
}

/// The owner of what an inside host sends of its own.
pub(crate) fn own_egress(key: &Tuple, workers: u16) -> Steered {
    Steered::To { task: Task::Egress, owner: by_address(key.source.address, workers) }
}

/// The owner of a packet that belongs to no VIP. One inside host's reply to another belongs to
/// the owner of the other's flow, which is asked first.
pub(crate) fn steer_plain(
    snapshot: &Snapshot,
    key: &Tuple,
    side: Side,
    echo_request: bool,
    workers: u16,
) -> Steered {
    let to = |task, owner| Steered::To { task, owner };
    let destination = key.destination;
    let own = snapshot.is_own(destination.address);
    let ported = matches!(key.protocol, Protocol::TCP | Protocol::UDP);
    if let Some(fixed) = snapshot.static_by_outside(key.protocol, destination) {
        return match side {
            Side::Outside => to(Task::Inbound, by_address(fixed.inside.address, workers)),
            Side::Inside => to(Task::Return, by_address(fixed.inside.address, workers)),
        };
    }
    if own && (echo_request || (ported && HOST_PORTS.contains(&destination.port))) {
        return Steered::Punt;
    }
    if let Some(outside) = snapshot.outside_address(destination.address) {
        if side == Side::Inside {
            return match outside.owner(key) {
                Some(owner) => to(Task::Return, owner),
                None => own_egress(key, workers),
            };
        }
        return match outside.owner(key) {
            Some(owner) => to(Task::Inbound, owner),
            // A SYN to a port without a mapping is answered too, after a while (RFC 5382 REQ-4).
            None if key.protocol == Protocol::TCP => {
                to(Task::Inbound, by_address(destination.address, workers))
            }
            None => Steered::Drop(DropReason::NoMapping),
        };
    }
    if own {
        return Steered::Drop(DropReason::LocalNoService);
    }
    if snapshot.is_vip_address(destination.address) {
        return if echo_request { Steered::Punt } else { Steered::Drop(DropReason::NoMapping) };
    }
    match side {
        Side::Inside if snapshot.leads(destination.address, Side::Inside) => {
            to(Task::Return, by_address(destination.address, workers))
        }
        Side::Inside => own_egress(key, workers),
        Side::Outside => match snapshot.side_of(destination.address) {
            Some(Side::Inside) => to(Task::Inbound, by_address(destination.address, workers)),
            Some(Side::Outside) => Steered::Drop(DropReason::TransitOutside),
            None => Steered::Drop(DropReason::NoRoute),
        },
    }
}
