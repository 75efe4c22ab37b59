//! A backend's life, and which backends new flows may go to.

use wire::{Family, V4};

/// Number of a backend of one service, stable over snapshots while sessions to it may live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackendId(pub u32);

/// Tenths of its weight that a starting backend has reached, 1 to 9. Tenths, so that slow start rebuilds a
/// table ten times and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u8);

impl Share {
    /// Tenths of full weight; kept within 1 to 9.
    pub const fn tenths(tenths: u8) -> Self {
        match tenths {
            0 => Share(1),
            1..=9 => Share(tenths),
            _ => Share(9),
        }
    }
}

/// Where a backend stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Gets new flows, not yet its full share (slow start).
    Filling(Share),
    /// Gets new flows.
    Active,
    /// Keeps its sessions, gets no new ones.
    Draining,
    /// Gets nothing; its sessions end at their next packet.
    Down,
}

impl Standing {
    /// Do sessions to such a backend go on?
    #[inline]
    pub const fn keeps_sessions(self) -> bool {
        !matches!(self, Standing::Down)
    }
}

/// A server of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend<F: Family = V4> {
    /// Its number.
    pub id: BackendId,
    /// Its address.
    pub address: F::Addr,
    /// A port of its own, instead of the service's target port.
    pub port: Option<u16>,
    /// Share of new flows, 0 to 256.
    pub weight: u16,
    /// Where it stands in its life.
    pub standing: Standing,
    /// What checks say; true until they say otherwise.
    pub healthy: bool,
}

impl<F: Family> Backend<F> {
    /// Weight for choosing, in tenths; 0: gets no new flows.
    fn tenths(&self) -> u32 {
        let weight = u32::from(self.weight);
        match self.standing {
            Standing::Active => weight * 10,
            Standing::Filling(Share(tenths)) => weight * u32::from(tenths),
            Standing::Draining | Standing::Down => 0,
        }
    }
}

/// The backends that new flows may go to: place in `backends` and weight. Those are the healthy ones with a
/// weight; all with a weight while under `panic_threshold` percent of them are healthy, since then the checks
/// are more likely wrong than the backends. Weights are in lowest terms.
pub fn members<F: Family>(backends: &[Backend<F>], panic_threshold: u8) -> Vec<(u32, u32)> {
    let candidates = || (0u32..).zip(backends).filter(|(_, b)| b.tenths() > 0);
    let all = candidates().count();
    let healthy = candidates().filter(|(_, b)| b.healthy).count();
    let panic = healthy * 100 < all * usize::from(panic_threshold);
    let mut chosen: Vec<(u32, u32)> =
        candidates().filter(|(_, b)| panic || b.healthy).map(|(at, b)| (at, b.tenths())).collect();
    // WorkerState by weight depend on proportions alone: lowest terms let services share tables.
    let divisor = chosen.iter().fold(0, |d, &(_, w)| gcd(d, w)).max(1);
    chosen.iter_mut().for_each(|(_, w)| *w /= divisor);
    chosen
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn backend(n: u8, weight: u16, standing: Standing, healthy: bool) -> Backend {
        let address = Ipv4Addr::new(10, 0, 0, n);
        Backend { id: BackendId(u32::from(n)), address, port: None, weight, standing, healthy }
    }
    fn places(backends: &[Backend], threshold: u8) -> Vec<u32> {
        members(backends, threshold).into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn only_active_and_filling_backends_with_a_weight_get_new_flows() {
        let all = [
            backend(0, 1, Standing::Active, true),
            backend(1, 1, Standing::Draining, true),
            backend(2, 1, Standing::Down, true),
            backend(3, 0, Standing::Active, true),
            backend(4, 1, Standing::Filling(Share::tenths(3)), true),
        ];
        assert_eq!(members(&all, 50), [(0, 10), (4, 3)]);
    }

    #[test]
    fn an_unhealthy_backend_gets_no_new_flows() {
        let all = [backend(0, 1, Standing::Active, true), backend(1, 1, Standing::Active, false)];
        assert_eq!(places(&all, 50), [0]);
    }

    #[test]
    fn under_the_panic_threshold_all_are_kept() {
        let all = [
            backend(0, 1, Standing::Active, true),
            backend(1, 1, Standing::Active, false),
            backend(2, 1, Standing::Active, false),
        ];
        assert_eq!(places(&all, 50), [0, 1, 2]);
        assert_eq!(places(&all, 33), [0]);
        assert_eq!(places(&all, 34), [0, 1, 2]);
    }

    #[test]
    fn a_draining_backend_does_not_count_towards_the_panic_threshold() {
        let all = [
            backend(0, 1, Standing::Active, true),
            backend(1, 1, Standing::Active, false),
            backend(2, 1, Standing::Draining, false),
        ];
        assert_eq!(places(&all, 50), [0]);
    }

    #[test]
    fn without_a_threshold_no_healthy_backend_means_none() {
        assert!(places(&[backend(0, 1, Standing::Active, false)], 0).is_empty());
        assert_eq!(places(&[backend(0, 1, Standing::Active, false)], 1), [0]);
    }

    #[test]
    fn weights_are_in_lowest_terms() {
        let all = [backend(0, 4, Standing::Active, true), backend(1, 6, Standing::Active, true)];
        assert_eq!(members(&all, 50), [(0, 2), (1, 3)]);
    }
}
