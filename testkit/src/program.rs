//! Runs programs as a shell does: arguments, one sentence on standard error, exit codes, signals.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a program may take to stop, on a slow and busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The command `program` in `folder`, without the settings in the environment of the tests.
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

/// The path of a program of the workspace, in the folder of the program `beside`.
///
/// # Errors
/// If it was not built.
pub fn sibling(beside: &str, name: &str) -> Result<PathBuf> {
    let program = Path::new(beside).with_file_name(name);
    ensure!(
        program.exists(),
        "{} is missing: build it with `cargo build --workspace`",
        program.display()
    );
    Ok(program)
}

/// A running program, which is killed when this value is dropped.
pub struct Running {
    child: Child,
    /// Its standard error so far.
    wrote: Arc<Mutex<String>>,
}

impl Running {
    /// Starts `command` and waits until it logs `said`.
    ///
    /// # Errors
    /// If it ends before that, with its standard error.
    pub fn start(mut command: Command, said: &str) -> Result<Self> {
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("starting {command:?}"))?;
        let stderr = child.stderr.take().context("its standard error")?;
        let wrote = Arc::<Mutex<String>>::default();
        let log = Arc::clone(&wrote);
        // read all of it in a thread: with a full pipe the program would block
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        });
        let mut running = Self { child, wrote };
        running.logs(said).with_context(|| format!("{command:?}"))?;
        Ok(running)
    }

    /// Its standard error so far.
    pub fn wrote(&self) -> String {
        let wrote = self.wrote.lock();
        wrote.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has logged `said`.
    ///
    /// # Errors
    /// If it does not in time, or ends before that, with its standard error.
    pub fn logs(&mut self, said: &str) -> Result<()> {
        let since = Instant::now();
        loop {
            let ended = !self.runs()?;
            let wrote = self.wrote();
            if wrote.contains(said) {
                return Ok(());
            }
            if ended || since.elapsed() > SOON {
                bail!("it never said {said:?}: {wrote}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// The error of the system.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Sends it SIGTERM, and waits until it has exited.
    ///
    /// # Errors
    /// If it does not exit in time.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        signal(self.pid(), "TERM")?;
        self.gone().context("after SIGTERM")
    }

    /// Waits until it has exited by itself.
    ///
    /// # Errors
    /// If it does not exit in time.
    pub fn gone(&mut self) -> Result<ExitStatus> {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if since.elapsed() > SOON {
                bail!(
                    "it did not end within {} s: {}",
                    SOON.as_secs(),
                    self.wrote()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it by SIGKILL.
    ///
    /// # Errors
    /// If it has already exited.
    pub fn kill(&mut self) -> Result<()> {
        ensure!(self.child.try_wait()?.is_none(), "it had ended by itself");
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _nobody_is_told = self.child.wait();
    }
}

/// Sends a signal to a process.
///
/// # Errors
/// Where there is none.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let (flag, pid) = (format!("-{name}"), pid.to_string());
    let status = Command::new("kill").args([&flag, &pid]).status()?;
    ensure!(status.success(), "kill {flag} {pid}: {status}");
    Ok(())
}

/// Checks that `command` exits with `code` and prints one sentence that contains `said`.
///
/// # Errors
/// If it does not.
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

/// Checks the common behaviour of the programs of roles: each prints its help, refuses wrong settings, and stops on a signal
/// although the broker is down. `name` is the program's name.
///
/// # Errors
/// If one of these does not hold.
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
    // no program listens on port 1
    let mut away = command();
    away.env("AUTOCONNECT_BROKER__URI", "amqp://user:hush@127.0.0.1:1/v");
    let status = Running::start(away, &format!("{name} started"))?.stop()?;
    ensure!(
        status.code() == Some(0),
        "SIGTERM while the broker is away: {status}"
    );
    Ok(())
}
