//! What a test of one worker stands on: two ports, its objects compiled, and wires that keep what is sent.

use std::net::Ipv4Addr;
use std::sync::Arc;

use engine::{Io, Neighbour};
use model::{Config, Origin};
use nat::{Tick, WorkerId};
use snapshot::{Health, Snapshot, compile};
use wire::{HeapBuf, MacAddr, PacketBuf};

use crate::lab::node_facts;
use crate::reference::{LabPort, Side, Topology};

/// Port 0 inside (10.0.0.1/24) and port 1 outside (198.51.100.1/24), on devices of the same numbers.
pub fn two_ports(macs: [MacAddr; 2], mtus: [u16; 2]) -> Topology {
    let port = |number: u8, side, address| LabPort {
        number,
        device: number,
        side,
        mac: macs[usize::from(number)],
        vlan: None,
        addresses: vec![(address, 24)],
        mtu: mtus[usize::from(number)],
    };
    let ports = vec![
        port(0, Side::Inside, Ipv4Addr::new(10, 0, 0, 1)),
        port(1, Side::Outside, Ipv4Addr::new(198, 51, 100, 1)),
    ];
    Topology { ports, routes: vec![] }
}

/// The Config of an operator who applied these objects (YAML). Panics when they are wrong.
pub fn config_of(objects: &str) -> Config {
    let origin = Origin("operator".into());
    let (objects, _) = model::parse_objects(objects, &origin).expect("objects that are right");
    let mut config = Config::default();
    config.origins.insert(origin, objects);
    config
}

/// The same, compiled for a gateway of these ports.
pub fn snapshot_of(objects: &str, topology: &Topology) -> Arc<Snapshot> {
    let compiled = compile(&config_of(objects), &node_facts(topology), &Health::default(), None, Tick(1));
    Arc::new(compiled.expect("objects that fit the ports"))
}

/// Frames that were sent: device and octets. No other worker is there, and the host stack takes all.
#[derive(Default)]
pub struct Kept(pub Vec<(u8, Vec<u8>)>);

impl Io<HeapBuf> for Kept {
    fn transmit(&mut self, device: u8, packet: HeapBuf) -> Result<(), HeapBuf> {
        self.0.push((device, packet.bytes().to_vec()));
        Ok(())
    }

    fn hand_off(&mut self, _: WorkerId, packet: HeapBuf) -> Result<(), HeapBuf> {
        Err(packet)
    }

    fn punt(&mut self, _: HeapBuf) -> Result<(), HeapBuf> {
        Ok(())
    }

    fn alloc(&mut self) -> Option<HeapBuf> {
        Some(HeapBuf::new())
    }

    fn announce(&mut self, _: Neighbour) {}
}
