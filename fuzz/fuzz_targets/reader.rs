//! Arbitrary bytes through the whole cut of sales: never a panic, both paths equal, every row accepted or rejected.

#![no_main]

#[path = "../../jobs/tests/made/mod.rs"]
mod made;

use libfuzzer_sys::fuzz_target;
use made::{How, Made, REFERENCE, made, with_header};

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else {
        return;
    };
    // a file whose header is found in its first block, and one whose rows are cut anywhere
    let has_header = choice & 1 == 0;
    let block = [1, 17, 64, 200, 1 << 18][usize::from(choice >> 1) % 5];
    let how = How {
        block: if has_header { block } else { 1 << 18 },
        hot_path: choice & 0x40 == 0,
        threads: 1 + usize::from(choice >> 7),
    };
    let text = if has_header {
        with_header(bytes)
    } else {
        bytes.to_vec()
    };
    let cut = made(&text, how);
    assert_eq!(cut, made(&text, REFERENCE));
    if let Made::Cut { facts, chunks, .. } = cut {
        assert_eq!(facts.lignes, facts.acceptees + facts.rejetees);
        let in_chunks: u64 = chunks.values().map(|(_, rows, _)| u64::from(*rows)).sum();
        assert_eq!(in_chunks, facts.acceptees);
    }
});
