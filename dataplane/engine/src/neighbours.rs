//! Next hops and their hardware addresses.
//!
//! Each worker has the whole table; what one learns from ARP it tells the others. A next
//! hop has a number that sessions remember, so that an established packet finds its
//! Ethernet header without a look-up. Packets to an unresolved next hop wait at one
//! worker, chosen by hash, in a small bounded queue: one ARP request a second, three
//! times, whoever asks.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::Ipv4Addr;

use nat::Tick;
use wire::MacAddr;

/// Number of a next hop in a worker's table; the same as long as the worker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NextHopId(pub u32);

/// Packets that may wait for one next hop.
pub const WAITING_PER_NEXT_HOP: usize = 16;
/// Packets that may wait for all next hops of a worker.
pub const WAITING_TOTAL: usize = 256;
/// Next hops that a worker knows at most.
pub const NEXT_HOPS: usize = 65_536;
/// Places for numbers that were asked for lately.
const RECENT: usize = 64;
/// Time between two requests.
const RETRY: u32 = 10;
/// Requests before a next hop is given up.
const TRIES: u8 = 3;
/// Age at which an entry in use is asked for again: 300 s.
const STALE: u32 = 3_000;

/// A next hop was resolved, or lost: what workers tell each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Port it lives behind.
    pub port: u8,
    /// Its address.
    pub address: Ipv4Addr,
    /// Its hardware address; `None`: it answers no more.
    pub mac: Option<MacAddr>,
}

struct Entry<B> {
    port: u8,
    address: Ipv4Addr,
    mac: Option<MacAddr>,
    confirmed: Tick,
    next_request: Tick,
    requests: u8,
    asking: bool,
    /// It stands in the queue of entries that grow old.
    ageing: bool,
    waiting: VecDeque<B>,
}

/// What is to be asked on the wire: `mac` is the one last known (a unicast probe) or `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Port to ask on.
    pub port: u8,
    /// Whose hardware address is wanted.
    pub address: Ipv4Addr,
    /// The one last known: ask it alone (RFC 1122 §2.3.2.1).
    pub mac: Option<MacAddr>,
}

/// Why a packet could not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueFull;

/// The table of one worker.
pub struct Neighbours<B> {
    entries: Vec<Entry<B>>,
    index: HashMap<(u8, Ipv4Addr), u32>,
    /// Numbers that were asked for lately, by the address's last bits: they stay for ever.
    recent: [(u8, Ipv4Addr, u32); RECENT],
    asking: Vec<u32>,
    /// Entries this worker resolves, by the time they are looked at again.
    ageing: BinaryHeap<Reverse<(Tick, u32)>>,
    waiting: usize,
}

impl<B> Default for Neighbours<B> {
    fn default() -> Self {
        Neighbours {
            entries: Vec::new(),
            index: HashMap::new(),
            recent: [(0, Ipv4Addr::UNSPECIFIED, u32::MAX); RECENT],
            asking: Vec::new(),
            ageing: BinaryHeap::new(),
            waiting: 0,
        }
    }
}

impl<B> Neighbours<B> {
    /// The number of a next hop, given out at first use; `None` when the table is full.
    pub fn intern(&mut self, port: u8, address: Ipv4Addr) -> Option<NextHopId> {
        let place = &mut self.recent[address.to_bits() as usize % RECENT];
        if (place.0, place.1) == (port, address) && place.2 != u32::MAX {
            return Some(NextHopId(place.2));
        }
        if let Some(&id) = self.index.get(&(port, address)) {
            *place = (port, address, id);
            return Some(NextHopId(id));
        }
        if self.entries.len() >= NEXT_HOPS {
            return None;
        }
        let id = self.entries.len() as u32;
        self.entries.push(Entry {
            port,
            address,
            mac: None,
            confirmed: Tick(0),
            next_request: Tick(0),
            requests: 0,
            asking: false,
            ageing: false,
            waiting: VecDeque::new(),
        });
        self.index.insert((port, address), id);
        Some(NextHopId(id))
    }

