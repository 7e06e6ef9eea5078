//! The component's memory: one fixed arena, handed out from the front.
//!
//! Owns the global allocator on WebAssembly. It never calls `memory.grow`: growing past a pooled
//! memory's first size costs the host two `mprotect` calls a step and keeps threads from scaling.
//! It never reuses what is not at the end: an instance lives for one step and is then thrown away.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::{Cell, UnsafeCell};
use std::ptr;

/// Bytes of the arena: a reply of the largest size (1 MiB), its text in UTF-8 where the department
/// sent GB18030 (1.5 MiB), and the element tree of [`crate::xml`] at its limit (0.8 MiB).
#[cfg(target_arch = "wasm32")]
const ARENA_BYTES: usize = 4 * 1024 * 1024;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ARENA: Arena<ARENA_BYTES> = Arena::new();

/// A bump allocator over `BYTES` bytes of its own.
#[repr(C, align(16))]
struct Arena<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    /// Offset of the first free byte, at most `BYTES`.
    free: Cell<usize>,
}

#[cfg(target_arch = "wasm32")]
#[allow(unsafe_code, reason = "a static must be Sync; this target has one thread")]
// SAFETY: wasm32-unknown-unknown is built without the atomics feature and the component model runs
// an instance on one thread at a time, so no two threads can hold a reference to the arena.
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

impl<const BYTES: usize> Arena<BYTES> {
    const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; BYTES]), free: Cell::new(0) }
    }

    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Takes `size` bytes from the front, or says that the arena is full.
    fn take(&self, size: usize, align: usize) -> Option<usize> {
        let address = (self.base() as usize).checked_add(self.free.get())?;
        let start = self.free.get() + (address.checked_next_multiple_of(align)? - address);
        let end = start.checked_add(size)?;
        (end <= BYTES).then(|| self.free.set(end))?;
        Some(start)
    }

    /// Offset of a block the arena handed out.
    fn offset(&self, block: *mut u8) -> usize {
        block as usize - self.base() as usize
    }
}

#[allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait: callers trust its addresses")]
// SAFETY: a block is `size` bytes inside `bytes`, aligned as asked. Blocks do not overlap: `free`
// moves past a block when it is handed out and moves back only over the last one, by its owner.
// No method panics or allocates.
unsafe impl<const BYTES: usize> GlobalAlloc for Arena<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout.size(), layout.align()) {
            // SAFETY: `take` returns an offset within `bytes`.
            Some(start) => unsafe { self.base().add(start) },
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let start = self.offset(block);
        if start + layout.size() == self.free.get() {
            self.free.set(start);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let start = self.offset(block);
        let is_last = start + layout.size() == self.free.get();
        if is_last && size <= BYTES - start {
            self.free.set(start + size);
            return block;
        }
        if size <= layout.size() {
            return block;
        }
        let Some(moved) = self.take(size, layout.align()) else { return ptr::null_mut() };
        // SAFETY: `take` returns an offset within `bytes`, of a block that begins at or after the
        // old block's end; the old block is `layout.size()` bytes long and `size` is larger.
        unsafe {
            let moved = self.base().add(moved);
            ptr::copy_nonoverlapping(block, moved, layout.size());
            moved
        }
    }
}

#[cfg(test)]
mod tests;
