//! Waking a worker that sleeps.
//!
//! A worker without traffic sleeps in `poll(2)` on its sockets and on one end of a socket pair.
//! Whoever gives it something looks at one flag and, only if it sleeps, writes an octet.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// The sleeper's end.
pub(crate) struct Sleeper {
    asleep: Arc<AtomicBool>,
    socket: UnixStream,
}

/// The other end; cloned to everyone who may have something for the worker.
#[derive(Clone)]
pub(crate) struct Waker {
    asleep: Arc<AtomicBool>,
    socket: Arc<UnixStream>,
}

/// Both ends.
pub(crate) fn pair() -> std::io::Result<(Sleeper, Waker)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    let asleep = Arc::new(AtomicBool::new(false));
    let waker = Waker { asleep: Arc::clone(&asleep), socket: Arc::new(far) };
    Ok((Sleeper { asleep, socket: near }, waker))
}

impl Sleeper {
    /// What to poll for reading while asleep.
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// About to sleep: after this the caller looks once more whether there is work.
    pub(crate) fn doze(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `wake`: either the worker sees the work, or the waker the flag.
        fence(Ordering::SeqCst);
    }

    /// Awake again.
    pub(crate) fn rise(&mut self) {
        self.asleep.store(false, Ordering::Relaxed);
        let mut sink = [0u8; 64];
        while matches!(self.socket.read(&mut sink), Ok(n) if n == sink.len()) {}
    }
}

impl Waker {
    /// Wakes the worker if it sleeps. Call it after the work was put where the worker looks.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            // A full socket has woken it already.
            let _ = (&*self.socket).write(&[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_is_written_to() {
        let (mut sleeper, waker) = pair().unwrap();
        waker.wake();
        let mut octets = [0u8; 8];
        assert!(sleeper.socket.read(&mut octets).is_err());
        sleeper.doze();
        waker.wake();
        assert_eq!(sleeper.socket.read(&mut octets).unwrap(), 1);
        sleeper.rise();
        waker.wake();
        assert!(sleeper.socket.read(&mut octets).is_err());
    }
}
