//! What comes with a request: bodies that are read to their end, within limits.

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

/// The most bytes of a body that is no upload.
pub(crate) const SMALL: usize = 64 << 10;
/// How long the next part of a body may take: longer than a mobile network is interrupted, and it frees a dead connection.
const STALL: Duration = Duration::from_secs(30);
/// How long the rest of an unwanted body is read, so that its sender receives the response: a client that is still
/// sending would see a reset instead.
const LINGER: Duration = Duration::from_secs(2);

/// The sender made no progress for a while.
#[derive(Debug, thiserror::Error)]
#[error("nothing came for {} seconds", STALL.as_secs())]
pub(crate) struct Stalled;

/// More came than is read.
#[derive(Debug, thiserror::Error)]
#[error("more than is read")]
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
    // a client that awaits `100 Continue` has sent nothing yet
    let rest = (!headers.contains_key(EXPECT)).then_some(frames);
    (Body::from_stream(parts), Rest(rest))
}

impl Rest {
    /// Reads what is left, for a little while, and forgets it.
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

/// The request takes too long to come.
pub(crate) fn slow() -> Problem {
    Problem::new(
        StatusCode::REQUEST_TIMEOUT,
        "Requête trop lente",
        "la suite de la requête n’est pas arrivée à temps",
    )
    .about("corps")
}

/// More came than is taken.
pub(crate) fn too_large(detail: impl Into<String>) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "Corps trop volumineux",
        detail,
    )
    .about("corps")
}

/// The body is of a type that is not understood.
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

/// The `charset` that the `Content-Type` says.
pub(crate) fn charset(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let parameters = said.split(';').skip(1);
    let named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named
        .map(|(name, value)| (name.trim(), value.trim().trim_matches('"')))
        .find(|(name, _)| name.eq_ignore_ascii_case("charset"))?;
    (!value.is_empty()).then(|| value.to_owned())
}

/// A small body, whole.
///
/// # Errors
/// [`Problem`] for one over [`SMALL`] bytes, and one that does not come to its end.
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

/// A small body, as the JSON object that `expected` describes.
///
/// # Errors
/// [`Problem`] for anything else.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8], expected: &str) -> Result<T, Problem> {
    // a list of the values would do as well, to serde
    let is_object = body.trim_ascii_start().starts_with(b"{");
    let read = is_object.then(|| serde_json::from_slice(body).ok());
    read.flatten()
        .ok_or_else(|| Problem::bad("corps", format!("attendu\u{a0}: {expected}, en JSON")))
}
