//! What the simulator found, and was mended: histories about the same themes.

use autoconnect_sim::faults::Theme;
use autoconnect_sim::history;

/// Runs so many histories about `themes`.
fn hold(themes: &[Theme], seeds: u64) {
    for seed in 0..seeds {
        let outcome = history::run_about(seed, false, Some(themes));
        let broken = outcome.violations;
        assert!(broken.is_empty(), "{themes:?}, seed {seed}: {broken:?}");
    }
}

#[test]
fn a_reducer_takes_again_although_what_its_full_disk_refused_was_forgotten_meanwhile() {
    hold(&[Theme::FullDisk, Theme::Results, Theme::LateCopies], 60);
}

#[test]
fn a_disk_that_fails_is_not_taken_for_a_conclusion_that_kills() {
    hold(&[Theme::BadDisk], 120);
}

#[test]
fn late_word_of_an_earlier_life_neither_stops_a_job_that_is_asked_for_again_nor_begins_it_anew() {
    hold(&[Theme::Results, Theme::LateCopies], 200);
}
