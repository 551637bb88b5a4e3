//! DuckDB computes every number of a report again: runs `tests/oracle`, which is in Python, where its packages are there.
//!
//! | variable | what it says |
//! |---|---|
//! | `AUTOCONNECT_TEST_BIN` | an optimised program: the whole oracle runs with it; unset, its quick part runs with the one that cargo built |
//! | `AUTOCONNECT_TEST_REQUIRE_ORACLE` | `1`: a test that finds no Python with the packages fails, where it would say so and pass |

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use autoconnect_testkit::missing::{not_run, not_run_unless};

/// What the oracle is made of, pinned.
const PACKAGES: &str = "tests/oracle/requirements.txt";
/// Rows of the largest file of the quick part: a program without optimisation reads each file in about a second.
const QUICK_ROWS: &str = "30000";

/// The Python that has the packages, where there is one; nothing is installed.
fn python(root: &Path) -> Option<PathBuf> {
    let mut find = Command::new(root.join("scripts/python-env"));
    find.args(["--present", PACKAGES]).current_dir(root);
    let found = find
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    let path = String::from_utf8(found.stdout).ok()?;
    Some(path.trim_end().into())
}

#[test]
fn duckdb_computes_every_number_of_a_report_again() -> Result<()> {
    let test = "duckdb_computes_every_number_of_a_report_again";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let Some(python) = python(&root) else {
        let why = format!(
            "needs the packages of {PACKAGES}: run scripts/python-env {PACKAGES} (make test does)"
        );
        not_run_unless("AUTOCONNECT_TEST_REQUIRE_ORACLE", test, &why);
        return Ok(());
    };
    let mut pytest = Command::new(python);
    pytest
        .args(["-m", "pytest", "-q", "-rs", "tests/oracle"])
        .current_dir(&root);
    if std::env::var_os("AUTOCONNECT_TEST_BIN").is_none() {
        pytest
            .env("AUTOCONNECT_TEST_BIN", env!("CARGO_BIN_EXE_autoconnect"))
            .env("AUTOCONNECT_TEST_MAX_ROWS", QUICK_ROWS);
    }
    let output = pytest.output().context("starting the oracle")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "the oracle: {}\n{said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    for skipped in said
        .lines()
        .filter_map(|line| line.strip_prefix("SKIPPED "))
    {
        not_run(test, skipped);
    }
    Ok(())
}
