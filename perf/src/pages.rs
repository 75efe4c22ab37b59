//! Hugepages for the time of a measurement: reserved by root, given back at the end.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

const POOL: &str = "/proc/sys/vm/nr_hugepages";
/// Octets of a page.
const PAGE: u64 = 2 << 20;

/// Pages that this process added to the machine's pool and has not given back.
static ADDED: AtomicU64 = AtomicU64::new(0);

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// A line of /proc/meminfo or /proc/self/status, as written (KB or pages).
fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|l| l.split(':').next() == Some(name));
    line.and_then(|l| l.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Pages reserved for this process; dropping gives them back.
#[derive(Debug)]
pub struct Reserved {
    pages: u64,
}

impl Reserved {
    /// Sees to it that `bytes` of 2 MB pages are free. `Err` says why fewer are: then the kernel joins
    /// normal pages where it can, and results say so.
    pub fn for_bytes(bytes: u64) -> (Self, Result<(), String>) {
        let wanted = bytes.div_ceil(PAGE);
        let free = field("/proc/meminfo", "HugePages_Free");
        if free >= wanted {
            return (Reserved { pages: 0 }, Ok(()));
        }
        let Some(total) = number(POOL) else {
            return (Reserved { pages: 0 }, Err(format!("{POOL} cannot be read")));
        };
        if let Err(e) = fs::write(POOL, (total + wanted - free).to_string()) {
            let why =
                format!("2 MB pages cannot be reserved ({e}): run as root, or write {wanted} to {POOL}");
            return (Reserved { pages: 0 }, Err(why));
        }
        let added = number(POOL).unwrap_or(total).saturating_sub(total);
        ADDED.fetch_add(added, Ordering::SeqCst);
        let reserved = Reserved { pages: added };
        if added + free < wanted {
            let got = added + free;
            return (reserved, Err(format!("only {got} of {wanted} pages of 2 MB could be reserved")));
        }
        (reserved, Ok(()))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        take_back(self.pages);
    }
}

fn take_back(pages: u64) {
    if pages == 0 || ADDED.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |a| a.checked_sub(pages)).is_err()
    {
        return;
    }
    if let Some(total) = number(POOL) {
        // Others may have changed it meanwhile: take away what was added, no more. It cannot fail for who
        // could add; if it does, the pages stay in the pool and are seen there.
        let _ = fs::write(POOL, total.saturating_sub(pages).to_string());
    }
}

/// Gives back all that this process reserved: for a program that ends by a signal.
pub fn give_back() {
    take_back(ADDED.load(Ordering::SeqCst));
}

/// Memory that the process has in use, octets, by the kind of its pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resident {
    /// 2 MB pages of the pool.
    pub huge: u64,
    /// Normal pages that the kernel joined.
    pub joined: u64,
    /// All else.
    pub small: u64,
}

impl Resident {
    /// Now.
    pub fn now() -> Self {
        let status = "/proc/self/status";
        let joined = field("/proc/self/smaps_rollup", "AnonHugePages") * 1024;
        let rss = field(status, "VmRSS") * 1024;
        Resident { huge: field(status, "HugetlbPages") * 1024, joined, small: rss.saturating_sub(joined) }
    }

    /// All of it.
    pub const fn total(self) -> u64 {
        self.huge + self.joined + self.small
    }

    /// What most of it came to lie in since `before`: `2M`, `thp` or `4k`.
    pub const fn mostly_since(self, before: Resident) -> &'static str {
        let huge = self.huge.saturating_sub(before.huge);
        let joined = self.joined.saturating_sub(before.joined);
        let small = self.small.saturating_sub(before.small);
        if huge >= joined && huge >= small {
            "2M"
        } else if joined >= small {
            "thp"
        } else {
            "4k"
        }
    }
}
