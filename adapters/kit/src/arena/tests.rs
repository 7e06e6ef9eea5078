use super::*;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[allow(unsafe_code, reason = "the allocator's methods are unsafe; each call keeps their contract")]
mod calls {
    use super::*;

    pub fn alloc<const BYTES: usize>(arena: &Arena<BYTES>, layout: Layout) -> *mut u8 {
        // SAFETY: no layout of these tests is empty.
        unsafe { arena.alloc(layout) }
    }

    pub fn realloc<const BYTES: usize>(
        arena: &Arena<BYTES>,
        block: *mut u8,
        layout: Layout,
        size: usize,
    ) -> *mut u8 {
        // SAFETY: each block comes from this arena with this layout.
        unsafe { arena.realloc(block, layout, size) }
    }

    pub fn dealloc<const BYTES: usize>(arena: &Arena<BYTES>, block: *mut u8, layout: Layout) {
        // SAFETY: each block comes from this arena with this layout.
        unsafe { arena.dealloc(block, layout) };
    }

    pub fn fill(block: *mut u8, byte: u8, count: usize) {
        // SAFETY: each block is at least `count` bytes long.
        unsafe { block.write_bytes(byte, count) };
    }

    pub fn read(block: *mut u8, count: usize) -> Vec<u8> {
        // SAFETY: each block is at least `count` bytes long and was filled.
        unsafe { std::slice::from_raw_parts(block, count).to_vec() }
    }
}
use calls::{alloc, dealloc, fill, read, realloc};

#[test]
fn blocks_are_aligned_and_apart() {
    let arena = Arena::<4096>::new();
    let mut end = 0;
    for (size, align) in [(1, 1), (3, 2), (8, 8), (1, 1), (64, 64), (5, 4), (16, 16)] {
        let block = alloc(&arena, layout(size, align)) as usize;
        assert_eq!(block % align, 0);
        assert!(block >= end);
        end = block + size;
    }
}

#[test]
fn a_full_arena_returns_null_and_stays_usable() {
    let arena = Arena::<64>::new();
    assert!(alloc(&arena, layout(65, 1)).is_null());
    let block = alloc(&arena, layout(60, 1));
    assert!(!block.is_null());
    assert!(alloc(&arena, layout(5, 1)).is_null());
    assert!(alloc(&arena, layout(4, 8)).is_null());
    assert!(!alloc(&arena, layout(4, 1)).is_null());
    assert!(realloc(&arena, block, layout(60, 1), 61).is_null());
    assert!(alloc(&arena, layout(isize::MAX as usize, 1)).is_null());
}

#[test]
fn the_last_block_grows_and_shrinks_in_place() {
    let arena = Arena::<1024>::new();
    let block = alloc(&arena, layout(10, 1));
    fill(block, 7, 10);
    assert_eq!(realloc(&arena, block, layout(10, 1), 1000), block);
    assert_eq!(read(block, 10), [7; 10]);
    assert!(alloc(&arena, layout(100, 1)).is_null());
    assert_eq!(realloc(&arena, block, layout(1000, 1), 20), block);
    assert_eq!(alloc(&arena, layout(100, 1)) as usize, block as usize + 20);
}

#[test]
fn a_block_inside_moves_with_its_bytes() {
    let arena = Arena::<1024>::new();
    let first = alloc(&arena, layout(8, 8));
    let second = alloc(&arena, layout(8, 8));
    fill(first, 1, 8);
    fill(second, 2, 8);
    assert_eq!(realloc(&arena, first, layout(8, 8), 4), first);
    let moved = realloc(&arena, first, layout(8, 8), 16);
    assert!(moved > second);
    assert_eq!((read(moved, 8), read(second, 8)), (vec![1; 8], vec![2; 8]));
}

#[test]
fn only_the_last_block_is_given_back() {
    let arena = Arena::<1024>::new();
    let first = alloc(&arena, layout(8, 1));
    let second = alloc(&arena, layout(8, 1));
    dealloc(&arena, first, layout(8, 1));
    assert_ne!(alloc(&arena, layout(8, 1)), first);
    let third = alloc(&arena, layout(8, 1));
    dealloc(&arena, third, layout(8, 1));
    assert_eq!(alloc(&arena, layout(8, 1)), third);
    assert_ne!(second, third);
}
