//! Shows the status of jobs, once or as a stream of events; cancels a job; makes a report the newest.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::message::Cancel;
use autoconnect_common::{Broker as _, ask};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::activity::{JobState, JobView, Snapshot};
use crate::app::Shared;
use crate::lookup::{Named, known, named};
use crate::params::{Nothing, Page, Paging, Params, PerPage};
use crate::problem::Problem;
use crate::reads;

/// How long the broker may take to confirm a cancellation. It takes milliseconds unless the broker is in trouble; the client
/// waits meanwhile.
const PUBLISH: Duration = Duration::from_secs(5);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(report))
        .routes(routes!(list))
        .routes(routes!(cancel))
        .routes(routes!(newest))
        .routes(routes!(job_events))
        .routes(routes!(activity_events))
}

/// An event whose data is JSON.
fn event(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    event
        .clone()
        .json_data(data)
        .unwrap_or_else(|_| event.data("null"))
}

/// The report of a job, byte for byte as its `report.json`.
#[utoipa::path(get, path = "/api/jobs/{id}/report", tag = "jobs",
    params(("id" = String, Path, description = "The id of the job")),
    responses(
        (status = 200, description = "The report of the job", body = serde_json::Value),
        (status = 304, description = "Not modified since the response whose `ETag` is in `If-None-Match`"),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id, or it has no report", body = Problem),
    ))]
async fn report(
    State(app): State<Shared>,
    id: Named,
    _: Params<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let job = named(id)?;
    let edition = reads::of_job(&app, job.as_str()).await;
    let edition = edition.map_err(|none| none.about("id"))?;
    Ok(reads::whole(&edition, &headers))
}

/// The status of a job.
#[utoipa::path(get, path = "/api/job/{id}/status", tag = "jobs",
    params(("id" = String, Path, description = "The id of the job")),
    responses(
        (status = 200, description = "The status of the job", body = JobView),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id", body = Problem),
    ))]
async fn status(
    State(app): State<Shared>,
    id: Named,
    _: Params<Nothing>,
) -> Result<Json<JobView>, Problem> {
    known(&app, id).map(Json)
}

/// The query of `GET /api/jobs`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only jobs of this status.
    #[param(inline)]
    status: Option<JobState>,
    /// The number of the page.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000, default = 1)]
    page: Page,
    /// How many entries a page has.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 500, default = 50)]
    par_page: PerPage,
}

/// A page of the known jobs.
#[derive(Debug, Serialize, ToSchema)]
struct Jobs {
    /// The jobs, the newest first.
    jobs: Vec<JobView>,
    /// The number of the page.
    page: u64,
    /// How many entries a page has.
    par_page: u64,
    /// How many jobs there are on all pages.
    total: u64,
}

/// The known jobs, the newest first.
#[utoipa::path(get, path = "/api/jobs", tag = "jobs", params(Asked),
    responses(
        (status = 200, description = "The jobs, the newest first", body = Jobs),
        (status = 400, description = "An unknown parameter, or one out of its bounds", body = Problem),
    ))]
async fn list(
    State(app): State<Shared>,
    Params(Asked {
        status,
        page,
        par_page,
    }): Params<Asked>,
) -> Json<Jobs> {
    let mut jobs = app.activity.jobs();
    jobs.retain(|job| status.is_none_or(|status| job.status == status));
    Json(Jobs {
        total: jobs.len() as u64,
        jobs: Paging { page, par_page }.of(jobs),
        page: page.get(),
        par_page: par_page.get(),
    })
}

/// Cancels a job: it ends without a report.
#[utoipa::path(delete, path = "/api/jobs/{id}", tag = "jobs",
    params(("id" = String, Path, description = "The id of the job")),
    responses(
        (status = 202, description = "The cancellation is sent to the reducer", body = JobView),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id", body = Problem),
        (status = 409, description = "The job has already ended", body = Problem),
        (status = 503, description = "The message broker does not answer", body = Problem),
    ))]
async fn cancel(
    State(app): State<Shared>,
    id: Named,
    _: Params<Nothing>,
) -> Result<(StatusCode, Json<JobView>), Problem> {
    let job = known(&app, id)?;
    if job.status.has_ended() {
        return Err(Problem::new(
            StatusCode::CONFLICT,
            "Job terminé",
            "ce job est déjà terminé\u{a0}; il ne peut plus être annulé",
        )
        .about("id"));
    }
    let cancel = Cancel {
        job: job.job_id.clone(),
        reason: "annulé par l’API".to_owned(),
    };
    let away = || Problem::unavailable("le courtier de messages ne répond pas\u{a0}; réessayez");
    let message = cancel.to_message().map_err(|_| away())?;
    let sent = tokio::time::timeout(PUBLISH, app.link.publish(message)).await;
    match sent {
        Ok(Ok(())) => Ok((StatusCode::ACCEPTED, Json(job))),
        _ => Err(away()),
    }
}

