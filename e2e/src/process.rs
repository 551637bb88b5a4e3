//! A program of the cluster, which is started, killed and restarted, with its log in a file; and the figures of `/proc` for any
//! process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a program may take to stop.
const STOP: Duration = Duration::from_secs(40);
/// How long a program may take to log that it started.
const START: Duration = Duration::from_secs(30);

/// A program of the cluster. Dropping this value kills it.
pub(crate) struct Process {
    command: Command,
    log: PathBuf,
    child: Child,
    /// The length of the log when the program was last started.
    born: usize,
    /// Whether it was killed and has not been restarted.
    down: bool,
}

impl Process {
    /// Starts `command`, appends its standard error to `log`, and waits until it logs that it started.
    pub(crate) fn start(command: Command, log: PathBuf) -> Result<Self> {
        let mut command = command;
        let (child, born) = spawn(&mut command, &log)?;
        let mut process = Self {
            command,
            log,
            child,
            born,
            down: false,
        };
        process.wait_until_started()?;
        Ok(process)
    }

    /// The id of its process; `None` while it is down.
    pub(crate) fn pid(&self) -> Option<u32> {
        (!self.down).then(|| self.child.id())
    }

    /// Kills it by SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.lives()?;
        self.down = true;
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after it was killed.
    pub(crate) fn again(&mut self) -> Result<()> {
        (self.child, self.born) = spawn(&mut self.command, &self.log)?;
        self.down = false;
        self.wait_until_started()
    }

    /// Stops it by SIGTERM, and waits until it has exited; the exit code must be 0.
    pub(crate) fn stop(&mut self) -> Result<()> {
        self.lives()?;
        signal(self.child.id(), "TERM")?;
        let since = Instant::now();
        while since.elapsed() < STOP {
            if let Some(status) = self.child.try_wait()? {
                ensure!(
                    status.success(),
                    "told to stop: {status}, {}",
                    self.last_words()
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!(
            "told to stop, it did not within {} s, {}",
            STOP.as_secs(),
            self.last_words()
        )
    }

    /// Checks that it did not end by itself.
    pub(crate) fn lives(&mut self) -> Result<()> {
        let ended = self.child.try_wait()?;
        ensure!(
            self.down || ended.is_none(),
            "it ended by itself, {}",
            self.last_words()
        );
        Ok(())
    }

    /// The length of its log, at which later messages begin.
    pub(crate) fn log_length(&self) -> usize {
        fs::metadata(&self.log).map_or(0, |log| log.len() as usize)
    }

    /// Whether it consumes over a connection that it made after its log had `since` bytes, or after its last start.
    pub(crate) fn is_connected_since(&self, since: usize) -> bool {
        let log = fs::read(&self.log).unwrap_or_default();
        let news = log.get(since.max(self.born)..).unwrap_or_default();
        String::from_utf8_lossy(news)
            .lines()
            .any(|line| line.contains("connected") && line.contains("purpose=\"consume\""))
    }

    fn wait_until_started(&mut self) -> Result<()> {
        let since = Instant::now();
        loop {
            let log = fs::read(&self.log).unwrap_or_default();
            let said = String::from_utf8_lossy(log.get(self.born..).unwrap_or_default());
            if said.contains(" started ") {
                return Ok(());
            }
            self.lives()?;
            ensure!(
                since.elapsed() < START,
                "it did not start, {}",
                self.last_words()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let last = log.lines().last().unwrap_or("nothing");
        format!("{} ends with: {last}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _nobody_is_told = self.child.wait();
    }
}

fn spawn(command: &mut Command, log: &Path) -> Result<(Child, usize)> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.with_context(|| format!("opening {}", log.display()))?;
    let born = file.metadata()?.len() as usize;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file);
    let child = command.spawn();
    Ok((
        child.with_context(|| format!("starting {command:?}"))?,
        born,
    ))
}

/// Sends a signal to a process, such as `TERM` or `KILL`.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()?;
    ensure!(status.success(), "kill -{name} {pid}: {status}");
    Ok(())
}

/// Whether a process is alive: it exists, and is not a zombie. A zombie whose threads have not all ended counts as alive, because
/// they keep its sockets open.
pub(crate) fn is_alive(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads > 1 || status(pid, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// The current resident memory of a process, in KiB.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    kib(pid, "VmRSS:")
}

/// The peak resident memory of a process, in KiB.
pub(crate) fn resident_peak(pid: u32) -> Option<u64> {
    kib(pid, "VmHWM:")
}

fn kib(pid: u32, key: &str) -> Option<u64> {
    status(pid, key)?.strip_suffix("kB")?.trim().parse().ok()
}

fn status(pid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().to_owned())
}
