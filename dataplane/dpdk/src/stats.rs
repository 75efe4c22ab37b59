//! What a device counted: the few counters all have, and the many that a driver adds.

use std::ffi::CStr;

use dpdk_sys as sys;

use crate::error::Error;
use crate::port::Port;

/// Counters that every device has, since its start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames received.
    pub rx_packets: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Octets received.
    pub rx_bytes: u64,
    /// Octets sent.
    pub tx_bytes: u64,
    /// Frames dropped for want of a free descriptor.
    pub rx_missed: u64,
    /// Frames that were wrong.
    pub rx_errors: u64,
    /// Frames that could not be sent.
    pub tx_errors: u64,
    /// Frames dropped for want of a buffer.
    pub rx_no_mbuf: u64,
}

/// One counter of a driver's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedStat {
    /// Its name, "rx_q0_good_packets".
    pub name: String,
    /// Its value.
    pub value: u64,
}

impl Port {
    /// The counters all devices have.
    pub fn stats(&self) -> Result<Stats, Error> {
        let mut s = sys::shim_stats {
            rx_packets: 0,
            tx_packets: 0,
            rx_bytes: 0,
            tx_bytes: 0,
            rx_missed: 0,
            rx_errors: 0,
            tx_errors: 0,
            rx_no_mbuf: 0,
        };
        // SAFETY: writes to `s`.
        self.ask("give its statistics", || unsafe { sys::shim_port_stats(self.owned.number.0, &raw mut s) })?;
        Ok(Stats {
            rx_packets: s.rx_packets,
            tx_packets: s.tx_packets,
            rx_bytes: s.rx_bytes,
            tx_bytes: s.tx_bytes,
            rx_missed: s.rx_missed,
            rx_errors: s.rx_errors,
            tx_errors: s.tx_errors,
            rx_no_mbuf: s.rx_no_mbuf,
        })
    }

    /// Sets those counters to zero.
    pub fn reset_stats(&self) -> Result<(), Error> {
        // SAFETY: DPDK checks the number.
        self.ask("reset its statistics", || unsafe { sys::rte_eth_stats_reset(self.owned.number.0) })
    }

    /// The counters this driver adds, with those above under other names.
    pub fn extended_stats(&self) -> Result<Vec<ExtendedStat>, Error> {
        const WHAT: &str = "give its extended statistics";
        let number = self.owned.number.0;
        let mut count = 0;
        self.ask(WHAT, || {
            // SAFETY: without an array DPDK only says how many there are.
            count = unsafe { sys::rte_eth_xstats_get_names(number, std::ptr::null_mut(), 0) };
            count
        })?;
        let size = count.max(0).cast_unsigned();
        let mut names = vec![sys::rte_eth_xstat_name { name: [0; 64] }; size as usize];
        let mut values = vec![sys::rte_eth_xstat { id: 0, value: 0 }; size as usize];
        // SAFETY: the array has `size` places.
        self.ask(WHAT, || unsafe { sys::rte_eth_xstats_get_names(number, names.as_mut_ptr(), size) })?;
        // SAFETY: the array has `size` places.
        self.ask(WHAT, || unsafe { sys::rte_eth_xstats_get(number, values.as_mut_ptr(), size) })?;
        let named = values.iter().filter_map(|stat| {
            let name = &names.get(usize::try_from(stat.id).ok()?)?.name;
            let octets = name.map(i8::cast_unsigned);
            let name = CStr::from_bytes_until_nul(&octets).ok()?.to_string_lossy().into_owned();
            Some(ExtendedStat { name, value: stat.value })
        });
        Ok(named.collect())
    }
}