    /// Port, address and hardware address (where known) of a next hop.
    #[inline]
    pub fn lookup(&self, id: NextHopId) -> Option<(u8, Ipv4Addr, Option<MacAddr>)> {
        self.entries.get(id.0 as usize).map(|e| (e.port, e.address, e.mac))
    }

    /// The same by port and address; `None`: it is not known at all.
    pub fn find(&self, port: u8, address: Ipv4Addr) -> Option<(u8, Ipv4Addr, Option<MacAddr>)> {
        self.index.get(&(port, address)).and_then(|id| self.lookup(NextHopId(*id)))
    }

    /// Puts a packet on wait. The caller resolves: [`Neighbours::requests`] says what to ask.
    pub fn wait(&mut self, id: NextHopId, packet: B, now: Tick) -> Result<(), (QueueFull, B)> {
        let total = self.waiting;
        let Some(entry) = self.entries.get_mut(id.0 as usize) else { return Err((QueueFull, packet)) };
        if total >= WAITING_TOTAL || entry.waiting.len() >= WAITING_PER_NEXT_HOP {
            return Err((QueueFull, packet));
        }
        entry.waiting.push_back(packet);
        self.waiting += 1;
        self.ask(id, now);
        Ok(())
    }

    /// Begins to ask for a next hop, if that is not under way.
    pub fn ask(&mut self, id: NextHopId, now: Tick) {
        let Some(entry) = self.entries.get_mut(id.0 as usize) else { return };
        if !entry.asking {
            entry.asking = true;
            entry.requests = 0;
            entry.next_request = now;
            self.asking.push(id.0);
        }
    }

    /// What is to be asked now; `ask` returns false when it can take no more this time. Packets
    /// that waited in vain go to `give_up`, next hops that ceased to answer to `lost`.
    pub fn requests(
        &mut self,
        now: Tick,
        ask: &mut impl FnMut(Request) -> bool,
        give_up: &mut impl FnMut(B),
        lost: &mut impl FnMut(Neighbour),
    ) {
        self.age(now);
        let mut i = 0;
        while let Some(&number) = self.asking.get(i) {
            let Some(entry) = self.entries.get_mut(number as usize) else {
                self.asking.swap_remove(i);
                continue;
            };
            if now.0 < entry.next_request.0 {
                i += 1;
                continue;
            }
            if entry.requests < TRIES {
                if !ask(Request { port: entry.port, address: entry.address, mac: entry.mac }) {
                    return;
                }
                entry.requests += 1;
                entry.next_request = Tick(now.0.saturating_add(RETRY));
                i += 1;
                continue;
            }
            entry.asking = false;
            if entry.mac.take().is_some() {
                lost(Neighbour { port: entry.port, address: entry.address, mac: None });
            }
            self.waiting -= entry.waiting.len();
            entry.waiting.drain(..).for_each(&mut *give_up);
            self.asking.swap_remove(i);
        }
    }

    /// Asks again for entries that nothing confirmed for [`STALE`].
    fn age(&mut self, now: Tick) {
        while let Some(&Reverse((due, number))) = self.ageing.peek() {
            if now.0 < due.0 {
                return;
            }
            self.ageing.pop();
            let Some(entry) = self.entries.get_mut(number as usize) else { continue };
            entry.ageing = false;
            if entry.mac.is_none() {
                continue;
            }
            let again = entry.confirmed.0.saturating_add(STALE);
            if now.0 < again {
                entry.ageing = true;
                self.ageing.push(Reverse((Tick(again), number)));
            } else {
                self.ask(NextHopId(number), now);
            }
        }
    }

