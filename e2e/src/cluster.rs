//! A cluster of real programs over the private node: a producer, workers, a reducer, each a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use autoconnect_common::JobId;
use autoconnect_common::broker::Broker as _;
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_testkit::program;
use serde_json::Value;

use crate::node::Node;
use crate::process::{Process, resident};
use crate::work::Work;

/// How often a folder is checked for a change.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a job may take, with any fault meanwhile.
const JOB: Duration = Duration::from_secs(300);
/// How long a cluster may take to recover from a fault.
const RECOVER: Duration = Duration::from_secs(120);

/// How long the queues may take to be empty after the last job.
const DRAIN: Duration = Duration::from_secs(30);

/// The path of a program that was built beside this one.
pub(crate) fn program_of(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is missing: make build", path.display());
    Ok(path)
}

/// The folder of all files of these runs.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(std::env::current_dir()?.join("target/e2e"))
}

/// The cluster. Dropping this value kills its programs.
pub(crate) struct Cluster {
    pub(crate) node: Node,
    folder: PathBuf,
    programs: Vec<(String, Mutex<Process>)>,
    client: RabbitMq,
}

/// How a job ended.
pub(crate) struct End {
    /// The folder of the job's results.
    pub(crate) results: PathBuf,
    /// `execution.json`.
    pub(crate) execution: Value,
    /// When the end was noticed.
    pub(crate) at: Instant,
}

/// A job that was requested.
pub(crate) struct Asked {
    pub(crate) job: JobId,
    pub(crate) at: Instant,
}

impl Cluster {
    /// Starts a producer, a reducer, `workers` workers and a broker of their own in a new folder `target/e2e/<name>`.
    pub(crate) async fn start(name: &str, workers: u32) -> Result<Self> {
        let folder = folder()?.join(name);
        let _none_before = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        let node = Node::start(folder.join("node")).await?;
        let client = RabbitMq::connect(Options {
            uris: vec![node.uri.clone()],
            ca: None,
            name: "e2e".to_owned(),
            declare: true,
            formats: autoconnect_jobs::registry().formats(),
            passing: false,
            prefix: String::new(),
            ..Options::default()
        })?;
        let mut cluster = Self {
            node,
            folder,
            programs: Vec::new(),
            client,
        };
        cluster.add("producer", "producer")?;
        cluster.add("reducer", "reducer")?;
        for number in 1..=workers {
            cluster.add("worker", &format!("worker-{number}"))?;
        }
        Ok(cluster)
    }

    fn add(&mut self, role: &str, name: &str) -> Result<()> {
        let mut command = program::command(program_of(role)?, &self.folder);
        command
            .env("AUTOCONNECT_BROKER__URI", &self.node.uri)
            .env("AUTOCONNECT_PRODUCER__DATA", "/")
            // the allocator settings of docker-compose.yml
            .env("MALLOC_ARENA_MAX", "2")
            .env("MALLOC_MMAP_THRESHOLD_", "65536")
            .env("MALLOC_TRIM_THRESHOLD_", "131072")
            .env("NO_COLOR", "1");
        if role == "worker" {
            command.env("AUTOCONNECT_WORKER__NAME", name);
        }
        let process = Process::start(command, self.folder.join(format!("{name}.log")));
        let process = process.with_context(|| name.to_owned())?;
        self.programs.push((name.to_owned(), Mutex::new(process)));
        Ok(())
    }

