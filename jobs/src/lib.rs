//! The kinds of job, one folder each; in each: `cut`, `work`, `conclude`.
//!
//! # Layout
//!
//! * [`sales`]: commercial performance, from a file of transactions.
//! * [`settings`]: what a request says where nobody says otherwise.

pub mod sales;
pub mod settings;

// Tests share the made-up data of the examples, which name this crate from outside.
#[cfg(test)]
extern crate self as autoconnect_jobs;

use autoconnect_common::Registry;

/// Every kind this system knows.
pub fn registry() -> Registry {
    Registry::default().with::<sales::Sales>()
}
