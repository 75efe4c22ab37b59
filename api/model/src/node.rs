//! The node file: what one gateway is, as against what it is told to do.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::Route;

/// One gateway: its devices, workers and doors.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name; `None`: the host's.
    pub name: Option<String>,
    /// Which CPUs forward packets.
    pub workers: Workers,
    /// What a worker does when there is nothing to do.
    pub idle: Idle,
    /// Memory.
    pub memory: Memory,
    /// Where the accepted Config is kept; default `/var/lib/sluice`.
    pub state: PathBuf,
    /// The ports; at least one.
    pub ports: Vec<PortSpec>,
    /// Static routes.
    pub routes: Vec<Route>,
    /// The gRPC API.
    pub api: Api,
    /// Where `/metrics` is served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Directory of objects of origin `file`; default `/etc/sluice/config.d`, which need not exist.
    pub config: PathBuf,
}

/// Which CPUs forward packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// All isolated CPUs, else all but the first.
    Auto,
    /// These, one worker each, in order of worker number.
    Cpus(Vec<u16>),
}

/// What a worker does when there is nothing to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Spin, then pause, then sleep for short times.
    #[default]
    Adaptive,
    /// Spin.
    Spin,
}

/// Memory of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Whether hugepages are used.
    pub hugepages: Hugepages,
    /// Sessions of each worker; default 1,048,576.
    pub sessions: u32,
}

/// Whether hugepages are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// Where there are some.
    #[default]
    Auto,
    /// Or the gateway does not start.
    Required,
    /// Never.
    Off,
}

/// A port and the device behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct PortSpec {
    /// Its name, unique.
    pub name: String,
    /// Which side it faces.
    pub side: Side,
    /// What it is made of.
    pub attachment: Attachment,
    /// Its own addresses with the length of their subnet.
    pub addresses: Vec<IpNet>,
    /// Octets of an IP packet; `None`: the device's, else 1500.
    pub mtu: Option<u16>,
    /// 802.1Q tag of its frames, 1 to 4094; `None`: untagged.
    pub vlan: Option<u16>,
}

/// What a port is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attachment {
    /// An EAL device: a PCI address, or a virtual device with its arguments.
    Device(String),
    /// A kernel interface, by the best device that works on it.
    Interface(String),
}

/// Which side of the gateway a port faces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Where subscribers and backends are.
    Inside,
    /// Where remotes are.
    Outside,
}

/// The gRPC API.
#[derive(Clone, Debug, PartialEq)]
pub struct Api {
    /// Where it listens; default `unix:///run/sluice/api.sock`.
    pub listen: Vec<Listener>,
    /// Mutual TLS of every TCP listener; required beyond loopback.
    pub tls: Option<Tls>,
}

/// Where the API listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listener {
    /// A Unix socket, mode 0600.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

/// Files of mutual TLS, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The gateway's certificate chain.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities that clients' certificates come from.
    pub client_ca: PathBuf,
}
