//! The keys of figures by month.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A month as text, `2024-03`, or a calendar month, `03`: compared and looked up as that text.
///
/// It is held in place: a report on thousands of cities has a million of them, which as strings would be most of its
/// memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mois([u8; Mois::LONGEST]);

impl Mois {
    /// The most bytes of a key: those of `2024-03`.
    const LONGEST: usize = 7;

    /// The key of a month that is counted from January of year 0; `None` outside the years 0 to 9999.
    pub fn of(mois: i32) -> Option<Self> {
        let (annee, mois) = (mois.div_euclid(12), mois.rem_euclid(12) + 1);
        // a longer year, or a sign, is not in the order of its text
        if !(0..=9999).contains(&annee) {
            return None;
        }
        Self::new(&format!("{annee:04}-{mois:02}"))
    }

    /// The key of a calendar month, from 1.
    pub fn of_year(number: u8) -> Option<Self> {
        Self::new(&format!("{number:02}"))
    }

    fn new(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        // a NUL fills the room behind a shorter text, so that bytes are in the order of texts
        if bytes.len() > Self::LONGEST || bytes.contains(&0) {
            return None;
        }
        let mut key = [0; Self::LONGEST];
        key[..bytes.len()].copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&b| b == 0);
        let text = &self.0[..end.unwrap_or(Self::LONGEST)];
        // made of a text, so it is one
        std::str::from_utf8(text).unwrap_or_default()
    }
}

impl Deref for Mois {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Mois {
    fn borrow(&self) -> &str {
        self
    }
}

impl AsRef<str> for Mois {
    fn as_ref(&self) -> &str {
        self
    }
}

impl PartialEq<str> for Mois {
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl fmt::Display for Mois {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl fmt::Debug for Mois {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Text that is no key of a month.
#[derive(Debug, thiserror::Error)]
#[error("{0:?}: expected a month, as in 2024-03 or 03")]
pub struct InvalidMois(String);

impl std::str::FromStr for Mois {
    type Err = InvalidMois;

    fn from_str(text: &str) -> Result<Self, InvalidMois> {
        Self::new(text).ok_or_else(|| InvalidMois(text.chars().take(40).collect()))
    }
}

impl Serialize for Mois {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Mois {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_is_the_text_of_its_month() {
        for (mois, text) in [
            (12 * 2024 + 2, "2024-03"),
            (0, "0000-01"),
            (119_999, "9999-12"),
        ] {
            let key = Mois::of(mois).expect("a month of the years 0 to 9999");
            assert_eq!(key.as_str(), text);
            let json = serde_json::to_string(&key).expect("written");
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Mois>(&json).expect("read"), key);
        }
        assert_eq!(Mois::of_year(3).as_deref(), Some("03"));
        assert_eq!(Mois::of(120_000), None);
        assert_eq!(Mois::of(-1), None);
        for bad in [r#""2024-03-01""#, r#""\u0000""#, "12"] {
            assert!(serde_json::from_str::<Mois>(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_their_texts(a in "[0-9-]{0,7}", b in "[0-9-]{0,7}") {
            let (x, y): (Mois, Mois) = (a.parse().expect("short"), b.parse().expect("short"));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.as_str(), a);
        }
    }
}
