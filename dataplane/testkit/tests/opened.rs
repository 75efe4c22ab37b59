//! Sessions opened are counted for each backend and each service port of a VIP, at whichever
//! workers they begin, and a change of the Config takes nothing away from who stays.

use std::net::Ipv4Addr;

use engine::{BackendOf, VipPort};
use model::{Config, Protocol};
use testkit::reference::Topology;
use testkit::solo::{config_of, two_ports};
use testkit::{Lab, Link, Packet};
use wire::{Endpoint, MacAddr};

const GATEWAY: MacAddr = MacAddr([2, 0xbb, 0, 0, 0, 0]);
const HOST: MacAddr = MacAddr([2, 0xaa, 0, 0, 0, 1]);
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

fn topology() -> Topology {
    two_ports([GATEWAY; 2], [1500; 2])
}

fn config(ports: &str, backends: &[u8]) -> Config {
    let backends: Vec<String> = backends.iter().map(|n| format!("{{address: 10.0.0.{n}}}")).collect();
    let text = format!(
        "apiVersion: sluice.dev/v1alpha1\nkind: LoadBalancer\nmetadata: {{name: web}}\n\
         spec: {{vips: [{VIP}], ports: [{ports}], backends: [{}]}}\n",
        backends.join(", ")
    );
    config_of(&text)
}

/// One connection from each of some ports of the client's.
fn connect(lab: &mut Lab, to: u16, from: std::ops::Range<u16>) {
    for port in from {
        let packet = Packet::tcp(Endpoint::new(CLIENT, port), Endpoint::new(VIP, to), 2);
        lab.receive(1, &packet.frame(&Link { source: HOST, destination: GATEWAY, vlan: None }));
    }
}

/// Sessions opened to each backend, by the last octet of its address.
fn to_backends(lab: &Lab) -> Vec<(u8, u64)> {
    let service = &lab.snapshot().services()[0];
    let mut counts = Vec::new();
    for b in service.service.backends() {
        let of = BackendOf { service: service.id(), id: b.id, address: b.address, port: b.port };
        let sum: u64 = lab.workers().iter().map(|w| w.opened().to_backend(&of)).sum();
        counts.push((b.address.octets()[3], sum));
    }
    counts.sort_unstable();
    counts
}

fn by_vip(lab: &Lab, first: u16) -> u64 {
    let service = lab.snapshot().services()[0].id();
    let vip = VipPort { service, address: VIP, protocol: Protocol::Tcp, first };
    lab.workers().iter().map(|w| w.opened().by_vip(&vip)).sum()
}

#[test]
fn every_session_that_begins_is_counted_once_for_its_backend_and_its_vip() {
    let mut lab =
        Lab::new(3, &topology(), &config("{port: 80}, {port: 8000, endPort: 8009}", &[11, 12]), 7).unwrap();
    assert_eq!(lab.workers().len(), 3);
    connect(&mut lab, 80, 5000..5300);
    connect(&mut lab, 8004, 6000..6020);
    assert_eq!(lab.sessions(), 320);
    let counts = to_backends(&lab);
    assert_eq!(counts.iter().map(|(_, n)| n).sum::<u64>(), 320);
    assert!(counts.iter().all(|(_, n)| *n > 100), "{counts:?}");
    assert_eq!((by_vip(&lab, 80), by_vip(&lab, 8000)), (300, 20));
    // More packets of the same connections open nothing.
    connect(&mut lab, 80, 5000..5300);
    assert_eq!((by_vip(&lab, 80), to_backends(&lab)), (300, counts));
}

#[test]
fn sessions_that_end_stay_counted() {
    let mut lab = Lab::new(2, &topology(), &config("{port: 80}", &[11, 12]), 7).unwrap();
    connect(&mut lab, 80, 5000..5100);
    lab.tick(30_000);
    assert_eq!((lab.sessions(), by_vip(&lab, 80)), (0, 100));
    assert_eq!(to_backends(&lab).iter().map(|(_, n)| n).sum::<u64>(), 100);
}

#[test]
fn a_change_of_the_config_keeps_the_counts_of_who_stays() {
    let mut lab = Lab::new(2, &topology(), &config("{port: 80}", &[11, 12]), 7).unwrap();
    connect(&mut lab, 80, 5000..5100);
    let before = to_backends(&lab);
    lab.configure(&config("{port: 80}, {port: 443}", &[11, 12, 13])).unwrap();
    let after = to_backends(&lab);
    assert_eq!((&after[..2], after[2]), (&before[..], (13, 0)));
    assert_eq!((by_vip(&lab, 80), by_vip(&lab, 443)), (100, 0));
    connect(&mut lab, 443, 7000..7100);
    assert_eq!((by_vip(&lab, 80), by_vip(&lab, 443)), (100, 100));
    assert!(to_backends(&lab)[2].1 > 0);
}
