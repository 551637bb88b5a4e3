//! Receives a form: writes its files to disk as they arrive, and reads its options.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use autoconnect_common::text::printable;
use axum::body::Body;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest as _, Multipart, Request};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::file::{self, Upload};
use super::{FIELD, Options, SHOWN, new_job, set_all};
use crate::app::App;
use crate::body;
use crate::problem::Problem;

/// The most files of a form: eight years of monthly exports.
const MOST_FILES: usize = 100;
/// The most bytes of a form that the multipart parser receives at once.
const PIECE: usize = 64 << 10;
/// The most bytes of a form besides its files: its fields are short, and are kept in memory.
const FORM: u64 = 1 << 20;

/// Writes the files of a form to disk, and reads its options.
pub(super) async fn receive<O: Options>(
    app: &App,
    request: Request,
) -> Result<(Upload, O), Problem> {
    file::check_length(app, request.headers(), FORM)?;
    let allowed = Arc::new(AtomicU64::new(FORM));
    let (parts, body) = request.into_parts();
    let body = in_pieces(body, Arc::clone(&allowed));
    let form = Multipart::from_request(Request::from_parts(parts, body), &()).await;
    let mut form = form.map_err(|_| {
        Problem::bad(
            "Content-Type",
            "le formulaire ne dit pas ce qui sépare ses parties (boundary)",
        )
    })?;
    let (mut upload, mut options) = (Upload::new(app, new_job()?), O::default());
    let mut given: Vec<String> = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| body::unreadable(&e))? {
        let name = field.name().unwrap_or_default().to_owned();
        if name == FIELD {
            receive_file(app, field, &mut upload, &mut options, &allowed).await?;
        } else if O::NAMES.contains(&name.as_str()) {
            if given.contains(&name) {
                let detail = "champ donné plusieurs fois\u{a0}; une seule valeur est attendue";
                return Err(Problem::bad(name, detail));
            }
            let value = field.text().await.map_err(|e| body::unreadable(&e))?;
            set_all(&mut options, &[(&name, Some(value.trim()))])?;
            given.push(name);
        } else {
            return Err(unknown_field(&name, O::NAMES));
        }
    }
    if upload.files.is_empty() {
        return Err(Problem::bad(
            FIELD,
            "le formulaire n’a pas de champ «\u{a0}fichier\u{a0}»",
        ));
    }
    options.check()?;
    Ok((upload, options))
}

/// Writes a file of a form to disk; its bytes do not count as the form's own.
async fn receive_file(
    app: &App,
    field: Field<'_>,
    upload: &mut Upload,
    options: &mut impl Options,
    allowed: &AtomicU64,
) -> Result<(), Problem> {
    if upload.files.len() == MOST_FILES {
        let detail = format!("{MOST_FILES} fichiers au plus sont acceptés");
        return Err(Problem::bad(FIELD, detail));
    }
    options.charset(body::charset(field.headers()).as_deref())?;
    let name = field.file_name().unwrap_or_default().to_owned();
    let taken = |bytes: &Bytes| {
        allowed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    };
    upload.receive(app, &name, field, taken).await
}

fn unknown_field(name: &str, options: &[&str]) -> Problem {
    let shown = printable(name.as_bytes(), SHOWN);
    let detail = format!(
        "champ «\u{a0}{shown}\u{a0}» inconnu\u{a0}; attendu\u{a0}: {FIELD} (une ou plusieurs fois), {}",
        options.join(", ")
    );
    Problem::bad(shown, detail)
}

/// The same body in pieces of at most [`PIECE`] bytes, failing where it exceeds `allowed`. Without these limits the multipart
/// parser would buffer a large part while it looks for its end.
fn in_pieces(body: Body, allowed: Arc<AtomicU64>) -> Body {
    let start = (body.into_data_stream(), Bytes::new(), 0);
    Body::from_stream(stream::try_unfold(
        start,
        move |(mut frames, mut rest, seen)| {
            let allowed = Arc::clone(&allowed);
            async move {
                // yield, so that the parser consumes this piece before it receives the next one
                tokio::task::yield_now().await;
                while rest.is_empty() {
                    match frames.next().await {
                        Some(frame) => rest = frame?,
                        None => return Ok(None),
                    }
                }
                let piece = rest.split_to(rest.len().min(PIECE));
                let seen = seen + piece.len() as u64;
                if seen > allowed.load(Ordering::Relaxed) {
                    return Err(axum::Error::new(body::TooLong));
                }
                Ok(Some((piece, (frames, rest, seen))))
            }
        },
    ))
}
