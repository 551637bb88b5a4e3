//! Tells the simulator the commit that it is built of, which it prints where a promise is broken.

use std::process::Command;

/// What the simulator is built of: a change in any of it makes cargo run this again.
const SOURCES: [&str; 5] = ["../common", "../producer", "../worker", "../reducer", "."];

fn main() {
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
    }
    // a commit changes no source; this file is written at each
    if let Some(log) = git(&["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // a source that was unpacked from an archive has no commit
    let commit = git(&["describe", "--always", "--dirty", "--exclude=*"]);
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=SIM_COMMIT={commit}");
}

/// What git says, where it is there and knows.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_owned())
}
