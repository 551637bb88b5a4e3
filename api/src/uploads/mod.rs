//! Receives the input of a job from a request, uploaded or named, for every kind that takes files.
//!
//! Without a body: the configured input. JSON: a file of the data folder. A form or a raw body: uploaded files, which are
//! written to disk as they arrive. A kind's handler calls [`take`], makes its request, and [starts](Brought::start) the
//! job.
//!
//! An upload stays in `<data>/incoming/<job>/` until its job has ended (`sweep`).

mod file;
mod form;
mod sweep;

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use autoconnect_common::message::JobRequest;
use autoconnect_common::results::Accept;
use autoconnect_common::text::printable;
use autoconnect_common::{Broker as _, JobId, JobKind};
use autoconnect_producer::confine;
use axum::Json;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::{CONTENT_ENCODING, LOCATION};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::{Content, RefOr, Required};
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, Shared};
use crate::body;
use crate::problem::Problem;
use file::Upload;
pub(crate) use sweep::sweep;

/// The field of a form that has a file; it may be repeated.
pub const FIELD: &str = "fichier";
/// The types of a body that is the file itself.
const RAW: [&str; 2] = ["text/csv", "application/octet-stream"];
/// The header with the name of the file, where the body is the file.
const NAME: HeaderName = HeaderName::from_static("x-fichier");
/// How long the broker may take to confirm a request for a job. It takes milliseconds unless the broker is in trouble; the
/// client waits meanwhile.
const PUBLISH: Duration = Duration::from_secs(5);
/// The most characters of a path or a value that an error repeats.
pub const SHOWN: usize = 100;

/// The options of a request: how its files are read, and whether the report may become the newest. A query and a form name
/// each option; in JSON they are the keys of the object.
pub trait Options: Default + Send {
    /// The names of the options.
    const NAMES: &'static [&'static str];

    /// Takes the value of an option, which is not empty.
    ///
    /// # Errors
    /// [`Problem`] for a value that cannot be used.
    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem>;

    /// Takes the `charset` that the `Content-Type` of a file names; called for each file, before it is received.
    ///
    /// # Errors
    /// [`Problem`] for a charset that is not known.
    fn charset(&mut self, charset: Option<&str>) -> Result<(), Problem>;

    /// Called once all files and options are received.
    ///
    /// # Errors
    /// [`Problem`] for options that contradict each other.
    fn check(&mut self) -> Result<(), Problem>;

    /// The file of the data folder that a JSON object names, and the options in it.
    ///
    /// # Errors
    /// [`Problem`] for anything else.
    fn of_json(body: &[u8]) -> Result<(Option<String>, Self), Problem>;

    /// Which reports may become the newest that by default would not.
    fn accept(&self) -> Accept;
}

/// Takes the given options; an empty one counts as absent.
///
/// # Errors
/// As [`Options::set`].
pub fn set_all(options: &mut impl Options, given: &[(&str, Option<&str>)]) -> Result<(), Problem> {
    for (name, value) in given {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            options.set(name, value)?;
        }
    }
    Ok(())
}

/// Lifts the body limit of the route that takes files, and documents the bodies without a schema.
pub fn unlimited(routes: OpenApiRouter<Shared>, route: &str) -> OpenApiRouter<Shared> {
    // the limit in the settings is enforced while the file is written
    let mut routes = routes.layer(DefaultBodyLimit::disable());
    // the annotations cannot say that the body is optional, or that it may be a file without a schema
    let documented = routes.get_openapi_mut().paths.paths.get_mut(route);
    let body = documented.and_then(|path| path.post.as_mut()?.request_body.as_mut());
    if let Some(RefOr::T(body)) = body {
        body.required = Some(Required::False);
        for raw in RAW {
            body.content
                .insert(raw.to_owned(), Content::default().into());
        }
    }
    routes
}

/// The input of a job that is about to be requested. If it is dropped before, the uploaded files are removed.
pub struct Brought<O> {
    job: JobId,
    /// The files, in the order of the request.
    pub files: Vec<PathBuf>,
    /// The options of the request; its query has priority.
    pub options: O,
    upload: Option<Upload>,
}

/// Receives the input of a request; `name` and `query` are the name and the options in its query.
///
/// # Errors
/// [`Problem`]; the received files are then removed.
pub async fn take<O: Options>(
    app: &Shared,
    name: Option<String>,
    query: &[(&str, Option<&str>)],
    request: Request,
) -> Result<Brought<O>, Problem> {
    // refuse a wrong query before receiving the body
    set_all(&mut O::default(), query)?;
    let headers = request.headers();
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        let detail = "Content-Encoding n’est pas pris en charge\u{a0}; envoyez le fichier compressé tel quel (.gz, .zst)";
        return Err(body::unsupported(detail).about("Content-Encoding"));
    }
    let mut brought = match body::content_type(headers).as_deref() {
        None => {
            if !body::small(request.into_body()).await?.is_empty() {
                return Err(unsupported());
            }
            Brought::named(default_input(app).await?, O::default())?
        }
        Some("application/json") => {
            let (file, options) = match &*body::small(request.into_body()).await? {
                [] => (None, O::default()),
                body => O::of_json(body)?,
            };
            let file = match file {
                None => default_input(app).await?,
                Some(fichier) => inside(app, &fichier).await?,
            };
            Brought::named(file, options)?
        }
        Some("multipart/form-data") => Brought::sent(form::receive(app, request).await?),
        Some(raw) if RAW.contains(&raw) => Brought::sent(receive(app, name, request).await?),
        Some(_) => return Err(unsupported()),
    };
    set_all(&mut brought.options, query)?;
    Ok(brought)
}

