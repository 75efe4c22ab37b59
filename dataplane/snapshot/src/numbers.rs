//! Dense numbers that stay with their owner and rest before another gets them.
//!
//! Sessions remember services and backends by number, so a number must not name another one
//! while a session may still carry it.

use std::collections::VecDeque;

use nat::{Tick, Ticks};

/// How long a number rests: the longest idle time of a session by default (RFC 5382 REQ-5), within which every
/// session of its last owner is judged again or gone.
const REST: Ticks = Ticks::from_secs(7440);

/// Gives out numbers, lowest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Numbers {
    next: u32,
    /// Free again from that tick on; ascending.
    resting: VecDeque<(Tick, u32)>,
}

impl Numbers {
    /// A number that nobody has.
    pub(crate) fn take(&mut self, now: Tick) -> u32 {
        if self.resting.front().is_some_and(|&(free, _)| free <= now)
            && let Some((_, number)) = self.resting.pop_front()
        {
            return number;
        }
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    /// Its owner is gone.
    pub(crate) fn give_back(&mut self, number: u32, now: Tick) {
        self.resting.push_back((now + REST, number));
    }

    /// All numbers are below this.
    pub(crate) fn bound(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rests_before_another_owner_gets_it() {
        let mut numbers = Numbers::default();
        assert_eq!((numbers.take(Tick(0)), numbers.take(Tick(0))), (0, 1));
        numbers.give_back(0, Tick(5));
        assert_eq!(numbers.take(Tick(5)), 2);
        assert_eq!(numbers.take(Tick(5) + REST), 0);
        assert_eq!(numbers.bound(), 3);
    }
}
