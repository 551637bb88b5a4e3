//! A program of the cluster: started, killed, started again, with its log in a file; and what `/proc` says of any process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a program may take to stop.
const STOP: Duration = Duration::from_secs(40);
/// How long a program may take to say that it started.
const START: Duration = Duration::from_secs(30);

/// A program of the cluster, killed with this value.
pub(crate) struct Process {
    command: Command,
    log: PathBuf,
    child: Child,
    /// Where in the log its present life begins.
    born: usize,
    /// Whether it was killed, and not started again yet.
    down: bool,
}

impl Process {
    /// Starts `command`, whose standard error goes to the end of `log`, and waits until it says that it started.
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

    /// Its process id, in its present life; none while it is down.
    pub(crate) fn pid(&self) -> Option<u32> {
        (!self.down).then(|| self.child.id())
    }

    /// Kills it at once, by SIGKILL.
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

    /// Stops it by SIGTERM, and waits until it has exited, with exit code 0.
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

    /// How long its log is: what it says from now on begins there.
    pub(crate) fn log_length(&self) -> usize {
        fs::metadata(&self.log).map_or(0, |log| log.len() as usize)
    }

    /// Whether it takes from the broker, by a connection made since its log had `since` bytes, or in its present life.
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

/// Sends a signal, `TERM` or `KILL` or another.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &pid.to_string()])
        .status()?;
    ensure!(status.success(), "kill -{name} {pid}: {status}");
    Ok(())
}

/// Whether a process lives: neither gone nor waiting for a parent that does not look after it. Its threads hold its
/// sockets until the last one of them has ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    threads > 1 || status(pid, "State:").is_some_and(|state| !state.starts_with(['Z', 'X']))
}

/// What a process holds in memory now, in KiB.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    kib(pid, "VmRSS:")
}

/// The most it ever held, in KiB.
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
