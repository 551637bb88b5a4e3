//! A kind of its own on the command line: the program of `examples/wordcount.rs`, as a shell sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, ensure};
use autoconnect_testkit::program::{command, sibling};
use serde_json::Value;
use tempfile::TempDir;

const TEXT: &str = "La Clio de Lyon\net la Zoé de Paris\n\nla la Clio\n";

/// A folder with `text.txt`, in which the program runs.
fn folder() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("text.txt"), TEXT)?;
    Ok(folder)
}

fn ran(folder: &Path, arguments: &[&str]) -> Result<Output> {
    let program = sibling(env!("CARGO_BIN_EXE_autoconnect"), "examples/wordcount")?;
    Ok(command(program, folder).args(arguments).output()?)
}

/// What a run that did what it was asked printed.
fn done(folder: &Path, arguments: &[&str]) -> Result<String> {
    let ran = ran(folder, arguments)?;
    let err = String::from_utf8(ran.stderr)?;
    ensure!(
        ran.status.success() && err.is_empty(),
        "{arguments:?}: {err}"
    );
    Ok(String::from_utf8(ran.stdout)?)
}

/// It ended with exit code 2 and one sentence that has these words in it.
fn refused(folder: &Path, arguments: &[&str], says: &[&str]) -> Result<()> {
    let ran = ran(folder, arguments)?;
    let err = String::from_utf8(ran.stderr)?;
    ensure!(ran.status.code() == Some(2), "{arguments:?}: {err}");
    ensure!(err.lines().count() == 1, "{arguments:?}: {err}");
    for words in says {
        ensure!(err.contains(words), "{arguments:?}: {err}, not {words:?}");
    }
    Ok(())
}

#[test]
fn a_kind_of_its_own_is_run_by_its_own_command() -> Result<()> {
    let folder = folder()?;
    let arguments = ["words", "text.txt", "--out", "out", "--chunk-lines", "1"];
    let said = done(folder.path(), &arguments)?;
    ensure!(
        said.starts_with("4 lignes lues, 7 mots différents\n\n"),
        "{said}"
    );
    ensure!(
        said.contains("words.txt") && said.contains("Durée : "),
        "{said}"
    );

    let mut expected = BTreeMap::<String, u64>::new();
    for word in TEXT.split_whitespace() {
        *expected.entry(word.to_lowercase()).or_default() += 1;
    }
    let told = done(folder.path(), &[&arguments[..], &["--json"]].concat())?;
    let told: Value = serde_json::from_str(&told)?;
    let report = told["report"].as_str().context("a report")?;
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join(report))?)?;
    ensure!(
        report["words"] == serde_json::to_value(&expected)?,
        "{report}"
    );
    ensure!(
        told["status"] == "done" && told["rows"] == Value::Null,
        "{told}"
    );
    let quiet = done(folder.path(), &[&arguments[..], &["--quiet"]].concat())?;
    ensure!(quiet.is_empty(), "{quiet}");
    Ok(())
}

#[test]
fn a_file_with_the_name_of_a_command_is_a_file_to_run() -> Result<()> {
    let folder = folder()?;
    fs::write(folder.path().join("words"), TEXT)?;
    refused(
        folder.path(),
        &["run", "words"],
        &["words: line 1", "header"],
    )
}

#[test]
fn what_is_typed_for_a_kind_of_its_own_is_checked() -> Result<()> {
    let folder = folder()?;
    for (arguments, says) in [
        (&["words"][..], &["<FILE>"][..]),
        (&["words", "none.txt"], &["none.txt"]),
        (
            &["words", "text.txt", "--chunk-lines", "0"],
            &["'0'", "--chunk-lines"],
        ),
        (
            &["words", "text.txt", "--periode", "2024"],
            &["'--periode'"],
        ),
        (&["words", "text.txt", "--workers", "0"], &["--workers"]),
        (&["submit", "words", "-"], &["-: found standard input"]),
        (&["submit", "words", "text.txt"], &["no broker"]),
        (&["submit"], &["<FILE>"]),
    ] {
        refused(folder.path(), arguments, says)?;
    }
    Ok(())
}

#[test]
fn the_manual_names_the_command_of_every_kind() -> Result<()> {
    let folder = folder()?;
    for arguments in [&["--help"][..], &["submit", "--help"]] {
        let manual = done(folder.path(), arguments)?;
        ensure!(manual.contains("words"), "{manual}");
    }
    for arguments in [&["words", "--help"][..], &["submit", "words", "--help"]] {
        let manual = done(folder.path(), arguments)?;
        for words in [
            "--chunk-lines",
            "--broker",
            "Exit codes:",
            "AUTOCONNECT_BROKER__URI",
        ] {
            ensure!(manual.contains(words), "no {words:?} in\n{manual}");
        }
        ensure!(!manual.contains("--periode"), "{manual}");
    }
    Ok(())
}
