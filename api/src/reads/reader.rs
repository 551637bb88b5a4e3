//! One answer from a report, the newest or that of the job in the query: made once for each question, kept while that report is
//! in memory, and not sent again to whoever has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoconnect_common::JobId;
use axum::extract::FromRequestParts;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::Shared;
use crate::editions::Edition;
use crate::jobs;
use crate::problem::Problem;

/// The most answers that are kept.
const MOST: usize = 512;
/// The most bytes of questions and answers that are kept.
const MOST_BYTES: usize = 64 << 20;

/// The parameter that names a job.
const JOB: &str = "job";

/// A question to the newest report, or to that of the job that the query names. As an extractor it fails where there is none.
pub(crate) struct Reader {
    edition: Arc<Edition>,
    question: PathAndQuery,
    /// Whether whoever asks has the answer already.
    known: bool,
}

impl FromRequestParts<Shared> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let mut query = form_urlencoded::parse(query.as_bytes());
        let job = query.find(|(name, value)| name == JOB && !value.is_empty());
        let edition = match job {
            None => app.editions.newest()?,
            Some((_, job)) => of_job(app, &job).await.map_err(|none| none.about(JOB))?,
        };
        Ok(Self::of(
            edition,
            parts.uri.path_and_query(),
            &parts.headers,
        ))
    }
}

/// The report of a job.
///
/// # Errors
/// [`Problem`], which says why it has none.
pub(crate) async fn of_job(app: &Shared, name: &str) -> Result<Arc<Edition>, Problem> {
    let Ok(job) = name.parse::<JobId>() else {
        return Err(jobs::unknown());
    };
    let (sought, reports) = (job.clone(), Arc::clone(app));
    let found = spawn_blocking(move || reports.editions.of(&sought)).await;
    let found = found.map_err(|error| fault(&error))?;
    found.ok_or_else(|| jobs::without_report(app, &job))
}

/// Whether `If-None-Match` names this entity tag.
fn names(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(IF_NONE_MATCH).into_iter();
    lines.filter_map(|line| line.to_str().ok()).any(|line| {
        line.split(',').map(str::trim).any(|tag| {
            // a proxy that compressed the answer made the tag a weak one
            tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag
        })
    })
}

impl Reader {
    /// This question to this report.
    pub(crate) fn of(
        edition: Arc<Edition>,
        question: Option<&PathAndQuery>,
        headers: &HeaderMap,
    ) -> Self {
        let root = || PathAndQuery::from_static("/");
        Self {
            known: names(headers, &edition.etag),
            question: question.cloned().unwrap_or_else(root),
            edition,
        }
    }

    /// Answers with what `make` makes of the report, on a thread where that may take its time.
    ///
    /// # Errors
    /// What `make` finds, which is not kept.
    pub(crate) async fn answer(
        self,
        make: impl FnOnce(&Edition) -> Result<Vec<u8>, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        if self.known {
            return Ok(self.not_modified());
        }
        let cell = self.edition.answers.cell(self.question.as_str());
        let made = async {
            let edition = Arc::clone(&self.edition);
            let made = spawn_blocking(move || make(&edition)).await;
            let body = made.map_err(|error| fault(&error))?.map(Bytes::from)?;
            self.edition.answers.grow(body.len());
            Ok(body)
        };
        let body = cell.get_or_try_init(|| made).await?.clone();
        Ok(self.ok(body))
    }

    /// Answers with the whole report, byte for byte.
    pub(crate) fn whole(self) -> Response {
        if self.known {
            return self.not_modified();
        }
        let body = self.edition.bytes.clone();
        self.ok(body)
    }

    fn ok(&self, body: Bytes) -> Response {
        let json = [(CONTENT_TYPE, "application/json")];
        (self.headers(), json, body).into_response()
    }

    fn not_modified(&self) -> Response {
        (StatusCode::NOT_MODIFIED, self.headers()).into_response()
    }

    /// Whoever keeps an answer asks each time whether it still holds.
    fn headers(&self) -> [(HeaderName, &str); 2] {
        [(ETAG, &self.edition.etag), (CACHE_CONTROL, "no-cache")]
    }
}

/// An answer as JSON.
///
/// # Errors
/// None that anything of ours can cause.
pub(crate) fn json(answer: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|error| fault(&error))
}

/// What must not happen.
fn fault(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "an answer could not be made");
    Problem::broken()
}

/// The answers that were made from a report. When there is no more room, all are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<Box<str>, Arc<OnceCell<Bytes>>>,
    bytes: usize,
}

impl Answers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer to a question is, or will be; those who ask the same at the same time wait for one answer.
    fn cell(&self, question: &str) -> Arc<OnceCell<Bytes>> {
        let mut kept = self.kept();
        if let Some(cell) = kept.cells.get(question) {
            return Arc::clone(cell);
        }
        if kept.cells.len() >= MOST {
            *kept = Kept::default();
        }
        kept.bytes += question.len();
        let cell = Arc::default();
        kept.cells.insert(question.into(), Arc::clone(&cell));
        cell
    }

    fn grow(&self, bytes: usize) {
        let mut kept = self.kept();
        kept.bytes += bytes;
        if kept.bytes > MOST_BYTES {
            *kept = Kept::default();
        }
    }
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

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        let first = answers.cell("/first");
        assert!(Arc::ptr_eq(&first, &answers.cell("/first")));
        for number in 0..2 * MOST {
            answers.cell(&format!("/{number}"));
            assert!(answers.kept().cells.len() <= MOST);
        }
        assert!(!Arc::ptr_eq(&first, &answers.cell("/first")));
        answers.grow(MOST_BYTES);
        assert!(answers.kept().cells.is_empty());
    }
}
