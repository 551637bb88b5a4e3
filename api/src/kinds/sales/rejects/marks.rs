//! The offsets of the entries of a list in a file, in bounded memory.

/// The most offsets that are kept of a list: 128 KiB of them. The number is even, because every other one is dropped when it
/// is reached.
pub(super) const MARKS: usize = 1 << 14;

/// The offsets of every `stride`-th entry of a list in a file; `stride` doubles as the list grows.
#[derive(Debug)]
pub(super) struct Marks {
    pub(super) stride: u64,
    pub(super) places: Vec<u64>,
    /// The number of entries.
    pub(super) count: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            stride: 1,
            places: Vec::new(),
            count: 0,
        }
    }
}

impl Marks {
    /// Adds the next entry.
    pub(super) fn push(&mut self, at: u64) {
        if self.places.len() == MARKS && self.count.is_multiple_of(self.stride) {
            let mut keep = false;
            self.places.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
        if self.count.is_multiple_of(self.stride) {
            self.places.push(at);
        }
        self.count += 1;
    }

    /// The last entry up to this one whose offset is kept.
    pub(super) fn before(&self, number: u64) -> u64 {
        number - number % self.stride
    }

    /// The offset of an entry, if it is kept.
    pub(super) fn at(&self, number: u64) -> Option<u64> {
        let index = usize::try_from(number / self.stride).ok()?;
        self.places
            .get(index)
            .filter(|_| number.is_multiple_of(self.stride))
            .copied()
    }
}
