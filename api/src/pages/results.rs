//! Finds the newest report of a kind, or a job's own, and has its kind render the page.

use std::sync::Arc;

use autoconnect_common::JobId;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::task::spawn_blocking;

use super::frame::{Here, Visitor, lost, message};
use super::job::RESULTS;
use super::report::{ReportPage, Whose};
use crate::app::Shared;
use crate::editions::Edition;
use crate::files;
use crate::kinds::Table;
use crate::reads;

/// The page of the newest report of the kind that is shown by default.
pub(super) async fn page(State(app): State<Shared>, visitor: Visitor) -> Response {
    match app.editions.newest(app.config.kinds.default_kind()) {
        Ok(edition) => show(&app, visitor, edition, RESULTS.to_owned()).await,
        Err(_) => no_report(&visitor),
    }
}

/// The page of a job's own report, or of the newest of a kind.
pub(super) async fn job_page(
    State(app): State<Shared>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Response {
    match find(&app, &name).await {
        Some(edition) => show(&app, visitor, edition, format!("{RESULTS}/{name}")).await,
        None => no_report_of(&app, &visitor, &name),
    }
}

/// A table of the newest report of the kind that is shown by default.
pub(super) async fn table(
    State(app): State<Shared>,
    visitor: Visitor,
    Path(file): Path<String>,
) -> Response {
    match app.editions.newest(app.config.kinds.default_kind()) {
        Ok(edition) => table_of(&app, visitor, edition, file).await,
        Err(_) => no_report(&visitor),
    }
}

/// A table of a job's own report, or of the newest of a kind.
pub(super) async fn job_table(
    State(app): State<Shared>,
    visitor: Visitor,
    Path((name, file)): Path<(String, String)>,
) -> Response {
    match find(&app, &name).await {
        Some(edition) => table_of(&app, visitor, edition, file).await,
        None => no_report_of(&app, &visitor, &name),
    }
}

/// The report of the job with the id `name`, or else the newest of the kind with that name.
async fn find(app: &Shared, name: &str) -> Option<Arc<Edition>> {
    let of_job = reads::of_job(app, name).await;
    of_job.or_else(|_| app.editions.newest(name)).ok()
}

async fn show(app: &Shared, visitor: Visitor, edition: Arc<Edition>, here: String) -> Response {
    let app = Arc::clone(app);
    // a large report takes a while to render
    let made = spawn_blocking(move || {
        let whose = Whose::new(&app, &edition, visitor.lang);
        let page = ReportPage {
            visitor,
            here,
            whose,
        };
        app.config.kinds.page(page, &edition)
    });
    let made = made.await.ok().flatten();
    made.unwrap_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn table_of(app: &Shared, visitor: Visitor, edition: Arc<Edition>, name: String) -> Response {
    let app = Arc::clone(app);
    let made = spawn_blocking(move || {
        let table = app.config.kinds.table(&visitor, &edition, &name);
        (table, visitor, name)
    });
    let Ok((table, visitor, name)) = made.await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    match table {
        Some(Table::Bytes(bytes)) => download(&name, Body::from(bytes)),
        Some(Table::File(path)) => match tokio::fs::File::open(path).await {
            Ok(file) => files::sent(&name, file).await,
            Err(_) => lost(&visitor),
        },
        Some(Table::Other(answer)) => answer,
        None => lost(&visitor),
    }
}

fn no_report(visitor: &Visitor) -> Response {
    let lang = visitor.lang;
    let detail = lang.say(
        "Choisissez un fichier de transactions\u{a0}: son rapport apparaîtra ici.",
        "Choose a file of transactions: its report will appear here.",
    );
    message(
        visitor,
        StatusCode::OK,
        Here::Results,
        (
            lang.say("Pas encore de résultats", "No results yet"),
            detail.to_owned(),
        ),
        (
            "/analyse".to_owned(),
            lang.say("Lancer une première analyse", "Start a first analysis"),
        ),
    )
}

/// Responds for a job without a report with a link to its own page, and for an unknown job with 404.
fn no_report_of(app: &Shared, visitor: &Visitor, job: &str) -> Response {
    let known = job
        .parse::<JobId>()
        .is_ok_and(|job| app.activity.job(&job).is_some());
    if !known {
        return lost(visitor);
    }
    let lang = visitor.lang;
    let detail = lang.say(
        "Sa page dit où il en est, ou pourquoi il s’est terminé sans rapport.",
        "Its page says how it goes, or why it ended without a report.",
    );
    message(
        visitor,
        StatusCode::NOT_FOUND,
        Here::Results,
        (
            lang.say("Ce job n’a pas de rapport", "This job has no report"),
            detail.to_owned(),
        ),
        (
            format!("/jobs/{job}"),
            lang.say("Voir le job", "See the job"),
        ),
    )
}

fn download(name: &str, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, body).into_response()
}
