//! What handlers share: how the API serves, and what it keeps in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use autoconnect_common::Shutdown;
use autoconnect_common::program::Failure;
use autoconnect_common::settings::{self, Settings};

use crate::activity::Activity;
use crate::dead;
use crate::editions::Editions;
use crate::kinds::{self, Kinds};
use crate::link::Link;
use crate::metrics::Metrics;
use crate::streams::Streams;

/// How the API serves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, and what it lets in.
    pub api: settings::Api,
    /// The folder of reports, as the reducer writes it.
    pub results: PathBuf,
    /// The input of a job that names none.
    pub input: PathBuf,
    /// The kinds of job it reads and shows.
    pub kinds: Kinds,
}

impl Config {
    /// Reads the settings of the API, the producer, the reducer and every kind.
    ///
    /// # Errors
    /// [`Failure`], in one sentence.
    pub fn load(settings: &Settings) -> Result<Self, Failure> {
        let api: settings::Api = settings.load()?;
        let producer: settings::Producer = settings.load()?;
        let reducer: settings::Reducer = settings.load()?;
        if !api.bind.ip().is_loopback() && api.token.is_none() {
            return Err(Failure::usage(format!(
                "{} can be reached from elsewhere: set {} or {}, or api.token in the settings",
                api.bind,
                settings::variable("api.token"),
                settings::variable("api.token_file")
            )));
        }
        let usual = api.data.join("transactions_autoconnect.csv");
        Ok(Self {
            input: producer.input.unwrap_or(usual),
            results: reducer.results,
            kinds: kinds::all(settings)?,
            api,
        })
    }
}

/// The state of the API.
pub struct App {
    /// How it serves.
    pub config: Config,
    /// The broker.
    pub link: Link,
    /// What the cluster does, as events say.
    pub activity: Activity,
    /// The reports.
    pub editions: Arc<Editions>,
    /// When it started to serve.
    pub since: Instant,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Streams,
    pub(crate) dead: dead::Seen,
}

impl App {
    /// An API before its first event; its streams of events end with `shutdown`.
    pub fn new(config: Config, link: Link, shutdown: &Shutdown) -> Self {
        Self {
            activity: Activity::new(&config.results),
            editions: Arc::new(Editions::new(&config.results, config.kinds.readers())),
            since: Instant::now(),
            metrics: Metrics::default(),
            streams: Streams::new(shutdown),
            dead: dead::Seen::default(),
            config,
            link,
        }
    }
}

/// The state, as handlers extract it.
pub type Shared = Arc<App>;
