//! Which ids were seen before: exactly, in bounded memory.
//!
//! Most ids are a prefix and a number that counts up (`TX000000042`). Ids of one prefix and one number of digits form a
//! *shape*, and a shape keeps its numbers in pages of 65,536: sorted 16-bit offsets while a page is sparse, a bitmap of 8 KiB
//! once it is not. Ten million consecutive ids take 1.3 MB, and adding one takes a few nanoseconds.
//!
//! Numbers without order (a shape that costs more than a few bytes a number once all pages are over the budget), shapes
//! beyond a cap and every other text go to `Spill`, which keeps a budget of them in memory and the rest in
//! temporary files. So memory is the budget, plus at most 6 bytes an id for numbers that are neither dense nor scattered, or
//! about 2 bytes an id for texts; and no answer is ever a guess.

use std::collections::HashMap;

use autoconnect_common::CutError;

use super::spill::{Spill, Tag};

/// The default budget, in bytes, of pages and of texts in memory, each.
const BUDGET: usize = 16 << 20;
/// Shapes beyond this are not made: their ids are kept as texts.
const MAX_SHAPES: usize = 4096;
/// The longest prefix of a shape: longer than those of real ids, and bounds what a shape can cost.
const MAX_PREFIX: usize = 64;
/// The most digits of a number: all numbers of so many digits are below 2^60.
const MAX_DIGITS: usize = 18;
/// Numbers from here on have more digits.
const END_OF_NUMBERS: u64 = 1_000_000_000_000_000_000;
/// A sparse page becomes dense at so many numbers: the next growth of its list would take the 8 KiB of a bitmap.
const DENSE_FROM: usize = 2048;
/// Bytes a number that a shape may cost at most while the pages are over the budget.
const EXPENSIVE: usize = 6;
/// What a page costs beside its numbers: its place in the table of pages and in the list.
const PAGE_OVERHEAD: usize = 96;
/// How many pages are found without a search.
const CACHED: usize = 256;
/// No page has this key.
const NO_KEY: u64 = u64::MAX;

/// An exact set of ids.
#[derive(Debug)]
pub struct IdSet {
    by_prefix: HashMap<Box<[u8]>, [Option<u32>; MAX_DIGITS]>,
    shapes: Vec<Shape>,
    /// The last answer of [`shape`](Self::shape).
    last_shape: Option<(Box<[u8]>, u8, u32)>,
    pages: HashMap<u64, Page>,
    /// Dense pages, found by their index; `free` are the unused indices.
    bitmaps: Vec<Bitmap>,
    free: Vec<u32>,
    /// Dense pages used lately: key and index of the bitmap.
    cache: Box<[(u64, u32); CACHED]>,
    /// Bytes of all pages, about.
    page_bytes: usize,
    /// The number of bytes at which expensive shapes are looked for.
    page_limit: usize,
    budget: usize,
    spill: Spill,
}

type Bitmap = Box<[u64; 1024]>;

/// The numbers of one prefix and one number of digits.
#[derive(Debug, Default)]
struct Shape {
    /// Its numbers are in the spill.
    scattered: bool,
    /// About how many bytes its pages take.
    bytes: usize,
}

/// Up to 65,536 numbers that differ in their last 16 bits only.
#[derive(Debug)]
enum Page {
    Sparse(Vec<u16>),
    Dense(u32),
}

impl Default for IdSet {
    fn default() -> Self {
        Self::new()
    }
}

impl IdSet {
    /// A set without ids, with the default budget: 16 MiB for numbers and 16 MiB for texts.
    pub fn new() -> Self {
        Self::with_budget(BUDGET)
    }

    /// A set without ids that keeps about so many bytes of numbers, and as many of texts, in memory.
    pub fn with_budget(bytes: usize) -> Self {
        Self {
            by_prefix: HashMap::new(),
            shapes: Vec::new(),
            last_shape: None,
            pages: HashMap::new(),
            bitmaps: Vec::new(),
            free: Vec::new(),
            cache: Box::new([(NO_KEY, 0); CACHED]),
            page_bytes: 0,
            page_limit: bytes,
            budget: bytes,
            spill: Spill::with_budget(bytes),
        }
    }

