//! What the kernel knows of an interface, asked by ioctl: unlike sysfs, that answers for the
//! calling thread's network namespace.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::{io, mem, ptr};

use crate::error::Error;

/// A kernel interface in the current network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name, at most 15 octets.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Its MTU, octets.
    pub mtu: u16,
    /// Its receive queues, at least 1.
    pub rx_queues: u16,
    /// Whether it is administratively up.
    pub up: bool,
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// The kernel's `struct ethtool_channels`.
#[repr(C)]
#[derive(Default)]
struct Channels {
    command: u32,
    max: [u32; 4],
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

impl Interface {
    /// Asks the kernel. Fails if there is no such interface, or its name is none.
    pub fn named(name: &str) -> Result<Self, Error> {
        let missing = || Error::MissingInterface { interface: name.to_owned() };
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains([',', '/', ' ']) {
            return Err(missing());
        }
        let c_name = CString::new(name)?;
        // SAFETY: terminated.
        let index = unsafe { libc::if_nametoindex(c_name.as_ptr()) };
        if index == 0 {
            return Err(missing());
        }
        let asking = || Error::Refused {
            doing: format!("ask the kernel about `{name}`"),
            errno: io::Error::last_os_error().raw_os_error().unwrap_or(0),
            said: String::new(),
        };
        let socket = any_socket().ok_or_else(asking)?;
        let mut request = request(&c_name);
        // SAFETY: the request lives through the call; the kernel writes the number into it.
        if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as libc::Ioctl, &raw mut request) } != 0
        {
            return Err(asking());
        }
        // SAFETY: this ioctl fills in this member.
        let mtu = unsafe { request.ifr_ifru.ifru_mtu };
        let up = flags(&socket, &c_name).ok_or_else(asking)? & libc::IFF_UP != 0;
        Ok(Interface {
            name: name.to_owned(),
            index,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
            rx_queues: rx_queues(&socket, &c_name),
            up,
        })
    }
}

/// Looks at one interface's carrier again and again. The socket belongs to the network namespace it
/// was made in, so any thread may look.
#[derive(Debug)]
pub(crate) struct Carrier {
    socket: OwnedFd,
    name: CString,
}

impl Carrier {
    /// Of the interface of this number in the calling thread's network namespace.
    pub(crate) fn of(index: u32) -> Option<Self> {
        let mut name = [0u8; libc::IFNAMSIZ];
        // SAFETY: the kernel writes at most IFNAMSIZ octets, the terminator among them.
        if unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) }.is_null() {
            return None;
        }
        let name = CStr::from_bytes_until_nul(&name).ok()?.to_owned();
        Some(Carrier { socket: any_socket()?, name })
    }

    /// Whether frames can pass; `None`: the interface is gone.
    pub(crate) fn running(&self) -> Option<bool> {
        flags(&self.socket, &self.name).map(|flags| flags & libc::IFF_RUNNING != 0)
    }
}

/// A socket to ask interfaces by.
fn any_socket() -> Option<OwnedFd> {
    // SAFETY: makes a descriptor.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    // SAFETY: the descriptor is ours alone.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn flags(socket: &OwnedFd, name: &CString) -> Option<libc::c_int> {
    let mut request = request(name);
    // SAFETY: the request lives through the call; the kernel writes the flags into it.
    let code =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as libc::Ioctl, &raw mut request) };
    // SAFETY: this ioctl fills in this member.
    (code == 0).then(|| libc::c_int::from(unsafe { request.ifr_ifru.ifru_flags }))
}

fn request(name: &CString) -> libc::ifreq {
    // SAFETY: an `ifreq` of zeros is valid.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.as_bytes()) {
        *to = from.cast_signed();
    }
    request
}

/// 1 where the driver does not say.
fn rx_queues(socket: &OwnedFd, name: &CString) -> u16 {
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    let mut request = request(name);
    request.ifr_ifru.ifru_data = ptr::from_mut(&mut channels).cast();
    // SAFETY: request and channels live through the call; the kernel writes into the latter.
    let answered = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } == 0;
    let queues = if answered { channels.rx.saturating_add(channels.combined) } else { 1 };
    u16::try_from(queues).unwrap_or(u16::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_known() {
        let lo = Interface::named("lo").unwrap();
        assert!(lo.index > 0 && lo.mtu > 1_500 && lo.rx_queues >= 1, "{lo:?}");
    }

    #[test]
    fn a_missing_interface_is_named_in_the_error() {
        for name in ["nosuch0", "", "a,b=c", "a-name-of-more-than-15-octets"] {
            let error = Interface::named(name).unwrap_err();
            assert!(
                matches!(&error, Error::MissingInterface { interface } if interface == name),
                "{error:?}"
            );
        }
    }
}
