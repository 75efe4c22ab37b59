//! DPDK's log: every line goes to the program's own log, and the errors of a call are kept for
//! the [`Error`](crate::Error) it ends in.

use std::cell::RefCell;
use std::ffi::c_char;
use std::sync::OnceLock;

use crate::error::Error;

/// How bad a line of DPDK's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Emergency to error.
    Error,
    /// Warning.
    Warning,
    /// Notice and info.
    Info,
    /// Debug.
    Debug,
}

/// Where lines go.
pub(crate) type Sink = Box<dyn Fn(Level, &str) + Send + Sync>;

static SINK: OnceLock<Sink> = OnceLock::new();

/// Most lines kept of one call, and most told of them; the first errors tell the cause.
const KEPT: usize = 16;
const TOLD: usize = 4;

/// What EAL adds to a driver's reason, and what libxdp says when it goes on without a dispatcher.
const EMPTY_WORDS: &[&str] = &[
    "EAL: Driver cannot attach the device",
    "EAL: Failed to attach device",
    "libxdp: No bpffs found",
    "libxdp: Can't use dispatcher",
];

/// What libbpf puts before the kernel's own reason, the best there is.
const KERNEL_WORDS: &str = "Kernel error message:";

thread_local! {
    /// Errors and warnings of the call that this thread is making, if it is making one. Per thread, so
    /// that another one's complaints do not end up in the error.
    static SAID: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

/// Sends the log to `sink` from now on.
pub(crate) fn install(sink: Sink) -> Result<(), Error> {
    if SINK.set(sink).is_err() {
        return Err(Error::AlreadyInitialised);
    }
    // SAFETY: `line` lives for ever and keeps to the declared signature.
    if unsafe { dpdk_sys::shim_log_to(Some(line)) } != 0 {
        return Err(Error::Refused {
            doing: "redirect DPDK's log".into(),
            errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
            said: String::new(),
        });
    }
    Ok(())
}

/// Called by the stream that DPDK logs to.
unsafe extern "C" fn line(level: u32, text: *const c_char, length: usize) {
    if text.is_null() {
        return;
    }
    // SAFETY: the stream hands out `length` readable octets for the time of this call.
    let octets = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), length) };
    let text = String::from_utf8_lossy(octets);
    let level = match level {
        0..=dpdk_sys::RTE_LOG_ERR => Level::Error,
        dpdk_sys::RTE_LOG_WARNING => Level::Warning,
        dpdk_sys::RTE_LOG_NOTICE | dpdk_sys::RTE_LOG_INFO => Level::Info,
        _ => Level::Debug,
    };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if level <= Level::Warning {
            // A thread that is ending has no list any more; its line is still logged.
            let _ = SAID.try_with(|said| {
                if let Ok(mut said) = said.try_borrow_mut()
                    && let Some(kept) = said.as_mut().filter(|kept| kept.len() < KEPT)
                {
                    kept.push((level, line.to_owned()));
                }
            });
        }
        if let Some(sink) = SINK.get() {
            sink(level, line);
        }
    }
}

/// Sends what libbpf and libxdp say to the log as well, if they are loaded.
pub(crate) fn install_bpf() {
    // SAFETY: it only looks for loaded libraries; our sink is in place.
    unsafe { dpdk_sys::shim_log_bpf() };
}

/// Makes a call and gives its result with the lines that were logged during it, errors first.
pub(crate) fn listen<T>(call: impl FnOnce() -> T) -> (T, Vec<String>) {
    SAID.with(|said| *said.borrow_mut() = Some(Vec::new()));
    let result = call();
    let mut said = SAID.with(|said| said.borrow_mut().take()).unwrap_or_default();
    said.retain(|(_, line)| !EMPTY_WORDS.iter().any(|words| line.starts_with(words)));
    said.sort_by_key(|(level, line)| (!line.contains(KERNEL_WORDS), *level));
    said.dedup();
    said.truncate(TOLD);
    (result, said.into_iter().map(|(_, line)| line).collect())
}

/// Makes a call that gives a negative error number when it fails; `doing` completes "could not".
pub(crate) fn attempt(doing: impl FnOnce() -> String, call: impl FnOnce() -> i32) -> Result<i32, Error> {
    match listen(call) {
        (code, _) if code >= 0 => Ok(code),
        (code, said) => Err(Error::refused(doing(), code, said)),
    }
}