    /// Adds an id; true if it is new.
    ///
    /// # Errors
    /// [`CutError::Failed`] where the temporary files fail.
    pub fn insert(&mut self, id: &[u8]) -> Result<bool, CutError> {
        let digits = id.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let (prefix, number) = id.split_at(id.len() - digits);
        if (1..=MAX_DIGITS).contains(&digits)
            // at most 18
            && let Some(shape) = self.shape(prefix, digits as u8)
        {
            let number = number
                .iter()
                .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
            return self.insert_number(shape, number);
        }
        self.spill.insert(Tag::Text, id)
    }

    /// The shape of the ids that are `prefix` and so many decimal digits (1 to 18); `prefix` ends in a non-digit or is empty.
    /// `None` where there are too many shapes or the prefix is too long: such ids go through [`insert`](Self::insert), always.
    pub fn shape(&mut self, prefix: &[u8], digits: u8) -> Option<u32> {
        if let Some((last_prefix, last_digits, shape)) = &self.last_shape
            && *last_digits == digits
            && **last_prefix == *prefix
        {
            return Some(*shape);
        }
        let place = usize::from(digits).checked_sub(1)?;
        if place >= MAX_DIGITS || prefix.len() > MAX_PREFIX {
            return None;
        }
        let known = self.by_prefix.get(prefix).and_then(|shapes| shapes[place]);
        let shape = match known {
            Some(shape) => shape,
            None if self.shapes.len() >= MAX_SHAPES => return None,
            None => {
                // at most MAX_SHAPES
                let shape = self.shapes.len() as u32;
                self.shapes.push(Shape::default());
                self.by_prefix.entry(prefix.into()).or_default()[place] = Some(shape);
                shape
            }
        };
        self.last_shape = Some((prefix.into(), digits, shape));
        Some(shape)
    }

    /// Adds the id of this shape and number; true if it is new. The shape is one that [`shape`](Self::shape) gave, and the
    /// number has the digits of the shape.
    ///
    /// # Errors
    /// [`CutError::Failed`] where the temporary files fail.
    #[inline]
    pub fn insert_number(&mut self, shape: u32, number: u64) -> Result<bool, CutError> {
        let key = key_of(shape, number);
        let (cached, index) = self.cache[cache_place(key)];
        if cached == key
            && number < END_OF_NUMBERS
            && let Some(bitmap) = self.bitmaps.get_mut(index as usize)
        {
            return Ok(set_bit(bitmap, number));
        }
        self.insert_uncached(shape, number, key)
    }

    #[inline(never)]
    fn insert_uncached(&mut self, shape: u32, number: u64, key: u64) -> Result<bool, CutError> {
        let paged = number < END_OF_NUMBERS;
        let Some(owner) = self
            .shapes
            .get_mut(shape as usize)
            .filter(|owner| paged && !owner.scattered)
        else {
            return self.spill_number(shape, number);
        };
        let offset = number as u16; // the last 16 bits
        let page = self.pages.entry(key).or_insert_with(|| {
            owner.bytes += PAGE_OVERHEAD;
            self.page_bytes += PAGE_OVERHEAD;
            Page::Sparse(Vec::new())
        });
        match page {
            Page::Dense(index) => {
                self.cache[cache_place(key)] = (key, *index);
                return Ok(set_bit(&mut self.bitmaps[*index as usize], number));
            }
            Page::Sparse(offsets) => {
                let at = match offsets.last() {
                    Some(last) if *last >= offset => match offsets.binary_search(&offset) {
                        Ok(_) => return Ok(false),
                        Err(at) => at,
                    },
                    _ => offsets.len(),
                };
                let before = offsets.capacity();
                offsets.insert(at, offset);
                let grown = (offsets.capacity() - before) * size_of::<u16>();
                owner.bytes += grown;
                self.page_bytes += grown;
                if offsets.len() >= DENSE_FROM {
                    let freed = offsets.capacity() * size_of::<u16>();
                    let added = size_of::<[u64; 1024]>();
                    owner.bytes = owner.bytes + added - freed;
                    self.page_bytes = self.page_bytes + added - freed;
                    let index = self.free.pop().unwrap_or_else(|| {
                        self.bitmaps.push(Box::new([0; 1024]));
                        // fewer than 2^32 bitmaps of 8 KiB fit any memory
                        (self.bitmaps.len() - 1) as u32
                    });
                    let bitmap = &mut self.bitmaps[index as usize];
                    for offset in offsets.iter() {
                        set_bit(bitmap, u64::from(*offset));
                    }
                    *page = Page::Dense(index);
                    self.cache[cache_place(key)] = (key, index);
                }
            }
        }
        if self.page_bytes > self.page_limit {
            self.scatter()?;
        }
        Ok(true)
    }

