//! Runs `docker`, `iptables` and other commands.

use std::path::Path;
use std::process::Output;

use anyhow::{Context, Result, ensure};
use tokio::process::Command;

/// Runs a command, and returns its output without white space around it.
pub(super) async fn run(command: &mut Command) -> Result<String> {
    let output = command.output().await;
    let output = output.with_context(|| format!("starting {:?}", command.as_std()))?;
    said(&format!("{:?}", command.as_std()), &output)
}

/// The output of a command; an error if the command failed.
fn said(command: &str, output: &Output) -> Result<String> {
    ensure!(
        output.status.success(),
        "{command}: {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `program` with `arguments`, in `folder`. Dropping its future kills it.
pub(super) fn command(
    program: impl AsRef<std::ffi::OsStr>,
    folder: &Path,
    arguments: &[&str],
) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true);
    command
}

/// `docker` with these arguments.
pub(super) async fn docker(arguments: &[&str]) -> Result<String> {
    run(&mut command("docker", Path::new("."), arguments)).await
}

/// The standard output and standard error of a container.
pub(super) async fn logs(container: &str) -> Result<String> {
    let mut command = command("docker", Path::new("."), &["logs", container]);
    let output = command.output().await?;
    Ok([output.stdout, output.stderr]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat())
}

/// Runs `iptables` with these arguments in the network namespace of a container.
pub(super) async fn iptables(container: &str, arguments: &[&str]) -> Result<()> {
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", container]).await?;
    let inside = [&["-t", &pid, "-n", "iptables"], arguments].concat();
    run(&mut command("nsenter", Path::new("."), &inside)).await?;
    Ok(())
}
