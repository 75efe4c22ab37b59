//! One thread that sends by the schedule and receives, on one CPU: no queue between the two ends of
//! a measurement but the devices' own.

use std::net::Ipv4Addr;

use dpdk::{Burst, Clock, Eal, Lcore, Mempool, Port, RxQueue, Started, TxQueue};
use wire::{MacAddr, PacketBuf};

use super::neighbour::{self, Own};
use super::schedule::Schedule;
use super::tally::{Account, Tally};
use super::traffic::{Ends, Order, Size, Traffic};
use super::{ended, marker::Marker};
use crate::frame::Link;

/// Packets that are given to the device at once, at most.
const BURST: usize = 32;
const SECOND: u64 = 1_000_000_000;
/// So long after its end a trial may still send what was due before: a moment without the CPU
/// is no reason to call the generator too slow.
const GRACE: u64 = SECOND / 5;
/// Packets that are on their way when sending ends are waited for (RFC 2544 §23 d: two seconds).
const RESIDUE: u64 = 2 * SECOND;
/// Between two words on progress.
const TELL: u64 = SECOND / 5;

/// A port in the generator's hands.
pub struct End {
    port: Port,
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
    mac: MacAddr,
    own: Option<Own>,
}

impl End {
    /// A device that runs; `ip`: the address that ARP is answered for.
    pub fn new(started: Started, ip: Option<Ipv4Addr>) -> Result<Self, dpdk::Error> {
        let Started { port, rx, tx } = started;
        let mac = port.mac()?;
        Ok(End { port, rx, tx, mac, own: ip.map(|ip| Own { mac, ip }) })
    }

    /// Its hardware address.
    pub fn mac(&self) -> MacAddr {
        self.mac
    }

    /// Its name and driver.
    pub fn name(&self) -> String {
        format!("{} ({})", self.port.name(), self.port.capabilities().driver)
    }

    /// Its port.
    pub fn port(&self) -> &Port {
        &self.port
    }

    fn send(&mut self, burst: &mut Burst) -> usize {
        self.tx.first_mut().map_or(0, |tx| tx.send(burst))
    }

    /// Takes what came, answers who asks for the port's address, and shows `sink` the rest with the time it came.
    #[inline]
    fn poll(&mut self, inbox: &mut Burst, pool: &Mempool, clock: &Clock, mut sink: impl FnMut(&[u8], u64)) {
        for queue in 0..self.rx.len() {
            let Some(rx) = self.rx.get_mut(queue) else { return };
            if rx.receive(inbox) == 0 {
                continue;
            }
            let now = clock.now();
            for packet in inbox.as_slice() {
                match neighbour_question(packet.bytes()) {
                    Some(message) => {
                        if let Some(own) = self.own {
                            let (mut out, Some(mut reply)) = (Burst::new(), pool.alloc()) else { continue };
                            // Who is not answered asks again.
                            if own.answer(&mut reply, &message) && out.push(reply).is_ok() {
                                self.tx.first_mut().map(|tx| tx.send(&mut out));
                            }
                        }
                        sink(packet.bytes(), now);
                    }
                    None => sink(packet.bytes(), now),
                }
            }
            inbox.clear();
        }
    }
}

#[inline]
fn neighbour_question(frame: &[u8]) -> Option<wire::arp::Arp> {
    if frame.get(12..14) == Some(&[8, 6]) { neighbour::read(frame) } else { None }
}

/// What is to be sent in a trial.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// When.
    pub schedule: Schedule,
    /// The rate of that, packets a second; `None`: as many as go.
    pub rate: Option<u64>,
    /// For how long.
    pub seconds: f64,
    /// Between whom.
    pub ends: Ends,
    /// In which order of flows.
    pub order: Order,
    /// How long frames are.
    pub size: Size,
    /// To which hardware address.
    pub gateway: MacAddr,
    /// Seed of the draws.
    pub seed: u64,
    /// What its packets are known by; another one for each trial.
    pub stamp: u32,
}

/// How far a trial is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Seconds since its start.
    pub seconds: f64,
    /// Packets that went.
    pub sent: u64,
    /// Packets that came.
    pub received: u64,
}

/// What became of a trial.
#[derive(Debug)]
pub struct Outcome {
    /// The wanted rate.
    pub rate: Option<u64>,
    /// Seconds of sending.
    pub seconds: f64,
    /// Packets that the device took.
    pub sent: u64,
    /// Packets that were due and did not go.
    pub unsent: u64,
    /// The longest that a packet went after it was due, ns.
    pub worst_lag: u64,
    /// Marked packets that came back to where they were sent.
    pub astray: u64,
    /// Frames that carry no marker of this trial.
    pub others: u64,
    /// What came.
    pub account: Account,
}

/// The generator: a port to send by, a port to receive by, a thread.
pub struct Generator {
    out: End,
    back: Option<End>,
    pool: Mempool,
    clock: Clock,
    inbox: Burst,
    // Gives this thread its cache of buffers.
    _lcore: Lcore,
}

impl Generator {
    /// Of this thread. `back`: where packets come back, if that is another port.
    pub fn new(eal: &Eal, out: End, back: Option<End>, pool: Mempool) -> Result<Self, dpdk::Error> {
        let lcore = Lcore::register(eal)?;
        Ok(Generator { out, back, pool, clock: Clock::new(eal), inbox: Burst::new(), _lcore: lcore })
    }

    /// Where packets are sent.
    pub fn out(&self) -> &End {
        &self.out
    }

