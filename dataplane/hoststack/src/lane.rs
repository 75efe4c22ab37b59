//! One smoltcp interface, the probes on it, and the in-memory device between them.

use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, Ipv4Address};

use crate::probe::{Finding, Probe, Progress};
use crate::schedule::{Target, TargetIndex};

/// What a poll has settled.
pub(crate) enum Conclusion {
    /// A probe found this of its target.
    Found(TargetIndex, Finding),
    /// The probe with this source port is over; the port is free.
    Over(u16),
}

pub(crate) struct Lane {
    iface: Interface,
    device: Queues,
    sockets: SocketSet<'static>,
    probes: Vec<Probe>,
    wake: Option<Instant>,
}

impl Lane {
    pub(crate) fn new(mtu: usize, seed: u64, now: Instant) -> Self {
        let mut device = Queues { received: VecDeque::new(), sent: Vec::new(), mtu };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut device, now);
        // What may come in was decided at admission, where thousands of addresses cost one look-up;
        // smoltcp's own list is short. Over Medium::Ip the gateway's address is never used.
        iface.set_any_ip(true);
        let routed = iface.routes_mut().add_default_ipv4_route(Ipv4Address::new(0, 0, 0, 1));
        debug_assert!(routed.is_ok(), "an empty route table has room");
        Lane { iface, device, sockets: SocketSet::new(Vec::new()), probes: Vec::new(), wake: None }
    }

    /// Queues a packet for the next poll; `false`: `bound` packets wait already.
    pub(crate) fn offer(&mut self, packet: Vec<u8>, bound: usize) -> bool {
        let room = self.device.received.len() < bound;
        if room {
            self.device.received.push_back(packet);
        }
        room
    }

    /// Begins a probe; its first packet leaves with the next poll.
    pub(crate) fn start(&mut self, now: Instant, mut probe: Probe, target: &Target) {
        probe.open(&mut self.sockets, self.iface.context(), target);
        self.probes.push(probe);
        self.wake = Some(now);
    }

    /// Tells probes where their targets are now; a probe without one ends at the next poll.
    pub(crate) fn retarget(&mut self, now: Instant, kept: &[Option<TargetIndex>]) {
        for probe in &mut self.probes {
            probe.retarget(kept);
        }
        self.wake = (!self.probes.is_empty()).then_some(now);
    }

    pub(crate) fn wake(&self) -> Option<Instant> {
        if self.device.received.is_empty() { self.wake } else { Some(Instant::ZERO) }
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.wake().is_some_and(|wake| wake <= now)
    }

    /// Takes in what is queued, moves every probe on, sends. Returns how many packets were sent.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        send: &mut dyn FnMut(Vec<u8>),
        settle: &mut dyn FnMut(Conclusion),
    ) -> u64 {
        let Lane { iface, device, sockets, probes, wake } = self;
        iface.poll(now, device, sockets);
        for probe in probes.iter_mut() {
            if let Progress::Found(target, finding) = probe.advance(sockets, now) {
                settle(Conclusion::Found(target, finding));
            }
        }
        // What the probes wrote, closed or aborted.
        iface.poll(now, device, sockets);
        probes.retain(|probe| {
            if probe.is_over() {
                probe.remove_from(sockets);
                settle(Conclusion::Over(probe.port()));
            }
            !probe.is_over()
        });
        *wake = probes.iter().map(Probe::deadline).chain(iface.poll_at(now, sockets)).min();
        let sent = device.sent.len() as u64;
        device.sent.drain(..).for_each(send);
        sent
    }
}

/// smoltcp's view of the punt path: packets wait in memory on both sides.
struct Queues {
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    mtu: usize,
}

impl phy::Device for Queues {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut packet = vec![0; length];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}
