//! The rings between workers: one for each ordered pair, single producer, single consumer.
//!
//! Three kinds of things travel: packets in hand-over, frames for a device whose queue another
//! worker fills, and news of neighbours. All rings are bounded and nobody waits for one.

use dpdk::Mbuf;
use engine::Neighbour;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::wake::Waker;

/// Packets in hand-over from one worker to another; a power of two.
const HANDOVER: usize = 2_048;
/// Frames on their way to another worker's queue.
const RELAY: usize = 2_048;
/// News.
const NEWS: usize = 1_024;

/// What one worker gives to another.
pub(crate) struct Outlet {
    /// Packets for it to own.
    pub(crate) packets: Producer<Mbuf>,
    /// Frames for it to send: device and frame.
    pub(crate) frames: Producer<(u8, Mbuf)>,
    /// News for it.
    pub(crate) news: Producer<Neighbour>,
    /// Wakes it.
    pub(crate) waker: Waker,
    /// Something was put in since it was last woken.
    pub(crate) filled: bool,
}

/// What one worker gets from another.
pub(crate) struct Inlet {
    /// Packets to own.
    pub(crate) packets: Consumer<Mbuf>,
    /// Frames to send.
    pub(crate) frames: Consumer<(u8, Mbuf)>,
    /// News.
    pub(crate) news: Consumer<Neighbour>,
}

/// All of one worker's ends; its own place holds `None`.
#[derive(Default)]
pub(crate) struct Ends {
    /// To each worker, by number.
    pub(crate) out: Vec<Option<Outlet>>,
    /// From each worker, by number.
    pub(crate) from: Vec<Option<Inlet>>,
}

/// Rings between as many workers as there are wakers.
pub(crate) fn mesh(wakers: &[Waker]) -> Vec<Ends> {
    let n = wakers.len();
    let mut ends: Vec<Ends> = (0..n).map(|_| Ends::default()).collect();
    for from in 0..n {
        for (to, waker) in wakers.iter().enumerate() {
            if from == to {
                ends[from].out.push(None);
                ends[to].from.push(None);
                continue;
            }
            let (packets, packets_in) = RingBuffer::new(HANDOVER);
            let (frames, frames_in) = RingBuffer::new(RELAY);
            let (news, news_in) = RingBuffer::new(NEWS);
            ends[from].out.push(Some(Outlet { packets, frames, news, waker: waker.clone(), filled: false }));
            ends[to].from.push(Some(Inlet { packets: packets_in, frames: frames_in, news: news_in }));
        }
    }
    ends
}
