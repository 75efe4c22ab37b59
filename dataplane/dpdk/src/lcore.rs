//! Threads and CPUs: registration with DPDK, which gives a thread caches of the mempools, and
//! pinning, which DPDK is kept out of.

use std::marker::PhantomData;
use std::sync::OnceLock;
use std::{io, mem};

use crate::eal::Eal;
use crate::error::Error;

/// Number of a CPU, as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cpu(pub usize);

/// The calling thread's registration. It has to be given back, since there are only 128
/// numbers a process: dropping does that, in the same thread (so it is not `Send`).
#[derive(Debug)]
pub struct Lcore {
    ours: bool,
    _this_thread: PhantomData<*const ()>,
}

impl Lcore {
    /// Registers the calling thread. Pin it before, so that DPDK sees the right socket. Fails
    /// when all numbers are taken.
    pub fn register(_: &Eal) -> Result<Self, Error> {
        // SAFETY: reads a thread-local number.
        let ours = unsafe { dpdk_sys::shim_lcore_id() } == u32::MAX;
        // SAFETY: DPDK is initialised and this thread is not registered.
        if ours && unsafe { dpdk_sys::rte_thread_register() } != 0 {
            return Err(Error::TooManyThreads);
        }
        Ok(Lcore { ours, _this_thread: PhantomData })
    }

    /// DPDK's number for this thread.
    pub fn id(&self) -> u32 {
        // SAFETY: reads a thread-local number.
        unsafe { dpdk_sys::shim_lcore_id() }
    }
}

impl Drop for Lcore {
    fn drop(&mut self) {
        if self.ours {
            // SAFETY: this thread registered itself and never left, as the guard is not `Send`.
            unsafe { dpdk_sys::rte_thread_unregister() };
        }
    }
}

/// A thread's CPU mask.
#[derive(Clone, Copy)]
pub(crate) struct CpuMask(libc::cpu_set_t);

impl CpuMask {
    pub(crate) fn of_this_thread() -> Option<Self> {
        // SAFETY: a `cpu_set_t` of zeros is a valid, empty one.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        // SAFETY: `set` is as large as said; 0 is the calling thread.
        let code = unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &raw mut set) };
        (code == 0).then_some(CpuMask(set))
    }

    fn of(cpus: &[usize]) -> Option<Self> {
        // SAFETY: a `cpu_set_t` of zeros is a valid, empty one.
        let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
        for &cpu in cpus {
            if cpu >= Self::LIMIT {
                return None;
            }
            // SAFETY: `cpu` is within the set.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        Some(CpuMask(set))
    }

    const LIMIT: usize = libc::CPU_SETSIZE as usize;

    fn cpus(&self) -> Vec<usize> {
        // SAFETY: every number asked for is within the set.
        (0..Self::LIMIT).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &self.0) }).collect()
    }

    pub(crate) fn apply(&self) -> bool {
        // SAFETY: the set is as large as said; 0 is the calling thread.
        unsafe { libc::sched_setaffinity(0, mem::size_of_val(&self.0), &raw const self.0) == 0 }
    }
}

/// The CPUs the process may use, as they were when first asked (which init does).
pub fn allowed_cpus() -> Vec<usize> {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    ALLOWED.get_or_init(|| CpuMask::of_this_thread().map(|mask| mask.cpus()).unwrap_or_default()).clone()
}

/// Pins the calling thread to one CPU. Fails if it is not among the allowed ones.
pub fn pin(cpu: Cpu) -> Result<(), Error> {
    let allowed = allowed_cpus();
    let set = allowed.contains(&cpu.0).then(|| CpuMask::of(&[cpu.0])).flatten();
    if set.is_some_and(|mask| mask.apply()) { Ok(()) } else { Err(Error::WrongCpu { cpu: cpu.0, allowed }) }
}

/// Keeps the calling thread, and those that it starts, off these CPUs. False, and nothing done, when no
/// allowed one is left.
pub fn keep_off(cpus: &[Cpu]) -> bool {
    let others: Vec<usize> = allowed_cpus().into_iter().filter(|cpu| !cpus.contains(&Cpu(*cpu))).collect();
    !others.is_empty() && CpuMask::of(&others).is_some_and(|mask| mask.apply())
}

/// Lets the calling thread run on all allowed CPUs again.
pub fn unpin() -> Result<(), Error> {
    let allowed = allowed_cpus();
    if CpuMask::of(&allowed).is_some_and(|mask| mask.apply()) {
        return Ok(());
    }
    Err(Error::Refused {
        doing: "unpin a thread".into(),
        errno: io::Error::last_os_error().raw_os_error().unwrap_or(0),
        said: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_and_let_go_again() {
        let allowed = allowed_cpus();
        std::thread::spawn(move || {
            pin(Cpu(allowed[0])).unwrap();
            assert_eq!(CpuMask::of_this_thread().unwrap().cpus(), vec![allowed[0]]);
            unpin().unwrap();
            assert_eq!(CpuMask::of_this_thread().unwrap().cpus(), allowed);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_thread_keeps_off_cpus_unless_no_other_is_left() {
        let allowed = allowed_cpus();
        std::thread::spawn(move || {
            let all: Vec<Cpu> = allowed.iter().copied().map(Cpu).collect();
            assert!(!keep_off(&all));
            assert_eq!(CpuMask::of_this_thread().unwrap().cpus(), allowed);
            if let [first, rest @ ..] = &*all
                && !rest.is_empty()
            {
                assert!(keep_off(&[*first]));
                assert_eq!(CpuMask::of_this_thread().unwrap().cpus(), allowed[1..]);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_cpu_that_is_not_there_is_named_with_those_that_are() {
        let error = pin(Cpu(100_000)).unwrap_err();
        assert!(error.to_string().contains("CPU 100000"), "{error}");
        assert!(error.remedy().contains(&format!("{:?}", allowed_cpus())));
    }
}