    /// The names of its programs.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(|(name, _)| name.as_str())
    }

    /// One of its programs.
    pub(crate) fn program(&self, name: &str) -> Result<MutexGuard<'_, Process>> {
        let found = self.programs.iter().find(|(known, _)| known == name);
        let (_, process) = found.with_context(|| format!("no program {name}"))?;
        Ok(process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The current memory of a program, or of the `broker`, in KiB; `None` while it is down.
    pub(crate) fn resident(&self, name: &str) -> Option<u64> {
        match name {
            "broker" => resident(self.node.pid().ok()?),
            name => resident(self.program(name).ok()?.pid()?),
        }
    }

    /// Requests a job of `work`, made unique by `run`; returns once the request is confirmed.
    pub(crate) async fn ask(&self, work: &Work, run: &str) -> Result<Asked> {
        let request = work.request(run)?;
        let at = Instant::now();
        self.client.publish(request.to_message()?).await?;
        Ok(Asked {
            job: request.job,
            at,
        })
    }

    /// Waits for the end of a job: its report, which is written last, or a status without one.
    pub(crate) async fn end_of(&self, job: &JobId) -> Result<End> {
        let results = self.folder.join("results/jobs").join(job.as_str());
        let living = async {
            loop {
                for name in self.names() {
                    if let Ok(mut process) = self.program(name) {
                        process.lives().with_context(|| name.to_owned())?;
                    }
                }
                tokio::time::sleep(GLANCE).await;
            }
        };
        tokio::select! {
            end = ended(&results) => end.with_context(|| format!("the logs are in {}", self.folder.display())),
            died = living => died,
        }
    }

    /// The names and sizes of the files in the reducer's state folder: a value that changes with every durable step of a job.
    pub(crate) fn step(&self) -> Vec<(PathBuf, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.join("state")];
        while let Some(folder) = folders.pop() {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            for entry in entries {
                match entry.metadata() {
                    Ok(file) if file.is_dir() => folders.push(entry.path()),
                    Ok(file) => found.push((entry.path(), file.len())),
                    Err(_) => {}
                }
            }
        }
        found.sort();
        found
    }

    /// The length of each program's log.
    pub(crate) fn log_lengths(&self) -> Result<Vec<(String, usize)>> {
        self.names()
            .map(|name| Ok((name.to_owned(), self.program(name)?.log_length())))
            .collect()
    }

    /// Waits until each of these programs consumes again, over a connection made since its log had the given length, and until
    /// a job has then made a step. Returns how long that took.
    pub(crate) async fn recovered(&self, waiting_for: &[(String, usize)]) -> Result<Duration> {
        let since = Instant::now();
        for (name, log) in waiting_for {
            while !self.program(name)?.is_connected_since(*log) {
                ensure!(
                    since.elapsed() < RECOVER,
                    "{name} did not connect again within {} s",
                    RECOVER.as_secs()
                );
                tokio::time::sleep(GLANCE).await;
            }
        }
        let then = self.step();
        while self.step() == then {
            ensure!(
                since.elapsed() < RECOVER,
                "no job went on within {} s",
                RECOVER.as_secs()
            );
            tokio::time::sleep(GLANCE).await;
        }
        Ok(since.elapsed())
    }

    /// Waits until all queues are empty; returns the queues that are not in time.
    pub(crate) async fn leftovers(&self) -> Result<Vec<String>> {
        let since = Instant::now();
        loop {
            let queues = self.node.queues().await?;
            let full = queues.iter().filter(|(_, messages, _)| *messages > 0);
            let left: Vec<String> = full
                .map(|(name, messages, _)| format!("{messages} messages in {name}"))
                .collect();
            if left.is_empty() || since.elapsed() > DRAIN {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Stops every program, and removes the files that they wrote.
    pub(crate) async fn stop(self) -> Result<()> {
        for (name, process) in &self.programs {
            let mut process = process.lock().unwrap_or_else(PoisonError::into_inner);
            process.stop().with_context(|| name.clone())?;
        }
        self.client.close().await;
        drop(self.node);
        fs::remove_dir_all(&self.folder).context("removing what the cluster wrote")
    }
}

/// Waits for the end of the job with this folder of results.
pub(crate) async fn ended(results: &Path) -> Result<End> {
    let since = Instant::now();
    loop {
        if let Some(execution) = execution(results) {
            return Ok(End {
                results: results.to_owned(),
                execution,
                at: Instant::now(),
            });
        }
        ensure!(
            since.elapsed() < JOB,
            "{} is not there after {} s",
            results.display(),
            JOB.as_secs()
        );
        tokio::time::sleep(GLANCE).await;
    }
}

/// `execution.json` of a job that has ended and whose files are all written.
fn execution(results: &Path) -> Option<Value> {
    let bytes = fs::read(results.join("execution.json")).ok()?;
    let execution: Value = serde_json::from_slice(&bytes).ok()?;
    let failed = execution["status"] == "failed";
    (failed || results.join("report.json").exists()).then_some(execution)
}
