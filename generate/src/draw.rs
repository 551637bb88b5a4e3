//! Weighted random choices in integers, so that a seed gives the same file on every machine.

use rand_pcg::Pcg64Mcg;

/// The random stream `number` of a seed. Streams of different numbers are independent.
pub(super) fn stream(seed: u64, number: u64) -> Pcg64Mcg {
    let state = u128::from(hash(&[seed, number])) << 64 | u128::from(hash(&[number, seed, 1]));
    Pcg64Mcg::new(state)
}

/// Hashes these words with one round of splitmix64 for each.
pub(super) fn hash(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |state, word| {
        let mut z = state ^ word.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Scales 32 random bits to `0..n`.
pub(super) fn below(bits: u32, n: u32) -> u32 {
    ((u64::from(bits) * u64::from(n)) >> 32) as u32
}

/// Draws an index with a probability in proportion to its weight, in constant time (Walker's alias method, Vose's
/// construction).
#[derive(Debug)]
pub(super) struct Alias {
    /// For each cell a threshold and another index: below the threshold the cell's own index is drawn, else the other one.
    cells: Vec<(u32, u32)>,
}

impl Alias {
    /// `weights` must have at least one that is not zero. Each must be below 2^40, and there must be fewer than 2^24, so that
    /// products with their number fit 64 bits.
    pub(super) fn new(weights: &[u64]) -> Self {
        let n = weights.len() as u64;
        let total: u64 = weights.iter().sum::<u64>().max(1);
        let mut left: Vec<u64> = weights.iter().map(|weight| weight * n).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&i| left[i] < total);
        let mut cells: Vec<(u32, u32)> = (0..weights.len() as u32).map(|i| (0, i)).collect();
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            let threshold = (u128::from(left[poor]) << 32) / u128::from(total);
            cells[poor] = (threshold as u32, rich as u32);
            left[rich] -= total - left[poor];
            if left[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        Self { cells }
    }

    /// Draws an index: the upper half of `bits` chooses a cell, the lower half one of its two indices.
    pub(super) fn pick(&self, bits: u64) -> u32 {
        let cell = below((bits >> 32) as u32, self.cells.len() as u32);
        let (threshold, other) = self.cells[cell as usize];
        if (bits as u32) < threshold {
            cell
        } else {
            other
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_pcg::rand_core::Rng as _;

    use super::*;

    #[test]
    fn indices_are_drawn_as_often_as_their_weights_say() {
        let weights = [1, 0, 5, 2, 2];
        let alias = Alias::new(&weights);
        let mut rng = stream(7, 1);
        let mut drawn = [0_i64; 5];
        for _ in 0..100_000 {
            drawn[alias.pick(rng.next_u64()) as usize] += 1;
        }
        for (index, weight) in weights.iter().enumerate() {
            assert!(
                (drawn[index] - *weight as i64 * 10_000).abs() < 500,
                "{drawn:?}"
            );
        }
        assert_eq!(drawn[1], 0);
    }

    #[test]
    fn a_single_index_is_always_drawn() {
        assert_eq!(Alias::new(&[3]).pick(u64::MAX), 0);
    }
}
