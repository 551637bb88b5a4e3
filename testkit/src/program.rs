//! Programs as a shell sees them: arguments, one sentence of error, exit codes, signals.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a program that was told to end may take, on a slow and busy machine.
const SOON: Duration = Duration::from_secs(30);

/// `program`, in `folder`, with none of the settings that surround the tests.
pub fn command(program: impl AsRef<OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AUTOCONNECT_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// A program that runs, and is killed with this value.
pub struct Running(Child);

impl Running {
    /// Starts `command` and waits until it logs `said`.
    ///
    /// # Errors
    /// Where it ends before that, with what it wrote.
    pub fn start(mut command: Command, said: &str) -> Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut running = Self(child.with_context(|| format!("starting {command:?}"))?);
        let stderr = running.0.stderr.take().context("its standard error")?;
        let mut lines = BufReader::new(stderr);
        let mut wrote = String::new();
        while !wrote.contains(said) {
            let read = lines.read_line(&mut wrote)?;
            ensure!(read > 0, "{command:?} never said {said:?}: {wrote}");
        }
        // it must never wait for a reader
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Ok(running)
    }

    /// Tells it to stop, by SIGTERM, and waits until it has.
    ///
    /// # Errors
    /// Where it does not stop soon.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        let pid = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status()?;
        ensure!(told.success(), "kill -TERM {pid}: {told}");
        let since = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                return Ok(status);
            }
            if since.elapsed() > SOON {
                bail!("it did not stop within {} s of SIGTERM", SOON.as_secs());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it at once, by SIGKILL.
    ///
    /// # Errors
    /// Where it had ended by itself.
    pub fn kill(&mut self) -> Result<()> {
        ensure!(self.0.try_wait()?.is_none(), "it had ended by itself");
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _nobody_is_told = self.0.wait();
    }
}

/// Checks that `command` ends with `code` and says one sentence that holds `said`.
///
/// # Errors
/// Where it does not.
pub fn refuses(mut command: Command, code: i32, said: &str) -> Result<()> {
    let output = command.output()?;
    let wrote = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(code),
        "{command:?}: {}: {wrote}",
        output.status
    );
    ensure!(
        wrote.starts_with("error: ") && wrote.trim_end().lines().count() == 1,
        "{command:?}: expected one sentence, found {wrote:?}"
    );
    ensure!(
        wrote.contains(said),
        "{command:?}: expected {said:?} in {wrote:?}"
    );
    Ok(())
}

/// What every program that plays a role does: its manual, its refusals, and that it stops when it is told to although
/// the broker is away. `name` is what it is called.
///
/// # Errors
/// Where it does not.
pub fn behaves_as_a_role(program: &str, name: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let command = || command(program, folder.path());
    for flag in ["--help", "--version"] {
        let output = command().arg(flag).output()?;
        let wrote = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && wrote.contains(name),
            "{flag}: {} {wrote}",
            output.status
        );
    }
    let mut asked = command();
    asked.arg("--worker");
    refuses(asked, 2, &format!("see {name} --help"))?;
    refuses(command(), 2, "no broker: set AUTOCONNECT_BROKER__URI")?;
    let mut odd = command();
    odd.env("AUTOCONNECT_WORKER__PREFECH", "1");
    refuses(odd, 2, "unknown key worker.prefech")?;
    let mut wrong = command();
    wrong.env("AUTOCONNECT_BROKER__URI", "http://user:hush@host");
    refuses(wrong, 2, "AUTOCONNECT_BROKER__URI")?;
    // nobody listens on the first port
    let mut away = command();
    away.env("AUTOCONNECT_BROKER__URI", "amqp://user:hush@127.0.0.1:1/v");
    let status = Running::start(away, &format!("{name} started"))?.stop()?;
    ensure!(
        status.code() == Some(0),
        "told to stop while the broker is away: {status}"
    );
    Ok(())
}
