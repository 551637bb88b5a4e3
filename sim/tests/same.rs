//! The same seed gives the same history, to the last line of its trace.

use autoconnect_sim::history;

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..12 {
        let (one, other) = (history::run(seed, true), history::run(seed, true));
        let differs = one.lines.iter().zip(&other.lines).find(|(a, b)| a != b);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one.hash, other.hash, "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    assert_ne!(history::run(1, false).hash, history::run(2, false).hash);
}
