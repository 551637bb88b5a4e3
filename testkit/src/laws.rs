//! Checks the laws of [`Merge`] with `==`: identity, associativity, commutativity; and that encoding loses nothing.
//!
//! [`hold`] checks three given partials; [`hold_for`] draws them from a strategy.

use std::fmt::Debug;

use anyhow::{Context, Result, anyhow, ensure};
use autoconnect_common::Merge;
use autoconnect_common::kind::Overflow;
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type that the laws apply to: a [`autoconnect_common::JobKind::Partial`] that can be compared.
pub trait Lawful:
    Merge + Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned
{
}

impl<T: Merge + Default + Clone + PartialEq + Debug + Serialize + DeserializeOwned> Lawful for T {}

/// The merge of both; an overflow is a result that the laws compare, too.
fn merged<T: Lawful>(a: &T, b: &T) -> Result<T, Overflow> {
    let mut merged = a.clone();
    merged.merge(b.clone())?;
    Ok(merged)
}

/// Checks every law for these three.
///
/// # Errors
/// The first law that does not hold, with what was found.
pub fn hold<T: Lawful>(a: &T, b: &T, c: &T) -> Result<()> {
    for one in [a, b, c] {
        let none = T::default();
        same(
            "identity on the right",
            &merged(one, &none),
            &Ok(one.clone()),
        )?;
        same(
            "identity on the left",
            &merged(&none, one),
            &Ok(one.clone()),
        )?;
        let json = serde_json::to_vec(one)?;
        let read: T = serde_json::from_slice(&json).context("what was encoded, decoded")?;
        same("encode, then decode", &read, one)?;
        ensure!(
            serde_json::to_vec(&read)? == json,
            "encoded again: other bytes of {one:?}"
        );
    }
    for (one, other) in [(a, b), (b, c), (a, c)] {
        same("commutativity", &merged(one, other), &merged(other, one))?;
    }
    let left = merged(a, b).and_then(|ab| merged(&ab, c));
    let right = merged(b, c).and_then(|bc| merged(a, &bc));
    same("associativity", &left, &right)
}

fn same<T: PartialEq + Debug>(law: &str, found: &T, expected: &T) -> Result<()> {
    ensure!(
        found == expected,
        "{law}: found {found:?}, expected {expected:?}"
    );
    Ok(())
}

/// Checks every law for partials drawn from `strategy`, and shows the smallest that break one.
///
/// # Errors
/// As [`hold`].
pub fn hold_for<T: Lawful>(strategy: impl Strategy<Value = T>) -> Result<()> {
    let mut runner = TestRunner::new(Config {
        cases: 128,
        failure_persistence: None,
        ..Config::default()
    });
    let three = proptest::collection::vec(strategy, 3);
    let held = runner.run(&three, |partials| {
        hold(&partials[0], &partials[1], &partials[2])
            .map_err(|broken| TestCaseError::fail(broken.to_string()))
    });
    held.map_err(|broken| anyhow!("{broken}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partial whose `merge` is not commutative: the later value wins.
    #[derive(Debug, Default, Clone, PartialEq, Serialize, serde::Deserialize)]
    struct Last(Option<u8>);

    impl Merge for Last {
        fn merge(&mut self, other: Self) -> Result<(), Overflow> {
            self.0 = other.0.or(self.0);
            Ok(())
        }
    }

    #[test]
    fn a_broken_law_is_found_and_named() {
        let drawn = proptest::option::of(proptest::num::u8::ANY).prop_map(Last);
        let broken = hold_for(drawn).expect_err("broken").to_string();
        assert!(broken.contains("commutativity"), "{broken}");
    }
}