    /// Moves the numbers of expensive shapes to the spill.
    #[cold]
    fn scatter(&mut self) -> Result<(), CutError> {
        let mut numbers = vec![0; self.shapes.len()];
        for (key, page) in &self.pages {
            numbers[shape_of(*key)] += match page {
                Page::Sparse(offsets) => offsets.len(),
                Page::Dense(index) => count_bits(&self.bitmaps[*index as usize]),
            };
        }
        for (shape, numbers) in self.shapes.iter_mut().zip(numbers) {
            if shape.bytes > numbers * EXPENSIVE {
                self.page_bytes = self.page_bytes.saturating_sub(shape.bytes);
                *shape = Shape {
                    scattered: true,
                    bytes: 0,
                };
            }
        }
        let shapes = &self.shapes;
        let moved: Vec<(u64, Page)> = self
            .pages
            .extract_if(|key, _| shapes[shape_of(*key)].scattered)
            .collect();
        self.pages.shrink_to_fit();
        self.cache.fill((NO_KEY, 0));
        // what remains is cheap: look again when there is half as much more
        self.page_limit = self.budget.max(self.page_bytes + self.page_bytes / 2);
        moved
            .into_iter()
            .try_for_each(|(key, page)| self.spill_page(key, page))
    }

    fn spill_page(&mut self, key: u64, page: Page) -> Result<(), CutError> {
        // at most MAX_SHAPES
        let shape = shape_of(key) as u32;
        let first = (key & ((1 << PAGE_BITS) - 1)) << 16;
        let offsets = match page {
            Page::Sparse(offsets) => offsets,
            Page::Dense(index) => {
                let bitmap = &mut self.bitmaps[index as usize];
                let offsets = offsets_of(bitmap).collect();
                bitmap.fill(0);
                self.free.push(index);
                offsets
            }
        };
        for offset in offsets {
            self.spill_number(shape, first | u64::from(offset))?;
        }
        Ok(())
    }

    fn spill_number(&mut self, shape: u32, number: u64) -> Result<bool, CutError> {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&shape.to_le_bytes());
        bytes[4..].copy_from_slice(&number.to_le_bytes());
        self.spill.insert(Tag::Number, &bytes)
    }
}

/// Bits of a page's number within its shape: 10^18 numbers in pages of 2^16.
const PAGE_BITS: u32 = 44;

/// The key of the page of a number below [`END_OF_NUMBERS`].
#[inline]
fn key_of(shape: u32, number: u64) -> u64 {
    u64::from(shape) << PAGE_BITS | number >> 16
}

/// Neighbouring pages of a shape have neighbouring places; shapes are spread.
#[inline]
fn cache_place(key: u64) -> usize {
    ((key ^ (key >> PAGE_BITS).wrapping_mul(37)) % CACHED as u64) as usize
}

/// Sets the bit of a number's last 16 bits; true if it was not set.
#[inline]
fn set_bit(bitmap: &mut [u64; 1024], number: u64) -> bool {
    let word = &mut bitmap[(number >> 6 & 1023) as usize];
    let bit = 1 << (number & 63);
    let new = *word & bit == 0;
    *word |= bit;
    new
}

fn shape_of(key: u64) -> usize {
    (key >> PAGE_BITS) as usize
}

fn count_bits(bitmap: &[u64; 1024]) -> usize {
    bitmap.iter().map(|word| word.count_ones() as usize).sum()
}

