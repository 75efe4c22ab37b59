//! Sleeping until packets come. AF_XDP and AF_PACKET have no receive interrupts in DPDK, but a
//! socket a queue that `poll(2)` understands; they are the ones that were opened while the device
//! was added and started.

use std::collections::HashSet;
use std::fs;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

/// Most descriptors waited for at once; more are left out, and the time-out has to do.
const MOST: usize = 64;

/// Sleeps until one of `fds` can be read or the time is over. Says whether one can be read. Also
/// returns on a signal.
pub fn wait(fds: &[RawFd], timeout: Duration) -> bool {
    let mut polled = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; MOST];
    let count = fds.len().min(MOST);
    for (poll, fd) in polled.iter_mut().zip(fds) {
        poll.fd = *fd;
    }
    let time = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    };
    // SAFETY: `count` of the array's places are used; the time lives through the call.
    unsafe { libc::ppoll(polled.as_mut_ptr(), count as libc::nfds_t, &raw const time, std::ptr::null()) > 0 }
}

/// The descriptors that were open at some time, by number and what they led to: numbers are
/// used again.
#[derive(Clone, Debug)]
pub(crate) struct OpenFds(HashSet<(RawFd, PathBuf)>);

impl OpenFds {
    pub(crate) fn now() -> Self {
        OpenFds(open_fds().into_iter().collect())
    }
}

fn open_fds() -> Vec<(RawFd, PathBuf)> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let mut fds: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    fds.sort_unstable();
    fds
}

/// Those opened since then that packets arrive by, in the order they were opened.
pub(crate) fn sockets_since(before: &OpenFds) -> Vec<RawFd> {
    let new = open_fds().into_iter().filter(|open| !before.0.contains(open));
    new.map(|(fd, _)| fd).filter(|&fd| carries_packets(fd)).collect()
}

fn carries_packets(fd: RawFd) -> bool {
    let mut domain: libc::c_int = 0;
    let mut size = size_of_val(&domain) as libc::socklen_t;
    // SAFETY: writes one number of the said size.
    let code = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_DOMAIN, (&raw mut domain).cast(), &raw mut size)
    };
    code == 0 && matches!(domain, libc::AF_XDP | libc::AF_PACKET)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_wait_ends_when_there_is_something_to_read_or_the_time_is_over() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let began = Instant::now();
        assert!(!wait(&[far.as_raw_fd()], Duration::from_millis(20)));
        assert!(began.elapsed() >= Duration::from_millis(20));
        near.write_all(&[1]).unwrap();
        assert!(wait(&[far.as_raw_fd()], Duration::from_secs(10)));
        assert!(began.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn other_sockets_opened_meanwhile_are_not_taken_for_a_device() {
        let before = OpenFds::now();
        let _pair = UnixStream::pair().unwrap();
        assert!(sockets_since(&before).is_empty());
    }
}
