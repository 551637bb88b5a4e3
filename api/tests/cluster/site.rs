//! An API over a whole cluster in this process, and a client that sends exactly the given bytes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use autoconnect_api::kinds::{self, Kinds};
use autoconnect_api::link::Link;
use autoconnect_api::{Config, bind, serve};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::program::Failure;
use autoconnect_common::{Shutdown, settings};
use autoconnect_jobs::sales::settings::{Limit, Sales};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_worker as worker;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long anything may take before a test gives it up, on a slow and busy machine.
const LONG: Duration = Duration::from_secs(120);

/// Gives up what takes too long.
pub(crate) async fn soon<T>(what: &str, act: impl Future<Output = T>) -> Result<T> {
    let done = tokio::time::timeout(LONG, act).await;
    done.with_context(|| format!("waited {} s for {what}", LONG.as_secs()))
}

/// An API, and the roles behind it.
pub(crate) struct Site {
    pub(crate) place: tempfile::TempDir,
    pub(crate) broker: Embedded,
    pub(crate) address: SocketAddr,
    stop: Shutdown,
    serving: tokio::task::JoinHandle<Result<(), Failure>>,
    _roles: JoinSet<()>,
}

impl Site {
    /// An API over a cluster with a worker.
    pub(crate) async fn start() -> Result<Self> {
        Self::with(1, |_| ()).await
    }

    /// An API as `configure` says, over a cluster with so many workers.
    pub(crate) async fn with(workers: usize, configure: impl FnOnce(&mut Config)) -> Result<Self> {
        let broker = Embedded::new();
        let mut site = Self::over(Link::Embedded(broker.clone()), broker, configure).await?;
        site.roles(workers);
        Ok(site)
    }

