//! A safe, thin layer over DPDK: what a run-to-completion worker needs, and no more.
//!
//! - One [`Eal`] a process, never taken down: the process' end frees everything.
//! - [`Mempool`]s live as long as the process too. So an [`Mbuf`] carries no reference count
//!   of ours, and no order of dropping can leave it without its pool.
//! - A device is a [`Device`] until it is started; then a [`Port`] for control, and one
//!   [`RxQueue`] or [`TxQueue`] handle a queue, each owned by one worker. It stops and closes
//!   when the port and all its queues are gone.
//! - An [`Mbuf`] has one owner. [`TxQueue::send`] and [`RingSender::send`] take exactly the prefix
//!   that was taken by the other side out of a [`Burst`]; the rest stays.

mod burst;
mod caps;
mod clock;
mod device;
mod eal;
mod error;
mod interface;
mod lcore;
mod log;
mod mbuf;
mod mempool;
mod port;
mod probe;
mod queue;
mod ring;
mod start;
mod stats;
mod wait;

pub use burst::{Burst, Drain};
pub use caps::{Capabilities, Offloads};
pub use clock::{Clock, tsc};
pub use device::{Device, PortNumber};
pub use eal::{Eal, EalConfig, Hugepages, Memory};
pub use error::Error;
pub use interface::Interface;
pub use lcore::{Cpu, Lcore, allowed_cpus, keep_off, pin, unpin};
pub use log::Level;
pub use mbuf::Mbuf;
pub use mempool::{Leak, Mempool, PoolConfig};
pub use port::{Link, Port};
pub use probe::{Attached, Candidate, Driver, Rejected, attach, device_for_interface, probe_interface};
pub use queue::{QueueNumber, RxQueue, TxQueue};
pub use ring::{Ring, RingReceiver, RingSender};
pub use start::{PortConfig, Rss, Started};
pub use stats::{ExtendedStat, Stats};
pub use wait::wait;
