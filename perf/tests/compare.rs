//! The comparison as a whole, small: the kernel's gateway carries what ours carries, and the machine is
//! as it was afterwards, also after an interrupt.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONNTRACK: [&str; 2] =
    ["/proc/sys/net/netfilter/nf_conntrack_max", "/sys/module/nf_conntrack/parameters/hashsize"];

/// Namespaces that a program of this process number made.
fn namespaces(pid: u32) -> Vec<String> {
    let list = Command::new("ip").args(["netns", "list"]).output().expect("ip runs").stdout;
    let mine = format!("slt-compare-{pid}-");
    let all = String::from_utf8_lossy(&list).into_owned();
    all.split_whitespace().filter(|w| w.starts_with(&mine)).map(str::to_owned).collect()
}

fn settings() -> Vec<String> {
    CONNTRACK.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root() && fs::exists(CONNTRACK[0]).unwrap_or(false);
    if !root {
        eprintln!("skipped: namespaces need root and a kernel with connection tracking");
    }
    root
}

fn start(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice-perf"));
    command.arg("compare").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("sluice-perf starts")
}

// One test, since both change the machine's settings.
#[test]
fn a_comparison_prints_ratios_and_leaves_the_machine_as_it_was_even_when_interrupted() {
    if !is_root() {
        return;
    }
    let before = settings();
    let small = ["--runs", "1", "--packets", "4096", "--kernel-packets", "4096"];
    let child = start(&[&small[..], &["--sessions", "1k", "--json"]].concat());
    let pid = child.id();
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON object");
    for who in ["nftables masquerade", "nftables DNAT"] {
        let points = report["compare"].as_array().expect("points");
        let point = points.iter().find(|p| p["who"] == who).expect(who);
        assert!(point["ratio"].as_f64().expect("a ratio") > 0.0, "{point}");
    }
    assert_eq!((namespaces(pid), settings()), (vec![], before.clone()));

    // More rounds than anyone waits for, and more sessions than the machine is set for.
    let mut child = start(&["--runs", "1000", "--nat", "snat", "--sessions", "512k"]);
    let began = Instant::now();
    while namespaces(child.id()).len() < 2 {
        assert!(began.elapsed() < Duration::from_secs(60), "no namespaces appeared");
        std::thread::sleep(Duration::from_millis(20));
    }
    let signalled = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(signalled, nix::sys::signal::Signal::SIGINT).expect("it can be signalled");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130));
    assert_eq!((namespaces(child.id()), settings()), (vec![], before));
}