/// Receives a body that is the file.
async fn receive<O: Options>(
    app: &App,
    name: Option<String>,
    request: Request,
) -> Result<(Upload, O), Problem> {
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    file::check_length(app, headers, 0)?;
    let name = name.or_else(|| {
        let header = headers.get(NAME)?;
        Some(String::from_utf8_lossy(header.as_bytes()).into_owned())
    });
    let mut options = O::default();
    options.charset(body::charset(headers).as_deref())?;
    let mut upload = Upload::new(app, new_job()?);
    let name = name.unwrap_or_default();
    let parts = body.into_data_stream();
    upload.receive(app, &name, parts, |_| ()).await?;
    options.check()?;
    Ok((upload, options))
}

fn unsupported() -> Problem {
    body::unsupported(
        "attendu\u{a0}: application/json, multipart/form-data, text/csv ou application/octet-stream",
    )
}

impl<O> Brought<O> {
    fn named(file: PathBuf, options: O) -> Result<Self, Problem> {
        Ok(Self {
            job: new_job()?,
            files: vec![file],
            options,
            upload: None,
        })
    }

    fn sent((upload, options): (Upload, O)) -> Self {
        Self {
            job: upload.job.clone(),
            files: upload.files.clone(),
            options,
            upload: Some(upload),
        }
    }
}

impl<O: Options> Brought<O> {
    /// Requests a job of kind `K` on these files.
    ///
    /// # Errors
    /// [`Problem`], where the broker does not confirm the request.
    pub async fn start<K: JobKind>(
        self,
        app: &App,
        request: &K::Request,
    ) -> Result<Response, Problem> {
        let (job, fichier) = (self.job, shown(&self.files));
        let unsendable = |_| Problem::bad(FIELD, "le chemin du fichier n’est pas de l’UTF-8");
        let request = JobRequest {
            job: job.clone(),
            kind: K::NAME.to_owned(),
            schema: K::SCHEMA,
            request: serde_json::value::to_raw_value(request).map_err(unsendable)?,
            fingerprint: None,
            accept: self.options.accept(),
        };
        let message = request.to_message().map_err(unsendable)?;
        match tokio::time::timeout(PUBLISH, app.link.publish(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(job_id = %job, %error, "the job cannot be requested");
                return Err(Problem::unavailable(
                    "le courtier de messages ne prend pas la demande",
                ));
            }
            Err(_) => {
                return Err(Problem::unavailable(
                    "le courtier de messages ne répond pas\u{a0}; rien n’est lancé, réessayez plus tard",
                ));
            }
        }
        app.activity.asked(job.clone(), K::NAME, &fichier);
        tracing::info!(job_id = %job, kind = K::NAME, fichier, "job requested");
        if let Some(upload) = self.upload {
            upload.keep();
        }
        let location = [(LOCATION, format!("/api/job/{job}/status"))];
        let started = Started {
            status: "processing_started",
            job_id: job,
        };
        Ok((StatusCode::ACCEPTED, location, Json(started)).into_response())
    }
}

/// The answer of `POST /api/process`.
#[derive(Debug, Serialize, ToSchema)]
pub struct Started {
    /// Always `processing_started`.
    status: &'static str,
    /// The id of the job.
    #[schema(value_type = String)]
    job_id: JobId,
}

/// The id of a new job: a random UUID.
fn new_job() -> Result<JobId, Problem> {
    let mut bytes = [0; 16];
    let random = getrandom::fill(&mut bytes);
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let named = uuid.to_string().parse().ok().filter(|_| random.is_ok());
    named.ok_or_else(|| Problem::unavailable("le système ne donne pas de nombres aléatoires"))
}

/// The configured file, which a job reads where its request names none.
async fn default_input(app: &App) -> Result<PathBuf, Problem> {
    let file = app.config.input.clone();
    match tokio::fs::metadata(&file).await {
        Ok(_) => Ok(file),
        Err(_) => Err(Problem::not_found(
            "le fichier par défaut n’existe pas\u{a0}; envoyez un fichier, ou nommez-en un",
        )),
    }
}

/// The file of the data folder with this path, links resolved.
async fn inside(app: &App, fichier: &str) -> Result<PathBuf, Problem> {
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    let path = Path::new(fichier);
    if fichier.is_empty() || fichier.contains('\0') || !path.components().all(is_plain) {
        return Err(Problem::bad(
            FIELD,
            "un chemin relatif au dossier des données est attendu, sans «\u{a0}..\u{a0}»",
        ));
    }
    let data = app.config.api.data.clone();
    let file = data.join(path);
    let looked = {
        let file = file.clone();
        tokio::task::spawn_blocking(move || {
            file.is_file() && confine::check(&[file], &data).is_ok()
        })
    };
    if looked.await.unwrap_or(false) {
        Ok(file)
    } else {
        let shown = printable(fichier.as_bytes(), SHOWN);
        let detail = format!("le dossier des données n’a pas de fichier «\u{a0}{shown}\u{a0}»");
        Err(Problem::not_found(detail).about(FIELD))
    }
}

/// The title of these files: the name of the first, and the number of others.
fn shown(files: &[PathBuf]) -> String {
    let name = |file: &PathBuf| {
        let name = file.file_name().unwrap_or(file.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let first = files.first().map(name).unwrap_or_default();
    match files.len() {
        0 | 1 => first,
        all => format!("{first} (+{})", all - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_s_name_is_a_random_uuid() {
        let name = |_| new_job().expect("random").to_string();
        let names: std::collections::BTreeSet<String> = (0..100).map(name).collect();
        assert_eq!(names.len(), 100);
        for name in names {
            let lengths: Vec<usize> = name.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{name}");
            assert!(
                name[14..].starts_with('4') && "89ab".contains(&name[19..20]),
                "{name}"
            );
        }
    }
}
