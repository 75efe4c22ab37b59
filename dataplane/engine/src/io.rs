//! The seam between the engine and whatever carries packets: DPDK, or the lab's memory.

use nat::WorkerId;
use wire::PacketBuf;

use crate::neighbours::Neighbour;

/// What a worker asks of its surroundings. Nothing here blocks.
pub trait Io<B: PacketBuf> {
    /// Queues a frame on a device; gives it back when the queue takes no more.
    fn transmit(&mut self, device: u8, packet: B) -> Result<(), B>;
    /// Gives a packet to another worker; gives it back when that ring is full.
    fn hand_off(&mut self, worker: WorkerId, packet: B) -> Result<(), B>;
    /// Gives an IP packet (no Ethernet header) to the host stack; gives it back when its queue is full.
    fn punt(&mut self, packet: B) -> Result<(), B>;
    /// An empty buffer, or `None` when the pool is empty.
    fn alloc(&mut self) -> Option<B>;
    /// Tells all other workers of a neighbour. What is lost is asked for again.
    fn announce(&mut self, neighbour: Neighbour);
}
