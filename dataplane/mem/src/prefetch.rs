//! Bringing a cache line near.

/// Asks for the line of `value` to be brought into all caches. A hint: it never faults.
#[inline(always)]
pub fn prefetch<T>(value: &T) {
    prefetch_at(value);
}

/// The same for any address at all.
#[inline(always)]
pub(crate) fn prefetch_at<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: prefetch does not access memory as far as the abstract machine goes, and of an
        // address that is not mapped the processor forgets it (Intel SDM vol. 2, PREFETCHh): any pointer will do.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
