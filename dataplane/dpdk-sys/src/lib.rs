//! DPDK's C interface as it is: what bindgen reads from the system's headers and the shim
//! (`csrc/`) that gives the static inlines a symbol. No judgement lives here; see `dpdk`.

#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals)]

use std::marker::{PhantomData, PhantomPinned};

/// Declares types that are seen through pointers only; their insides are DPDK's business.
macro_rules! opaque {
    ($($name:ident)*) => {$(
        #[repr(C)]
        pub struct $name {
            _opaque: [u8; 0],
            _not_send_sync_unpin: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

opaque!(rte_mempool rte_ring rte_device);

/// A packet buffer's header, by hand: the fields the packet path touches. `csrc/shim.c`
/// asserts every offset against the headers.
#[repr(C, align(64))]
pub struct rte_mbuf {
    pub buf_addr: *mut u8,
    _iova_or_next: u64,
    pub data_off: u16,
    _refcnt: u16,
    pub nb_segs: u16,
    pub port: u16,
    pub ol_flags: u64,
    pub packet_type: u32,
    pub pkt_len: u32,
    pub data_len: u16,
    pub vlan_tci: u16,
    pub rss: u32,
    _hash_rest: u32,
    pub vlan_tci_outer: u16,
    pub buf_len: u16,
    pub pool: *mut rte_mempool,
    _next_or_dynfield: u64,
    /// `l2_len` in the lowest [`MBUF_L2_LEN_BITS`], `l3_len` above it.
    pub tx_offload: u64,
    _shared_info_priv_size_timesync: [u8; 16],
    /// Eight octets of the dynamic area, once [`shim_mbuf_claim_tag`] has been given [`MBUF_TAG_OFFSET`].
    pub tag: u64,
    _dynfield1_rest: [u8; 24],
}

/// Where [`rte_mbuf::tag`] lies.
pub const MBUF_TAG_OFFSET: usize = std::mem::offset_of!(rte_mbuf, tag);

pub const MBUF_L2_LEN_BITS: u32 = 7;
pub const MBUF_L3_LEN_BITS: u32 = 9;

const _: () = {
    use std::mem::{offset_of, size_of};
    assert!(size_of::<rte_mbuf>() == 128);
    assert!(offset_of!(rte_mbuf, data_off) == 16);
    assert!(offset_of!(rte_mbuf, nb_segs) == 20);
    assert!(offset_of!(rte_mbuf, port) == 22);
    assert!(offset_of!(rte_mbuf, ol_flags) == 24);
    assert!(offset_of!(rte_mbuf, pkt_len) == 36);
    assert!(offset_of!(rte_mbuf, data_len) == 40);
    assert!(offset_of!(rte_mbuf, rss) == 44);
    assert!(offset_of!(rte_mbuf, buf_len) == 54);
    assert!(offset_of!(rte_mbuf, pool) == 56);
    assert!(offset_of!(rte_mbuf, tx_offload) == 72);
    assert!(MBUF_TAG_OFFSET == 96);
};

// Generated: accessors come without safety comments, and DPDK writes for Doxygen.
#[allow(
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    rustdoc::all,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod generated {
    use super::{rte_device, rte_mbuf, rte_mempool, rte_ring};

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}

pub use generated::*;
