//! Timers: a hierarchical wheel of lists of chunks.
//!
//! Four levels of 256 slots cover all ticks. A timer sits in the level of the highest octet in
//! which its deadline differs from the present, and moves down when the present gets there.
//! Re-arming to a later time is lazy: the owner only writes the new deadline, and the wheel
//! puts the timer back when it meets it too early. Only an earlier deadline must be told
//! ([`Wheel::remove`], then [`Wheel::insert`]). Work is done in steps that the caller counts, and a
//! timer fires exactly at its tick, unless its deadline was set into the past (then at the next).
//!
//! A slot's timers lie in chunks of two cache lines, all full but the first, and a timer remembers
//! its place. So putting one on touches no other timer, and who is due next is known
//! ([`Wheel::ahead`]) before any of their records, all far away, was looked at.

use mem::{Array, plain_struct, prefetch};

use crate::Tick;

const LEVELS: usize = 4;
const SLOTS: usize = 256;
/// No neighbour.
pub(crate) const NIL: u32 = u32::MAX;
/// Timers of a chunk.
const CHUNK: usize = 30;
/// Lowest bits of a place: where in its chunk.
const WITHIN: u32 = 5;
/// Octets of a timer here.
#[cfg(test)]
pub(crate) const OCTETS: f64 = size_of::<Chunk>() as f64 / CHUNK as f64;

