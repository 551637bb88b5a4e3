//! What a test does where the machine lacks what it needs: it says by name that it did not run.

use std::io::Write as _;

/// Says that `test` does not run and why, on the standard error of the test program, past the harness that would swallow it.
pub fn not_run(test: &str, why: &str) {
    // a closed standard error cannot be reported
    let _told = writeln!(std::io::stderr(), "NOT RUN  {test}: {why}");
}

/// The same, unless the environment variable `required` demands that the test run.
///
/// # Panics
/// Where that variable is `1`.
pub fn not_run_unless(required: &str, test: &str, why: &str) {
    let demanded = std::env::var(required).is_ok_and(|value| value == "1");
    assert!(!demanded, "{test}: {why}");
    not_run(test, why);
}
