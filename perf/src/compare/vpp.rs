//! VPP's NAT44-ED where it is installed, measured at its best: its own packet generator into
//! `ip4-input`, full vectors, the clocks of its nodes as it counts them itself.
//!
//! The generator's nodes are left out of the sum, as ours is timed without its own. Between runs the
//! process is stopped: it polls, and would share the CPU with what is compared to it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::undo::{Borrowed, command};
use crate::flows;

/// Nodes that a packet passes from parse to the hand-over to the device.
const NODES: [&str; 7] = [
    "ip4-input",
    "ip4-input-no-checksum",
    "ip4-sv-reassembly-feature",
    "nat-pre-in2out",
    "nat44-ed-in2out",
    "ip4-lookup",
    "ip4-rewrite",
];
/// Where translated packets go: a loopback's output and tx drop them.
const DEVICE: &str = "loop1";
/// Ports of a source address.
const PORTS: u64 = flows::PER_SUBSCRIBER;
/// Longest that one run may take.
const RUN: Duration = Duration::from_secs(120);

/// A running VPP with its sessions open.
pub(super) struct Vpp {
    child: Child,
    guard: Option<Borrowed>,
    folder: PathBuf,
}

/// The file that it starts with.
fn startup(folder: &str, cpu: usize, sessions: u64) -> String {
    format!(
        "unix {{ nodaemon cli-listen {folder}/cli.sock runtime-dir {folder} }}\n\
         api-segment {{ prefix sluice{} }}\n\
         cpu {{ main-core {cpu} }}\n\
         buffers {{ buffers-per-numa 32768 }}\n\
         statseg {{ socket-name {folder}/stats.sock }}\n\
         memory {{ main-heap-size {}M }}\n\
         plugins {{ plugin default {{ disable }} plugin nat_plugin.so {{ enable }} }}\n",
        std::process::id(),
        1024 + (sessions >> 10)
    )
}

/// The gateway: inside is the generator's interface, outside a loopback, addresses enough.
fn gateway(sessions: u64) -> Vec<String> {
    let addresses = sessions / 40_000 + 2;
    let last = flows::pool_address(addresses - 1);
    vec![
        "create packet-generator interface pg0".to_owned(),
        "create loopback interface instance 0".to_owned(),
        "create loopback interface instance 1".to_owned(),
        "set interface state pg0 up".to_owned(),
        "set interface state loop0 up".to_owned(),
        format!("set interface state {DEVICE} up"),
        "set interface ip address loop0 172.16.0.1/24".to_owned(),
        format!("set interface ip address {DEVICE} 198.51.100.1/24"),
        "set interface unnumbered pg0 use loop0".to_owned(),
        format!("set ip neighbor {DEVICE} 198.51.100.2 02:aa:00:00:00:01"),
        format!("ip route add 0.0.0.0/0 via 198.51.100.2 {DEVICE}"),
        format!("nat44 plugin enable sessions {}", sessions + sessions / 4 + 1024),
        "set nat timeout udp 86400 tcp-established 86400 tcp-transitory 86400 icmp 86400".to_owned(),
        format!("nat44 add address {} - {last}", flows::pool_address(0)),
        format!("set interface nat44 in pg0 out {DEVICE}"),
    ]
}

/// A stream of packets; `joint`: `-` counts addresses and ports through, `+` draws them at random.
fn stream(
    name: &str,
    packets: u64,
    sessions: u64,
    joint: char,
    hosts: (u64, u64),
    port: Option<u64>,
) -> String {
    let first = flows::host(hosts.0);
    let last = flows::host(hosts.1);
    let ports = match port {
        Some(port) => format!("{port}"),
        None => format!("20000{joint}{}", 20_000 + PORTS.min(sessions) - 1),
    };
    format!(
        "packet-generator new {{ name {name} limit {packets} node ip4-input size 46-46 interface pg0 \
         data {{ UDP: {first}{joint}{last} -> 93.0.0.1 UDP: {ports} -> 443 incrementing 18 }} }}"
    )
}

/// `show runtime` of the nodes that count: clocks a packet together, and vectors a call of `ip4-input`.
fn clocks(listing: &str) -> Option<(f64, f64)> {
    let (mut sum, mut vector) = (0.0, None);
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        // Name, state (of one word or two), calls, vectors, suspends, clocks, vectors a call.
        let (Some(name), [.., clocks, a_call]) = (words.first(), words.as_slice()) else { continue };
        let output = name.starts_with(DEVICE) && (name.ends_with("-output") || name.ends_with("-tx"));
        if !NODES.contains(name) && !output {
            continue;
        }
        let (Ok(clocks), Ok(a_call)) = (clocks.parse::<f64>(), a_call.parse::<f64>()) else { continue };
        sum += clocks;
        if name.starts_with("ip4-input") && a_call > 0.0 {
            vector = Some(a_call);
        }
    }
    vector.map(|vector| (sum, vector))
}

