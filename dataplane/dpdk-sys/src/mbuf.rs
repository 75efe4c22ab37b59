//! The fields of an mbuf that the packet path reads and writes in place. Their offsets are the
//! same from DPDK 22.11 to 25.11, and the C side of the shim asserts each one.

use std::ffi::c_void;

/// A packet buffer of DPDK.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct rte_mbuf {
    pub buf_addr: *mut c_void,
    _iova_or_next: u64,
    pub data_off: u16,
    pub refcnt: u16,
    pub nb_segs: u16,
    pub port: u16,
    pub ol_flags: u64,
    pub packet_type: u32,
    pub pkt_len: u32,
    pub data_len: u16,
    pub vlan_tci: u16,
    pub rss: u32,
    _hash_and_vlan: [u16; 3],
    pub buf_len: u16,
    pub pool: *mut crate::rte_mempool,
    _next_or_dynfield: u64,
    pub tx_offload: u64,
    _ext_shared_info: *mut c_void,
    _priv_size_and_timesync: u32,
    _dynfield1: u32,
    /// Eight octets of the dynamic area, claimed by `shim_mbuf_claim_tag`.
    pub tag: u64,
    _dynfield1_rest: [u64; 3],
}

/// Where [`rte_mbuf::tag`] lies; `shim_mbuf_claim_tag` takes it.
pub const TAG_OFFSET: usize = std::mem::offset_of!(rte_mbuf, tag);

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<rte_mbuf>() == 128);
    assert!(offset_of!(rte_mbuf, data_off) == 16);
    assert!(offset_of!(rte_mbuf, refcnt) == 18);
    assert!(offset_of!(rte_mbuf, nb_segs) == 20);
    assert!(offset_of!(rte_mbuf, port) == 22);
    assert!(offset_of!(rte_mbuf, ol_flags) == 24);
    assert!(offset_of!(rte_mbuf, packet_type) == 32);
    assert!(offset_of!(rte_mbuf, pkt_len) == 36);
    assert!(offset_of!(rte_mbuf, data_len) == 40);
    assert!(offset_of!(rte_mbuf, vlan_tci) == 42);
    assert!(offset_of!(rte_mbuf, rss) == 44);
    assert!(offset_of!(rte_mbuf, buf_len) == 54);
    assert!(offset_of!(rte_mbuf, pool) == 56);
    assert!(offset_of!(rte_mbuf, tx_offload) == 72);
    // Within dynfield1, which takes offsets 92 to 127.
    assert!(TAG_OFFSET == 96);
};
