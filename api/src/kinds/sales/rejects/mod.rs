//! `GET /api/rejets`: the rows that a report rejected, page by page.
//!
//! They are in `rejets.csv`, which may be much larger than memory. The first request reads it to its end and notes the
//! offsets of some rows; a page is then read from the nearest offset. The file is the one beside the report, and is ignored
//! if its counts are not the report's. A job that failed has rejects without a report.

mod file;
mod marks;
mod row;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use autoconnect_common::JobId;
use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_jobs::sales::ville;
use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Held, Sales};
use crate::app::Shared;
use crate::params::{Page, Paging, Params, PerPage};
use crate::problem::Problem;
use crate::reads::{Otherwise, Reader, json};
use row::{Motif, Reject, Sought};
use source::unreadable;
pub(super) use source::{Failed, Source};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(rejets))
}

/// The parameters of `GET /api/rejets`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// The job whose rejects are read, with or without a report; the job of the newest report where absent.
    job: Option<String>,
    /// A reason; every reason where absent.
    #[param(inline)]
    motif: Option<Motif>,
    /// A city: only rows whose line names it.
    ville: Option<String>,
    /// A month, `YYYY-MM`: only rows whose line has a date in that month.
    mois: Option<String>,
    /// The number of the page.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000, default = 1)]
    page: Page,
    /// How many entries a page has.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 500, default = 50)]
    par_page: PerPage,
}

/// A page of rejects.
#[derive(Serialize, ToSchema)]
struct Rejets<'r> {
    /// The rejects, in the order of the files and their lines.
    rejets: Vec<Reject>,
    /// The number of this page, from 1.
    page: u64,
    /// How many rejects a page has.
    par_page: u64,
    /// How many rejects there are on all pages.
    total: u64,
    /// How many rejects the job has for each reason, whatever the parameters are.
    par_motif: &'r BTreeMap<String, u64>,
}

/// The rejected rows of the newest report, or of a job, in the order of the files.
#[utoipa::path(get, path = "/api/rejets", tag = "report", params(Asked),
    responses((status = 200, description = "A page of rejected rows", body = Rejets<'_>),
        (status = 503, description = "The rejected rows could not be read", body = Problem), Otherwise))]
async fn rejets(
    State(app): State<Shared>,
    Extension(sales): Extension<Arc<Sales>>,
    Params(asked): Params<Asked>,
    reader: Result<Reader<Sales>, Problem>,
) -> Result<Response, Problem> {
    let reader = match reader {
        Ok(reader) => reader,
        Err(none) => {
            let made = without_report(&app, sales, asked).await?;
            return made.ok_or(none);
        }
    };
    let answer = move |held: &Held| {
        let (sought, paging) = asked.parts();
        let (rejets, total) = held.rejects.page(&held.report, &sought, paging)?;
        json(&Rejets {
            rejets,
            page: paging.page.get(),
            par_page: paging.par_page.get(),
            total,
            par_motif: &held.report.qualite.par_motif,
        })
    };
    reader.answer(answer).await
}

/// The rejects of a job that ended without a report; `None` where it left none.
async fn without_report(
    app: &Shared,
    sales: Arc<Sales>,
    asked: Asked,
) -> Result<Option<Response>, Problem> {
    let job: Option<JobId> = asked.job.as_deref().and_then(|job| job.parse().ok());
    let Some(job) = job else { return Ok(None) };
    let file = app.editions.folder(&job).join(REJETS);
    let made = spawn_blocking(move || {
        let Some(rejects) = sales.failed.rejects(&file) else {
            return Ok(None);
        };
        let (sought, paging) = asked.parts();
        let page = rejects.page(&sought, paging);
        let (rejets, total) = page.map_err(|error| unreadable(&error))?;
        let counts = rejects.by_motif.iter();
        let counts = counts.map(|(motif, marks)| (motif.as_str().to_owned(), marks.count));
        json(&Rejets {
            rejets,
            page: paging.page.get(),
            par_page: paging.par_page.get(),
            total,
            par_motif: &counts.collect(),
        })
        .map(Some)
    });
    let body = made.await.unwrap_or_else(|error| Err(unreadable(&error)))?;
    let json = [(CONTENT_TYPE, "application/json")];
    Ok(body.map(|body| (json, body).into_response()))
}

impl Asked {
    fn parts(&self) -> (Sought, Paging) {
        let sought = Sought {
            motif: self.motif,
            ville: self.ville.as_deref().map(ville::key),
            mois: self.mois.clone(),
        };
        let paging = Paging {
            page: self.page,
            par_page: self.par_page,
        };
        (sought, paging)
    }
}
