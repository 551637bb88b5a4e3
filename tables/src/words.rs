//! Words that occur again and again (cities, models), as small numbers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::separators::PADDING;

/// The most different words of one column: numbers are `u16`.
pub const MAX_WORDS: usize = 1 << 16;

/// All words of one column, shared by every thread that reads; a word keeps its number.
#[derive(Default)]
pub struct Words(Mutex<List>);

#[derive(Default)]
struct List {
    numbers: HashMap<Arc<str>, u16>,
    words: Vec<Arc<str>>,
}

impl Words {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of `word`; `None` where there are [`MAX_WORDS`] others already.
    pub fn number(&self, word: &str) -> Option<u16> {
        let mut list = self.lock();
        if let Some(&number) = list.numbers.get(word) {
            return Some(number);
        }
        let number = u16::try_from(list.words.len()).ok()?;
        let word: Arc<str> = word.into();
        list.numbers.insert(Arc::clone(&word), number);
        list.words.push(word);
        Some(number)
    }

    /// The word of that number.
    pub fn word(&self, number: u16) -> Option<Arc<str>> {
        self.lock().words.get(usize::from(number)).cloned()
    }

    /// Appends to `known` the words it lacks, by number.
    pub fn update(&self, known: &mut Vec<Arc<str>>) {
        let list = self.lock();
        known.extend(list.words.iter().skip(known.len()).cloned());
    }
}

/// The longest spelling that a [`Lexicon`] knows, in bytes.
const LONGEST: usize = 32;
/// Slots of a lexicon; it stops learning at half of them.
const SLOTS: usize = 1 << 12;

/// One thread's own memory of spellings that were checked: from the bytes of a field to the number of its word.
pub struct Lexicon {
    slots: Vec<Slot>,
    used: usize,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    spelling: Spelling,
    /// Tells a word from the same with NULs behind it; 0 in an empty slot.
    len: u16,
    number: u16,
}

/// The bytes of a field as four little-endian numbers, zero after its end.
type Spelling = [u64; LONGEST / 8];

impl Default for Lexicon {
    fn default() -> Self {
        Self {
            slots: vec![Slot::default(); SLOTS],
            used: 0,
        }
    }
}

/// Keeps the first `n` bytes of a word, by `n`.
const KEEP: [u64; 9] = [
    0,
    0xff,
    0xffff,
    0xff_ffff,
    0xffff_ffff,
    0xff_ffff_ffff,
    0xffff_ffff_ffff,
    u64::MAX >> 8,
    u64::MAX,
];

/// Eight bytes of a buffer as a little-endian number; zero where the buffer ends before.
#[inline(always)]
pub fn eight_bytes(buffer: &[u8], at: usize) -> u64 {
    buffer
        .get(at..)
        .and_then(|rest| rest.first_chunk())
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// The first `n` (at most 8) bytes at a place, as a little-endian number.
#[inline(always)]
pub fn some_bytes(buffer: &[u8], at: usize, n: usize) -> u64 {
    eight_bytes(buffer, at) & KEEP[n.min(8)]
}

/// Keeps the first `n` bytes of a spelling, by `n`.
const KEEP_SPELLING: [Spelling; LONGEST + 1] = {
    let mut masks = [[0; LONGEST / 8]; LONGEST + 1];
    let mut n = 1;
    while n <= LONGEST {
        masks[n] = masks[n - 1];
        masks[n][(n - 1) / 8] = KEEP[(n - 1) % 8 + 1];
        n += 1;
    }
    masks
};

#[inline(always)]
fn spelling(buffer: &[u8], at: usize, len: usize) -> Option<Spelling> {
    let bytes: &[u8; LONGEST] = buffer.get(at..)?.first_chunk()?;
    let keep = KEEP_SPELLING.get(len)?;
    let words = bytes.as_chunks::<8>().0;
    Some([
        u64::from_le_bytes(words[0]) & keep[0],
        u64::from_le_bytes(words[1]) & keep[1],
        u64::from_le_bytes(words[2]) & keep[2],
        u64::from_le_bytes(words[3]) & keep[3],
    ])
}

#[inline(always)]
fn slot_of([a, b, c, d]: &Spelling) -> usize {
    let mixed = (a ^ b.rotate_left(21) ^ c.rotate_left(42) ^ d.rotate_left(11))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.ilog2())) as usize
}

impl Lexicon {
    /// The number of the field of `len` bytes at `at`, if it was learnt. The buffer goes on for [`PADDING`] bytes.
    #[inline]
    pub fn find(&self, buffer: &[u8], at: usize, len: usize) -> Option<u16> {
        let spelling = spelling(buffer, at, len)?;
        let mut at = slot_of(&spelling);
        loop {
            let slot = self.slots.get(at)?;
            if slot.len == 0 {
                return None;
            }
            if (slot.spelling == spelling) & (usize::from(slot.len) == len) {
                return Some(slot.number);
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// Caches that the field `text` is the word of that number, unless it is too long or the cache is full.
    pub fn learn(&mut self, text: &[u8], number: u16) {
        let mut buffer = text.to_vec();
        buffer.resize(text.len() + PADDING, 0);
        let Some(spelling) = spelling(&buffer, 0, text.len()) else {
            return;
        };
        if text.is_empty() || self.used >= SLOTS / 2 {
            return;
        }
        // at most LONGEST
        let len = text.len() as u16;
        let mut at = slot_of(&spelling);
        while self.slots[at].len != 0 {
            if (self.slots[at].spelling, self.slots[at].len) == (spelling, len) {
                return;
            }
            at = (at + 1) % SLOTS;
        }
        self.slots[at] = Slot {
            spelling,
            len,
            number,
        };
        self.used += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_lexicon_knows_what_it_learnt_and_nothing_else(
            words in proptest::collection::btree_set("[abé]{0,20}", 0..60),
            others in proptest::collection::btree_set("[abé\0]{0,20}", 0..60),
        ) {
            let mut lexicon = Lexicon::default();
            for (number, word) in words.iter().enumerate() {
                lexicon.learn(word.as_bytes(), number as u16);
            }
            for other in words.iter().chain(&others) {
                let mut buffer = other.clone().into_bytes();
                buffer.resize(other.len() + PADDING, b'a');
                let expected = words.iter().position(|word| word == other && !word.is_empty() && word.len() <= LONGEST);
                prop_assert_eq!(lexicon.find(&buffer, 0, other.len()), expected.map(|number| number as u16));
            }
        }
    }

    #[test]
    fn a_word_with_a_nul_behind_it_is_another() {
        let mut lexicon = Lexicon::default();
        lexicon.learn(b"A", 7);
        let mut buffer = b"A\0\0".to_vec();
        buffer.resize(3 + PADDING, 0);
        assert_eq!(lexicon.find(&buffer, 0, 1), Some(7));
        assert_eq!(lexicon.find(&buffer, 0, 2), None);
        assert_eq!(lexicon.find(&buffer, 1, 1), None);
        assert_eq!(lexicon.find(&buffer, 1, 0), None);
    }

    #[test]
    fn a_full_lexicon_stops_learning() {
        let mut lexicon = Lexicon::default();
        for number in 0..20_000_u32 {
            lexicon.learn(number.to_string().as_bytes(), number as u16);
        }
        assert_eq!(lexicon.used, SLOTS / 2);
    }
}
