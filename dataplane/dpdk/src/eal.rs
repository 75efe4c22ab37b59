//! The environment abstraction layer: once a process, with hugepages or without, unpinned.
//!
//! 22.11 rejects `--no-huge` together with `--in-memory`, so there are two sets of arguments.
//! Init pins the calling thread to the first lcore and threads spawned later inherit that:
//! lcore 0 is mapped to all allowed CPUs, and the mask is put back afterwards as well.

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::Error;
use crate::lcore::{self, CpuMask};
use crate::log::{self, Level};
use crate::mbuf;

/// Whether memory is to come from hugepages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hugepages {
    /// From hugepages if enough are free, from normal pages otherwise.
    #[default]
    Auto,
    /// From hugepages or not at all.
    Required,
    /// From normal pages.
    Never,
}

/// Where memory did come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Hugepages, private to this process.
    Hugepages,
    /// Normal pages, and why.
    NormalPages {
        /// "not asked for", or how many pages were missing.
        reason: String,
    },
}

/// How to initialise.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// Where memory is to come from.
    pub hugepages: Hugepages,
    /// Memory, MiB. An mbuf takes 4 KiB on normal pages.
    pub memory_mib: u32,
    /// PCI devices that may be probed, by address (`0000:03:00.0`). None: PCI is left alone.
    pub pci: Vec<String>,
    /// Lowest level that is logged.
    pub log: Level,
}

impl Default for EalConfig {
    fn default() -> Self {
        EalConfig { hugepages: Hugepages::Auto, memory_mib: 512, pci: Vec::new(), log: Level::Info }
    }
}

/// Proof that DPDK is initialised. It stays so until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Eal(());

static ATTEMPTED: AtomicBool = AtomicBool::new(false);
static MEMORY: OnceLock<Memory> = OnceLock::new();
/// Devices are added, set up and removed by one thread at a time.
static CONTROL: Mutex<()> = Mutex::new(());

pub(crate) fn control() -> MutexGuard<'static, ()> {
    CONTROL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Eal {
    /// Initialises DPDK; its log goes to `sink`. Fails if hugepages are required and missing, if
    /// rights are missing, or if it was tried before in this process.
    pub fn init(
        config: &EalConfig,
        sink: impl Fn(Level, &str) + Send + Sync + 'static,
    ) -> Result<Eal, Error> {
        let memory = choose_memory(config)?;
        let mut arguments = Vec::new();
        for argument in arguments_for(config, &memory, &lcore::allowed_cpus()) {
            arguments.push(CString::new(argument)?);
        }
        if ATTEMPTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyInitialised);
        }
        log::install(Box::new(sink))?;
        let level = match config.log {
            Level::Error => dpdk_sys::RTE_LOG_ERR,
            Level::Warning => dpdk_sys::RTE_LOG_WARNING,
            Level::Info => dpdk_sys::RTE_LOG_INFO,
            Level::Debug => dpdk_sys::RTE_LOG_DEBUG,
        };
        // SAFETY: sets a number.
        unsafe { dpdk_sys::rte_log_set_global_level(level) };

        // DPDK reorders the pointers and keeps some of the strings, so they live for ever.
        let argv: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
        let argc =
            i32::try_from(argv.len()).map_err(|_| Error::Invalid { what: "too many arguments".into() })?;
        let argv = Vec::leak(argv);
        let mask = CpuMask::of_this_thread();
        // SAFETY: `argv` has `argc` terminated strings, all leaked.
        let (code, said) = log::listen(|| unsafe {
            match dpdk_sys::rte_eal_init(argc, argv.as_mut_ptr()) {
                code if code >= 0 => 0,
                _ => -dpdk_sys::shim_errno().abs(),
            }
        });
        if let Some(mask) = mask {
            mask.apply();
        }
        remove_runtime_directory();
        if code < 0 {
            return Err(Error::refused("initialise DPDK".into(), code, said));
        }
        log::install_bpf();
        mbuf::claim_tag()?;
        let _ = MEMORY.set(memory);
        Ok(Eal(()))
    }

    /// The proof again, if this process has initialised DPDK.
    pub fn current() -> Option<Eal> {
        MEMORY.get().map(|_| Eal(()))
    }

    /// Where memory came from.
    pub fn memory(&self) -> &'static Memory {
        // There is an `Eal` only after it was set.
        static UNKNOWN: Memory = Memory::NormalPages { reason: String::new() };
        MEMORY.get().unwrap_or(&UNKNOWN)
    }

    /// DPDK's release, "DPDK 22.11.11".
    pub fn version(&self) -> String {
        // SAFETY: returns a static terminated string.
        unsafe { CStr::from_ptr(dpdk_sys::rte_version()) }.to_string_lossy().into_owned()
    }

    /// Numbers of the NUMA sockets that have memory or CPUs.
    pub fn sockets(&self) -> Vec<u32> {
        // SAFETY: both only read what init found.
        let number = |i| u32::try_from(unsafe { dpdk_sys::rte_socket_id_by_idx(i) }).ok();
        // SAFETY: as above.
        (0..unsafe { dpdk_sys::rte_socket_count() }).filter_map(number).collect()
    }
}

