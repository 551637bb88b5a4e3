//! For Prometheus and for process supervisors: `/metrics`, `/healthz`, `/readyz`.
//!
//! Every name is in `docs/telemetry.md`, and no other. Labels are few: routes, not addresses; workers and jobs are bounded
//! by [`activity`](crate::activity).

mod requests;
mod scrape;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::prometheus_text;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::params::{Nothing, Params};
use crate::problem::Problem;
pub(crate) use requests::Metrics;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

/// That the process lives.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Toujours `ok`.
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses(
        (status = 200, description = "The process answers", body = Health),
        (status = 400, description = "An unknown parameter", body = Problem),
    ))]
async fn health(_: Params<Nothing>) -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests can be served, and are: the broker is up, results can be read, and every program makes progress.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Everything is there", body = Health),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 503, description = "The broker or the folder of results is missing, or a program makes no progress", body = Problem),
    ))]
async fn ready(State(app): State<Shared>, _: Params<Nothing>) -> Result<Json<Health>, Problem> {
    if !app.activity.snapshots().borrow().broker.up {
        return Err(Problem::unavailable("le courtier de messages ne répond pas").about("broker"));
    }
    if tokio::fs::read_dir(&app.config.results).await.is_err() {
        let detail = "le dossier des résultats ne peut pas être lu";
        return Err(Problem::unavailable(detail).about("results"));
    }
    let troubles = app.activity.snapshots().borrow().troubles.clone();
    if !troubles.is_empty() {
        let each = troubles.iter();
        let each: Vec<String> = each
            .map(|trouble| format!("{}: {}", trouble.program, trouble.why))
            .collect();
        return Err(Problem::unavailable(each.join("; ")).about("progress"));
    }
    Ok(Json(Health { status: "ok" }))
}

/// Everything that is measured, as Prometheus reads it.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "The metrics, as text", body = String, content_type = "text/plain"),
        (status = 400, description = "An unknown parameter", body = Problem),
    ))]
async fn metrics(State(app): State<Shared>, _: Params<Nothing>) -> Result<Response, Problem> {
    let mut registry = app.metrics.registry();
    registry.register_collector(Box::new(scrape::Scrape::of(&app)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).map_err(|error| {
        tracing::error!(%error, "metrics not encoded");
        Problem::broken()
    })?;
    let headers = [(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)];
    Ok((headers, text).into_response())
}
