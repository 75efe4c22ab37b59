//! Fixed arrays, all zero at first, in hugepages where there are any.
//!
//! A table of ten million sessions touches a new 4 KB page at nearly every packet: with small
//! pages the TLB misses cost as much as the cache misses. Pages are touched as they are used.

use std::alloc::{Layout, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Which pages an array lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Reserved hugepages of 2 MB.
    Huge,
    /// Normal pages that the kernel was asked to join into huge ones.
    Transparent,
    /// Normal pages: the array is small.
    Small,
}

/// Plain data: every bit pattern is a value, all zero bits too, and nothing needs dropping.
///
/// # Safety
/// The implementor is `Copy`, has no padding that is read, no references and no niche.
pub unsafe trait Plain: Copy + Send + Sync + 'static {}

macro_rules! plain {
    ($($t:ty),*) => {
        // SAFETY: integers take every bit pattern.
        $(unsafe impl Plain for $t {})*
    };
}
plain!(u8, u16, u32, u64, i8, i16, i32, i64);

// SAFETY: an array of plain data is plain.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

/// Declares structs of plain fields as [`Plain`] outside of `unsafe`. The macro checks that each
/// field is there and plain, and that nothing else is: no other field, no padding.
///
/// ```
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Slot { key: u64, tags: [u16; 4] }
/// mem::plain_struct!(Slot { key: u64, tags: [u16; 4] });
/// ```
///
/// A type that only looks like the declared one is refused, since zeros would be no value of it:
///
/// ```compile_fail,E0308
/// #[derive(Clone, Copy)]
/// struct Slot { key: std::num::NonZeroU64 }
/// mem::plain_struct!(Slot { key: u64 });
/// ```
#[macro_export]
macro_rules! plain_struct {
    ($name:ident { $($field:ident : $t:ty),* $(,)? }) => {
        const _: () = {
            const fn is_plain<T: $crate::Plain>() {}
            $(is_plain::<$t>();)*
            let _: fn(&$name) = |of| { $(let _: &$t = &of.$field;)* };
            assert!(size_of::<$name>() == 0 $(+ size_of::<$t>())*, "padding, or a field left out");
        };
        // SAFETY: the fields named are plain and of these types; with another field or with
        // padding the sizes would differ. All checked above.
        unsafe impl $crate::Plain for $name {}
    };
}

/// A fixed array of plain data.
pub struct Array<T: Plain> {
    at: NonNull<T>,
    len: usize,
    mapped: usize,
    pages: Pages,
}

/// Arrays from this many octets on are worth hugepages.
const WORTH: usize = 1 << 20;
const HUGE: usize = 2 << 20;

impl<T: Plain> Array<T> {
    /// `len` zeros. Aborts as any allocation does when there is no memory.
    pub fn zeroed(len: usize) -> Self {
        let bytes = len.checked_mul(size_of::<T>()).filter(|b| *b <= isize::MAX as usize / 2);
        let Some(bytes) = bytes else { handle_alloc_error(Layout::new::<T>()) };
        if bytes == 0 {
            return Array { at: NonNull::dangling(), len, mapped: 0, pages: Pages::Small };
        }
        if bytes >= WORTH {
            let rounded = bytes.next_multiple_of(HUGE);
            if let Some(at) = map(rounded, libc::MAP_HUGETLB) {
                return Array { at: at.cast(), len, mapped: rounded, pages: Pages::Huge };
            }
        }
        let rounded = bytes.next_multiple_of(4096);
        let Some(at) = map(rounded, 0) else { handle_alloc_error(Layout::new::<T>()) };
        let mut pages = Pages::Small;
        if bytes >= WORTH {
            // SAFETY: the range was mapped above and belongs to this array alone; the advice
            // changes no contents.
            if unsafe { libc::madvise(at.as_ptr(), rounded, libc::MADV_HUGEPAGE) } == 0 {
                pages = Pages::Transparent;
            }
        }
        Array { at: at.cast(), len, mapped: rounded, pages }
    }

    /// Which pages it lies in.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// Octets of address space that it takes.
    pub fn bytes(&self) -> usize {
        self.mapped
    }
}

/// Anonymous zeroed memory; pages are aligned far beyond any `T`.
fn map(bytes: usize, flags: libc::c_int) -> Option<NonNull<libc::c_void>> {
    let flags = flags | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing else.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if at == libc::MAP_FAILED { None } else { NonNull::new(at) }
}

impl<T: Plain> Array<T> {
    /// Asks for the line of element `at` to be brought near; beyond the end it asks for nothing that matters.
    #[inline(always)]
    pub fn prefetch(&self, at: usize) {
        crate::prefetch::prefetch_at(self.at.as_ptr().wrapping_add(at));
    }
}

impl<T: Plain> Drop for Array<T> {
    fn drop(&mut self) {
        if self.mapped != 0 {
            // SAFETY: exactly the range that `zeroed` mapped; no reference outlives `self`.
            unsafe { libc::munmap(self.at.as_ptr().cast(), self.mapped) };
        }
    }
}

impl<T: Plain> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `at` points to `len` values of `T`: mapped, aligned, zeroed (a value of a
        // plain type) or written through `DerefMut`; or it dangles and `len` octets are none.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` is the only way to it.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }
}

// SAFETY: the array owns its memory, and its elements are plain data.
unsafe impl<T: Plain> Send for Array<T> {}
// SAFETY: shared access only reads.
unsafe impl<T: Plain> Sync for Array<T> {}

impl<T: Plain> std::fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Array of {} ({} octets, {:?} pages)", self.len, self.mapped, self.pages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Pair {
        a: u32,
        b: [u16; 2],
    }
    crate::plain_struct!(Pair { a: u32, b: [u16; 2] });

    #[test]
    fn an_array_begins_with_zeros_and_keeps_what_is_written() {
        for len in [0, 1, 511, 1 << 18] {
            let mut array = Array::<Pair>::zeroed(len);
            assert_eq!(array.len(), len);
            assert!(array.iter().all(|p| *p == Pair { a: 0, b: [0, 0] }));
            if let Some(last) = array.last_mut() {
                *last = Pair { a: 7, b: [1, 2] };
                assert_eq!(array[len - 1].a, 7);
            }
        }
    }

    #[test]
    fn a_large_array_asks_for_large_pages() {
        let array = Array::<u64>::zeroed(1 << 18);
        assert!(array.bytes() >= 1 << 21);
        assert_ne!(array.pages(), Pages::Small);
        assert_eq!(Array::<u64>::zeroed(8).pages(), Pages::Small);
    }
}