/// Decides before init, since a failed init cannot be repeated.
fn choose_memory(config: &EalConfig) -> Result<Memory, Error> {
    let free_mib = free_hugepages_mib(Path::new("/sys/kernel/mm/hugepages"));
    let enough = free_mib >= config.memory_mib.max(1);
    match config.hugepages {
        Hugepages::Never => Ok(Memory::NormalPages { reason: "not asked for".into() }),
        Hugepages::Required if !enough => Err(Error::NoHugepages { wanted_mib: config.memory_mib, free_mib }),
        Hugepages::Auto if !enough => Ok(Memory::NormalPages {
            reason: format!("{} MiB wanted, {free_mib} MiB free", config.memory_mib),
        }),
        Hugepages::Auto | Hugepages::Required => Ok(Memory::Hugepages),
    }
}

/// Free hugepages of all sizes.
fn free_hugepages_mib(folder: &Path) -> u32 {
    let Ok(sizes) = fs::read_dir(folder) else { return 0 };
    let kib = sizes.flatten().filter_map(|size| {
        let page_kib: u64 =
            size.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages =
            |file| -> Option<u64> { fs::read_to_string(size.path().join(file)).ok()?.trim().parse().ok() };
        // Those promised to others are free only in name.
        let promised = pages("resv_hugepages").unwrap_or(0);
        let pages = pages("free_hugepages")?.saturating_sub(promised);
        page_kib.checked_mul(pages)
    });
    u32::try_from(kib.sum::<u64>() / 1024).unwrap_or(u32::MAX)
}

fn arguments_for(config: &EalConfig, memory: &Memory, cpus: &[usize]) -> Vec<String> {
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    let mut arguments = vec![
        "sluice".to_owned(),
        format!("--lcores=0@({})", if cpus.is_empty() { "0".into() } else { cpus.join(",") }),
        "--no-telemetry".to_owned(),
        format!("--file-prefix=sluice-{}", std::process::id()),
        "-m".to_owned(),
        config.memory_mib.max(1).to_string(),
    ];
    match memory {
        Memory::Hugepages => arguments.push("--in-memory".into()),
        Memory::NormalPages { .. } => arguments.extend(["--no-huge".into(), "--no-shconf".into()]),
    }
    if config.pci.is_empty() {
        arguments.push("--no-pci".into());
    }
    for address in &config.pci {
        arguments.extend(["-a".into(), address.clone()]);
    }
    arguments
}

/// Init makes a folder named after the file prefix even when nothing will be put there.
fn remove_runtime_directory() {
    // SAFETY: returns a pointer to a static terminated string, or to an empty one.
    let path = unsafe {
        let path = dpdk_sys::rte_eal_get_runtime_dir();
        if path.is_null() { return } else { CStr::from_ptr(path) }
    };
    if let Ok(path) = path.to_str()
        && path.contains("sluice-")
    {
        // Only removes it when it is empty.
        let _ = fs::remove_dir(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_pages_never_go_with_in_memory() {
        let arguments =
            arguments_for(&EalConfig::default(), &Memory::NormalPages { reason: String::new() }, &[0, 3]);
        assert!(arguments.contains(&"--no-huge".to_owned()) && arguments.contains(&"--no-shconf".to_owned()));
        assert!(!arguments.contains(&"--in-memory".to_owned()));
        assert!(arguments.contains(&"--lcores=0@(0,3)".to_owned()), "{arguments:?}");
    }

    #[test]
    fn free_hugepages_of_all_sizes_count() {
        let folder = std::env::temp_dir().join(format!("sluice-hugepages-{}", std::process::id()));
        for (size, free) in [("hugepages-2048kB", "5\n"), ("hugepages-1048576kB", "1\n")] {
            fs::create_dir_all(folder.join(size)).unwrap();
            fs::write(folder.join(size).join("free_hugepages"), free).unwrap();
        }
        assert_eq!(free_hugepages_mib(&folder), 10 + 1024);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(free_hugepages_mib(&folder), 0);
    }
}