/// The offsets whose bits are set, in order.
fn offsets_of(bitmap: &[u64; 1024]) -> impl Iterator<Item = u16> {
    (0..=u16::MAX).filter(|offset| {
        let word = bitmap[usize::from(offset >> 6)];
        word >> (offset & 63) & 1 == 1
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn add(ids: &mut IdSet, id: &str) -> bool {
        ids.insert(id.as_bytes()).expect("a working disk")
    }

    /// A number that looks random, the same for the same `n`.
    fn scramble(n: u64) -> u64 {
        let mut x = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        x ^= x >> 30;
        x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ x >> 27
    }

    #[test]
    fn an_id_is_new_once_whatever_its_shape() {
        let shapes = [
            "TX000000001",
            "TX1",
            "TX01",
            "1",
            "01",
            "",
            "A",
            "é",
            "999999999999999999",
            "1000000000000000000",
            "18446744073709551616",
            "a-1",
            "a-1-1",
            "TX",
            "550e8400-e29b-41d4-a716-446655440000",
            "\u{0}",
            " TX1",
            "TX1 ",
        ];
        let mut ids = IdSet::new();
        for id in shapes {
            assert!(add(&mut ids, id), "{id:?} is new");
        }
        for id in shapes {
            assert!(!add(&mut ids, id), "{id:?} is not new");
        }
    }

    #[test]
    fn both_ways_to_insert_agree() {
        let mut ids = IdSet::new();
        let shape = ids.shape(b"TX", 9).expect("room");
        assert!(ids.insert_number(shape, 42).expect("memory"));
        assert!(!add(&mut ids, "TX000000042"));
        assert!(add(&mut ids, "TX42"));
        assert!(add(&mut ids, "TX000000043"));
        assert!(!ids.insert_number(shape, 43).expect("memory"));
        assert_eq!(ids.shape(b"TX", 9), Some(shape));
        assert_ne!(ids.shape(b"TX", 8), Some(shape));
        assert_ne!(ids.shape(b"TY", 9), Some(shape));
        assert_eq!(ids.shape(b"TX", 0), None);
        assert_eq!(ids.shape(b"TX", 19), None);
    }

    #[test]
    fn consecutive_numbers_take_a_bit_each() {
        let mut ids = IdSet::new();
        let shape = ids.shape(b"TX", 9).expect("room");
        for number in 0..2_000_000 {
            assert!(ids.insert_number(shape, number).expect("memory"));
        }
        assert!((0..2_000_000).all(|number| !ids.insert_number(shape, number).expect("memory")));
        assert!(ids.page_bytes < 300_000, "{}", ids.page_bytes);
    }

    #[test]
    fn scattered_numbers_leave_the_pages_and_stay_exact() {
        let mut ids = IdSet::with_budget(64 << 10);
        let shape = ids.shape(b"N", 18).expect("room");
        let dense = ids.shape(b"D", 9).expect("room");
        let number = |n| scramble(n) % END_OF_NUMBERS;
        for n in 0..20_000 {
            assert!(ids.insert_number(shape, number(n)).expect("a disk"));
            assert!(ids.insert_number(dense, n).expect("a disk"));
        }
        for n in 0..20_000 {
            assert!(!ids.insert_number(shape, number(n)).expect("a disk"));
            assert!(!ids.insert_number(dense, n).expect("a disk"));
            assert!(!add(&mut ids, &format!("N{:018}", number(n))));
        }
        assert!(ids.shapes[shape as usize].scattered && !ids.shapes[dense as usize].scattered);
        assert!(ids.page_bytes < 64 << 10);
    }

    #[test]
    fn a_prefix_of_its_own_for_every_id_makes_no_more_than_so_many_shapes() {
        let mut ids = IdSet::with_budget(256 << 10);
        let id = |n| format!("{:016x}-7", scramble(n));
        assert!((0..20_000).all(|n| add(&mut ids, &id(n))));
        assert!((0..20_000).all(|n| !add(&mut ids, &id(n))));
        assert_eq!(ids.shapes.len(), MAX_SHAPES);
        assert!(add(&mut ids, &format!("{}1", "p".repeat(65))));
    }

    /// Ids of every shape, from a small world so that they repeat.
    fn some_id() -> impl Strategy<Value = String> {
        prop_oneof![
            (0_u32..3000).prop_map(|n| format!("TX{n:09}")),
            (0_u32..500).prop_map(|n| n.to_string()),
            (0_u64..500).prop_map(|n| format!("{:018}", scramble(n) % END_OF_NUMBERS)),
            (0_u64..500).prop_map(|n| format!("{:x}", scramble(n))),
            (0_u64..50).prop_map(|n| format!("{:x}", scramble(n)).repeat(200)),
            (0_u64..300).prop_map(|n| format!("{}", n << 16)),
            "[a-c]{0,2}-[0-1]{0,4}",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_set_on_a_tiny_budget_answers_like_a_hash_set(
            ids in prop::collection::vec(some_id(), 0..3000),
            budget in 0_usize..20_000,
        ) {
            let mut set = IdSet::with_budget(budget);
            let mut expected = HashSet::new();
            for id in &ids {
                prop_assert_eq!(add(&mut set, id), expected.insert(id.clone()), "{}", id);
            }
        }
    }
}
