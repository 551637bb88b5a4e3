//! Metrics for Prometheus and health checks for process supervisors: `/metrics`, `/healthz`, `/readyz`.
//!
//! `docs/telemetry.md` lists exactly these metrics. Labels take few values: routes instead of addresses, and workers and
//! jobs in the bounds of [`activity`](crate::activity).

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

/// The answer of a health check that passes.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    status: &'static str,
}

/// Liveness: whether the process answers.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses(
        (status = 200, description = "The process answers", body = Health),
        (status = 400, description = "An unknown parameter", body = Problem),
    ))]
async fn health(_: Params<Nothing>) -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Readiness: whether the broker is up, the folder of results can be read, and every program makes progress.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Requests are served", body = Health),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 503, description = "The broker is away, the folder of results cannot be read, or a program makes no progress", body = Problem),
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

/// All metrics, in the text format of Prometheus.
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
        tracing::error!(%error, "the metrics cannot be encoded");
        Problem::broken()
    })?;
    let headers = [(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)];
    Ok((headers, text).into_response())
}
