//! Which packets of a trial came: each once, and those that came twice told apart, by a bitmap over
//! the last million numbers (as IPsec's against replay, RFC 4303 §3.4.3). So a packet that was
//! doubled on its way does not hide one that was lost.

/// Numbers that are remembered.
const SPAN: u64 = 1 << 20;

/// What a number that came is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// The first with that number, which is this in full.
    New(u64),
    /// It came before.
    Again,
    /// So much later than others that nobody remembers.
    Forgotten,
    /// It was never sent.
    Unsent,
}

/// The numbers that came.
#[derive(Debug)]
pub struct Window {
    bits: Vec<u64>,
    /// One more than the highest.
    head: u64,
}

impl Default for Window {
    fn default() -> Self {
        Window { bits: vec![0; (SPAN / 64) as usize], head: 0 }
    }
}

impl Window {
    fn place(number: u64) -> (usize, u64) {
        ((number % SPAN / 64) as usize, 1 << (number % 64))
    }

    /// Notes a number by its lower 32 bits; `sent`: numbers below that went.
    #[inline]
    pub fn note(&mut self, low: u32, sent: u64) -> Noted {
        // Of all numbers with these bits, the one nearest to the head.
        let ahead = i64::from(low.wrapping_sub(self.head as u32).cast_signed());
        let Some(number) = self.head.checked_add_signed(ahead).filter(|n| *n < sent) else {
            return Noted::Unsent;
        };
        if number + SPAN < self.head {
            return Noted::Forgotten;
        }
        if number >= self.head {
            // What lies between is not yet here; the bits are those of numbers that are now forgotten.
            if number - self.head >= SPAN {
                self.bits.fill(0);
            } else {
                for skipped in self.head..=number {
                    let (word, bit) = Self::place(skipped);
                    self.bits[word] &= !bit;
                }
            }
            self.head = number + 1;
        }
        let (word, bit) = Self::place(number);
        if self.bits[word] & bit != 0 {
            return Noted::Again;
        }
        self.bits[word] |= bit;
        Noted::New(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::{Draw, Flows};
    use std::collections::HashSet;

    #[test]
    fn every_number_is_new_once_whatever_the_order() {
        let (mut window, mut seen) = (Window::default(), HashSet::new());
        let mut draw = Draw::new(Flows::Uniform, 3);
        for n in 0..200_000u64 {
            let number = n.saturating_sub(draw.below(3000));
            let wanted = if seen.insert(number) { Noted::New(number) } else { Noted::Again };
            assert_eq!(window.note(number as u32, n + 1), wanted);
        }
    }

    #[test]
    fn numbers_go_on_beyond_32_bits_and_over_gaps() {
        let mut window = Window::default();
        let mut number = 0u64;
        for _ in 0..12 {
            assert_eq!(window.note(number as u32, u64::MAX), Noted::New(number));
            assert_eq!(window.note(number as u32, u64::MAX), Noted::Again);
            number += 1_000_000_007;
        }
        assert!(number > 1 << 33);
    }

    #[test]
    fn what_was_never_sent_is_not_taken_and_what_is_too_old_is_forgotten() {
        let mut window = Window::default();
        assert_eq!(window.note(5, 5), Noted::Unsent);
        assert_eq!(window.note(u32::MAX, 5), Noted::Unsent);
        assert_eq!(window.note(4, 5), Noted::New(4));
        assert_eq!(window.note(3 << 20, u64::MAX), Noted::New(3 << 20));
        assert_eq!(window.note(4, u64::MAX), Noted::Forgotten);
    }
}
