//! A host stack and a host with servers, joined in memory, on a virtual clock of 1 ms steps.

#![allow(dead_code, reason = "each test program uses its part of the lab")]

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use hoststack::{Addresses, HealthEvent, HostStack, Instant, Settings, Target, TargetKey};
use model::{HealthCheck, Probe};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, DeviceCapabilities, Medium};
use smoltcp::socket::{tcp, udp};
use smoltcp::wire::{HardwareAddress, Ipv4Packet, TcpPacket};

/// The gateway's inside address.
pub(crate) const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// A service address.
pub(crate) const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);
/// Where the servers are.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
/// The servers' port.
pub(crate) const PORT: u16 = 8080;

/// What the servers do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Manner {
    /// Answers a request (UDP: a datagram) with this, then closes.
    Says(&'static str),
    /// The same, after this many milliseconds.
    SaysAfter(&'static str, i64),
    /// Accepts and never answers.
    Mute,
    /// Nothing listens: RST (TCP), ICMP error (UDP).
    Absent,
    /// The host is gone.
    Dark,
}

/// A 200 of HTTP with a body.
pub(crate) const OK: Manner = Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");

/// The host.
pub(crate) struct Server {
    pub(crate) manner: Manner,
    iface: Interface,
    device: Card,
    sockets: SocketSet<'static>,
    tcp: Vec<(SocketHandle, Option<i64>)>,
    udp: SocketHandle,
    due_datagrams: VecDeque<(i64, udp::UdpMetadata)>,
}

impl Server {
    fn new() -> Self {
        let mut device = Card::default();
        let mut iface = Interface::new(Config::new(HardwareAddress::Ip), &mut device, Instant::ZERO);
        iface.set_any_ip(true);
        iface.routes_mut().add_default_ipv4_route(Ipv4Addr::new(10, 0, 0, 254)).expect("room for a route");
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; 16_384]);
        let tcp = (0..16).map(|_| (sockets.add(tcp::Socket::new(buffer(), buffer())), None)).collect();
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 4_096]);
        let udp = sockets.add(udp::Socket::new(buffer(), buffer()));
        Server { manner: OK, iface, device, sockets, tcp, udp, due_datagrams: VecDeque::new() }
    }

    fn step(&mut self, now: Instant, packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        if self.manner == Manner::Dark {
            return Vec::new();
        }
        self.device.arriving.extend(packets);
        self.iface.poll(now, &mut self.device, &mut self.sockets);
        self.serve(now);
        self.iface.poll(now, &mut self.device, &mut self.sockets);
        std::mem::take(&mut self.device.leaving)
    }

    fn serve(&mut self, now: Instant) {
        let millis = now.total_millis();
        let (words, delay) = match self.manner {
            Manner::Says(words) => (Some(words), 0),
            Manner::SaysAfter(words, delay) => (Some(words), delay),
            _ => (None, 0),
        };
        for (handle, asked_at) in &mut self.tcp {
            let socket = self.sockets.get_mut::<tcp::Socket>(*handle);
            if !socket.is_open() && self.manner != Manner::Absent {
                socket.listen(PORT).expect("a closed socket listens");
                *asked_at = None;
            } else if socket.is_listening() && self.manner == Manner::Absent {
                socket.abort();
            }
            if socket.can_recv() {
                let _ = socket.recv(|octets| (octets.len(), ()));
                asked_at.get_or_insert(millis);
            }
            let due = asked_at.is_some_and(|at| millis >= at + delay);
            if let (true, Some(words), true) = (due, words, socket.may_send()) {
                let _ = socket.send_slice(words.as_bytes());
                socket.close();
            } else if socket.state() == tcp::State::CloseWait {
                socket.close();
            }
        }
        let socket = self.sockets.get_mut::<udp::Socket>(self.udp);
        match (self.manner == Manner::Absent, socket.is_open()) {
            (true, true) => socket.close(),
            (false, false) => socket.bind(PORT).expect("a closed socket binds"),
            _ => {}
        }
        while let Ok((_, from)) = socket.recv() {
            self.due_datagrams.push_back((millis + delay, from));
        }
        while let Some((_, from)) = self.due_datagrams.pop_front_if(|(due, _)| *due <= millis) {
            words.map(|words| socket.send_slice(words.as_bytes(), from));
        }
    }
}

