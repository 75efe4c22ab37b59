//! Sends frames into one end of a veth pair: an AF_PACKET socket, many frames a system call.
//!
//! By plain copies, not by a mapped ring: from a ring the kernel makes buffers of page fragments,
//! whose headers its forwarding would have to pull together. No driver does that to it.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result, anyhow};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
};

use crate::frame::SMALLEST;

/// Frames of a system call.
pub(super) const BATCH: usize = 64;

/// A socket and the frames of the next call.
pub(super) struct Sender {
    socket: OwnedFd,
    headers: MultiHeaders<LinkAddr>,
    frames: Vec<[u8; SMALLEST]>,
}

/// A socket on that interface of the calling thread's namespace; it may be used outside of it.
pub(super) fn open(interface: &str) -> Result<OwnedFd> {
    // Protocol 0: it sends, and hears nothing.
    let fd = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)
        .context("open a packet socket: run as root")?;
    let link = nix::ifaddrs::getifaddrs()?
        .filter(|i| i.interface_name == interface)
        .find_map(|i| i.address?.as_link_addr().copied())
        .ok_or_else(|| anyhow!("no interface {interface}"))?;
    bind(fd.as_raw_fd(), &link).with_context(|| format!("bind to {interface}"))?;
    Ok(fd)
}

impl Sender {
    /// Sends by that socket.
    pub(super) fn new(socket: OwnedFd) -> Self {
        let headers = MultiHeaders::preallocate(BATCH, None);
        Sender { socket, headers, frames: vec![[0; SMALLEST]; BATCH] }
    }

    /// Where the next frames are to be written.
    pub(super) fn frames(&mut self) -> &mut [[u8; SMALLEST]] {
        &mut self.frames
    }

    /// Sends the first `n` frames; gives the cycles that the system calls took.
    pub(super) fn send(&mut self, n: usize) -> Result<u64> {
        let (mut done, mut cycles) = (0, 0);
        let n = n.min(BATCH);
        while done < n {
            let slices: Vec<[IoSlice<'_>; 1]> =
                self.frames[done..n].iter().map(|f| [IoSlice::new(f)]).collect();
            let nowhere = vec![None; slices.len()];
            let began = dpdk::tsc();
            let sent =
                sendmmsg(self.socket.as_raw_fd(), &mut self.headers, &slices, nowhere, [], MsgFlags::empty());
            cycles += dpdk::tsc().wrapping_sub(began);
            done += sent.context("send frames")?.count().max(1);
        }
        Ok(cycles)
    }
}
