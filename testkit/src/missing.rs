//! Reports by name a test that does not run, because the machine lacks what it needs.

use std::io::Write as _;

/// Reports on standard error that `test` does not run, and why. It writes to the file descriptor, because the test harness
/// captures the output of macros such as `eprintln!`.
pub fn not_run(test: &str, why: &str) {
    // a closed standard error cannot be reported
    let _written = writeln!(std::io::stderr(), "NOT RUN  {test}: {why}");
}

/// As [`not_run`], unless the environment variable `required` says that the test must run.
///
/// # Panics
/// Where that variable is `1`.
pub fn not_run_unless(required: &str, test: &str, why: &str) {
    let demanded = std::env::var(required).is_ok_and(|value| value == "1");
    assert!(!demanded, "{test}: {why}");
    not_run(test, why);
}
