//! The state that handlers share: the configuration of the API, and what it keeps in memory.

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

/// The configuration of the API.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address, the limits and the access rules.
    pub api: settings::Api,
    /// The folder of results, which the reducer writes.
    pub results: PathBuf,
    /// The file that a job reads where its request names none.
    pub input: PathBuf,
    /// The kinds of job that the API reads and shows.
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
                "other machines can reach {}: set {} or {}, or api.token in the settings",
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
    /// The configuration.
    pub config: Config,
    /// The broker.
    pub link: Link,
    /// The activity of the cluster, from events.
    pub activity: Activity,
    /// The reports in memory.
    pub editions: Arc<Editions>,
    /// When the API started to serve.
    pub since: Instant,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Streams,
    pub(crate) dead: dead::Seen,
}

impl App {
    /// The state before the first event; `shutdown` ends the streams of events.
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
