//! Sixteen short tags compared with one: two instructions of SSE2, which every x86-64 has.

/// Sixteen tags in 32 octets; what follows a bucket's tags may fill up the rest.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub [u16; 16]);

/// Bit `i` of the result is set where `tags[i] == wanted`.
#[inline(always)]
pub fn matches(tags: &[u16; 16], wanted: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            __m128i, _mm_cmpeq_epi16, _mm_loadu_si128, _mm_movemask_epi8, _mm_packs_epi16, _mm_set1_epi16,
        };
        let at = tags.as_ptr().cast::<__m128i>();
        // SAFETY: SSE2 is part of x86-64; both loads lie within the 32 octets of `tags`, and
        // `loadu` asks for no alignment.
        unsafe {
            let wanted = _mm_set1_epi16(wanted as i16);
            let low = _mm_cmpeq_epi16(_mm_loadu_si128(at), wanted);
            let high = _mm_cmpeq_epi16(_mm_loadu_si128(at.add(1)), wanted);
            _mm_movemask_epi8(_mm_packs_epi16(low, high)) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    scalar(tags, wanted)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn scalar(tags: &[u16; 16], wanted: u16) -> u32 {
    tags.iter().enumerate().fold(0, |bits, (i, tag)| bits | u32::from(*tag == wanted) << i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compare_agrees_with_one_tag_after_the_other() {
        let mut state = 1u64;
        for _ in 0..10_000 {
            let mut tags = [0u16; 16];
            for tag in &mut tags {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *tag = ((state >> 62) as u16).wrapping_mul(0x5fff);
            }
            for wanted in [0, 0x5fff, 0xbffe, 0x1ffd, 1] {
                assert_eq!(matches(&tags, wanted), scalar(&tags, wanted));
            }
        }
    }
}
