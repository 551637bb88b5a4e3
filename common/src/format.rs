//! Names a [`Format`]: a kind of job and the version of what it puts into chunks and partials.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::JobKind;

/// A kind of job and the version of its formats, written `sales.v1`.
///
/// Each format has queues of its own: a program consumes the formats that it can read, and others wait for another
/// program.
///
/// ```
/// use autoconnect_common::Format;
///
/// let format = Format::new("wordcount", 2);
/// assert_eq!(format.key("text"), "wordcount.v2.text");
/// // a message says its format by its routing key: chunks of version 1 stay in the queue of version 1
/// assert_eq!(Format::of_key("wordcount.v2.text"), Some(format.clone()));
/// assert_ne!(Format::of_key("wordcount.v1.text"), Some(format));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// The name of the kind.
    pub kind: String,
    /// The version of its formats.
    pub schema: u32,
}

/// The longest name of a kind: with it, the name of a queue stays far below the 255 bytes that AMQP has for it.
const MAX_KIND: usize = 64;

impl Format {
    /// This version of this kind.
    pub fn new(kind: impl Into<String>, schema: u32) -> Self {
        let kind = kind.into();
        Self { kind, schema }
    }

    /// The version of a kind that this program has.
    pub fn of<K: JobKind>() -> Self {
        Self::new(K::NAME, K::SCHEMA)
    }

    /// The format that a routing key begins with, if it begins with one: `sales.v1.lyon` is of the format `sales.v1`.
    pub fn of_key(key: &str) -> Option<Self> {
        let mut words = key.split('.');
        let (kind, version) = (words.next()?, words.next()?);
        let schema = version.strip_prefix('v')?.parse().ok()?;
        let format = Self::new(kind, schema);
        // `v01` and `v+1` parse as 1, but are other words than `v1` to the broker
        (format.is_plain() && version == format!("v{schema}")).then_some(format)
    }

    /// Whether it can be a part of a routing key and of a queue's name: its kind is 1 to 64 characters of `a-z`, `0-9`
    /// and `-`.
    pub fn is_plain(&self) -> bool {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        (1..=MAX_KIND).contains(&self.kind.len()) && self.kind.bytes().all(allowed)
    }

    /// The routing key of a message of this format that ends in `last`.
    pub fn key(&self, last: impl fmt::Display) -> String {
        format!("{self}.{last}")
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.v{}", self.kind, self.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_key_begins_with_its_format() {
        let sales = Format::new("sales", 2);
        assert_eq!(sales.key("saint-etienne"), "sales.v2.saint-etienne");
        assert_eq!(
            Format::of_key("sales.v2.saint-etienne"),
            Some(sales.clone())
        );
        assert_eq!(Format::of_key("sales.v2"), Some(sales));
    }

    #[test]
    fn what_is_no_format_is_none() {
        let long = format!("{}.v1", "a".repeat(65));
        for key in [
            "",
            "sales",
            "sales.lyon",
            "sales.1",
            "sales.v",
            "sales.v01",
            "sales.v+1",
            "sales.v-1",
            "Sales.v1",
            ".v1",
            "sales.v4294967296",
            "sa*es.v1",
            "é.v1",
            &long,
        ] {
            assert_eq!(Format::of_key(key), None, "{key:?}");
        }
    }
}
