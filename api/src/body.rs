//! The bodies of requests, read to their end within limits of size and time.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody as _};
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::problem::Problem;

/// The most bytes of a body that is no upload: a list of 400 ids of the usual length takes less than half.
pub(crate) const SMALL: usize = 64 << 10;
/// How long the next part of a body may take. A mobile network is interrupted for less; a dead connection is closed.
const STALL: Duration = Duration::from_secs(30);
/// How long the rest of an unwanted body is read, so that its sender receives the response: a client that is still
/// sending would see a reset instead.
const LINGER: Duration = Duration::from_secs(2);

/// The sender sent nothing for [`STALL`].
#[derive(Debug, thiserror::Error)]
#[error("no data arrived for {} seconds", STALL.as_secs())]
pub(crate) struct Stalled;

/// The body is larger than the limit.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than allowed")]
pub(crate) struct TooLong;

/// The unread rest of a body, for a handler that responds before the end.
pub(crate) struct Rest(Option<Arc<Mutex<Option<BodyDataStream>>>>);

/// The same body, failing with [`Stalled`] where its sender makes no progress, and what is left of it.
pub(crate) fn patient(headers: &HeaderMap, body: Body) -> (Body, Rest) {
    if body.is_end_stream() {
        return (body, Rest(None));
    }
    let frames = Arc::new(Mutex::new(Some(body.into_data_stream())));
    let reading = Arc::clone(&frames);
    let parts = stream::unfold(reading, async |reading| {
        let mut frames = reading.lock().await;
        let part = match tokio::time::timeout(STALL, frames.as_mut()?.next()).await {
            Ok(Some(Ok(part))) => Ok(part),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => {
                *frames = None;
                return None;
            }
            Err(_) => Err(axum::Error::new(Stalled)),
        };
        if part.is_err() {
            *frames = None;
        }
        drop(frames);
        Some((part, reading))
    });
    // a client that awaits `100 Continue` sends no body after an error response: there is nothing to drain
    let rest = (!headers.contains_key(EXPECT)).then_some(frames);
    (Body::from_stream(parts), Rest(rest))
}

impl Rest {
    /// Reads and drops the rest of the body, for at most [`LINGER`].
    pub(crate) async fn ignore(self) {
        let Some(frames) = self.0 else { return };
        let ignoring = async {
            if let Some(frames) = frames.lock().await.as_mut() {
                while let Some(Ok(_)) = frames.next().await {}
            }
        };
        let _enough = tokio::time::timeout(LINGER, ignoring).await;
    }
}

/// Why a body could not be read to its end.
pub(crate) fn unreadable(error: &(dyn Error + 'static)) -> Problem {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<Stalled>() {
            return slow();
        }
        if error.is::<TooLong>() {
            return too_large("la partie qui précède le fichier, ou qui le suit, est trop longue");
        }
        cause = error.source();
    }
    Problem::bad(
        "corps",
        "le corps de la requête est interrompu ou mal formé\u{a0}; renvoyez-le en entier",
    )
}

/// The request does not arrive in time.
pub(crate) fn slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "Requête trop lente",
        "la suite de la requête n’est pas arrivée à temps",
    )
    .about("corps")
}

/// The body is larger than is accepted.
pub(crate) fn too_large(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "Corps trop volumineux",
        detail,
    )
    .about("corps")
}

/// The body has an unsupported `Content-Type`.
pub(crate) fn unsupported(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "Type de contenu non pris en charge",
        detail,
    )
    .about("Content-Type")
}

/// The type of the body, without its parameters, in lower case.
pub(crate) fn content_type(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = said.split(';').next().unwrap_or_default().trim();
    Some(essence.to_ascii_lowercase())
}

/// The `charset` of the `Content-Type`.
pub(crate) fn charset(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let parameters = said.split(';').skip(1);
    let named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"))?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// Reads a small body as a whole.
///
/// # Errors
/// [`Problem`] for a body over [`SMALL`] bytes, or one that is cut off.
pub(crate) async fn small(body: Body) -> Result<Bytes, Problem> {
    let mut frames = body.into_data_stream();
    let mut whole = Vec::new();
    while let Some(part) = frames.next().await {
        let part = part.map_err(|error| unreadable(&error))?;
        if whole.len() + part.len() > SMALL {
            return Err(too_large(format!("{SMALL} octets au plus sont acceptés")));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

/// Reads a small body as a JSON object; `expected` describes it in an error.
///
/// # Errors
/// [`Problem`] for anything else.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, Problem> {
    // serde would also read a struct from a JSON array of its values
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let read = is_object.then(|| serde_json::from_slice(body).ok());
    read.flatten()
        .ok_or_else(|| Problem::bad("corps", format!("attendu\u{a0}: {expected}, en JSON")))
}
