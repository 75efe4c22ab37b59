//! What results were made on, and its clock.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What results were made on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Name of its processor.
    pub cpu: String,
    /// CPUs that the process may use.
    pub cpus: usize,
    /// Cycles a second of the time stamp counter, MHz.
    pub tsc_mhz: u64,
    /// Octets of the last cache, KB.
    pub l3_kb: u64,
    /// Memory, MB.
    pub memory_mb: u64,
    /// Kernel.
    pub kernel: String,
    /// Is it a virtual machine?
    pub virtual_machine: bool,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

impl Machine {
    /// This one.
    pub fn this() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let info = |name: &str| {
            let line = cpuinfo.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == name));
            line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
        };
        let family =
            format!("{} (family {}, model {})", info("model name"), info("cpu family"), info("model"));
        let l3 = read("/sys/devices/system/cpu/cpu0/cache/index3/size");
        let memory = read("/proc/meminfo").split_whitespace().nth(1).and_then(|w| w.parse::<u64>().ok());
        Machine {
            cpu: family,
            cpus: dpdk::allowed_cpus().len(),
            tsc_mhz: (tsc_hz() + 500_000) / 1_000_000,
            l3_kb: l3.trim_end_matches('K').parse().unwrap_or(0),
            memory_mb: memory.unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease"),
            virtual_machine: info("flags").split_whitespace().any(|f| f == "hypervisor"),
        }
    }
}

/// Cycles a second of the time stamp counter: measured against the clock once.
pub fn tsc_hz() -> u64 {
    static HZ: OnceLock<u64> = OnceLock::new();
    *HZ.get_or_init(|| {
        let (clock, tsc) = (Instant::now(), dpdk::tsc());
        std::thread::sleep(Duration::from_millis(100));
        let (cycles, time) = (dpdk::tsc().wrapping_sub(tsc), clock.elapsed());
        (cycles as f64 / time.as_secs_f64()) as u64
    })
}

/// How often the kernel took the CPU from this thread.
pub fn preemptions() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.and_then(|l| l.trim().parse().ok()).unwrap_or(0)
}

/// The commit that the tree around the working directory is at, with `+` when it is changed.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let out = Command::new("git").args(args).output().ok().filter(|o| o.status.success())?;
        Some(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let paths = ["status", "--porcelain", "--untracked-files=no", "--", "dataplane", "api/model", "perf/src"];
    match git(&paths) {
        Some(changes) if !changes.is_empty() => format!("{commit}+"),
        _ => commit,
    }
}
