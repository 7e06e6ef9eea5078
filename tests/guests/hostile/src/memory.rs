//! Attacks on fuel, stack and memory, and the leak canary: a pattern left behind for the next
//! instance to find.
#![allow(
    unsafe_code,
    reason = "the canary reads and writes memory that no Rust value owns, which is its purpose"
)]

use std::arch::wasm32::{memory_grow, memory_size, unreachable};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const PAGE_BYTES: usize = 64 * 1024;
/// The pattern, one byte repeated; no program data holds a whole word of it.
const TAINT: u8 = 0xA7;
const TAINT_WORD: u64 = u64::from_ne_bytes([TAINT; 8]);
/// Tainted stretches are far longer, so looking at one word in eight finds each of them and the
/// whole memory is searched within a step's fuel.
const STRIDE_BYTES: usize = 64;

/// Zero at first: lies in memory that the module's data does not cover.
static ZEROED: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
/// Not zero at first: lies in memory that the module's data initialises.
static INITIALISED: [AtomicU64; 1024] = [const { AtomicU64::new(1) }; 1024];

/// Never returns.
pub(crate) fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// Uses up the host's stack: a frame takes a few bytes of the module's own.
pub(crate) fn recurse() {
    fn deeper(depth: u64) -> u64 {
        // Called through a pointer, so that no compiler makes a loop of it.
        let next: fn(u64) -> u64 = black_box(deeper);
        next(depth + 1) ^ depth
    }
    black_box(deeper(0));
}

/// Uses up the stack that the module keeps in its memory.
pub(crate) fn recurse_in_memory() {
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 512]);
        if black_box(true) { deeper(depth + 1) + frame[7] } else { frame[0] }
    }
    black_box(deeper(0));
}

/// Grows memory page by page, touching each, until the host refuses; then traps.
pub(crate) fn grow_without_end() {
    loop {
        let page = memory_grow(0, 1);
        if page == usize::MAX {
            unreachable();
        }
        // SAFETY: the page was just added to the memory and belongs to nobody.
        unsafe { ((page * PAGE_BYTES) as *mut u8).write_volatile(TAINT) };
    }
}

/// Fills the kit's arena, which traps when it is full.
pub(crate) fn allocate_without_end() {
    let mut blocks = Vec::new();
    loop {
        blocks.push(black_box(vec![TAINT; PAGE_BYTES]));
    }
}

/// Leaves the pattern on the stack, the heap, in statics and in grown memory.
pub(crate) fn taint() {
    let mut stack = [0_u8; PAGE_BYTES];
    stack.fill(TAINT);
    black_box(&stack);
    black_box(vec![TAINT; 8 * PAGE_BYTES]);
    for word in ZEROED.iter().chain(&INITIALISED) {
        word.store(TAINT_WORD, Relaxed);
    }
    let page = memory_grow(0, 4);
    if page != usize::MAX {
        // SAFETY: the four pages were just added to the memory and belong to nobody.
        unsafe { ((page * PAGE_BYTES) as *mut u8).write_bytes(TAINT, 4 * PAGE_BYTES) };
    }
}

/// Whether a word of the pattern is anywhere in the memory, freshly grown pages included.
pub(crate) fn is_tainted() -> bool {
    memory_grow(0, 4);
    let bytes = memory_size(0) * PAGE_BYTES;
    // Address 0 is readable, but Rust may take it for null.
    (STRIDE_BYTES..bytes).step_by(STRIDE_BYTES).any(|address| {
        // SAFETY: the address lies in the memory and is aligned for a word; any bytes are a word.
        unsafe { (address as *const u64).read_volatile() == TAINT_WORD }
    }) || ZEROED.iter().any(|word| word.load(Relaxed) != 0)
        || INITIALISED.iter().any(|word| word.load(Relaxed) != 1)
}
