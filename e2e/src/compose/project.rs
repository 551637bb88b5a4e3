//! A cluster in containers: `docker-compose.yml` on a copy of what is committed, under a project name of its own, which
//! leaves nothing behind.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tokio::process::Command;

use super::engine::{command, docker, logs, run};
use crate::cluster::{folder, program_of};
use crate::work::Work;

/// The programs that the image holds.
const PROGRAMS: [&str; 6] = [
    "producer",
    "worker",
    "reducer",
    "api",
    "autoconnect",
    "setup",
];
/// How often something is looked at that is waited for.
const GLANCE: Duration = Duration::from_millis(250);
/// How long a cluster may take to be there.
const UP: Duration = Duration::from_secs(180);
/// How long a job may take, whatever is done to the cluster meanwhile.
const JOB: Duration = Duration::from_secs(400);

/// The cluster; it is taken down with this value.
pub(super) struct Project {
    folder: PathBuf,
    name: String,
    /// Its compose files, as the value of `COMPOSE_FILE`.
    files: &'static str,
}

/// A job's figures.
pub(super) struct Ended {
    pub(super) took: Duration,
    pub(super) at: Instant,
    pub(super) redeliveries: u64,
    pub(super) duplicates: u64,
}

impl Project {
    /// A copy of what is committed, with an image of the programs that were built here; nothing runs yet.
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
        // any port of this machine that is free
        project
            .script("scripts/dotenv", &["MANAGEMENT_PORT=0", "API_PORT=0"])
            .await?;
        project.build().await?;
        Ok(project)
    }

    /// The image of the Dockerfile, with the programs that were built beside this one.
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

    /// Starts it with so many workers, and waits until it has made the report of the shipped file.
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

    /// Another number of workers, from now on.
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

    /// The containers of a service that run, by number.
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

    /// The network of everybody.
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

    /// What the reducer has made durable of open jobs, as a value that changes with every step; empty where no reducer
    /// answers or no job is open.
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

    /// Waits until a job is under way: until two steps were made.
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

    /// Waits until a job goes on; how long that took.
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

    /// What `rabbitmqctl` says, on a broker that lives.
    pub(super) async fn ctl(&self, service: &str, arguments: &[&str]) -> Result<String> {
        let broker = self.container(service).await?;
        docker(&[&["exec", &broker, "rabbitmqctl", "--quiet"], arguments].concat()).await
    }

    /// How many consumers a queue has.
    pub(super) async fn consumers(&self, queue: &str) -> Result<usize> {
        let asked = ["list_consumers", "-p", "autoconnect", "queue_name"];
        let said = self.ctl("rabbitmq", &asked).await?;
        Ok(said.lines().filter(|line| line.trim() == queue).count())
    }

    /// How many messages each queue holds.
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

    /// Where a container's log ends now.
    pub(super) async fn log_length(&self, container: &str) -> Result<usize> {
        Ok(logs(container).await?.len())
    }

    /// Waits until a container says something, after so many bytes of its log; how long that took.
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
        // what is left where a step fails is not worth an error of its own
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
