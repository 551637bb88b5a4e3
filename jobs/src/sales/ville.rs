//! The key and the name of a city: cities that differ only by case, accents or surrounding blanks are one city.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use autoconnect_common::Digest;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;

/// Keys longer than this are cut and end with a digest, so that any key fits a routing key of 255 bytes.
const MAX_KEY: usize = 200;

/// The key of a city: the same for all spellings of a city, different for different cities, and safe as a word of a routing
/// key: `Saint-Étienne` and ` SAINT-ETIENNE` are `saint-etienne`.
///
/// Letters are in lower case and without accents; `a-z`, `0-9`, `-` and other letters and digits stand for themselves, a space
/// is `_`, every other byte is `~` and two hexadecimal digits. A key over 200 bytes is cut and ends with `~` and 16
/// hexadecimal digits of its SHA-256.
pub fn key(ville: &str) -> String {
    let mut key = String::with_capacity(ville.len());
    for character in folded(ville).trim().chars() {
        match character {
            ' ' => key.push('_'),
            '-' => key.push('-'),
            _ if character.is_alphanumeric() => key.push(character),
            _ => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // writing to a String cannot fail
                    let _ = write!(key, "~{byte:02x}");
                }
            }
        }
    }
    if key.is_empty() {
        // nothing but blanks or accents; `~` alone stands in no other key
        key.push('~');
    }
    if key.len() > MAX_KEY {
        let digest = Digest::of(key.as_bytes()).short(16);
        key.truncate(key.floor_char_boundary(MAX_KEY));
        let _ = write!(key, "~{digest}");
    }
    key
}

/// Text without accents, in lower case.
fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // marks that combine with a letter; those that are letters of their own, as in Hindi, have class 0
    let bare = |text: &str| -> String {
        text.nfd()
            .filter(|c| canonical_combining_class(*c) == 0)
            .collect()
    };
    let lower: String = bare(text)
        .chars()
        .flat_map(char::to_lowercase)
        // the two small sigmas have one capital
        .map(|c| if c == 'ς' { 'σ' } else { c })
        .collect();
    bare(&lower)
}

/// The name of each city by its [`key`]: its most frequent spelling, ties going to the first in byte order. A spelling may
/// come several times.
pub fn names<S: AsRef<str>>(
    spellings: impl IntoIterator<Item = (S, u64)>,
) -> BTreeMap<String, String> {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (spelling, count) in spellings {
        let spelling = spelling.as_ref();
        let cities = counts.entry(key(spelling)).or_default();
        let total = cities.entry(spelling.trim().to_owned()).or_default();
        *total = total.saturating_add(count);
    }
    counts
        .into_iter()
        .filter_map(|(key, spellings)| {
            let most = spellings
                .into_iter()
                .reduce(|most, next| if next.1 > most.1 { next } else { most })?;
            Some((key, most.0))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn case_accents_and_surrounding_blanks_do_not_make_another_city() {
        for spelling in [
            "Saint-Étienne",
            "saint-etienne",
            " SAINT-ÉTIENNE\u{a0}",
            "Saint-E\u{301}tienne",
            "\tSaint-Etienne",
        ] {
            assert_eq!(key(spelling), "saint-etienne", "{spelling:?}");
        }
        assert_eq!(key("ΠΥΡΓΟΣ"), key("Πύργος"));
        assert_eq!(key("İstanbul"), "istanbul");
    }

    #[test]
    fn different_cities_have_different_keys() {
        let cities = [
            "Le Mans", "Le_Mans", "Le-Mans", "LeMans", "a.b", "a*b", "a#b", "a/b", "a~b", "a~2eb",
            "a..b", "a  b", "a\nb", "中国", "京", "ß", "ss", "œ", "oe", "कि", "की", "'", "’",
        ];
        let mut seen = HashMap::new();
        for city in cities {
            assert_eq!(seen.insert(key(city), city), None, "{city:?}");
        }
    }

    #[test]
    fn keys_are_safe_in_routing_keys() {
        assert_eq!(key("a.*#/~_b c"), "a~2e~2a~23~2f~7e~5fb_c");
        assert_eq!(key("L'Haÿ-les-Roses"), "l~27hay-les-roses");
        assert_eq!(key("\u{301}"), "~");
        let long = key(&"é.".repeat(100));
        assert_eq!(long, key(&"E.".repeat(100)));
        assert_ne!(long, key(&format!("{}x", "e.".repeat(100))));
        assert!(long.len() > MAX_KEY && long.len() <= 217, "{long}");
    }

    #[test]
    fn the_most_frequent_spelling_names_the_city_ties_by_byte_order() {
        let found = names([
            ("LYON", 2),
            ("Lyon", 3),
            ("lyon", 4),
            (" Lyon", 2),
            ("Nîmes", 1),
            ("Nimes", 1),
        ]);
        let expected = [("lyon", "Lyon"), ("nimes", "Nimes")];
        assert_eq!(
            found,
            expected
                .map(|(key, name)| (key.to_owned(), name.to_owned()))
                .into()
        );
    }

    proptest! {
        #[test]
        fn any_key_is_short_safe_and_the_same_for_capitals(ville in "\\PC{0,120}") {
            let slug = key(&ville);
            prop_assert!(!slug.is_empty() && slug.len() <= 217);
            prop_assert!(slug.chars().all(|c| c.is_alphanumeric() || "-_~".contains(c)), "{}", slug);
            prop_assert_eq!(&slug, &key(&format!(" {ville}\t")));
        }

        #[test]
        fn latin_letters_fold(ville in "[A-Za-zÀ-ÖØ-öø-ÿ0-9 .'-]{1,40}") {
            prop_assert_eq!(key(&ville), key(&ville.to_lowercase()));
            prop_assert_eq!(key(&ville), key(&ville.nfd().collect::<String>()));
        }
    }
}
