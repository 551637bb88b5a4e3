//! One folding for everything that is a name: cities, models, column titles, filters.
//!
//! Two spellings are one name where they differ only by case, accents, ligatures, invisible characters, or by what
//! separates their words: `Saint-Étienne`, `SAINT ETIENNE` and `saint_étienne` (with any blank, hyphen, underscore or
//! apostrophe) fold to `saint-etienne`.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// The most names of a list of [`Spellings`]: a page of them is what a person reads.
const MOST_NAMES: usize = 50;
/// The most spellings of one listed name; 50 x 10 of 255 bytes stay far below what a message may hold.
const MOST_SPELLINGS: usize = 10;

/// A name as all its spellings have it: words in lower case, one hyphen between them; empty where nothing is visible.
///
/// NFKD takes accents and ligatures such as `ﬁ` apart and turns every blank into a plain one; the marks are dropped, and
/// case is compared by way of capitals, which also makes `ß` `ss` and the two small sigmas one.
pub fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    let mut parted = false;
    let capitals = name.nfkd().filter(|c| is_letter(*c));
    let small = capitals
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    // what the change of case composed, as in the small letter of `İ`, comes apart again
    for character in small.nfkd().filter(|c| is_letter(*c)) {
        if is_separator(character) {
            parted = true;
            continue;
        }
        if parted && !folded.is_empty() {
            folded.push('-');
        }
        parted = false;
        match character {
            // the capital ß, which is its own capital, has become a small one
            'ß' => folded.push_str("ss"),
            'œ' => folded.push_str("oe"),
            'æ' => folded.push_str("ae"),
            other => folded.push(other),
        }
    }
    folded
}

/// Whether a character of decomposed text says anything: accents and what no one can see do not.
fn is_letter(character: char) -> bool {
    !is_accent(character) && !is_invisible(character)
}

/// A mark that combines with the letter before it. Marks without a class are letters of their own (vowels of Hindi), and
/// classes 7 to 9 make other letters (the voiced ones of Japanese).
fn is_accent(character: char) -> bool {
    !matches!(canonical_combining_class(character), 0 | 7..=9)
}

/// A character that takes no room: Unicode's default ignorable ones, and control characters that are no blanks.
fn is_invisible(character: char) -> bool {
    (character.is_control() && !character.is_whitespace())
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Blanks, hyphens and dashes, underscores, apostrophes and what is typed for one.
fn is_separator(character: char) -> bool {
    character.is_whitespace()
        || matches!(character,
            '-' | '\u{2010}'..='\u{2015}' | '\u{2043}' | '\u{2212}' | '\u{2d7}' | '_' | '\u{203f}'
            | '\'' | '`' | '\u{2b9}'..='\u{2bd}' | '\u{2bf}' | '\u{2c8}' | '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2035}')
}

/// How often each spelling of one name occurs.
pub type Counts = BTreeMap<String, u64>;

/// The spelling that names them all: the most frequent; of equally frequent ones that which is not all capitals, then
/// the smallest.
pub fn naming<S: Borrow<str>>(spellings: impl IntoIterator<Item = (S, u64)>) -> Option<S> {
    let rank = |(spelling, count): &(S, u64)| {
        let spelling = spelling.borrow();
        (
            Reverse(*count),
            is_all_capitals(spelling),
            spelling.to_owned(),
        )
    };
    let best = spellings.into_iter().min_by_key(rank)?;
    Some(best.0)
}

fn is_all_capitals(spelling: &str) -> bool {
    spelling.chars().any(char::is_uppercase) && !spelling.chars().any(char::is_lowercase)
}

/// Names that occur in several spellings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spellings {
    /// By any key of the name, the most frequent spellings.
    pub listed: BTreeMap<String, Counts>,
    /// How many spellings are not listed.
    pub others: u64,
}

impl Spellings {
    /// Whether every name had one spelling.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Of these names the ones in several spellings: the 50 for which most rows were written otherwise than
    /// the name, each with its 10 most frequent spellings.
    pub fn of(names: impl IntoIterator<Item = (String, Counts)>) -> Self {
        let mut names: Vec<(String, Vec<(String, u64)>)> = names
            .into_iter()
            .filter(|(_, counts)| counts.len() > 1)
            .map(|(key, counts)| (key, by_frequency(counts)))
            .collect();
        names.sort_by_cached_key(|(key, counts)| (Reverse(written_otherwise(counts)), key.clone()));
        let all: usize = names.iter().map(|(_, counts)| counts.len()).sum();
        names.truncate(MOST_NAMES);
        let listed: BTreeMap<String, Counts> = names
            .into_iter()
            .map(|(key, counts)| (key, counts.into_iter().take(MOST_SPELLINGS).collect()))
            .collect();
        let shown: usize = listed.values().map(BTreeMap::len).sum();
        Self {
            listed,
            others: (all - shown) as u64,
        }
    }
}

/// The most frequent spelling first, ties by the spelling.
fn by_frequency(counts: Counts) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

