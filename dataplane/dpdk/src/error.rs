//! What can go wrong, in words of the operator, with what to do about it. DPDK gives -22 for a
//! busy queue, missing rights and a bad pool alike: the reason is in its log only, so every
//! error carries the lines logged while it happened.

use std::ffi::NulError;
use std::fmt;

use crate::probe::Rejected;

/// Why something could not be done. `Display` says what and why, [`Error::remedy`] what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// DPDK was initialised (or failed to) in this process before.
    AlreadyInitialised,
    /// Hugepages were required and there are not enough free ones.
    NoHugepages {
        /// Mebibytes asked for.
        wanted_mib: u32,
        /// Mebibytes free.
        free_mib: u32,
    },
    /// The process lacks the rights.
    NoPermission {
        /// What was tried.
        doing: String,
        /// What DPDK logged.
        said: String,
    },
    /// No driver takes this device: misspelt, or its package is not installed.
    UnknownDriver {
        /// The device arguments.
        device: String,
    },
    /// The current network namespace has no such interface.
    MissingInterface {
        /// Its name.
        interface: String,
    },
    /// A device of this name is in use in this process.
    NameTaken {
        /// The name.
        name: String,
    },
    /// The CPU is not there or not allowed to this process.
    WrongCpu {
        /// Its number.
        cpu: usize,
        /// Those that are allowed.
        allowed: Vec<usize>,
    },
    /// All of DPDK's thread numbers (128) are taken.
    TooManyThreads,
    /// Not enough memory for a pool or ring.
    NoMemory {
        /// What was being made.
        doing: String,
        /// What DPDK logged.
        said: String,
    },
    /// An argument that cannot be right.
    Invalid {
        /// What is wrong with it.
        what: String,
    },
    /// No driver could take the interface.
    NoDevice {
        /// Its name.
        interface: String,
        /// What was tried, in order, and why it failed.
        rejected: Vec<Rejected>,
    },
    /// DPDK refused for another reason.
    Refused {
        /// What was tried.
        doing: String,
        /// Its error number, positive; 0: it gave none.
        errno: i32,
        /// What DPDK logged.
        said: String,
    },
}

impl Error {
    /// What the operator can do about it.
    pub fn remedy(&self) -> String {
        match self {
            Error::AlreadyInitialised => "start a new process: DPDK can be initialised once".into(),
            Error::NoHugepages { wanted_mib, free_mib } => format!(
                "reserve them with `sysctl -w vm.nr_hugepages={}` (pages of 2 MiB, beside those in use), or allow normal pages",
                wanted_mib.saturating_sub(*free_mib).div_ceil(2)
            ),
            Error::NoPermission { .. } => {
                "run as root, or with the capabilities NET_ADMIN, NET_RAW, SYS_ADMIN and IPC_LOCK".into()
            }
            Error::UnknownDriver { device } => format!(
                "check the spelling of `{device}`, and that the driver's package (librte-net-*) is installed and loaded"
            ),
            Error::MissingInterface { .. } => {
                "`ip link` lists the interfaces; start in the network namespace that has it".into()
            }
            Error::NameTaken { .. } => "use each device once".into(),
            Error::WrongCpu { allowed, .. } => format!("choose among the allowed CPUs: {allowed:?}"),
            Error::TooManyThreads => "use fewer workers".into(),
            Error::NoMemory { .. } => "give DPDK more memory, or use fewer or smaller buffers".into(),
            Error::Invalid { .. } => "correct the argument".into(),
            Error::NoDevice { rejected, .. } => {
                rejected.first().map_or_else(|| "name a device by its arguments".into(), |first| first.reason.remedy())
            }
            Error::Refused { errno: libc::EBUSY, .. } => {
                "another program uses the device or interface: end it, or unload its XDP program with `ip link set dev NAME xdp off`".into()
            }
            Error::Refused { .. } => "see what DPDK says above; its log at level debug may tell more".into(),
        }
    }

    /// From the negative result of a DPDK call, with what was logged meanwhile.
    pub(crate) fn refused(doing: String, code: i32, said: Vec<String>) -> Self {
        // Drivers return -1 for anything: that is no EPERM.
        let errno = if code == -1 { 0 } else { code.checked_abs().unwrap_or(libc::EINVAL) };
        let said = said.join("; ");
        let denied = ["Operation not permitted", "Permission denied"].iter().any(|text| said.contains(text));
        match errno {
            libc::EACCES => Error::NoPermission { doing, said },
            _ if denied => Error::NoPermission { doing, said },
            libc::ENOMEM => Error::NoMemory { doing, said },
            _ => Error::Refused { doing, errno, said },
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::AlreadyInitialised => write!(f, "DPDK was initialised before in this process"),
            Error::NoHugepages { wanted_mib, free_mib } => {
                write!(f, "not enough free hugepages: {wanted_mib} MiB wanted, {free_mib} MiB free")
            }
            Error::NoPermission { doing, said } => write!(f, "no permission to {doing}{}", Said(said)),
            Error::UnknownDriver { device } => write!(f, "no driver takes the device `{device}`"),
            Error::MissingInterface { interface } => {
                write!(f, "no interface `{interface}` in this network namespace")
            }
            Error::NameTaken { name } => write!(f, "the device `{name}` is in use already"),
            Error::WrongCpu { cpu, .. } => write!(f, "CPU {cpu} does not exist or is not allowed"),
            Error::TooManyThreads => write!(f, "all of DPDK's thread numbers are taken"),
            Error::NoMemory { doing, said } => write!(f, "no memory to {doing}{}", Said(said)),
            Error::Invalid { what } => write!(f, "{what}"),
            Error::NoDevice { interface, rejected } => {
                write!(f, "no driver could take the interface `{interface}`")?;
                for r in rejected {
                    write!(f, "\n  {}: {}", r.driver, r.reason)?;
                }
                Ok(())
            }
            Error::Refused { doing, errno, said } => {
                write!(f, "could not {doing}")?;
                if *errno != 0 {
                    write!(f, ": {}", std::io::Error::from_raw_os_error(*errno))?;
                }
                write!(f, "{}", Said(said))
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<NulError> for Error {
    fn from(_: NulError) -> Self {
        Error::Invalid { what: "a name contains a zero octet".into() }
    }
}

/// Log lines, if there are any.
struct Said<'a>(&'a str);

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " (DPDK: {})", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_only_the_log_tells_is_found_in_it() {
        let said = vec!["xsk_configure(): Failed: Operation not permitted".to_owned()];
        let error = Error::refused("set up queue 0".into(), -22, said);
        assert!(matches!(error, Error::NoPermission { .. }), "{error:?}");
        assert!(error.to_string().contains("xsk_configure"));
        assert!(error.remedy().contains("NET_ADMIN"));
    }

    #[test]
    fn missing_hugepages_come_with_the_command_that_reserves_them() {
        let error = Error::NoHugepages { wanted_mib: 513, free_mib: 2 };
        assert!(error.remedy().contains("vm.nr_hugepages=256"), "{}", error.remedy());
    }
}
