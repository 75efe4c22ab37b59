//! The kernel's gateway as nftables rules: the same translation that ours is measured with.
//!
//! Packets are counted and dropped by rules at the edges: at the ingress of the gateway to know
//! what sending alone costs, at the egress hook of its other port to end what was translated. So
//! what is between is what ours is timed for: from the device to the hand-over to the device.

use std::fmt::Write;

use crate::flows;
use crate::loads::Nat;

/// The gateway's port that packets come in by.
pub(super) const IN: &str = "in0";
/// The port that they leave by.
pub(super) const OUT: &str = "out0";
/// The gateway's address on [`OUT`]: what masquerading puts in.
pub(super) const OUTSIDE: &str = "198.51.100.1";

/// Translation and the end at the egress hook.
pub(super) fn gateway(nat: Nat) -> String {
    let mut s = String::new();
    match nat {
        Nat::Snat => {
            s += "table ip nat {\n chain post { type nat hook postrouting priority srcnat;\n";
            let _ = writeln!(s, "  ip saddr 10.0.0.0/8 oifname \"{OUT}\" masquerade\n }}\n}}");
        }
        Nat::Dnat => balanced(&mut s),
    }
    // Only what was translated is counted.
    let translated = match nat {
        Nat::Snat => format!("ip saddr {OUTSIDE}"),
        Nat::Dnat => "ip daddr 10.128.0.0/14".to_owned(),
    };
    let _ = write!(
        s,
        "table netdev end {{\n chain out {{ type filter hook egress device \"{OUT}\" priority 0;\n  \
         {translated} counter drop\n  counter drop\n }}\n}}\n"
    );
    s
}

/// Every VIP by a chain of its own, its backends by a hash of the client's address and port.
fn balanced(s: &mut String) {
    s.push_str("table ip nat {\n");
    for n in 0..flows::VIPS {
        let _ = write!(
            s,
            " chain v{n} {{\n  dnat to jhash ip saddr . udp sport mod {} seed 1 map {{",
            flows::BACKENDS
        );
        for k in 0..flows::BACKENDS {
            let backend = flows::backend(n, k);
            let _ = write!(s, " {k} : {} . {},", backend.address, backend.port);
        }
        s.push_str(" }\n }\n");
    }
    s.push_str(" map vips { type ipv4_addr : verdict; elements = {");
    for n in 0..flows::VIPS {
        let _ = write!(s, " {} : goto v{n},", flows::vip(n).address);
    }
    let _ = writeln!(
        s,
        " }} }}\n chain pre {{ type nat hook prerouting priority dstnat;\n  udp dport {} ip daddr vmap @vips\n }}\n}}",
        flows::VIP_PORT
    );
}

/// All that comes in ends at once: what remains is what sending costs.
pub(super) fn early(nat: Nat) -> String {
    let wanted = match nat {
        Nat::Snat => "ip saddr 10.0.0.0/8",
        Nat::Dnat => "ip daddr 198.18.0.0/15",
    };
    format!(
        "table netdev early {{\n chain arrive {{ type filter hook ingress device \"{IN}\" priority -500;\n  \
         {wanted} counter drop\n }}\n}}\n"
    )
}

/// Packets of the first counting rule of `nft list table netdev TABLE`.
pub(super) fn counted(listing: &str) -> Option<u64> {
    let mut words = listing.split_whitespace().skip_while(|w| *w != "packets");
    words.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_counter_of_a_listing_is_read() {
        let listing = "table netdev end {\n\tchain out {\n\t\tip saddr 198.51.100.1 counter packets 77 bytes 4 drop\n\
                       \t\tcounter packets 5 bytes 8 drop\n";
        assert_eq!(counted(listing), Some(77));
        assert_eq!(counted("table netdev end {}"), None);
    }

    #[test]
    fn every_backend_of_every_vip_is_in_the_rules() {
        let rules = gateway(Nat::Dnat);
        assert_eq!(rules.matches(" . 8443,").count() as u64, flows::VIPS * flows::BACKENDS);
        assert_eq!(rules.matches(": goto v").count() as u64, flows::VIPS);
        assert!(gateway(Nat::Snat).contains("masquerade"));
    }
}
