//! The kinds of job, one folder each; in each: `cut`, `work`, `conclude`.
//!
//! # Layout
//!
//! * [`sales`]: commercial performance, from a file of transactions.

pub mod sales;

// Tests share the made-up data of the examples, which name this crate from outside.
#[cfg(test)]
extern crate self as autoconnect_jobs;

use autoconnect_common::{JobKind as _, Registry};

/// The kind of a job for which no kind is named.
pub const DEFAULT: &str = sales::Sales::NAME;

/// Every kind this system knows.
pub fn registry() -> Registry {
    Registry::default().with::<sales::Sales>()
}
