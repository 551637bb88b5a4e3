//! Finds every delimiter, line feed and quote of a text, 64 bytes at a time.

use wide::u8x16;

/// Bytes that must follow the end of a text in its buffer, whatever their value: everything here reads whole words.
pub const PADDING: usize = 64;

/// Positions of separators, reused from text to text.
#[derive(Default)]
pub struct Separators {
    positions: Vec<u32>,
    len: usize,
}

impl Separators {
    /// Notes where `delimiter`, `\n` and `"` stand in the first `len` bytes of `buffer`, which is at least [`PADDING`]
    /// bytes longer.
    pub fn find(&mut self, buffer: &[u8], len: usize, delimiter: u8) {
        if self.positions.len() < len + 2 * PADDING {
            self.positions.resize(len + 2 * PADDING, 0);
        }
        let [delimiter, line_feed, quote] = [delimiter, b'\n', b'"'].map(u8x16::splat);
        let separators = |bytes: &[u8; 16]| {
            let bytes = u8x16::new(*bytes);
            let found = bytes.simd_eq(delimiter) | bytes.simd_eq(line_feed) | bytes.simd_eq(quote);
            u64::from(found.to_bitmask())
        };
        let mut count = 0;
        for (group, bytes) in buffer
            .as_chunks::<64>()
            .0
            .iter()
            .take(len.div_ceil(64))
            .enumerate()
        {
            let start = group * 64;
            let quarters = bytes.as_chunks::<16>().0;
            let mut mask = quarters
                .iter()
                .rev()
                .fold(0, |mask, quarter| mask << 16 | separators(quarter));
            if start + 64 > len {
                mask &= (1 << (len - start)) - 1;
            }
            count = self.note(mask, start as u32, count);
        }
        self.len = count;
    }

    /// Notes the position of each bit of `mask`: twelve without asking, as most groups have no more.
    #[inline]
    fn note(&mut self, mut mask: u64, start: u32, count: usize) -> usize {
        let total = mask.count_ones() as usize;
        let mut note = |positions: &mut [u32]| {
            for position in positions {
                *position = start + mask.trailing_zeros();
                mask &= mask.wrapping_sub(1);
            }
            mask
        };
        let mut at = count + 12;
        let mut rest = self.positions.get_mut(count..at).map_or(0, &mut note);
        while rest != 0 {
            rest = self.positions.get_mut(at..at + 4).map_or(0, &mut note);
            at += 4;
        }
        count + total
    }

    /// The positions found, ascending.
    pub fn positions(&self) -> &[u32] {
        &self.positions[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_separator_is_found_and_nothing_else(
            text in proptest::collection::vec(proptest::sample::select(&b"a,;\n\"\r0\xff"[..]), 0..400),
            padding in any::<u8>(),
        ) {
            let mut buffer = text.clone();
            buffer.resize(text.len() + PADDING, padding);
            let mut separators = Separators::default();
            separators.find(&vec![b','; 300 + PADDING], 300, b',');
            separators.find(&buffer, text.len(), b',');
            let expected: Vec<u32> =
                (0..).zip(&text).filter(|(_, b)| b",\n\"".contains(b)).map(|(at, _)| at).collect();
            prop_assert_eq!(separators.positions(), expected);
        }
    }
}