impl Vpp {
    /// Starts it and opens the sessions.
    pub(super) fn open(cpu: usize, sessions: u64, packets: u64) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("sluice-vpp-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let file = folder.join("startup.conf");
        fs::write(&file, startup(&folder.to_string_lossy(), cpu, sessions))?;
        let child = Command::new("vpp")
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log"))?)
            .spawn()
            .context("start vpp")?;
        let guard = Some(Borrowed::process(child.id()));
        let vpp = Vpp { child, guard, folder };
        let began = Instant::now();
        while vpp.tell("show version").is_err() {
            if began.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(vpp.folder.join("log")).unwrap_or_default();
                bail!("vpp did not start: {}", log.lines().last().unwrap_or("its log is empty"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        for line in gateway(sessions) {
            let said = vpp.tell(&line)?;
            ensure!(!said.contains("unknown") && !said.contains("failed"), "vpp, `{line}`: {}", said.trim());
        }
        let ports = PORTS.min(sessions);
        let hosts = sessions.div_ceil(ports);
        // Every session once: addresses counted through, port by port.
        for port in 0..ports {
            let name = format!("open{port}");
            vpp.tell(&stream(&name, hosts, sessions, '-', (0, hosts - 1), Some(20_000 + port)))?;
            vpp.stream(&name)?;
            vpp.tell(&format!("packet-generator delete {name}"))?;
        }
        vpp.tell(&stream("load", packets, sessions, '+', (0, hosts - 1), None))?;
        vpp.stop()?;
        Ok(vpp)
    }

    /// One CLI line; what it said.
    fn tell(&self, line: &str) -> Result<String> {
        let socket = self.folder.join("cli.sock");
        command("vppctl", &["-s", &socket.to_string_lossy(), line])
    }

    /// Runs a stream to its end.
    fn stream(&self, name: &str) -> Result<()> {
        self.tell(&format!("packet-generator enable-stream {name}"))?;
        let began = Instant::now();
        loop {
            let all = self.tell("show packet-generator")?;
            let line = all.lines().find(|l| l.split_whitespace().next() == Some(name));
            let line = line.ok_or_else(|| anyhow!("vpp lists no stream {name}:\n{all}"))?;
            if line.split_whitespace().nth(1) == Some("No") {
                return Ok(());
            }
            ensure!(began.elapsed() < RUN, "vpp has not sent stream {name} after {} s", RUN.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.child.id() as i32), signal).context("signal vpp: it has ended")
    }

    fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// One run: clocks a packet.
    pub(super) fn run(&self) -> Result<f64> {
        self.signal(Signal::SIGCONT)?;
        self.tell("clear runtime")?;
        self.stream("load")?;
        let listing = self.tell("show runtime")?;
        self.stop()?;
        let (clocks, vector) = clocks(&listing).ok_or_else(|| anyhow!("vpp counts no clocks:\n{listing}"))?;
        ensure!(vector > 250.0, "vpp ran in vectors of {vector}, not of 256: no fair run");
        Ok(clocks)
    }

    /// What it is.
    pub(super) fn version(&self) -> Result<String> {
        self.signal(Signal::SIGCONT)?;
        let said = self.tell("show version")?;
        self.stop()?;
        Ok(said.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    }
}

impl Drop for Vpp {
    fn drop(&mut self) {
        drop(self.guard.take());
        // Killed just now: this only collects it. The folder holds its sockets alone.
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
Time 2.1, 10 sec internal node vector rate 256.00 loops/sec 9000.0
             Name                 State         Calls          Vectors        Suspends         Clocks       Vectors/Call
ip4-input-no-checksum            active               4096         1048576               0          1.21e1          256.00
ip4-lookup                       active               4096         1048576               0          1.00e1          256.00
loop1-output                     active               4096         1048576               0          5.00e0          256.00
loop1-tx                         active               4096         1048576               0          6.00e0          256.00
nat44-ed-in2out                  active               4096         1048576               0          9.00e1          256.00
pg-input                        disabled              4096         1048576               0          1.00e3          256.00
unix-epoll-input                 polling              9000               0               0          4.00e3            0.00";

    #[test]
    fn clocks_of_the_path_are_summed_and_those_of_the_generator_are_not() {
        let (sum, vector) = clocks(LISTING).unwrap();
        assert!((sum - 123.1).abs() < 1e-9, "{sum}");
        assert!((vector - 256.0).abs() < 1e-9);
        assert!(clocks("nothing").is_none());
    }

    #[test]
    fn the_load_draws_both_address_and_port_at_random() {
        let line = stream("load", 99, 1 << 16, '+', (0, 255), None);
        assert!(line.contains("10.0.1.0+10.0.1.255 -> 93.0.0.1 UDP: 20000+20255 -> 443"), "{line}");
    }
}