/// Rows that were not written in the most frequent way.
fn written_otherwise(by_frequency: &[(String, u64)]) -> u64 {
    by_frequency
        .iter()
        .skip(1)
        .fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_accents_and_ligatures_do_not_make_another_name() {
        for (spelling, other) in [
            ("Saint-Étienne", "SAINT-ETIENNE"),
            ("Citroën C3", "Citroe\u{308}n C3"),
            ("Œuilly", "Oeuilly"),
            ("ŒUILLY", "œuilly"),
            ("Cæsar", "CAESAR"),
            ("Straße", "STRASSE"),
            ("Stra\u{1e9e}e", "strasse"),
            ("\u{fb01}at", "FIAT"),
            ("ΠΥΡΓΟΣ", "Πύργος"),
            ("İstanbul", "istanbul"),
            ("Ｌｙｏｎ", "Lyon"),
        ] {
            assert_eq!(fold(spelling), fold(other), "{spelling:?} and {other:?}");
        }
        assert_eq!(fold("Œuilly"), "oeuilly");
    }

    #[test]
    fn every_blank_hyphen_underscore_and_apostrophe_is_one_separator() {
        let spellings = [
            "Le\u{a0}Mans",
            "Le\u{202f}Mans",
            "Le  Mans",
            "Le\u{2011}Mans",
            "Le-Mans",
            "Le_Mans",
            "Le\tMans",
            "Le\u{2009}Mans",
            "Le \u{2013} Mans",
            "Le’Mans",
            "Le'Mans",
            "Le´Mans",
            "Le`Mans",
            "Le\u{2212}Mans",
            " Le Mans ",
            "Le\u{3000}Mans",
            "le_ MANS",
            "Le\u{ff3f}Mans",
            "Le\u{ff07}Mans",
        ];
        for spelling in spellings {
            assert_eq!(fold(spelling), "le-mans", "{spelling:?}");
        }
        assert_eq!(fold("L’Haÿ-les-Roses"), fold("L'HAY LES ROSES"));
        assert_eq!(fold("Renault_Clio"), fold("RENAULT  CLIO"));
    }

    #[test]
    fn what_no_one_can_see_does_not_make_another_name() {
        for invisible in [
            '\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{2060}', '\u{feff}',
            '\u{fe0f}', '\u{0}', '\u{7f}', '\u{202a}', '\u{34f}',
        ] {
            let spelling = format!("L{invisible}e Mans{invisible}");
            assert_eq!(fold(&spelling), "le-mans", "{invisible:?}");
        }
        assert_eq!(fold("\u{200b}"), "");
        assert_eq!(fold(" - "), "");
    }

    #[test]
    fn different_names_stay_different() {
        let names = [
            "Le Mans", "LeMans", "a.b", "a*b", "a/b", "a~b", "ab", "a b", "中国", "京", "कि", "की",
            "か", "が", "C3", "C 3", "C4+", "C4", "208", "2008", "Ø", "O",
        ];
        let mut seen = std::collections::HashMap::new();
        for name in names {
            assert_eq!(seen.insert(fold(name), name), None, "{name:?}");
        }
    }

    #[test]
    fn the_most_frequent_spelling_names_then_the_one_not_in_capitals_then_the_smallest() {
        let name = |spellings: &[(&'static str, u64)]| naming(spellings.iter().copied());
        assert_eq!(name(&[("LYON", 3), ("Lyon", 2)]), Some("LYON"));
        assert_eq!(name(&[("LYON", 2), ("Lyon", 2)]), Some("Lyon"));
        assert_eq!(name(&[("lyon", 2), ("Lyon", 2), ("LYON", 2)]), Some("Lyon"));
        assert_eq!(name(&[("A B", 1), ("A-B", 1)]), Some("A B"));
        assert_eq!(
            name(&[("Le\u{a0}Mans", 1), ("Le Mans", 1)]),
            Some("Le Mans")
        );
        assert_eq!(name(&[]), None);
    }

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|&(s, n)| (s.to_owned(), n)).collect()
    }

    #[test]
    fn only_names_in_several_spellings_are_listed() {
        let listed = Spellings::of([
            ("a".to_owned(), counts(&[("A", 9)])),
            ("b".to_owned(), counts(&[("B", 9), ("b", 1)])),
        ]);
        let expected = BTreeMap::from([("b".to_owned(), counts(&[("B", 9), ("b", 1)]))]);
        assert_eq!((listed.listed, listed.others), (expected, 0));
    }

    #[test]
    fn a_long_list_is_cut_where_least_was_written_otherwise_and_the_rest_is_counted() {
        let names = (1..=60_u64).map(|n| (format!("{n:02}"), counts(&[("X", 100), ("x", n)])));
        let cut = Spellings::of(names);
        assert_eq!((cut.listed.len(), cut.others), (50, 20));
        assert!(!cut.listed.contains_key("10") && cut.listed.contains_key("11"));
        let many = (0..15_u64).map(|n| (n.to_string(), n)).collect();
        let cut = Spellings::of([("k".to_owned(), many)]);
        assert_eq!((cut.listed["k"].len(), cut.others), (10, 5));
        assert!(cut.listed["k"].contains_key("14") && !cut.listed["k"].contains_key("4"));
    }

    proptest! {
        #[test]
        fn folding_twice_is_folding_once(name in "\\PC{0,60}") {
            let once = fold(&name);
            prop_assert_eq!(fold(&once), once.as_str());
            prop_assert!(!once.starts_with('-') && !once.ends_with('-') && !once.contains("--"), "{}", once);
        }

        #[test]
        fn latin_names_fold_whatever_their_case_and_form(name in "[A-Za-zÀ-ÖØ-öø-ÿŒœŸ0-9 .’'_-]{1,40}") {
            prop_assert_eq!(fold(&name), fold(&name.to_lowercase()));
            prop_assert_eq!(fold(&name), fold(&name.to_uppercase()));
            prop_assert_eq!(fold(&name), fold(&name.nfd().collect::<String>()));
            prop_assert_eq!(fold(&name), fold(&format!("\u{a0}{name}\u{ad} ")));
        }
    }
}