/// Where timers keep their places and deadlines.
pub(crate) trait Timers {
    /// Where on the wheel a timer is.
    fn place(&self, id: u32) -> u32;
    /// Replaces it.
    fn set_place(&mut self, id: u32, place: u32);
    /// When it is due.
    fn deadline(&self, id: u32) -> Tick;
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// This timer is due; it is off the wheel.
    Due(u32),
    /// A timer was put where it belongs.
    Moved,
    /// Nothing is left to do until later.
    Idle,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Chunk {
    ids: [u32; CHUNK],
    /// The slot's next one; of a free one the next free one.
    next: u32,
    slot: u16,
    len: u16,
}

plain_struct!(Chunk { ids: [u32; CHUNK], next: u32, slot: u16, len: u16 });

pub(crate) struct Wheel {
    heads: [u32; LEVELS * SLOTS],
    occupied: [[u64; SLOTS / 64]; LEVELS],
    chunks: Array<Chunk>,
    free: u32,
    /// Chunks used so far; those above were never touched.
    used: u32,
    /// The tick being worked on: all before it are done.
    present: u32,
}

impl Wheel {
    /// One that makes no more room while it has at most `timers`.
    pub(crate) fn for_timers(timers: u32) -> Self {
        Wheel {
            heads: [NIL; LEVELS * SLOTS],
            occupied: [[0; SLOTS / 64]; LEVELS],
            // Every slot's first chunk may be all but empty.
            chunks: Array::zeroed((timers as usize).div_ceil(CHUNK) + LEVELS * SLOTS),
            free: NIL,
            used: 0,
            present: 0,
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.chunks.bytes()
    }

    fn slot_of(&self, deadline: Tick) -> usize {
        let due = deadline.0.max(self.present);
        let level = (31 - ((due ^ self.present) | 1).leading_zeros() as usize) / 8;
        level * SLOTS + (due >> (8 * level)) as usize % SLOTS
    }

    fn set_head(&mut self, slot: usize, chunk: u32) {
        if let Some(head) = self.heads.get_mut(slot) {
            *head = chunk;
        }
        let word = self.occupied.get_mut(slot / SLOTS).and_then(|l| l.get_mut(slot % SLOTS / 64));
        if let Some(word) = word {
            let bit = 1 << (slot % 64);
            *word = if chunk == NIL { *word & !bit } else { *word | bit };
        }
    }

    fn head(&self, slot: usize) -> u32 {
        self.heads.get(slot).copied().unwrap_or(NIL)
    }

    fn chunk(&self, at: u32) -> Option<&Chunk> {
        self.chunks.get(at as usize)
    }

    /// A new first chunk of a slot.
    fn add_chunk(&mut self, slot: usize) -> u32 {
        let next = self.head(slot);
        let at = if self.free != NIL { self.free } else { self.used };
        if at as usize == self.chunks.len() {
            let mut more = Array::zeroed(2 * self.chunks.len());
            if let Some(first) = more.get_mut(..self.chunks.len()) {
                first.copy_from_slice(&self.chunks);
            }
            self.chunks = more;
        }
        if let Some(chunk) = self.chunks.get_mut(at as usize) {
            if self.free != NIL {
                self.free = chunk.next;
            } else {
                self.used += 1;
            }
            *chunk = Chunk { ids: [0; CHUNK], next, slot: slot as u16, len: 0 };
        }
        self.set_head(slot, at);
        at
    }

    /// Puts a timer on, by its deadline.
    pub(crate) fn insert(&mut self, timers: &mut impl Timers, id: u32) {
        let slot = self.slot_of(timers.deadline(id));
        let mut at = self.head(slot);
        if self.chunk(at).is_none_or(|c| usize::from(c.len) == CHUNK) {
            at = self.add_chunk(slot);
        }
        let Some(chunk) = self.chunks.get_mut(at as usize) else { return };
        if let Some(place) = chunk.ids.get_mut(usize::from(chunk.len)) {
            *place = id;
            timers.set_place(id, at << WITHIN | u32::from(chunk.len));
            chunk.len += 1;
        }
    }

    /// Takes the last timer of a slot's first chunk.
    fn pop(&mut self, slot: usize) -> Option<u32> {
        let at = self.head(slot);
        let chunk = self.chunks.get_mut(at as usize)?;
        chunk.len = chunk.len.checked_sub(1)?;
        let id = chunk.ids.get(usize::from(chunk.len)).copied();
        if chunk.len == 0 {
            let next = std::mem::replace(&mut chunk.next, self.free);
            self.free = at;
            self.set_head(slot, next);
        }
        id
    }

    /// Takes a timer off. It must be on.
    pub(crate) fn remove(&mut self, timers: &mut impl Timers, id: u32) {
        let place = timers.place(id);
        let at = place >> WITHIN;
        let Some(slot) = self.chunk(at).map(|c| usize::from(c.slot)) else { return };
        // The last one comes in its place.
        let Some(last) = self.pop(slot).filter(|last| *last != id) else { return };
        let within = (place & ((1 << WITHIN) - 1)) as usize;
        if let Some(hole) = self.chunks.get_mut(at as usize).and_then(|c| c.ids.get_mut(within)) {
            *hole = last;
            timers.set_place(last, place);
        }
    }

    /// First occupied slot of `level` after position `after`.
    fn next_occupied(&self, level: usize, after: usize) -> Option<usize> {
        let words = self.occupied.get(level)?;
        let from = after + 1;
        words.iter().enumerate().skip(from / 64).find_map(|(i, word)| {
            let bits = if i == from / 64 { word & (u64::MAX << (from % 64)) } else { *word };
            (bits != 0).then(|| i * 64 + bits.trailing_zeros() as usize)
        })
    }

    /// The next tick after the present at which there is something to do; `None`: never.
    fn next_tick(&self) -> Option<u32> {
        (0..LEVELS).find_map(|level| {
            let shift = 8 * level as u32;
            let at = (self.present >> shift) as usize % SLOTS;
            let slot = self.next_occupied(level, at)? as u32;
            let above = if level == LEVELS - 1 { 0 } else { self.present >> (shift + 8) << (shift + 8) };
            Some(above | slot << shift)
        })
    }

    /// The slot of the next thing to do by `now`; the present goes on to its tick.
    fn due(&mut self, now: Tick) -> Option<usize> {
        while self.present <= now.0 {
            for level in (0..LEVELS).rev() {
                let shift = 8 * level as u32;
                if self.present & ((1 << shift) - 1) != 0 {
                    continue;
                }
                let slot = level * SLOTS + (self.present >> shift) as usize % SLOTS;
                if self.head(slot) != NIL {
                    return Some(slot);
                }
            }
            self.present = match self.next_tick() {
                Some(tick) if tick <= now.0 => tick,
                _ => now.0.checked_add(1)?,
            };
        }
        None
    }

    /// The timers that the next steps will take, from the last one on; none when nothing is due by `now`.
    pub(crate) fn ahead(&mut self, now: Tick) -> &[u32] {
        let Some(slot) = self.due(now) else { return &[] };
        let Some(chunk) = self.chunk(self.head(slot)) else { return &[] };
        // The last ones of the next lie beside its length.
        if let Some(next) = self.chunk(chunk.next) {
            prefetch(&next.len);
        }
        chunk.ids.get(..usize::from(chunk.len)).unwrap_or_default()
    }

    /// Does one thing that is due by `now`.
    pub(crate) fn step(&mut self, timers: &mut impl Timers, now: Tick) -> Step {
        let Some(id) = self.due(now).and_then(|slot| self.pop(slot)) else { return Step::Idle };
        if timers.deadline(id).0 <= self.present {
            return Step::Due(id);
        }
        self.insert(timers, id);
        Step::Moved
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory(Vec<(u32, u32)>);

    impl Timers for Memory {
        fn place(&self, id: u32) -> u32 {
            self.0[id as usize].0
        }

        fn set_place(&mut self, id: u32, place: u32) {
            self.0[id as usize].0 = place;
        }

        fn deadline(&self, id: u32) -> Tick {
            Tick(self.0[id as usize].1)
        }
    }

    fn due(wheel: &mut Wheel, timers: &mut Memory, now: u32) -> Vec<u32> {
        let mut due = Vec::new();
        loop {
            match wheel.step(timers, Tick(now)) {
                Step::Due(id) => due.push(id),
                Step::Moved => {}
                Step::Idle => return due,
            }
        }
    }

    #[test]
    fn a_timer_fires_at_its_tick_and_not_before() {
        for deadline in [0, 1, 255, 256, 257, 65_535, 65_536, 74_400, 16_777_216, u32::MAX] {
            let (mut wheel, mut timers) = (Wheel::for_timers(256), Memory(vec![(0, deadline)]));
            wheel.insert(&mut timers, 0);
            if let Some(before) = deadline.checked_sub(1) {
                assert!(due(&mut wheel, &mut timers, before).is_empty(), "{deadline}");
            }
            assert_eq!(due(&mut wheel, &mut timers, deadline), [0]);
        }
    }

    #[test]
    fn a_long_jump_in_time_takes_few_steps() {
        let (mut wheel, mut timers) = (Wheel::for_timers(256), Memory(vec![(0, 4_000_000_000)]));
        wheel.insert(&mut timers, 0);
        let mut steps = 0;
        while wheel.step(&mut timers, Tick(u32::MAX)) != Step::Idle {
            steps += 1;
        }
        assert!(steps <= 5, "{steps}");
    }

    #[test]
    fn what_is_ahead_is_what_the_next_steps_take() {
        let (mut wheel, mut timers) = (Wheel::for_timers(0), Memory(vec![(0, 300); 20_000]));
        for id in 0..20_000 {
            wheel.insert(&mut timers, id);
        }
        let mut met = 0;
        loop {
            let ahead = wheel.ahead(Tick(300)).to_vec();
            for id in ahead.iter().rev() {
                match wheel.step(&mut timers, Tick(300)) {
                    Step::Due(due) => assert_eq!(due, *id),
                    other => assert_eq!(other, Step::Moved),
                }
            }
            if ahead.is_empty() {
                break;
            }
            met += ahead.len();
        }
        // Each moves down a level once.
        assert_eq!(met, 40_000);
    }

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u8, u32),
        Later(u8, u32),
        Cancel(u8),
        Pass(u32),
    }

