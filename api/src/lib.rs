//! The HTTP API and the dashboard: the activity of the cluster, and the reports of its jobs.
//!
//! ```text
//!  results/ --> editions --+--> kinds: reads, pages, uploads   GET /api/villes, POST /api/process …
//!                          |
//!  x.events --> activity --+--> pages                          GET /            (HTML, French or English)
//!                  ^       |
//!  x.jobs, x.control <-- jobs, uploads, dead                   DELETE /api/jobs/{id} …
//! ```
//!
//! # Layout
//!
//! * [`kinds`]: a folder or file for each kind of job: its reads, its result page, its uploads. Other modules know no kind.
//! * `app`: the state that handlers share: [`Config`], [`App`].
//! * [`editions`]: the newest report of each kind, and those of single jobs, in memory; a broken file never replaces a good one.
//! * [`reads`]: a read of a report, from its query to its cached answer. [`files`]: the files that a job left on disk.
//! * [`activity`]: jobs, workers, queues and rates, from events.
//! * [`jobs`], [`uploads`], [`dead`]: requests that change something. [`streams`]: streams of events, in a bounded number.
//! * [`pages`]: the dashboard.
//! * [`guard`]: host check, token, timeouts, security headers. `connections`: the accept loop and its limits. `body`: request
//!   bodies, within limits.
//! * `lookup`: the job that a request names. [`problem`]: every error. [`params`]: query parameters.
//! * [`doc`]: the OpenAPI document. [`metrics`]: Prometheus metrics, and health checks. [`link`]: the broker.
//!
//! Nothing here computes a figure: reports come from the reducer, progress from events.

pub mod activity;
mod answers;
mod app;
mod body;
mod connections;
pub mod dead;
pub mod doc;
pub mod editions;
pub mod files;
pub mod guard;
pub mod jobs;
pub mod kinds;
pub mod link;
mod lookup;
pub mod metrics;
pub mod pages;
pub mod params;
pub mod problem;
pub mod reads;
pub mod streams;
pub mod uploads;

use std::sync::Arc;

use autoconnect_common::program::{self, Failure};
use autoconnect_common::settings::Settings;
use autoconnect_common::{Broker as _, Shutdown};
use axum::Router;
use tokio::net::TcpListener;

pub use app::{App, Config, Shared};
use link::Link;

/// Runs the API as a program of a cluster, on the RabbitMQ of the settings, until shutdown.
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

/// Binds the address of the settings.
///
/// # Errors
/// [`Failure`], for instance where another program has the port.
pub async fn bind(config: &Config) -> Result<TcpListener, Failure> {
    let bind = config.api.bind;
    let listener = TcpListener::bind(bind).await;
    listener.map_err(|error| Failure::failed(format!("cannot listen on {bind}: {error}")))
}

/// Serves on `listener` until shutdown.
///
/// # Errors
/// [`Failure`], where the broker refuses the connection for good.
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
        () = connections::serve(listener, router(&app), shutdown) => Ok(()),
        ended = activity::watch(&app) => Err(ended),
        never = app.editions.watch() => match never {},
        never = uploads::sweep(&app) => match never {},
    }
}

/// Every route.
pub fn router(app: &Shared) -> Router {
    let (api, document) = doc::router()
        .merge(app.config.kinds.routes())
        .merge(files::routes())
        .merge(jobs::routes())
        .merge(dead::routes())
        .merge(activity::routes())
        .merge(metrics::routes())
        .split_for_parts();
    let all = api
        .merge(doc::routes(guard::in_document(document), &app.config.kinds))
        .merge(pages::routes())
        .with_state(Arc::clone(app));
    guard::around(all, app)
}