/// Makes the report of an ended job the newest, even if other jobs ended later.
#[utoipa::path(post, path = "/api/jobs/{id}/newest", tag = "jobs",
    params(("id" = String, Path, description = "The id of the job")),
    responses(
        (status = 200, description = "The report is the newest, and every read without `job` shows it", body = JobView),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id", body = Problem),
        (status = 409, description = "The job has no report", body = Problem),
        (status = 503, description = "The message broker or the reducer does not answer", body = Problem),
    ))]
async fn newest(
    State(app): State<Shared>,
    id: Named,
    _: Params<Nothing>,
) -> Result<Json<JobView>, Problem> {
    let job = known(&app, id)?;
    if !job.status.has_report() {
        return Err(without_a_newest(&job, "il n’a pas de rapport"));
    }
    match ask::make_newest(&app.link, &job.job_id).await {
        Ok(Ok(())) => {
            app.editions.refresh().await;
            Ok(Json(job))
        }
        Ok(Err(why)) => Err(without_a_newest(&job, &why)),
        Err(error) => {
            tracing::warn!(job_id = %job.job_id, %error, "the report cannot become the newest");
            Err(Problem::unavailable(
                "le réducteur ne répond pas\u{a0}; réessayez",
            ))
        }
    }
}

fn without_a_newest(job: &JobView, why: &str) -> Problem {
    let detail = format!(
        "le rapport de {} ne peut pas devenir le plus récent\u{a0}: {why}",
        job.job_id
    );
    Problem::new(StatusCode::CONFLICT, "Pas de rapport", detail).about("id")
}

/// The status of a job as a stream of events, until the job ends.
///
/// Events `progress`, then `finished` (there is a report) or `failed`. Their data is the status of the job, as JSON.
#[utoipa::path(get, path = "/api/jobs/{id}/events", tag = "jobs",
    params(("id" = String, Path, description = "The id of the job")),
    responses(
        (status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id", body = Problem),
        (status = 503, description = "Too many streams are open", body = Problem),
    ))]
async fn job_events(
    State(app): State<Shared>,
    id: Named,
    _: Params<Nothing>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    // subscribe before reading the current status, so that no change is missed
    let changes = app.activity.changes();
    let job = known(&app, id)?;
    let place = app.streams.place()?;
    let (id, first) = (job.job_id.clone(), Some(job));
    let start = Some((Arc::clone(&app), changes, first));
    let events = stream::unfold(start, move |following| {
        let id = id.clone();
        async move {
            let (app, mut changes, first) = following?;
            let view = match first {
                Some(view) => view,
                None => loop {
                    match changes.recv().await {
                        Ok(view) if view.job_id == id => break view,
                        Ok(_) => {}
                        // changes were missed: the current state replaces them
                        Err(RecvError::Lagged(_)) => break app.activity.job(&id)?,
                        Err(RecvError::Closed) => return None,
                    }
                },
            };
            let name = match view.status {
                state if !state.has_ended() => "progress",
                state if state.has_report() => "finished",
                _ => "failed",
            };
            let ended = view.status.has_ended();
            let next = (!ended).then_some((app, changes, None));
            Some((event(name, &view), next))
        }
    });
    Ok(app.streams.serve(place, events))
}

/// The activity of the cluster as a stream of events, one each second.
///
/// Events `activity`, whose data is the response of `GET /api/activity`.
#[utoipa::path(get, path = "/api/activity/events", tag = "activity",
    responses(
        (status = 200, description = "A stream of events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 503, description = "Too many streams are open", body = Problem),
    ))]
async fn activity_events(
    State(app): State<Shared>,
    _: Params<Nothing>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let place = app.streams.place()?;
    let mut snapshots = app.activity.snapshots();
    snapshots.mark_changed();
    let events = stream::unfold(snapshots, |mut snapshots| async move {
        snapshots.changed().await.ok()?;
        let snapshot: Arc<Snapshot> = Arc::clone(&snapshots.borrow_and_update());
        Some((event("activity", &*snapshot), snapshots))
    });
    Ok(app.streams.serve(place, events))
}
