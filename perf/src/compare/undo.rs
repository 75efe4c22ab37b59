//! What a comparison borrows of the machine (namespaces, kernel settings, stopped processes), and
//! the giving back of it: on success, on errors, and on an interrupt.

use std::fs;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// One thing to be done at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Undo {
    /// Remove a network namespace.
    Namespace(String),
    /// Write a setting back.
    Setting(String, String),
    /// End a process that this one started.
    Process(i32),
}

static BORROWED: Mutex<Vec<Undo>> = Mutex::new(Vec::new());

fn borrowed() -> MutexGuard<'static, Vec<Undo>> {
    BORROWED.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Undo {
    fn run(&self) {
        // At an end nobody can do more about a failure than see what is left.
        let left = match self {
            Undo::Namespace(name) => command("ip", &["netns", "del", name]).err(),
            Undo::Setting(path, value) => fs::write(path, value).err().map(anyhow::Error::from),
            Undo::Process(pid) => kill(Pid::from_raw(*pid), Signal::SIGKILL).err().map(anyhow::Error::from),
        };
        if let Some(e) = left {
            eprintln!("sluice-perf: {self:?} could not be undone: {e:#}");
        }
    }
}

/// Undoes all that is still borrowed, the last first: for a program that ends by a signal. Who would
/// borrow or give back after that waits for the end.
pub fn undo_all() {
    let mut all = borrowed();
    while let Some(undo) = all.pop() {
        undo.run();
    }
    std::mem::forget(all);
}

/// Something borrowed; dropping gives it back.
#[derive(Debug)]
pub(super) struct Borrowed(Undo);

impl Borrowed {
    fn new(undo: Undo) -> Self {
        borrowed().push(undo.clone());
        Borrowed(undo)
    }

    /// A process that was started and must not outlive this one.
    pub(super) fn process(pid: u32) -> Self {
        Borrowed::new(Undo::Process(pid as i32))
    }

    /// It ended by itself: there is nothing to give back.
    pub(super) fn ended(self) {
        borrowed().retain(|u| *u != self.0);
    }

    /// A kernel setting raised to `least` if it is lower; `None`: it is high enough.
    pub(super) fn at_least(path: &str, least: u64) -> Result<Option<Self>> {
        let old = fs::read_to_string(path).with_context(|| format!("read {path}"))?.trim().to_owned();
        if old.parse::<u64>().is_ok_and(|old| old >= least) {
            return Ok(None);
        }
        let undo = Undo::Setting(path.to_owned(), old);
        let mut all = borrowed();
        fs::write(path, least.to_string())
            .with_context(|| format!("write {least} to {path}: run as root of the machine, or write it"))?;
        all.push(undo.clone());
        Ok(Some(Borrowed(undo)))
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // Under the lock, so that an interrupt waits for what it would else do twice.
        let mut all = borrowed();
        if let Some(at) = all.iter().rposition(|u| *u == self.0) {
            let undo = all.remove(at);
            undo.run();
        }
    }
}

/// Runs a program to its end; its output, or what it said.
pub(super) fn command(program: &str, arguments: &[&str]) -> Result<String> {
    let out = Command::new(program).args(arguments).output().with_context(|| {
        format!("{program} cannot be run: install it (Debian: apt-get install iproute2 nftables ethtool)")
    })?;
    if !out.status.success() {
        let said = String::from_utf8_lossy(&out.stderr);
        let line: String =
            said.trim().lines().next().unwrap_or("it said nothing").chars().take(300).collect();
        bail!("{program} {}: {line}", arguments.join(" "));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// A network namespace of this process; it is removed when dropped.
#[derive(Debug)]
pub(super) struct Namespace {
    name: String,
    _borrowed: Borrowed,
}

/// All names begin so; the number is the process'.
const PREFIX: &str = "slt-compare-";

impl Namespace {
    /// A new one. Those of processes that were killed before they could tidy up are removed.
    pub(super) fn new(role: &str) -> Result<Self> {
        for old in command("ip", &["netns", "list"])?.lines().filter_map(|l| l.split_whitespace().next()) {
            let pid = old.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
            if pid.is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true)) {
                command("ip", &["netns", "del", old])?;
            }
        }
        let name = format!("{PREFIX}{}-{role}", std::process::id());
        let undo = Undo::Namespace(name.clone());
        // Under the lock, so that an interrupt finds it either not made or in the list.
        let mut all = borrowed();
        command("ip", &["netns", "add", &name]).context("make a namespace: run as root")?;
        all.push(undo.clone());
        Ok(Namespace { name, _borrowed: Borrowed(undo) })
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Does something in it, in a thread of its own.
    pub(super) fn within<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let path = format!("/run/netns/{}", self.name);
        std::thread::scope(|scope| {
            let done = scope.spawn(|| {
                let file = fs::File::open(&path).with_context(|| format!("open {path}"))?;
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)
                    .context("enter the namespace")?;
                work()
            });
            done.join().unwrap_or_else(|_| bail!("work in {} ended by a panic", self.name))
        })
    }

    /// `ip` in it.
    pub(super) fn ip(&self, arguments: &str) -> Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split_whitespace());
        command("ip", &all).map(drop)
    }

    /// Any program in it.
    pub(super) fn run(&self, line: &[&str]) -> Result<String> {
        let mut all = vec!["netns", "exec", &self.name];
        all.extend(line);
        command("ip", &all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_setting_is_written_back_and_a_higher_one_left_alone() {
        let path = std::env::temp_dir().join(format!("sluice-setting-{}", std::process::id()));
        let path = path.to_str().unwrap();
        fs::write(path, "5\n").unwrap();
        let raised = Borrowed::at_least(path, 9).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "9");
        assert!(Borrowed::at_least(path, 7).unwrap().is_none());
        drop(raised);
        assert_eq!(fs::read_to_string(path).unwrap(), "5");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let e = command("sluice-no-such-program", &[]).unwrap_err();
        assert!(format!("{e:#}").contains("install it"));
    }
}