    /// An API over `link`, without a cluster.
    pub(crate) async fn over(
        link: Link,
        broker: Embedded,
        configure: impl FnOnce(&mut Config),
    ) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let data = place.path().join("data");
        fs::create_dir_all(&data)?;
        fs::create_dir_all(place.path().join("results"))?;
        fs::copy(shipped(), data.join("usual.csv"))?;
        let Limit(max_rejects) = Limit::default();
        let mut config = Config {
            api: settings::Api {
                bind: "127.0.0.1:0".parse()?,
                data: data.clone(),
                token: None,
                max_upload: 64 << 20,
                hosts: Vec::new(),
                origin: None,
            },
            results: place.path().join("results"),
            input: data.join("usual.csv"),
            kinds: Kinds::default().with(kinds::sales::Sales::new(Sales {
                chunk_rows: 512,
                max_rejects,
                margin: Default::default(),
                periode: None,
            })),
        };
        configure(&mut config);
        let listener = bind(&config).await.map_err(said)?;
        let address = listener.local_addr()?;
        let stop = Shutdown::new();
        let stopping = stop.clone();
        Ok(Self {
            serving: tokio::spawn(async move { serve(config, link, listener, &stopping).await }),
            place,
            broker,
            address,
            stop,
            _roles: JoinSet::new(),
        })
    }

    fn roles(&mut self, workers: usize) {
        let registry =
            autoconnect_jobs::registry().with::<autoconnect_testkit::wordcount::WordCount>();
        let registry = Arc::new(registry);
        let data = self.data();
        let all = || {
            (
                self.broker.clone(),
                Arc::clone(&registry),
                self.stop.clone(),
            )
        };
        let roles = &mut self._roles;
        let config = reducer::Config::volatile(self.place.path().join("results"));
        let (broker, kinds, stop) = all();
        roles.spawn(async move {
            let _ended = reducer::run(&broker, &kinds, config, stop).await;
        });
        let config = producer::Config {
            threads: 1,
            data: Some(data),
            blobs: None,
        };
        let (broker, kinds, stop) = all();
        roles.spawn(async move {
            let _ended = producer::run(&broker, &kinds, &config, &stop).await;
        });
        for number in 1..=workers {
            let config = worker::Config::named(format!("worker-{number}"));
            let (broker, kinds, stop) = all();
            roles.spawn(async move {
                let _ended = worker::run(&broker, &kinds, &config, &stop).await;
            });
        }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// The folders of uploads.
    pub(crate) fn uploads(&self) -> Vec<PathBuf> {
        let folders = fs::read_dir(self.data().join("incoming"));
        let folders = folders.into_iter().flatten().flatten();
        folders.map(|folder| folder.path()).collect()
    }

    /// Waits until no upload is left.
    pub(crate) async fn swept(&self) -> Result<()> {
        soon("uploads to be removed", async {
            while !self.uploads().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// Tells the API to stop; it must do so well.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        soon("the API to stop", self.serving).await??.map_err(said)
    }

    /// What is answered to these bytes.
    pub(crate) async fn say(&self, request: &[u8]) -> Result<Answer> {
        let mut stream = TcpStream::connect(self.address).await?;
        // the server may respond and close before it read all of it
        let _refused = stream.write_all(request).await;
        let mut bytes = Vec::new();
        soon("an answer", stream.read_to_end(&mut bytes)).await??;
        Answer::of(&bytes)
    }

    /// What is answered to a request with these headers, one to a line, and this body.
    pub(crate) async fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.to_lowercase().contains("host:") {
            request += "Host: localhost\r\n";
        }
        for header in headers.lines() {
            request += &format!("{header}\r\n");
        }
        if !body.is_empty() && !headers.to_lowercase().contains("transfer-encoding") {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        let mut request = (request + "\r\n").into_bytes();
        request.extend_from_slice(body);
        self.say(&request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.ask(&format!("GET {path}"), "", b"").await
    }

    pub(crate) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> Result<Answer> {
        self.ask(&format!("POST {path}"), headers, body).await
    }

    /// The events of a job, to its end.
    pub(crate) async fn follow(&self, job: &str) -> Result<Vec<(String, Value)>> {
        let answer = self.get(&format!("/api/jobs/{job}/events")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.events()
    }
}

fn said(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!(failure.sentence)
}

/// The file that comes with the project.
pub(crate) fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/transactions_autoconnect.csv")
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn of(bytes: &[u8]) -> Result<Self> {
        // "go on", before the answer itself
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let bytes = bytes.strip_prefix(interim).unwrap_or(bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.context("no answer")?;
        let head = std::str::from_utf8(&bytes[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let mut answer = Self {
            status: status.context("a status")?.parse()?,
            headers: Vec::new(),
            body: bytes[end + 4..].to_vec(),
        };
        for line in lines {
            let (name, value) = line.split_once(':').context("a header")?;
            let header = (name.to_lowercase(), value.trim().to_owned());
            answer.headers.push(header);
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            answer.body = dechunked(&answer.body)?;
        }
        Ok(answer)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("{self:?}"))
    }

    /// The job that was started.
    pub(crate) fn job(&self) -> Result<String> {
        ensure!(self.status == 202, "{}: {}", self.status, self.text());
        let told = self.json()?;
        ensure!(told["status"] == "processing_started", "{told}");
        let job = told["job_id"].as_str().context("a job")?;
        let location = format!("/api/job/{job}/status");
        ensure!(self.header("location") == Some(location.as_str()));
        Ok(job.to_owned())
    }

    /// That it is a problem of that status, about that.
    pub(crate) fn problem(&self, status: u16, champ: Option<&str>) -> Result<()> {
        ensure!(self.status == status, "{}: {}", self.status, self.text());
        let told = self.json()?;
        let keys: Vec<&String> = told.as_object().context("a problem")?.keys().collect();
        ensure!(keys == ["champ", "detail", "error"], "{told}");
        ensure!(told["champ"].as_str() == champ, "{told}");
        Ok(())
    }

    fn events(&self) -> Result<Vec<(String, Value)>> {
        let text = self.text();
        let mut events = Vec::new();
        for part in text.split("\n\n") {
            let field = |name: &str| part.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(name), Some(data)) = (field("event: "), field("data: ")) {
                events.push((name.to_owned(), serde_json::from_str(data)?));
            }
        }
        Ok(events)
    }
}

fn dechunked(mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") else {
            bail!("a chunk without its length");
        };
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end])?, 16)?;
        if length == 0 {
            return Ok(whole);
        }
        let rest = &bytes[end + 2..];
        ensure!(rest.len() >= length + 2, "a chunk that is cut short");
        whole.extend_from_slice(&rest[..length]);
        bytes = &rest[length + 2..];
    }
}
