//! Timers: a hierarchical wheel of doubly linked lists.
//!
//! Four levels of 256 slots cover all ticks. A timer sits in the level of the highest octet in
//! which its deadline differs from the present, and moves down when the present gets there.
//! Re-arming to a later time is lazy: the owner only writes the new deadline, and the wheel
//! puts the timer back when it meets it too early. Only an earlier deadline must be told
//! ([`Wheel::remove`], then [`Wheel::insert`]). Work is done in steps that the caller counts, and a
//! timer fires exactly at its tick, unless its deadline was set into the past (then at the next).

use crate::Tick;

const LEVELS: usize = 4;
const SLOTS: usize = 256;
/// No neighbour.
pub(crate) const NIL: u32 = u32::MAX;
/// In `previous`: not a neighbour but the slot whose head this is.
const HEAD: u32 = 1 << 31;

/// Where timers keep their links and deadlines.
pub(crate) trait Timers {
    /// `[next, previous]` of a timer.
    fn links(&self, id: u32) -> [u32; 2];
    /// Replaces them.
    fn set_links(&mut self, id: u32, links: [u32; 2]);
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

pub(crate) struct Wheel {
    heads: [u32; LEVELS * SLOTS],
    occupied: [[u64; SLOTS / 64]; LEVELS],
    /// The tick being worked on: all before it are done.
    present: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Wheel { heads: [NIL; LEVELS * SLOTS], occupied: [[0; SLOTS / 64]; LEVELS], present: 0 }
    }

    fn slot_of(&self, deadline: Tick) -> usize {
        let due = deadline.0.max(self.present);
        let level = (31 - ((due ^ self.present) | 1).leading_zeros() as usize) / 8;
        level * SLOTS + (due >> (8 * level)) as usize % SLOTS
    }

    fn set_head(&mut self, slot: usize, id: u32) {
        if let Some(head) = self.heads.get_mut(slot) {
            *head = id;
        }
        let word = self.occupied.get_mut(slot / SLOTS).and_then(|l| l.get_mut(slot % SLOTS / 64));
        if let Some(word) = word {
            let bit = 1 << (slot % 64);
            *word = if id == NIL { *word & !bit } else { *word | bit };
        }
    }

    fn head(&self, slot: usize) -> u32 {
        self.heads.get(slot).copied().unwrap_or(NIL)
    }

    /// Puts a timer on, by its deadline.
    pub(crate) fn insert(&mut self, timers: &mut impl Timers, id: u32) {
        let slot = self.slot_of(timers.deadline(id));
        let next = self.head(slot);
        timers.set_links(id, [next, HEAD | slot as u32]);
        if next != NIL {
            let [after, _] = timers.links(next);
            timers.set_links(next, [after, id]);
        }
        self.set_head(slot, id);
    }

    /// Takes a timer off. It must be on.
    pub(crate) fn remove(&mut self, timers: &mut impl Timers, id: u32) {
        let [next, previous] = timers.links(id);
        if next != NIL {
            let [after, _] = timers.links(next);
            timers.set_links(next, [after, previous]);
        }
        if previous & HEAD != 0 {
            self.set_head((previous & !HEAD) as usize, next);
        } else {
            let [_, before] = timers.links(previous);
            timers.set_links(previous, [next, before]);
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

    /// Does one thing that is due by `now`.
    pub(crate) fn step(&mut self, timers: &mut impl Timers, now: Tick) -> Step {
        while self.present <= now.0 {
            for level in (0..LEVELS).rev() {
                let shift = 8 * level as u32;
                if self.present & ((1 << shift) - 1) != 0 {
                    continue;
                }
                let slot = level * SLOTS + (self.present >> shift) as usize % SLOTS;
                let id = self.head(slot);
                if id == NIL {
                    continue;
                }
                self.remove(timers, id);
                if timers.deadline(id).0 <= self.present {
                    return Step::Due(id);
                }
                self.insert(timers, id);
                return Step::Moved;
            }
            self.present = match self.next_tick() {
                Some(tick) if tick <= now.0 => tick,
                _ => match now.0.checked_add(1) {
                    Some(tick) => tick,
                    None => return Step::Idle,
                },
            };
        }
        Step::Idle
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory(Vec<([u32; 2], u32)>);

    impl Timers for Memory {
        fn links(&self, id: u32) -> [u32; 2] {
            self.0[id as usize].0
        }

        fn set_links(&mut self, id: u32, links: [u32; 2]) {
            self.0[id as usize].0 = links;
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
            let (mut wheel, mut timers) = (Wheel::new(), Memory(vec![([0; 2], deadline)]));
            wheel.insert(&mut timers, 0);
            if let Some(before) = deadline.checked_sub(1) {
                assert!(due(&mut wheel, &mut timers, before).is_empty(), "{deadline}");
            }
            assert_eq!(due(&mut wheel, &mut timers, deadline), [0]);
        }
    }

    #[test]
    fn a_long_jump_in_time_takes_few_steps() {
        let (mut wheel, mut timers) = (Wheel::new(), Memory(vec![([0; 2], 4_000_000_000)]));
        wheel.insert(&mut timers, 0);
        let mut steps = 0;
        while wheel.step(&mut timers, Tick(u32::MAX)) != Step::Idle {
            steps += 1;
        }
        assert!(steps <= 5, "{steps}");
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
            let (mut wheel, mut timers) = (Wheel::new(), Memory(vec![([0; 2], 0); 256]));
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
            }
        }
    }
}
