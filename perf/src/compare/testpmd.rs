//! DPDK's own `testpmd` in `io` mode over ports in memory: what moving packets costs that are not
//! even looked at.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use super::undo::Borrowed;

/// Ports. One of `net_ring` holds 1,023 packets, so it takes four for as many as ours rotate.
const PORTS: usize = 4;
/// Bursts of 32 that each port begins with.
const BURSTS: usize = 31;
/// Packets under way.
pub const IN_FLIGHT: usize = PORTS * BURSTS * 32;
/// Longest that it may take to start, and to end.
const START: Duration = Duration::from_secs(30);

/// Names that it goes by; the first that runs.
pub(super) const PROGRAMS: [&str; 2] = ["dpdk-testpmd", "testpmd"];

/// The program, where it is in the path.
pub(super) fn found() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|p| super::in_path(p))
}

/// `testpmd` on this machine, with a CPU for its command line.
pub struct Mover {
    program: &'static str,
}

impl Mover {
    /// It, if the machine has it.
    pub fn found() -> Option<Self> {
        found().map(|program| Mover { program })
    }

    /// Cycles a packet over `time` on `cpu`; `None`: there is no second CPU for its command line.
    pub fn run(&self, cpu: usize, time: Duration) -> Result<Option<f64>> {
        super::second_cpu(cpu).map(|main| run(self.program, main, cpu, time)).transpose()
    }
}

fn arguments(main: usize, cpu: usize) -> Vec<String> {
    let mut all = vec![format!("--lcores=0@{main},1@{cpu}")];
    all.push(format!("--file-prefix=sluice-testpmd-{}", std::process::id()));
    all.extend(["--no-pci", "--no-huge", "--no-shconf", "--no-telemetry", "-m", "256"].map(String::from));
    all.extend((0..PORTS).map(|n| format!("--vdev=net_ring{n}")));
    all.extend(["--", "--interactive", "--forward-mode=io", "--nb-cores=1", "--burst=32"].map(String::from));
    all.extend(["--record-core-cycles", "--total-num-mbufs=16384"].map(String::from));
    all
}

/// Cycles a packet over `time` on `cpu`; its own commands wait on `main`.
fn run(program: &str, main: usize, cpu: usize, time: Duration) -> Result<f64> {
    if main == cpu {
        bail!("{program} needs a second CPU for its command line");
    }
    let mut child = Command::new(program)
        .args(arguments(main, cpu))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let guard = Borrowed::process(child.id());
    let mut input = child.stdin.take().ok_or_else(|| anyhow!("no way to talk to {program}"))?;
    let mut output = child.stdout.take().ok_or_else(|| anyhow!("no way to hear {program}"))?;
    let (says, heard) = mpsc::channel();
    std::thread::spawn(move || {
        let mut some = [0; 4096];
        while let Ok(n @ 1..) = output.read(&mut some) {
            if says.send(some[..n].to_vec()).is_err() {
                break;
            }
        }
    });
    let mut text = String::new();
    let began = Instant::now();
    while !text.contains("testpmd> ") {
        let left = START.saturating_sub(began.elapsed());
        let Ok(more) = heard.recv_timeout(left) else {
            bail!("{program} did not start:\n{}", tail(&text));
        };
        text += &String::from_utf8_lossy(&more);
    }
    let mut tell = |line: &str| writeln!(input, "{line}").with_context(|| format!("{program} has ended"));
    tell(&format!("start tx_first {BURSTS}"))?;
    // Warm, then counted anew.
    std::thread::sleep(time / 4);
    tell("clear fwd stats all")?;
    std::thread::sleep(time);
    tell("show fwd stats all\nstop\nquit")?;
    let ended = Instant::now();
    loop {
        match heard.recv_timeout(START.saturating_sub(ended.elapsed())) {
            Ok(more) => text += &String::from_utf8_lossy(&more),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("{program} did not end"),
        }
    }
    let status = child.wait().with_context(|| format!("wait for {program}"))?;
    guard.ended();
    cycles(&text).ok_or_else(|| anyhow!("{program} ({status}) printed no cycles a packet:\n{}", tail(&text)))
}

/// The last `CPU cycles/packet=` of what it printed.
fn cycles(text: &str) -> Option<f64> {
    let figure = text.rsplit("CPU cycles/packet=").next().filter(|r| r.len() < text.len())?;
    figure.split_whitespace().next()?.parse().ok()
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figure_of_a_session_counts() {
        let text =
            "CPU cycles/packet=9.00 (total cycles=1)\n...\n  CPU cycles/packet=3.25 (busy cycles=7 / ...)\n";
        assert_eq!(cycles(text), Some(3.25));
        assert_eq!(cycles("testpmd> "), None);
    }
}
