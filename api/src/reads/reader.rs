//! Answers from a report, the newest of its kind or that of the job in the query. The answer to a query is made once, kept
//! while the report is in memory, and not sent again to a client that has it (304).

use std::marker::PhantomData;
use std::sync::Arc;

use autoconnect_common::{JobId, JobKind as _};
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::task::spawn_blocking;

use crate::app::Shared;
use crate::editions::Edition;
use crate::kinds::ApiKind;
use crate::lookup;
use crate::problem::Problem;

/// The parameter that names a job.
const JOB: &str = "job";

/// Extracts the report that a request reads: the newest of a kind, or that of the job in the query. It fails where there is
/// no such report.
pub struct Reader<K> {
    edition: Arc<Edition>,
    question: PathAndQuery,
    /// Whether the client already has the answer.
    known: bool,
    kind: PhantomData<fn() -> K>,
}

impl<K: ApiKind> FromRequestParts<Shared> for Reader<K> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let mut query = form_urlencoded::parse(query.as_bytes());
        let job = query.find(|(name, value)| name == JOB && !value.is_empty());
        let edition = match job {
            None => app.editions.newest(K::Job::NAME)?,
            Some((_, job)) => of_job(app, &job).await.map_err(|none| none.about(JOB))?,
        };
        if edition.kind != K::Job::NAME {
            let detail = format!(
                "ce job est de type {}\u{a0}; cette adresse lit ceux de type {}",
                edition.kind,
                K::Job::NAME
            );
            return Err(Problem::not_found(detail).about(JOB));
        }
        let root = || PathAndQuery::from_static("/");
        let question = parts.uri.path_and_query();
        Ok(Self {
            known: names(&parts.headers, &edition.etag),
            question: question.cloned().unwrap_or_else(root),
            edition,
            kind: PhantomData,
        })
    }
}

/// The report of a job.
///
/// # Errors
/// [`Problem`], which says why there is none.
pub(crate) async fn of_job(app: &Shared, name: &str) -> Result<Arc<Edition>, Problem> {
    let Ok(job) = name.parse::<JobId>() else {
        return Err(lookup::unknown());
    };
    let (sought, reports) = (job.clone(), Arc::clone(app));
    let found = spawn_blocking(move || reports.editions.of(&sought)).await;
    let found = found.map_err(|error| fault(&error))?;
    found.ok_or_else(|| lookup::without_report(app, &job))
}

/// Whether `If-None-Match` names this entity tag.
fn names(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).into_iter();
    lines.filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',').map(str::trim).any(|tag| {
            // a proxy that compresses a response makes its tag weak
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
        })
    })
}

impl<K: ApiKind> Reader<K> {
    /// Responds with the answer that `make` makes of the report, on a thread where it may block.
    ///
    /// # Errors
    /// The error of `make`, which is not kept for the next request.
    pub async fn answer(
        self,
        make: impl FnOnce(&K::Report) -> Result<Bytes, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        if self.known {
            return Ok(not_modified(&self.edition));
        }
        let cell = self.edition.answers.cell(self.question.as_str());
        let made = async {
            let edition = Arc::clone(&self.edition);
            let make = move || {
                edition
                    .report()
                    .map_or_else(|| Err(Problem::broken()), make)
            };
            let body = spawn_blocking(make)
                .await
                .map_err(|error| fault(&error))??;
            self.edition.answers.grow(body.len());
            Ok(body)
        };
        let body = cell.get_or_try_init(|| made).await?.clone();
        Ok(ok(&self.edition, body))
    }
}

/// A report of any kind, byte for byte as its `report.json`.
pub(crate) fn whole(edition: &Edition, headers: &HeaderMap) -> Response {
    if names(headers, &edition.etag) {
        return not_modified(edition);
    }
    ok(edition, edition.bytes.clone())
}

fn ok(edition: &Edition, body: Bytes) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    (caching(edition), json, body).into_response()
}

fn not_modified(edition: &Edition) -> Response {
    (StatusCode::NOT_MODIFIED, caching(edition)).into_response()
}

/// The headers with which a cache revalidates its copy at each request.
fn caching(edition: &Edition) -> [(HeaderName, &str); 2] {
    [(ETAG, &edition.etag), (CACHE_CONTROL, "no-cache")]
}

/// An answer as JSON.
///
/// # Errors
/// [`Problem`], 500, where `answer` cannot be serialized.
pub fn json(answer: &impl Serialize) -> Result<Bytes, Problem> {
    let bytes = serde_json::to_vec(answer).map_err(|error| fault(&error))?;
    Ok(bytes.into())
}

/// Logs a defect of the API, and responds 500.
fn fault(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "an answer could not be made");
    Problem::broken()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_recognised_alone_in_a_list_weak_or_as_any() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, text.parse().expect("a header"));
            names(&headers, "\"abc\"")
        };
        for text in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert!(asked(text), "{text}");
        }
        for text in ["abc", "\"ab\"", "W/\"x\"", ""] {
            assert!(!asked(text), "{text}");
        }
        assert!(!names(&HeaderMap::new(), "\"abc\""));
    }
}
