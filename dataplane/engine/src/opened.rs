//! Balanced sessions that a worker ever opened, by backend and by service port of a VIP, for the
//! API to show.
//!
//! Counts stand under the snapshot's dense numbers, so that one costs no search. A number gets
//! another owner some day: each count says whose it is and begins anew under another, so that
//! adopting a snapshot sweeps nothing.

use std::net::Ipv4Addr;

use lb::{BackendId, ServiceId};
use model::Protocol;

/// A backend, as its count is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendOf {
    /// Its service.
    pub service: ServiceId,
    /// Its number.
    pub id: BackendId,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its own port.
    pub port: Option<u16>,
}

/// One service port of one VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VipPort {
    /// Its service.
    pub service: ServiceId,
    /// The VIP.
    pub address: Ipv4Addr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// First port.
    pub first: u16,
}

/// Sessions opened; counts only rise while their owner stands.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// By number.
    backends: Vec<(Option<BackendOf>, u64)>,
    /// By number of the service; most have a handful.
    vips: Vec<Vec<(VipPort, u64)>>,
}

impl Opened {
    /// Makes room for services and backends numbered below these bounds.
    pub(crate) fn fit(&mut self, services: u32, backends: u32) {
        if self.vips.len() < services as usize {
            self.vips.resize(services as usize, Vec::new());
        }
        if self.backends.len() < backends as usize {
            self.backends.resize(backends as usize, (None, 0));
        }
    }

    /// A session to `backend` was opened by way of `vip`. `stands` tells which VIPs of the service
    /// there still are: asked when one is new, so that those that went take no room.
    pub(crate) fn count(&mut self, backend: BackendOf, vip: VipPort, stands: impl Fn(&VipPort) -> bool) {
        if let Some((owner, count)) = self.backends.get_mut(backend.id.0 as usize) {
            let before = if *owner == Some(backend) { *count } else { 0 };
            (*owner, *count) = (Some(backend), before + 1);
        }
        let Some(known) = self.vips.get_mut(vip.service.0 as usize) else { return };
        match known.iter_mut().find(|(it, _)| *it == vip) {
            Some((_, count)) => *count += 1,
            None => {
                known.retain(|(it, _)| stands(it));
                known.push((vip, 1));
            }
        }
    }

    /// Sessions to a backend.
    pub fn to_backend(&self, backend: &BackendOf) -> u64 {
        let found = self.backends.get(backend.id.0 as usize);
        found.filter(|(owner, _)| *owner == Some(*backend)).map_or(0, |(_, count)| *count)
    }

    /// Sessions by way of a VIP.
    pub fn by_vip(&self, vip: &VipPort) -> u64 {
        let known = self.vips.get(vip.service.0 as usize);
        known.and_then(|known| known.iter().find(|(it, _)| it == vip)).map_or(0, |(_, count)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(id: u32, last: u8) -> BackendOf {
        let address = Ipv4Addr::new(10, 0, 0, last);
        BackendOf { service: ServiceId(1), id: BackendId(id), address, port: None }
    }

    fn vip(first: u16) -> VipPort {
        let address = Ipv4Addr::new(203, 0, 113, 10);
        VipPort { service: ServiceId(1), address, protocol: Protocol::Tcp, first }
    }

    #[test]
    fn a_number_with_another_owner_counts_from_nothing() {
        let mut opened = Opened::default();
        opened.fit(2, 3);
        opened.count(backend(2, 7), vip(80), |_| true);
        opened.count(backend(2, 7), vip(80), |_| true);
        assert_eq!((opened.to_backend(&backend(2, 7)), opened.to_backend(&backend(2, 8))), (2, 0));
        opened.count(backend(2, 8), vip(80), |_| true);
        assert_eq!((opened.to_backend(&backend(2, 7)), opened.to_backend(&backend(2, 8))), (0, 1));
        assert_eq!(opened.by_vip(&vip(80)), 3);
    }

    #[test]
    fn vips_that_went_are_forgotten_when_one_comes() {
        let mut opened = Opened::default();
        opened.fit(2, 3);
        opened.count(backend(0, 7), vip(80), |_| true);
        opened.count(backend(0, 7), vip(443), |it| it.first != 80);
        assert_eq!((opened.by_vip(&vip(80)), opened.by_vip(&vip(443))), (0, 1));
        assert_eq!(opened.vips[1].len(), 1);
    }

    #[test]
    fn more_room_keeps_what_was_counted() {
        let mut opened = Opened::default();
        opened.fit(2, 1);
        opened.count(backend(0, 7), vip(80), |_| true);
        opened.fit(50, 500);
        opened.fit(2, 1);
        assert_eq!((opened.to_backend(&backend(0, 7)), opened.by_vip(&vip(80))), (1, 1));
    }
}
