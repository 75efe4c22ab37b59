//! Why a packet was dropped: a closed list.
//!
//! Every packet ends in tx, hand-over, punt or one of these. Each reason has a name (the
//! word in metrics, logs and `sluicectl explain-drop`), the stage that drops, a sentence of
//! cause and one of remedy, so that a counter explains itself.

/// Stage of the pipeline at which a packet ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Reading headers.
    Parse,
    /// Checks on addresses, before any look-up.
    Classify,
    /// Egress policy and access rules.
    Policy,
    /// Sessions, mappings, ports, fragments.
    Nat,
    /// Choosing a backend.
    Balance,
    /// Next hop, MTU, TTL, neighbours.
    Forward,
    /// Rings, queues and buffers.
    Io,
}

macro_rules! reasons {
    ($($variant:ident $name:literal $stage:ident $cause:literal $remedy:literal;)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $cause] $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// Its name in metrics and on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            /// The stage that drops.
            pub const fn stage(self) -> Stage {
                match self { $(DropReason::$variant => Stage::$stage,)* }
            }

            /// One sentence of cause.
            pub const fn cause(self) -> &'static str {
                match self { $(DropReason::$variant => $cause,)* }
            }

            /// One sentence of remedy.
            pub const fn remedy(self) -> &'static str {
                match self { $(DropReason::$variant => $remedy,)* }
            }
        }
    };
}