    /// Where they come back.
    pub fn back(&self) -> &End {
        self.back.as_ref().unwrap_or(&self.out)
    }

    /// Waits until both links are up. `Err`: the one that is not.
    pub fn wait_for_links(&self, seconds: u64) -> Result<(), String> {
        let end = self.clock.now() + seconds * SECOND;
        for side in [&self.out, self.back()] {
            while !side.port.link().is_ok_and(|link| link.up) {
                if self.clock.now() > end || ended() {
                    return Err(format!(
                        "{} has no link after {seconds} s: see its cable, and that the other end is up",
                        side.name()
                    ));
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// Asks for the hardware address of `gateway` until it is told, for `seconds`.
    pub fn resolve(&mut self, gateway: Ipv4Addr, seconds: u64) -> Option<MacAddr> {
        let own = self.out.own?;
        let (end, mut ask) = (self.clock.now() + seconds * SECOND, 0);
        let mut found = None;
        while found.is_none() && self.clock.now() < end && !ended() {
            if self.clock.now() >= ask {
                ask = self.clock.now() + SECOND / 2;
                let mut burst = Burst::new();
                let packet = self.pool.alloc().and_then(|mut p| own.ask(&mut p, gateway).then_some(p));
                if packet.is_some_and(|p| burst.push(p).is_ok()) {
                    self.out.send(&mut burst);
                }
            }
            let Generator { out, back, pool, clock, inbox, .. } = self;
            out.poll(inbox, pool, clock, |frame, _| {
                let heard = neighbour::read(frame).and_then(|message| neighbour::heard(&message, gateway));
                found = found.or(heard);
            });
            if let Some(back) = back {
                back.poll(inbox, pool, clock, |_, _| {});
            }
        }
        found
    }

    /// Answers who asks, for so long: between trials.
    pub fn rest(&mut self, seconds: f64) {
        let end = self.clock.now() + (seconds * SECOND as f64) as u64;
        let Generator { out, back, pool, clock, inbox, .. } = self;
        while clock.now() < end && !ended() {
            for side in [Some(&mut *out), back.as_mut()].into_iter().flatten() {
                side.poll(inbox, pool, clock, |_, _| {});
            }
        }
    }

    /// Runs a trial; `tell` hears of it five times a second.
    pub fn run(&mut self, trial: &Trial, tell: &mut dyn FnMut(Progress)) -> Outcome {
        let Generator { out, back, pool, clock, inbox, .. } = self;
        let schedule = trial.schedule;
        let end = (trial.seconds * SECOND as f64) as u64;
        let planned = schedule.planned(end).unwrap_or(u64::MAX);
        let patience = if schedule == Schedule::Flat { end } else { end + GRACE };
        let link = Link { source: out.mac, destination: trial.gateway };
        let mut traffic = Traffic::new(trial.ends, trial.order, trial.size, &link, trial.seed);
        let mut tally = Tally::new(trial.stamp, schedule, trial.ends.flows);
        let mut burst = Burst::new();
        let (mut next, mut sent, mut worst_lag, mut last) = (0u64, 0u64, 0u64, 0u64);
        let (mut astray, mut others, mut told) = (0u64, 0u64, 0u64);
        let start = clock.now();
        let mut stopped = None;
        loop {
            let now = clock.now() - start;
            if stopped.is_none() && (sent >= planned || now >= patience || ended()) {
                // What the device has not taken never went.
                burst.clear();
                next = sent;
                stopped = Some(now);
            }
            if stopped.is_none() {
                while burst.len() < BURST && next < planned && schedule.due(next) <= now {
                    let (flow, template) = traffic.pick();
                    // None left: the device has them all, and will give some back.
                    let Some(mut packet) = pool.alloc() else { break };
                    let marker =
                        Marker { stamp: trial.stamp, flow: flow as u32, number: next as u32, sent: now };
                    let written = packet.set_len(template.len())
                        && Traffic::write(&trial.ends, template, packet.bytes_mut(), &marker);
                    if !written || burst.push(packet).is_err() {
                        break;
                    }
                    if schedule != Schedule::Flat {
                        worst_lag = worst_lag.max(now - schedule.due(next));
                    }
                    next += 1;
                }
                if out.send(&mut burst) > 0 {
                    last = now;
                }
                sent = next - burst.len() as u64;
            }
            let mut came = |frame: &[u8], at: u64| {
                if !tally.note(frame, at.saturating_sub(start), next) {
                    others += 1;
                }
            };
            match back {
                Some(back) => {
                    back.poll(inbox, pool, clock, came);
                    out.poll(inbox, pool, clock, |frame, _| {
                        let ours = Marker::read(frame).is_some_and(|m| m.stamp == trial.stamp);
                        astray += u64::from(ours);
                        others += u64::from(!ours);
                    });
                }
                None => out.poll(inbox, pool, clock, &mut came),
            }
            if now >= told {
                told = now + TELL;
                tell(Progress { seconds: now as f64 / SECOND as f64, sent, received: tally.received() });
            }
            if stopped.is_some_and(|at| tally.received() >= sent || now >= at + RESIDUE || ended()) {
                break;
            }
        }
        let seconds = match stopped {
            Some(at) if ended() => at,
            _ => end.max(last),
        };
        let unsent = if schedule == Schedule::Flat || ended() { 0 } else { planned - sent };
        Outcome {
            rate: trial.rate,
            seconds: seconds as f64 / SECOND as f64,
            sent,
            unsent,
            worst_lag,
            astray,
            others,
            account: tally.close(),
        }
    }
}
