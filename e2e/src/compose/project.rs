//! A cluster in containers: `docker-compose.yml` on a copy of the repository, under a project name of its own. It leaves
//! nothing behind.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::engine::{command, docker, logs, run};
use crate::cluster::{folder, program_of};
use crate::work::Work;

/// The programs in the image.
const PROGRAMS: [&str; 6] = [
    "producer",
    "worker",
    "reducer",
    "api",
    "autoconnect",
    "setup",
];
/// How often a condition is checked that is waited for.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a cluster may take to start.
const UP: Duration = Duration::from_secs(180);
/// How long a job may take, with any fault meanwhile.
const JOB: Duration = Duration::from_secs(400);

/// The cluster. Dropping this value takes it down.
pub(super) struct Project {
    folder: PathBuf,
    name: String,
    /// The value of `COMPOSE_FILE`.
    files: &'static str,
}

/// The figures of a job.
pub(super) struct Ended {
    pub(super) took: Duration,
    pub(super) at: Instant,
    pub(super) redeliveries: u64,
    pub(super) duplicates: u64,
}

impl Project {
    /// Copies the repository, and makes an image of the programs that were built here. It starts no container.
    pub(super) async fn prepare(name: &str, files: &'static str) -> Result<Self> {
        let folder = folder()?.join("compose").join(name);
        let project = Self {
            folder,
            name: format!("autoconnect-{name}-{}", std::process::id()),
            files,
        };
        let _none_before = fs::remove_dir_all(&project.folder);
        fs::create_dir_all(&project.folder)?;
        let here = std::env::current_dir()?;
        let copy = "git ls-files -z | tar -c --null -T - | tar -x -C \"$0\"";
        let copy_to = project.folder.display().to_string();
        run(&mut command("sh", &here, &["-c", copy, &copy_to])).await?;
        let known = docker(&["image", "inspect", "rabbitmq:4-management"])
            .await
            .is_ok();
        if !known
            && docker(&["pull", "-q", "rabbitmq:4-management"])
                .await
                .is_err()
        {
            project
                .script("scripts/images-offline", &["--no-rust"])
                .await?;
        }
        // port 0: any free port of this machine
        project
            .script("scripts/dotenv", &["MANAGEMENT_PORT=0", "API_PORT=0"])
            .await?;
        project.build().await?;
        Ok(project)
    }

    /// Builds the image of the Dockerfile, with the programs that were built beside this one.
    async fn build(&self) -> Result<()> {
        let settings = fs::read_to_string(self.folder.join(".env")).unwrap_or_default();
        let runtime = settings
            .lines()
            .find(|line| line.starts_with("RUNTIME_IMAGE="));
        let mut arguments = vec![
            "build", "--quiet", "--target", "runtime", "--tag", &self.name,
        ];
        if let Some(runtime) = runtime {
            arguments.extend(["--build-arg", runtime]);
        }
        arguments.push(".");
        run(&mut command("docker", &self.folder, &arguments)).await?;
        let programs = self.folder.join("target/programs");
        fs::create_dir_all(&programs)?;
        for program in PROGRAMS {
            fs::copy(program_of(program)?, programs.join(program))?;
        }
        let recipe = format!(
            "FROM {}\nCOPY {} /usr/local/bin/\n",
            self.name,
            PROGRAMS.join(" ")
        );
        fs::write(programs.join("Dockerfile"), recipe)?;
        let arguments = ["build", "--quiet", "--tag", &self.name, "."];
        run(&mut command("docker", &programs, &arguments)).await?;
        Ok(())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command(self.folder.join(program), &self.folder, arguments);
        command
            .env("COMPOSE_PROJECT_NAME", &self.name)
            .env("COMPOSE_FILE", self.files)
            .env("PROGRAMS_IMAGE", &self.name)
            .env_remove("COMPOSE_PROFILES");
        command
    }

