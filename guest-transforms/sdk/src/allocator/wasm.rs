//! The allocator over the memory of an instance.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::{memory_grow, memory_size};
use std::cell::Cell;
use std::ptr::{copy_nonoverlapping, null_mut};

use super::Arena;

/// Memory grows by whole pages of so many bytes.
const PAGE: usize = 65_536;

unsafe extern "C" {
    /// Stands where the program's own data end.
    static __heap_base: u8;
}

/// The arena; none before the first use.
struct Bump(Cell<Option<Arena>>);

#[global_allocator]
static BUMP: Bump = Bump(Cell::new(None));

// SAFETY: an instance has one thread.
unsafe impl Sync for Bump {}

impl Bump {
    fn with<R>(&self, work: impl FnOnce(&mut Arena) -> R) -> R {
        let first = || Arena { next: &raw const __heap_base as usize, end: end() };
        let mut arena = self.0.get().unwrap_or_else(first);
        let result = work(&mut arena);
        self.0.set(Some(arena));
        result
    }
}

// Not inlined: it is small against what it is called for, and there are many calls.
// SAFETY: the arena hands out addresses between the end of the program's data and that of the memory, aligned
// as asked for, and no address to two blocks at a time.
unsafe impl GlobalAlloc for Bump {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.with(|arena| arena.take(layout.size(), layout.align(), grow));
        start.map_or(null_mut(), |start| start as *mut u8)
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.with(|arena| arena.give_back(block as usize, layout.size()));
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if self.with(|arena| arena.resize(block as usize, layout.size(), size, grow)) {
            return block;
        }
        // SAFETY: `size` is what the caller vouches for; the block could not stay, so the new one is larger,
        // and they do not overlap.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                copy_nonoverlapping(block, new, layout.size());
            }
            new
        }
    }
}

/// Makes the memory larger by so many bytes, or a little more; gives its new end.
fn grow(bytes: usize) -> Option<usize> {
    let failed = memory_grow(0, bytes.div_ceil(PAGE)) == usize::MAX;
    (!failed).then(end)
}

/// The end of the memory; one less where it is all that there can be, so that the number fits.
fn end() -> usize {
    memory_size(0).saturating_mul(PAGE)
}