/// The host's network card.
#[derive(Default)]
struct Card {
    arriving: VecDeque<Vec<u8>>,
    leaving: Vec<Vec<u8>>,
}

impl smoltcp::phy::Device for Card {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Leaving<'_>)> {
        self.arriving.pop_front().map(|packet| (Arrived(packet), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1_500;
        capabilities.checksum = ChecksumCapabilities::default();
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl smoltcp::phy::RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Leaving<'a>(&'a mut Vec<Vec<u8>>);

impl smoltcp::phy::TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        self.0.push(vec![0; length]);
        f(self.0.last_mut().expect("just pushed"))
    }
}

/// Both, and what has been seen.
pub(crate) struct Lab {
    pub(crate) now: Instant,
    pub(crate) stack: HostStack,
    pub(crate) server: Server,
    /// Milliseconds and events.
    pub(crate) events: Vec<(i64, HealthEvent)>,
    /// Source ports of SYNs, in order.
    pub(crate) syn_ports: Vec<u16>,
    /// How many RSTs the stack sent.
    pub(crate) resets: usize,
    /// How often the stack wanted to be polled.
    pub(crate) polls: usize,
    in_flight: Vec<Vec<u8>>,
}

impl Lab {
    pub(crate) fn new(check: HealthCheck) -> Self {
        let mut lab = Lab::with(Settings::default(), 7);
        lab.stack.configure(lab.now, addresses(), vec![target(SERVER, check)]);
        lab
    }

    pub(crate) fn with(settings: Settings, seed: u64) -> Self {
        Lab {
            now: Instant::ZERO,
            stack: HostStack::new(settings, seed, Instant::ZERO),
            server: Server::new(),
            events: Vec::new(),
            syn_ports: Vec::new(),
            resets: 0,
            polls: 0,
            in_flight: Vec::new(),
        }
    }

    /// Runs for so many milliseconds; a packet takes one to arrive.
    pub(crate) fn run(&mut self, millis: i64) {
        for _ in 0..millis {
            self.now += hoststack::Duration::from_millis(1);
            let arriving = std::mem::take(&mut self.in_flight);
            for packet in self.server.step(self.now, arriving) {
                self.stack.receive(packet);
            }
            if self.stack.poll_delay(self.now) == Some(hoststack::Duration::ZERO) {
                self.polls += 1;
                let events = self.stack.poll(self.now, &mut |packet| self.in_flight.push(packet));
                self.events.extend(events.into_iter().map(|event| (self.now.total_millis(), event)));
            }
            self.look();
        }
    }

    fn look(&mut self) {
        for packet in &self.in_flight {
            let ip = Ipv4Packet::new_checked(packet.as_slice()).expect("the stack sends IP");
            assert!(ip.verify_checksum() && ip.src_addr() == OWN);
            if let (6, Ok(tcp)) = (u8::from(ip.next_header()), TcpPacket::new_checked(ip.payload())) {
                self.resets += usize::from(tcp.rst());
                if tcp.syn() {
                    self.syn_ports.push(tcp.src_port());
                }
            }
        }
    }

    /// Health and findings of the events, in order.
    pub(crate) fn told(&self) -> Vec<(bool, hoststack::Finding)> {
        self.events.iter().map(|(_, event)| (event.healthy, event.finding)).collect()
    }
}

pub(crate) fn addresses() -> Addresses {
    Addresses { own: [OWN].into(), vips: [VIP].into() }
}

pub(crate) fn target(address: Ipv4Addr, check: HealthCheck) -> Target {
    let key = TargetKey { service: Arc::from("operator/web"), address, port: PORT };
    Target { key, source: OWN, check }
}

/// Every 2 s with a timeout of 1 s; three failures, two successes.
pub(crate) fn check(probe: Probe) -> HealthCheck {
    HealthCheck {
        probe,
        port: None,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
    }
}

pub(crate) fn http() -> HealthCheck {
    check(Probe::Http { path: "/healthz".into(), host: Some("web".into()) })
}

pub(crate) fn udp_check() -> HealthCheck {
    check(Probe::Udp { send: "ping".into(), expect: "pong".into() })
}

/// The distinct values.
pub(crate) fn distinct(ports: &[u16]) -> usize {
    ports.iter().collect::<BTreeSet<_>>().len()
}
