//! The dashboard: pages rendered on the server and kept up to date by one small script, without a build step or another
//! host.
//!
//! * `activity`: the activity of the cluster, live. `job`: one job, live.
//! * `results`: the newest report of a kind, or a job's own. [`report`]: the part of its page that is the same for every kind;
//!   the kind adds the main part ([`kinds`](crate::kinds)). `analysis`: the form that requests a report.
//! * [`frame`]: the frame of every page, and its language. `assets`: style sheet, script, icon. `live`: the streams.
//!
//! The server renders live parts with the same templates as the page and sends them as fragments of HTML, with which the
//! script replaces those on the page. So there is one rendering, in both languages, and a page works without the script.

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

/// The routes of the pages and of their assets.
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