    /// Takes in an answer, or what another worker learned; gives back what waited for it. A next
    /// hop that is not known is taken in only with `create`; `None`: it was not. `resolver`: this
    /// worker is the one that looks after it.
    pub fn learn(
        &mut self,
        neighbour: Neighbour,
        create: bool,
        resolver: bool,
        now: Tick,
    ) -> Option<VecDeque<B>> {
        let known = self.index.contains_key(&(neighbour.port, neighbour.address));
        if !known && !create {
            return None;
        }
        let id = self.intern(neighbour.port, neighbour.address)?;
        let entry = self.entries.get_mut(id.0 as usize)?;
        entry.mac = neighbour.mac;
        if neighbour.mac.is_none() {
            return Some(VecDeque::new());
        }
        entry.confirmed = now;
        if resolver && !entry.ageing {
            entry.ageing = true;
            self.ageing.push(Reverse((Tick(now.0.saturating_add(STALE)), id.0)));
        }
        if entry.asking {
            entry.asking = false;
            self.asking.retain(|&a| a != id.0);
        }
        self.waiting -= entry.waiting.len();
        Some(std::mem::take(&mut entry.waiting))
    }

    /// Packets on wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// All entries: port, address, hardware address.
    pub fn iter(&self) -> impl Iterator<Item = (u8, Ipv4Addr, Option<MacAddr>)> + '_ {
        self.entries.iter().map(|e| (e.port, e.address, e.mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    fn asked(table: &mut Neighbours<u32>, now: u32) -> (usize, Vec<u32>) {
        let (mut n, mut gone) = (0, Vec::new());
        let mut ask = |_| {
            n += 1;
            true
        };
        table.requests(Tick(now), &mut ask, &mut |p| gone.push(p), &mut |_| {});
        (n, gone)
    }

    #[test]
    fn three_requests_a_second_apart_and_then_the_packets_end() {
        let mut table = Neighbours::default();
        let id = table.intern(1, HOP).unwrap();
        table.wait(id, 1, Tick(0)).unwrap();
        assert_eq!(asked(&mut table, 0), (1, vec![]));
        assert_eq!(asked(&mut table, 9), (0, vec![]));
        assert_eq!(asked(&mut table, 10), (1, vec![]));
        assert_eq!(asked(&mut table, 20), (1, vec![]));
        assert_eq!(asked(&mut table, 30), (0, vec![1]));
        assert_eq!(table.waiting(), 0);
    }

    #[test]
    fn an_answer_frees_what_waited_in_order() {
        let mut table = Neighbours::default();
        let id = table.intern(1, HOP).unwrap();
        for p in 0..3 {
            table.wait(id, p, Tick(0)).unwrap();
        }
        let freed =
            table.learn(Neighbour { port: 1, address: HOP, mac: Some(MAC) }, false, true, Tick(5)).unwrap();
        assert_eq!(freed, [0, 1, 2]);
        assert_eq!(table.lookup(id), Some((1, HOP, Some(MAC))));
        assert_eq!(asked(&mut table, 100), (0, vec![]));
    }

    #[test]
    fn an_old_entry_is_asked_for_again_and_lost_if_it_is_silent() {
        let mut table = Neighbours::<u32>::default();
        table.learn(Neighbour { port: 1, address: HOP, mac: Some(MAC) }, true, true, Tick(0));
        assert_eq!(asked(&mut table, STALE - 1), (0, vec![]));
        for t in [STALE, STALE + 10, STALE + 20] {
            assert_eq!(asked(&mut table, t), (1, vec![]));
        }
        let mut lost = Vec::new();
        table.requests(Tick(STALE + 30), &mut |_| true, &mut |_| {}, &mut |n| lost.push(n.address));
        assert_eq!(lost, [HOP]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut table = Neighbours::default();
        let id = table.intern(1, HOP).unwrap();
        for p in 0..WAITING_PER_NEXT_HOP as u32 {
            table.wait(id, p, Tick(0)).unwrap();
        }
        assert!(table.wait(id, 99, Tick(0)).is_err());
    }

    #[test]
    fn what_nobody_asked_for_is_not_learned() {
        let mut table = Neighbours::<u32>::default();
        assert!(
            table.learn(Neighbour { port: 1, address: HOP, mac: Some(MAC) }, false, true, Tick(0)).is_none()
        );
        assert_eq!(table.iter().count(), 0);
    }
}
