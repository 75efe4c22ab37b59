//! A crate that forbids `unsafe` can have its own records in an [`mem::Array`].
#![forbid(unsafe_code)]

#[derive(Clone, Copy)]
#[repr(C)]
struct Record {
    words: [u64; 7],
    id: u32,
    tags: [u16; 2],
}
mem::plain_struct!(Record { words: [u64; 7], id: u32, tags: [u16; 2] });

#[test]
fn a_safe_crate_keeps_its_records_in_an_array() {
    let mut records = mem::Array::<Record>::zeroed(3);
    records[2].id = 9;
    assert_eq!((records[2].id, records[0].words, records[1].tags), (9, [0; 7], [0; 2]));
    mem::prefetch(&records[1]);
}
