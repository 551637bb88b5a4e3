//! The key of a city: its folded name, made safe for a routing key.

use std::fmt::Write as _;

use autoconnect_common::Digest;

use autoconnect_tables::fold::fold;

/// Keys longer than this are cut and end with a digest, so that any key fits a routing key of 255 bytes.
const MAX_KEY: usize = 200;

/// The key of a city: the same for all spellings that [`fold`] to one name, different for different names, and safe as a
/// word of a routing key: `Saint-Étienne` and ` SAINT ETIENNE` are `saint-etienne`.
///
/// Letters and digits of the folded name and the hyphens between its words stand for themselves, every other byte is `~`
/// and two hexadecimal digits. A key over 200 bytes is cut and ends with `~` and 16 hexadecimal digits of its SHA-256.
pub fn key(ville: &str) -> String {
    let mut key = String::with_capacity(ville.len());
    for character in fold(ville).chars() {
        match character {
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
        // nothing that is seen; `~` alone stands in no other key
        key.push('~');
    }
    if key.len() > MAX_KEY {
        let digest = Digest::of(key.as_bytes()).short(16);
        key.truncate(key.floor_char_boundary(MAX_KEY));
        let _ = write!(key, "~{digest}");
    }
    key
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_name_have_one_key() {
        for spelling in [
            "Saint-Étienne",
            "SAINT ETIENNE",
            " saint_E\u{301}tienne\u{a0}",
            "Saint\u{2011}\u{ad}Étienne",
        ] {
            assert_eq!(key(spelling), "saint-etienne", "{spelling:?}");
        }
    }

    #[test]
    fn different_cities_have_different_keys() {
        let cities = [
            "Le Mans", "LeMans", "a.b", "a*b", "a#b", "a/b", "a~b", "a~2eb", "a..b", "a b", "中国",
            "京", "ss", "oe", "कि", "की", "\"", "",
        ];
        let mut seen = HashMap::new();
        for city in cities {
            assert_eq!(seen.insert(key(city), city), None, "{city:?}");
        }
    }

    #[test]
    fn keys_are_safe_in_routing_keys() {
        assert_eq!(key("a.*#/~_b c"), "a~2e~2a~23~2f~7e-b-c");
        assert_eq!(key("L'Haÿ-les-Roses"), "l-hay-les-roses");
        assert_eq!(key("\u{301}"), "~");
        let long = key(&"é.".repeat(100));
        assert_eq!(long, key(&"E.".repeat(100)));
        assert_ne!(long, key(&format!("{}x", "e.".repeat(100))));
        assert!(long.len() > MAX_KEY && long.len() <= 217, "{long}");
    }

    proptest! {
        #[test]
        fn any_key_is_short_safe_and_the_same_for_capitals(ville in "\\PC{0,120}") {
            let slug = key(&ville);
            prop_assert!(!slug.is_empty() && slug.len() <= 217);
            prop_assert!(slug.chars().all(|c| c.is_alphanumeric() || "-~".contains(c)), "{}", slug);
            prop_assert_eq!(&slug, &key(&format!(" {ville}\t")));
        }
    }
}
