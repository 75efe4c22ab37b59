//! The kernel's NAT on one CPU: what it costs from the ingress of one port to the egress of the other.
//!
//! A sender on the same CPU puts frames into a veth pair; each is carried through the gateway in the
//! softirq that sending raises, inside the same system call. The time stamp counter runs over the
//! calls alone. What sending costs is measured in the same run, with the packets dropped at the gateway's
//! ingress, and taken off: neither the making of the kernel's buffers nor a driver is held against it.

use std::fs;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::ruleset::{self, IN, OUT, OUTSIDE};
use super::sender::{self, BATCH, Sender};
use super::undo::{Borrowed, Namespace, command};
use crate::draw::{Draw, Flows};
use crate::flows;
use crate::frame::{self, Link, Packet};
use crate::loads::Nat;
use crate::machine::preemptions;
use crate::world;

/// Calls between two looks at whether another program ran.
const CALLS: u64 = 16;
/// Seconds that a session of one packet lives: longer than any comparison.
const IDLE: &str = "86400";

/// A gateway of the kernel's own, its sessions open.
pub(super) struct Kernel {
    nat: Nat,
    sessions: u64,
    draw: Draw,
    sender: Sender,
    link: Link,
    gateway: Namespace,
    _outer: Namespace,
    _settings: Vec<Borrowed>,
}

/// Cycles a packet of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Sending included.
    pub(super) gross: f64,
    /// Sending alone.
    pub(super) sending: f64,
}

impl Cost {
    /// The gateway's own.
    pub(super) fn net(self) -> f64 {
        self.gross - self.sending
    }
}

impl Kernel {
    /// Makes namespaces and rules, and opens the sessions. `progress`: sessions opened.
    pub(super) fn open(nat: Nat, sessions: u64, seed: u64, mut progress: impl FnMut(u64)) -> Result<Self> {
        let settings = room_for(sessions)?;
        let (gateway, outer) = (Namespace::new("gateway")?, Namespace::new("outer")?);
        wire_up(&gateway, &outer, nat)?;
        load(&gateway, &ruleset::gateway(nat))?;
        let sender = Sender::new(outer.within(|| sender::open("from0"))?);
        let draw = Draw::new(Flows::Uniform, seed);
        let link = world::link(arrives(nat));
        let mut kernel =
            Kernel { nat, sessions, draw, sender, link, gateway, _outer: outer, _settings: settings };
        let mut n = 0;
        while n < sessions {
            let batch = (sessions - n).min(BATCH as u64);
            kernel.write(|k| n + k);
            kernel.sender.send(batch as usize)?;
            n += batch;
            if n.is_multiple_of(1 << 14) {
                progress(n);
            }
        }
        let live = kernel.gateway.within(|| {
            let path = "/proc/sys/net/netfilter/nf_conntrack_count";
            Ok(fs::read_to_string(path).with_context(|| format!("read {path}"))?.trim().parse::<u64>()?)
        })?;
        ensure!(live >= sessions, "the kernel opened {live} of {sessions} sessions: see `dmesg`");
        Ok(kernel)
    }

    /// Writes the next frames: the k-th of flow `flow(k)`.
    fn write(&mut self, mut flow: impl FnMut(u64) -> u64) {
        let (nat, link) = (self.nat, self.link);
        for (k, out) in self.sender.frames().iter_mut().enumerate() {
            let n = flow(k as u64);
            let ends = match nat {
                Nat::Snat => flows::egress(n),
                Nat::Dnat => flows::balanced(n),
            };
            frame::write(out, &link, &Packet::udp(ends.source, ends.destination, n << 1));
        }
    }

    /// Cycles a packet over so many packets; all must come out.
    fn measure(&mut self, packets: u64, table: &str) -> Result<f64> {
        let before = self.counted(table)?;
        let (mut sent, mut cycles, mut timed) = (0, 0, 0);
        while sent < packets || (timed == 0 && sent < 16 * packets) {
            let (switches, mut took) = (preemptions(), 0);
            for _ in 0..CALLS {
                let (mut draw, all) = (self.draw.clone(), self.sessions);
                self.write(|_| draw.flow(all));
                self.draw = draw;
                took += self.sender.send(BATCH)?;
            }
            sent += CALLS * BATCH as u64;
            // What another program did in between is not the kernel's NAT: as with ours.
            if preemptions() == switches {
                cycles += took;
                timed += CALLS * BATCH as u64;
            }
        }
        let out = self.counted(table)? - before;
        ensure!(out == sent, "{sent} packets were sent to the kernel's gateway, {out} came out right");
        ensure!(timed > 0, "another program ran all the time: measure on an idle CPU (--cpu)");
        Ok(cycles as f64 / timed as f64)
    }