    fn op() -> impl Strategy<Value = Op> {
        let span = prop_oneof![0u32..10, 0u32..600, 0u32..200_000, 0u32..40_000_000];
        prop_oneof![
            (any::<u8>(), span.clone()).prop_map(|(id, s)| Op::Arm(id, s)),
            (any::<u8>(), span.clone()).prop_map(|(id, s)| Op::Later(id, s)),
            any::<u8>().prop_map(Op::Cancel),
            span.prop_map(Op::Pass),
        ]
    }

    proptest! {
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(ops in prop::collection::vec(op(), 1..300)) {
            let (mut wheel, mut timers) = (Wheel::for_timers(256), Memory(vec![(0, 0); 256]));
            let mut model: BTreeMap<u32, u32> = BTreeMap::new();
            let mut now = 0u32;
            prop_assert!(due(&mut wheel, &mut timers, now).is_empty());
            for op in ops {
                match op {
                    Op::Arm(id, span) => {
                        let id = u32::from(id);
                        if model.remove(&id).is_some() {
                            wheel.remove(&mut timers, id);
                        }
                        timers.0[id as usize].1 = now + 1 + span;
                        wheel.insert(&mut timers, id);
                        model.insert(id, now + 1 + span);
                    }
                    Op::Later(id, span) => {
                        if let Some(deadline) = model.get_mut(&u32::from(id)) {
                            *deadline += span;
                            timers.0[usize::from(id)].1 = *deadline;
                        }
                    }
                    Op::Cancel(id) => {
                        if model.remove(&u32::from(id)).is_some() {
                            wheel.remove(&mut timers, u32::from(id));
                        }
                    }
                    Op::Pass(span) => {
                        now += span;
                        let mut fired = due(&mut wheel, &mut timers, now);
                        fired.sort_unstable();
                        let expected: Vec<u32> = model.iter().filter(|(_, d)| **d <= now).map(|(i, _)| *i).collect();
                        prop_assert_eq!(&fired, &expected);
                        model.retain(|_, d| *d > now);
                    }
                }
                // All chunks but the slots' first are full, and each timer is where it remembers.
                let mut on = 0;
                for (slot, head) in wheel.heads.iter().enumerate() {
                    let next = |at: &u32| Some(wheel.chunks[*at as usize].next).filter(|n| *n != NIL);
                    for at in std::iter::successors(Some(*head).filter(|h| *h != NIL), next) {
                        let chunk = wheel.chunks[at as usize];
                        let len = usize::from(chunk.len);
                        prop_assert!(len == CHUNK || (at == *head && len > 0));
                        prop_assert_eq!(usize::from(chunk.slot), slot);
                        for (i, id) in chunk.ids[..len].iter().enumerate() {
                            prop_assert_eq!(timers.0[*id as usize].0, at << WITHIN | i as u32);
                        }
                        on += len;
                    }
                }
                prop_assert_eq!(on, model.len());
            }
        }
    }
}
