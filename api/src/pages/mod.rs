//! The dashboard: pages rendered on the server and kept up to date by one small script, without a build step or another
//! host.
//!
//! * `activity`: what the cluster does, live. `job`: one job, live.
//! * `results`: the newest report of a kind, or a job's own; [`report`]: what stands on its page whatever its kind, which fills it
//!   ([`kinds`](crate::kinds)). `analysis`: the form that requests another one.
//! * [`frame`]: what stands around every page; the language. `assets`: style, script, icon. `live`: the streams.
//!
//! The server renders live parts with the same templates as the page and sends them as pieces of HTML; the script
//! replaces what changed. So there is one rendering, in both languages, and a page without script is complete.

mod activity;
mod analysis;
mod assets;
pub mod frame;
mod job;
mod live;
pub mod report;
mod results;

use axum::Router;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::get;

use crate::app::Shared;
pub(crate) use frame::nowhere;
use frame::{Visitor, lost};

/// The pages, and what they are made of.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/", get(activity::page))
        .route("/flux", get(activity::stream))
        .route("/resultats", get(results::page))
        .route("/resultats/tables/{file}", get(results::table))
        .route("/resultats/{job}", get(results::job_page))
        .route("/resultats/{job}/tables/{file}", get(results::job_table))
        .route("/analyse", get(analysis::page))
        .route("/jobs/{id}", get(job::page))
        .route("/jobs/{id}/flux", get(job::stream))
        .route("/static/{file}", get(asset))
}

/// The style, the script or the icon.
async fn asset(visitor: Visitor, Path(file): Path<String>) -> Response {
    assets::find(&file).unwrap_or_else(|| lost(&visitor))
}