    /// One run of so many packets, and as many that only are sent.
    pub(super) fn run(&mut self, packets: u64) -> Result<Cost> {
        let gross = self.measure(packets, "end")?;
        load(&self.gateway, &ruleset::early(self.nat))?;
        let sending = self.measure(packets, "early");
        self.gateway.run(&["nft", "delete", "table", "netdev", "early"])?;
        Ok(Cost { gross, sending: sending? })
    }

    fn counted(&self, table: &str) -> Result<u64> {
        let listing = self.gateway.run(&["nft", "list", "table", "netdev", table])?;
        ruleset::counted(&listing).ok_or_else(|| anyhow!("nft lists no counter:\n{listing}"))
    }
}

/// The device that the load's packets arrive by.
const fn arrives(nat: Nat) -> u8 {
    match nat {
        Nat::Snat => world::INSIDE,
        Nat::Dnat => world::OUTSIDE,
    }
}

/// Raises what would refuse so many sessions, and gives the hash a bucket an entry, two a session.
fn room_for(sessions: u64) -> Result<Vec<Borrowed>> {
    let most = "/proc/sys/net/netfilter/nf_conntrack_max";
    let buckets = "/sys/module/nf_conntrack/parameters/hashsize";
    if !fs::exists(most)? {
        bail!("this kernel has no connection tracking ({most}): load it with `modprobe nf_conntrack`");
    }
    let wanted = (2 * sessions).next_power_of_two();
    let raised =
        [Borrowed::at_least(most, sessions + sessions / 8 + 1024)?, Borrowed::at_least(buckets, wanted)?];
    Ok(raised.into_iter().flatten().collect())
}

/// Two veth pairs, addresses, a route out, and the next hop's hardware address.
fn wire_up(gateway: &Namespace, outer: &Namespace, nat: Nat) -> Result<()> {
    let settings = [
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
        ("netfilter/nf_conntrack_udp_timeout", IDLE),
        ("netfilter/nf_conntrack_udp_timeout_stream", IDLE),
        // A NIC would have verified them.
        ("netfilter/nf_conntrack_checksum", "0"),
    ];
    for namespace in [gateway, outer] {
        namespace.within(|| {
            for (name, value) in settings {
                let path = format!("/proc/sys/net/{name}");
                // A kernel without IPv6 has nothing to switch off.
                if name.starts_with("ipv6") && !fs::exists(&path)? {
                    continue;
                }
                fs::write(&path, value).with_context(|| format!("write {value} to {path}"))?;
            }
            Ok(())
        })?;
    }
    let inward = arrives(nat);
    let outward = 1 - inward;
    for (far, near, device) in [("from0", IN, inward), ("to0", OUT, outward)] {
        outer.ip(&format!("link add {far} type veth peer name {near} netns {}", gateway.name()))?;
        gateway.ip(&format!("link set {near} address {}", world::port_mac(device)))?;
        gateway.ip(&format!("link set {near} up"))?;
        outer.ip(&format!("link set {far} up"))?;
    }
    gateway.ip(&format!("address add 172.16.0.1/24 dev {IN}"))?;
    gateway.ip(&format!("address add {OUTSIDE}/24 dev {OUT}"))?;
    let hop = world::router_mac(outward);
    gateway.ip(&format!("neighbour add 198.51.100.2 lladdr {hop} dev {OUT} nud permanent"))?;
    gateway.ip(&format!("route add default via 198.51.100.2 dev {OUT}"))
}

/// Loads rules in a namespace.
fn load(namespace: &Namespace, rules: &str) -> Result<()> {
    let path = std::env::temp_dir().join(format!("{}.nft", namespace.name()));
    fs::write(&path, rules).with_context(|| format!("write {}", path.display()))?;
    let file = path.to_string_lossy().into_owned();
    let loaded = command("ip", &["netns", "exec", namespace.name(), "nft", "-f", &file]);
    fs::remove_file(&path).with_context(|| format!("remove {file}"))?;
    loaded.context("load the rules").map(drop)
}