    async fn script(&self, program: &str, arguments: &[&str]) -> Result<String> {
        run(&mut self.command(program, arguments)).await
    }

    /// Runs a command of Compose.
    pub(super) async fn compose(&self, arguments: &[&str]) -> Result<String> {
        self.script("scripts/cluster", &[&["compose"], arguments].concat())
            .await
    }

    /// Starts the cluster with `workers` workers, and waits for the report on the shipped file.
    pub(super) async fn up(&self, workers: u32) -> Result<()> {
        self.compose(&["up", "--detach", "--scale", &format!("worker={workers}")])
            .await?;
        let since = Instant::now();
        while !self.results().join("report.json").exists() {
            ensure!(since.elapsed() < UP, "no report within {} s", UP.as_secs());
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Changes the number of workers.
    pub(super) async fn scale(&self, workers: u32) -> Result<()> {
        let scale = format!("worker={workers}");
        let arguments = [
            "up",
            "--detach",
            "--no-deps",
            "--no-recreate",
            "--scale",
            &scale,
            "worker",
        ];
        self.compose(&arguments).await.map(drop)
    }

    /// The running containers of a service, by number.
    pub(super) async fn containers(&self, service: &str) -> Result<Vec<String>> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let service = format!("label=com.docker.compose.service={service}");
        let format = "{{.Label \"com.docker.compose.container-number\"}} {{.ID}}";
        let said = docker(&[
            "ps", "--all", "--filter", &project, "--filter", &service, "--format", format,
        ])
        .await?;
        let mut found: Vec<(u32, String)> = said
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter_map(|(number, id)| Some((number.parse().ok()?, id.to_owned())))
            .collect();
        found.sort();
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    /// The first container of a service.
    pub(super) async fn container(&self, service: &str) -> Result<String> {
        let found = self.containers(service).await?;
        found
            .into_iter()
            .next()
            .with_context(|| format!("no container of {service}"))
    }

    /// The network of the cluster.
    pub(super) fn network(&self) -> String {
        format!("{}_cluster", self.name)
    }

    fn results(&self) -> PathBuf {
        self.folder.join("results")
    }

    /// Submits a job of `work` and waits for its end; its results must be those of the run in one process.
    pub(super) async fn job(&self, work: &Work) -> Result<Ended> {
        let name = work.share(&self.folder.join("data"))?;
        let since = Instant::now();
        let file = format!("/data/{name}");
        let mut arguments = vec![
            "compose",
            "run",
            "--rm",
            "-T",
            "client",
            "autoconnect",
            "submit",
            "--quiet",
        ];
        let flags = work.flags();
        arguments.extend(flags.iter().map(String::as_str));
        arguments.push(&file);
        let mut submit = self.command("scripts/cluster", &arguments);
        let Ok(submitted) = tokio::time::timeout(JOB, run(&mut submit)).await else {
            bail!("the job has not ended after {} s", JOB.as_secs());
        };
        submitted?;
        let at = Instant::now();
        let execution: Value =
            serde_json::from_slice(&fs::read(self.results().join("execution.json"))?)?;
        let job = execution["job"]
            .as_str()
            .context("execution.json names no job")?;
        let other = work.differences(&self.results().join("jobs").join(job))?;
        ensure!(
            execution["status"] == "done" && other.is_empty(),
            "{}: other bytes in {other:?}",
            execution["status"]
        );
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let workers = execution["workers"].as_object().into_iter().flatten();
        Ok(Ended {
            took: at - since,
            at,
            redeliveries: workers
                .map(|(_, worker)| number(&worker["redeliveries"]))
                .sum(),
            duplicates: number(&execution["duplicates_dropped"]),
        })
    }

    /// The names and sizes of the files of open jobs in the reducer's state: a value that changes with every durable step.
    /// Empty if no reducer answers or no job is open.
    pub(super) async fn step(&self) -> String {
        let Ok(reducers) = self.containers("reducer").await else {
            return String::new();
        };
        let list = "find /state/jobs -type f -printf '%p %s\\n' | sort";
        for reducer in reducers {
            if let Ok(said) = docker(&["exec", &reducer, "sh", "-c", list]).await {
                return said;
            }
        }
        String::new()
    }

    /// Waits until a job is in progress: until it has made two steps.
    pub(super) async fn under_way(&self) -> Result<()> {
        let since = Instant::now();
        let mut last = String::new();
        let mut steps = 0;
        while steps < 3 {
            ensure!(since.elapsed() < UP, "no job came under way");
            tokio::time::sleep(GLANCE).await;
            let now = self.step().await;
            if !now.is_empty() && now != last {
                steps += 1;
                last = now;
            }
        }
        Ok(())
    }

    /// Waits until a job makes a step, and returns how long that took.
    pub(super) async fn gap(&self) -> Result<Duration> {
        let since = Instant::now();
        let then = self.step().await;
        loop {
            tokio::time::sleep(GLANCE).await;
            let now = self.step().await;
            if !now.is_empty() && now != then {
                return Ok(since.elapsed());
            }
            ensure!(
                since.elapsed() < JOB,
                "no job went on within {} s",
                JOB.as_secs()
            );
        }
    }

    /// Runs `rabbitmqctl` on a broker, and returns its output.
    pub(super) async fn ctl(&self, service: &str, arguments: &[&str]) -> Result<String> {
        let broker = self.container(service).await?;
        docker(&[&["exec", &broker, "rabbitmqctl", "--quiet"], arguments].concat()).await
    }

    /// The number of consumers of a queue.
    pub(super) async fn consumers(&self, queue: &str) -> Result<usize> {
        let asked = ["list_consumers", "-p", "autoconnect", "queue_name"];
        let said = self.ctl("rabbitmq", &asked).await?;
        Ok(said.lines().filter(|line| line.trim() == queue).count())
    }

    /// The number of messages of each queue.
    pub(super) async fn queues(&self) -> Result<Vec<(String, u64)>> {
        let said = self
            .ctl(
                "rabbitmq",
                &["list_queues", "-p", "autoconnect", "name", "messages"],
            )
            .await?;
        let pairs = said.lines().filter_map(|line| line.split_once('\t'));
        Ok(pairs
            .filter_map(|(name, messages)| Some((name.to_owned(), messages.trim().parse().ok()?)))
            .collect())
    }

    /// The current length of a container's log.
    pub(super) async fn log_length(&self, container: &str) -> Result<usize> {
        Ok(logs(container).await?.len())
    }

    /// Waits until a container logs `what`, after the given length of its log; returns how long that took.
    pub(super) async fn says(
        &self,
        container: &str,
        after: usize,
        what: &str,
        within: Duration,
    ) -> Result<Duration> {
        let since = Instant::now();
        loop {
            if logs(container)
                .await?
                .get(after..)
                .is_some_and(|news| news.contains(what))
            {
                return Ok(since.elapsed());
            }
            ensure!(
                since.elapsed() < within,
                "{container} did not say {what:?} within {} s",
                within.as_secs()
            );
            tokio::time::sleep(GLANCE).await;
        }
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // a failed step leaves containers or volumes behind, but must not hide the error of the stage
        let label = format!("label=com.docker.compose.project={}", self.name);
        let end = "docker ps -q --filter \"$1\" --filter status=paused | xargs -r docker unpause; \
                   docker ps -aq --filter \"$1\" | xargs -r docker rm -fv; \
                   docker network ls -q --filter \"$1\" | xargs -r docker network rm; \
                   docker volume ls -q --filter \"$1\" | xargs -r docker volume rm; docker image rm -f \"$0\"";
        let mut command = std::process::Command::new("sh");
        command.args(["-c", end, &self.name, &label]);
        let _taken_down = command.output();
        let _removed = fs::remove_dir_all(&self.folder);
    }
}
