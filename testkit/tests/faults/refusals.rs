//! A broker that does not let us in: every program says why, and ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use autoconnect_testkit::node::OwnNode;
use autoconnect_testkit::program;

use crate::case::Line;
use crate::stage::{Stage, at_most};

/// How long a program may take to give up.
const GIVES_UP: Duration = Duration::from_secs(60);

/// Starts every program of a cluster with the settings that `tell` gives it, and checks that each ends in time with a
/// sentence that holds `said`.
async fn all_refused(
    test: &str,
    line: Line,
    uri: &str,
    said: &'static str,
    tell: impl Fn(&mut Command),
) -> Result<()> {
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let mut refused = Vec::new();
    for name in ["producer", "worker", "reducer", "autoconnect"] {
        let mut command = stage.command_by(name, uri)?;
        command.env("AUTOCONNECT_LOG__FILTER", "off");
        // each has a folder of its own to run in
        let folder = stage.path(name);
        fs::create_dir(&folder)?;
        command.current_dir(folder);
        let mut code = 1;
        if name == "autoconnect" {
            let file = autoconnect_testkit::jobs::shipped();
            command.arg("run").arg(file).arg("--quiet");
            code = 2;
        }
        tell(&mut command);
        refused.push(std::thread::spawn(move || {
            let since = Instant::now();
            program::refuses(command, code, said).map(|()| since.elapsed())
        }));
    }
    let mut slowest = Duration::ZERO;
    for program in refused {
        let took = program.join().ok().context("a thread")??;
        slowest = slowest.max(took);
    }
    ensure!(slowest < at_most(GIVES_UP), "gave up after {slowest:?}");
    line.saw(4, "programs refused").print();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_a_wrong_password() -> Result<()> {
    let test = "row_22_a_wrong_password";
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let (user, at) = stage.uri().rsplit_once(':').context("a port")?;
    let (user, host) = user.rsplit_once('@').context("a host")?;
    let (user, _password) = user.rsplit_once(':').context("a password")?;
    let uri = format!("{user}:hush@{host}:{at}");
    let line = Line::of(22, "a wrong password", None);
    all_refused(test, line, &uri, "wrong user or password", |_| ()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_a_wrong_virtual_host() -> Result<()> {
    let test = "row_22_a_wrong_virtual_host";
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let uri = stage.uri().replace("%2f", "elsewhere");
    let line = Line::of(22, "a wrong virtual host", None);
    all_refused(test, line, &uri, "no such virtual host", |_| ()).await
}

/// Makes a certificate authority, and a certificate of its for this machine; the folder in `folder` that holds them.
fn certificates(folder: &Path) -> Result<PathBuf> {
    let setup = program::sibling(env!("CARGO_BIN_EXE_mined-worker"), "setup")?;
    let made = program::command(setup, Path::new("."))
        .arg("secrets")
        .arg(folder)
        .args(["--host", "localhost"])
        .status()?;
    ensure!(made.success(), "setup secrets: {made}");
    Ok(folder.join("broker"))
}

#[tokio::test(flavor = "multi_thread")]
async fn row_22_another_certificate_authority() -> Result<()> {
    let test = "row_22_another_certificate_authority";
    let folder = tempfile::tempdir()?;
    let ours = certificates(&folder.path().join("ours"))?;
    let another = certificates(&folder.path().join("another"))?;
    let Some(node) = OwnNode::of(test, Some(&ours))? else {
        return Ok(());
    };
    let (user, _) = node.uri().rsplit_once('@').context("a user")?;
    let user = user.replace("amqp://", "amqps://");
    let uri = format!("{user}@localhost:{}/%2f", node.tls_port()?);
    let line = Line::of(22, "a wrong certificate authority", None);
    let trust = |command: &mut Command| {
        command.env("AUTOCONNECT_BROKER__CA", another.join("ca.pem"));
    };
    all_refused(test, line, &uri, "no secure connection", trust).await
}
