//! The HTTP API and the dashboard: what the cluster does now, what the business did.
//!
//! ```text
//!  results/newest, jobs/ --> editions --+--> reads, rejects     GET /api/villes …
//!                                       |
//!  x.events --> activity ---------------+--> pages              GET /            (HTML, French or English)
//!                  ^                    |
//!  x.jobs, x.control <-- jobs, uploads, dead                POST /api/process …
//! ```
//!
//! # Layout
//!
//! * [`editions`]: the newest report, and those of single jobs, in memory; a broken file never replaces a good one.
//! * [`reads`], [`rejects`]: what is asked of one. [`files`]: what a job left, as it is on disk.
//! * [`activity`]: what the cluster does: jobs, workers, queues, rates; told by events.
//! * [`jobs`], [`uploads`], [`dead`]: what changes something.
//! * [`pages`]: the dashboard.
//! * [`guard`]: who may, how much, how long; `door`: connections; `body`: what comes with a request.
//! * [`problem`]: every error. [`params`]: what stands in a query.
//! * [`doc`]: the OpenAPI document. [`metrics`]: for Prometheus; health. [`link`]: the broker.
//!
//! Nothing here knows how to compute anything: reports come from the reducer, progress from events.

pub mod activity;
mod body;
pub mod dead;
pub mod doc;
mod door;
pub mod editions;
pub mod files;
pub mod guard;
pub mod jobs;
pub mod link;
pub mod metrics;
pub mod pages;
pub mod params;
pub mod problem;
pub mod reads;
pub mod rejects;
pub mod uploads;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use autoconnect_common::program::{self, Failure};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Broker as _, Shutdown};
use autoconnect_jobs::settings::Sales;
use axum::Router;
use tokio::net::TcpListener;

use activity::Activity;
use editions::Editions;
use jobs::Streams;
use link::Link;
use metrics::Metrics;

/// How the API serves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it listens, and what it lets in.
    pub api: settings::Api,
    /// The folder of reports, as the reducer writes it.
    pub results: PathBuf,
    /// The file that is reported on where nobody names one.
    pub input: PathBuf,
    /// What a request says where nobody says otherwise.
    pub sales: Sales,
}

impl Config {
    /// As the settings say.
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
            sales: settings.load()?,
            api,
        })
    }
}

/// Everything a handler needs; shared by all of them.
pub struct App {
    /// How it serves.
    pub config: Config,
    /// The broker.
    pub link: Link,
    /// What the cluster does.
    pub activity: Activity,
    /// The reports.
    pub editions: Editions,
    /// Since when it serves.
    pub since: Instant,
    pub(crate) metrics: Metrics,
    pub(crate) streams: Streams,
    pub(crate) dead: dead::Seen,
}

impl App {
    /// An API that has heard of nothing yet; its streams of events end when `shutdown` is told.
    pub fn new(config: Config, link: Link, shutdown: &Shutdown) -> Self {
        Self {
            activity: Activity::new(&config.results),
            editions: Editions::new(&config.results),
            since: Instant::now(),
            metrics: Metrics::default(),
            streams: Streams::new(shutdown),
            dead: dead::Seen::default(),
            config,
            link,
        }
    }
}

/// What handlers are given.
pub type Shared = Arc<App>;

/// Plays the role as a program of a cluster: as the settings say, on RabbitMQ, until told to stop.
///
/// # Errors
/// [`Failure`].
pub async fn play(settings: &Settings, shutdown: &Shutdown) -> Result<(), Failure> {
    let config = Config::load(settings)?;
    let rabbit = program::connect(settings, "api", autoconnect_jobs::registry().formats())?;
    let listener = bind(&config).await?;
    let served = serve(config, Link::RabbitMq(rabbit.clone()), listener, shutdown).await;
    rabbit.close().await;
    served
}

/// Takes the port of the settings.
///
/// # Errors
/// [`Failure`], where somebody else has it.
pub async fn bind(config: &Config) -> Result<TcpListener, Failure> {
    let bind = config.api.bind;
    let listener = TcpListener::bind(bind).await;
    listener.map_err(|error| Failure::failed(format!("cannot listen on {bind}: {error}")))
}

/// Serves on `listener` until told to stop.
///
/// # Errors
/// [`Failure`], where the broker refuses us.
pub async fn serve(
    config: Config,
    link: Link,
    listener: TcpListener,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let app = Arc::new(App::new(config, link, shutdown));
    let address = listener.local_addr().map_err(|error| Failure::of(&error))?;
    tracing::info!(%address, "serving");
    tokio::select! {
        () = door::open(listener, router(&app), shutdown) => Ok(()),
        ended = activity::watch(&app) => Err(ended),
        never = editions::watch(&app) => match never {},
        never = uploads::sweep(&app) => match never {},
    }
}

/// Every route.
pub fn router(app: &Shared) -> Router {
    let (api, document) = doc::router()
        .merge(reads::routes())
        .merge(rejects::routes())
        .merge(files::routes())
        .merge(jobs::routes())
        .merge(dead::routes())
        .merge(activity::routes())
        .merge(metrics::routes())
        .split_for_parts();
    let all = api
        .merge(doc::routes(guard::in_document(document)))
        .merge(pages::routes())
        .with_state(Arc::clone(app));
    guard::around(all, app)
}