reasons! {
    MalformedEthernet "malformed_ethernet" Parse "The frame is shorter than its Ethernet header." "Look at the sender or the cable: such frames are broken before they get here.";
    NotForUs "not_for_us" Parse "The frame's destination is neither this port's MAC address nor a broadcast that is served." "None needed on a shared segment; if it is many, look for a stale ARP entry at the sender.";
    WrongVlan "wrong_vlan" Parse "The frame carries a VLAN tag that no port of the node file has, or lacks the one its port has." "Give the port its `vlan`, or take the tag off at the switch.";
    UnknownEthertype "unknown_ethertype" Parse "The frame is neither ARP nor IPv4." "None needed: LLDP, spanning tree and the like end here.";
    Ipv6Unsupported "ipv6_unsupported" Parse "The packet is IPv6, which this version does not serve." "Use IPv4 through the gateway, or route IPv6 around it.";
    MalformedArp "malformed_arp" Parse "The ARP message is cut short or not for IPv4 over Ethernet." "Look at the sender.";
    MalformedIp "malformed_ip" Parse "The IPv4 header's version, length or total length contradicts the frame." "Look at the sender; on veths check that segmentation offload is off.";
    BadIpChecksum "bad_ip_checksum" Parse "The IPv4 header's checksum is wrong." "Look for a broken link or device on the way.";
    MalformedL4 "malformed_l4" Parse "The TCP, UDP or ICMP header does not fit in the packet or contradicts it." "Look at the sender: such packets are often scans or attacks.";
    BadIcmpChecksum "bad_icmp_checksum" Parse "The checksum of an ICMP error is wrong (RFC 5508 REQ-3)." "Look for a broken device on the way.";
    MartianSource "martian_source" Classify "The source address cannot be a sender's (0/8, 127/8, multicast, class E, broadcast, or 169.254/16 from outside)." "Look at the sender; the remote end is misconfigured or lies.";
    MartianDestination "martian_destination" Classify "The destination is multicast, broadcast, 0/8, 127/8 or class E, which is not forwarded." "None needed: discovery protocols end here.";
    SpoofedSource "spoofed_source" Classify "The source address does not belong to the side it came from." "If the sender is legitimate, add a Route to its prefix on that side.";
    LocalNoService "local_no_service" Classify "The packet is for the gateway itself, where nothing serves it." "Nothing listens here: the gateway answers pings only; use a VIP or StaticMapping to publish a service.";
    TransitOutside "transit_outside" Classify "The packet came from outside and its destination lies outside too." "The gateway is no router between outside networks: correct the sender's route.";
    NoEgressPolicy "no_egress_policy" Policy "No EgressPolicy matches the packet's source and destination." "Add an EgressPolicy whose `from` and `to` hold them.";
    EgressDenied "egress_denied" Policy "The EgressPolicy that matches says Deny." "Change that policy, or give a higher priority to one that allows it.";
    PolicyDenied "policy_denied" Policy "An origin's AccessPolicies select the source and none of them allows the destination." "Add a rule to a NetworkPolicy or AccessPolicy of that origin; `sluicectl explain` names it.";
    PolicyPending "policy_pending" Policy "The source lies in an AccessGuard and has no AccessPolicy yet." "Wait for the cluster sync, or look at the controller: it has not programmed this pod.";
    OutOfPorts "out_of_ports" Nat "No port of the pool is free for this subscriber." "Add addresses to the pool, lower `blockSize`, or raise `maxBlocksPerSubscriber`; see `sluicectl pools`.";
    QuotaPorts "quota_ports" Nat "The subscriber holds as many ports as its pool's quota allows." "Raise `quotas.ports` of the pool, or look at what the subscriber does.";
    QuotaSessions "quota_sessions" Nat "The subscriber has as many sessions as its pool's quota allows." "Raise `quotas.sessions` of the pool, or look at what the subscriber does.";
    QuotaRate "quota_rate" Nat "The subscriber opens sessions faster than its pool's quota allows." "Raise `quotas.newSessionsPerSecond` or `burst` of the pool.";
    QuotaHalfOpen "quota_half_open" Nat "The subscriber has as many unanswered TCP connections as its pool's quota allows." "Raise `quotas.halfOpen` of the pool, or look for a scan.";
    SessionTableFull "session_table_full" Nat "The worker's session table is full." "Raise `memory.sessions` in the node file, or shorten the timeouts.";
    NoTranslation "no_translation" Nat "The packet's protocol has no ports and cannot share the address it would get." "Use a 1:1 StaticMapping, or an EgressPolicy with action Direct, for this protocol.";
    TcpNotSyn "tcp_not_syn" Nat "A TCP packet in mid-stream belongs to no session." "None needed after an idle time-out or a restart; `adoptMidStream` takes such sessions over.";
    TcpInvalid "tcp_invalid" Nat "The TCP flags make no sense together or for the session's state." "Look at the sender: often a scan.";
    NoMapping "no_mapping" Nat "Nothing maps this outside address and port." "Publish the service with a LoadBalancer or a StaticMapping; scans from the internet end here.";
    Filtered "filtered" Nat "A mapping exists, and its filtering does not admit this remote." "Use `filtering: EndpointIndependent` in the EgressPolicy if any remote may answer.";
    UnsolicitedSyn "unsolicited_syn" Nat "A TCP SYN from outside that nothing asked for; it is answered after 6 s unless a SYN from inside crosses it (RFC 5382 REQ-4)." "Publish the service with a LoadBalancer or a StaticMapping.";
    NoSession "no_session" Nat "A packet from outside for an inside address belongs to no session." "Nothing inside asked for it; publish the service with a LoadBalancer or a StaticMapping.";
    IcmpUnknown "icmp_unknown" Nat "An ICMP error about a packet of no known session (RFC 5508 REQ-4)." "None needed.";
    IcmpUnsupported "icmp_unsupported" Nat "An ICMP message that is neither an echo nor an error." "None needed: timestamps, redirects and router discovery are not forwarded.";
    FragmentOverlap "fragment_overlap" Nat "Fragments of one datagram overlap (RFC 5722's lesson)." "Look at the sender: overlapping fragments are an attack.";
    FragmentTimeout "fragment_timeout" Nat "The first fragment of a datagram did not come within 2 s." "Look for loss on the way; lower the MTU so that nothing is fragmented.";
    FragmentLimit "fragment_limit" Nat "More fragments were waiting than the bounds per datagram, source or worker allow." "Lower the MTU at the sender so that nothing is fragmented.";
    HairpinNoPool "hairpin_no_pool" Balance "A client and the backend chosen for it lie on the same side and no pool gives a source address." "Set `sourceNat` on the LoadBalancer, or let an EgressPolicy with Snat match the client.";
    VipNoBackend "vip_no_backend" Balance "The service has no backend that may get a new session." "Add a backend, or look at `sluicectl backends` for failed health checks.";
    VipSourceDenied "vip_source_denied" Balance "The client lies outside the service's `sourceRanges`." "Add its prefix to `sourceRanges`.";
    NoRoute "no_route" Forward "No route leads to the destination." "Add a Route, or a default route for that side.";
    TtlExpired "ttl_expired" Forward "The packet's TTL ran out here." "None needed for traceroute; otherwise look for a routing loop.";
    TooBig "too_big" Forward "The packet is larger than the next port's MTU and must not be fragmented." "None needed: the sender was told the MTU (ICMP 3/4); check that it hears it.";
    NeighbourUnreachable "neighbour_unreachable" Forward "The next hop does not answer ARP." "Look whether the next hop is up and in the port's subnet.";
    NeighbourQueueFull "neighbour_queue_full" Forward "Too many packets wait for a next hop's ARP answer." "None needed at start; otherwise look whether the next hop is up.";
    PuntLimited "punt_limited" Io "The gateway's own services got more packets than their limit." "Look for a flood of pings to the gateway's addresses.";
    PuntFull "punt_full" Io "The queue to the host stack was full." "None needed if rare; otherwise look for a flood to the gateway's addresses.";
    HandoffFull "handoff_full" Io "The ring to the worker that owns the flow was full." "That worker is overloaded: add workers, or look at `sluicectl workers`.";
    TxFull "tx_full" Io "The port's transmit queue took no more packets." "The link is slower than the traffic: look at its speed and at pause frames.";
    NoBuffer "no_buffer" Io "The packet pool was empty." "Raise the number of buffers; if it stays, report a leak.";
}

/// How many reasons there are.
pub const REASONS: usize = DropReason::ALL.len();

impl DropReason {
    /// Its number, for counters.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<DropReason> {
        Self::ALL.iter().copied().find(|r| r.name() == name)
    }
}

impl std::fmt::Display for DropReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own_and_explains_itself() {
        let mut names = std::collections::BTreeSet::new();
        for (i, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(r.index(), i);
            assert!(names.insert(r.name()), "{} twice", r.name());
            assert!(r.cause().ends_with('.') && r.remedy().ends_with('.'), "{r}");
            assert_eq!(DropReason::from_name(r.name()), Some(*r));
        }
    }
}
