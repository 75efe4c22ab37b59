//! Devices, found by their arguments. One that is started belongs to its port and queues together.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dpdk_sys as sys;

use crate::caps::{self, Capabilities};
use crate::eal::{Eal, control};
use crate::error::Error;
use crate::log;
use crate::ring::RawRing;
use crate::wait::OpenFds;

/// DPDK's number for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortNumber(pub u16);

/// Device numbers that somebody here has; DPDK itself would let one be added twice.
static CLAIMED: Mutex<Vec<PortNumber>> = Mutex::new(Vec::new());

/// A device we have; dropping it stops and removes it.
#[derive(Debug)]
pub(crate) struct Owned {
    pub(crate) number: PortNumber,
    pub(crate) name: String,
    pub(crate) started: AtomicBool,
    /// A device over rings keeps them.
    _rings: Vec<Arc<RawRing>>,
}

impl Owned {
    fn claim(number: PortNumber, name: &str, rings: Vec<Arc<RawRing>>) -> Result<Self, Error> {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        if claimed.contains(&number) {
            return Err(Error::NameTaken { name: name.to_owned() });
        }
        claimed.push(number);
        Ok(Owned { number, name: name.to_owned(), started: AtomicBool::new(false), _rings: rings })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _control = control();
        let device = caps::info(self.number).map(|info| info.device);
        // SAFETY: no queue handle is left, so nobody polls; DPDK checks the number.
        unsafe {
            if self.started.load(Ordering::Relaxed) {
                sys::rte_eth_dev_stop(self.number.0);
            }
            match device {
                // Closes it as well.
                Ok(device) if !device.is_null() => sys::rte_dev_remove(device),
                _ => sys::rte_eth_dev_close(self.number.0),
            }
        };
        CLAIMED.lock().unwrap_or_else(PoisonError::into_inner).retain(|&number| number != self.number);
    }
}

/// A device that does not run yet.
#[derive(Debug)]
pub struct Device {
    pub(crate) owned: Owned,
    pub(crate) capabilities: Capabilities,
    /// What was open before it was added.
    pub(crate) before: OpenFds,
}

impl Device {
    /// Adds a device by its arguments (`net_null0`, `net_af_xdp0,iface=eth0`, `0000:03:00.0`) in the
    /// calling thread's network namespace, or takes the one of that name found in init.
    pub fn probe(_: &Eal, devargs: &str) -> Result<Self, Error> {
        let before = OpenFds::now();
        let name = devargs.split(',').next().unwrap_or(devargs);
        let c_name = CString::new(name)?;
        let c_args = CString::new(devargs)?;
        // The lock ends with the block: a device that is dropped takes it again.
        let owned = {
            let _control = control();
            let number = match number_of(&c_name) {
                Some(number) => number,
                None => add(devargs, &c_args, &c_name)?,
            };
            Owned::claim(number, name, Vec::new())?
        };
        Self::known(owned, before)
    }

    /// Two devices in memory: what one sends, the other receives, queue by queue. For tests.
    pub fn ring_pair(_: &Eal, name: &str, queues: u16, capacity: u32) -> Result<(Self, Self), Error> {
        let before = OpenFds::now();
        let rings = |way: &str| -> Result<Vec<Arc<RawRing>>, Error> {
            (0..queues).map(|_| RawRing::new(&format!("{name}{way}"), capacity).map(Arc::new)).collect()
        };
        let (there, back) = (rings("-ab")?, rings("-ba")?);
        let make = |name: String, rx: &[Arc<RawRing>], tx: &[Arc<RawRing>]| -> Result<Self, Error> {
            let c_name = CString::new(name.as_str())?;
            let rx_raw: Vec<_> = rx.iter().map(|ring| ring.as_ptr()).collect();
            let tx_raw: Vec<_> = tx.iter().map(|ring| ring.as_ptr()).collect();
            let count = u32::from(queues);
            let number = {
                let _control = control();
                log::attempt(
                    || format!("make the ring device `{name}`"),
                    // SAFETY: the arrays have `count` rings each, which the device keeps alive; each
                    // is filled by one of the two devices and emptied by the other.
                    || unsafe {
                        match sys::rte_eth_from_rings(
                            c_name.as_ptr(),
                            rx_raw.as_ptr(),
                            count,
                            tx_raw.as_ptr(),
                            count,
                            0,
                        ) {
                            -1 => -sys::shim_errno().abs().max(1),
                            number => number,
                        }
                    },
                )?
            };
            let number = u16::try_from(number).map_err(|_| Error::UnknownDriver { device: name.clone() })?;
            let rings = rx.iter().chain(tx).cloned().collect();
            Self::known(Owned::claim(PortNumber(number), &name, rings)?, before.clone())
        };
        Ok((make(format!("{name}_a"), &back, &there)?, make(format!("{name}_b"), &there, &back)?))
    }

    fn known(owned: Owned, before: OpenFds) -> Result<Self, Error> {
        let capabilities = Capabilities::of(owned.number)?;
        Ok(Device { owned, capabilities, before })
    }

    /// DPDK's number for it.
    pub fn number(&self) -> PortNumber {
        self.owned.number
    }

    /// What it can do.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// NUMA socket it is at; `None`: any.
    pub fn socket(&self) -> Option<u32> {
        // SAFETY: DPDK checks the number.
        u32::try_from(unsafe { sys::rte_eth_dev_socket_id(self.owned.number.0) }).ok()
    }
}

/// Adds a device that DPDK does not have yet.
fn add(devargs: &str, c_args: &CStr, c_name: &CStr) -> Result<PortNumber, Error> {
    // SAFETY: terminated; DPDK is initialised.
    let (code, said) = log::listen(|| unsafe { sys::rte_dev_probe(c_args.as_ptr()) });
    let unknown = || Error::UnknownDriver { device: devargs.to_owned() };
    if code >= 0 {
        return number_of(c_name).ok_or_else(unknown);
    }
    let nobody =
        |line: &String| ["no driver found", "failed to parse device"].iter().any(|text| line.contains(text));
    if said.iter().any(nobody) {
        return Err(unknown());
    }
    Err(Error::refused(format!("add the device `{devargs}`"), code, said))
}

fn number_of(name: &CStr) -> Option<PortNumber> {
    let mut number = 0;
    // SAFETY: terminated; writes one number.
    let code = unsafe { sys::rte_eth_dev_get_port_by_name(name.as_ptr(), &raw mut number) };
    (code == 0).then_some(PortNumber(number))
}
