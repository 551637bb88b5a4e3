//! `POST /api/process`: asks for a report on the usual file, on a file of the data folder, or on one or several that come with the
//! request, which are written to disk as they come.
//!
//! An upload lies in `<data>/incoming/<job>/` until its job has ended.

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use autoconnect_common::message::JobRequest;
use autoconnect_common::results::Accept;
use autoconnect_common::text::printable;
use autoconnect_common::{Broker as _, JobId, JobKind as _};
use autoconnect_jobs::sales::Sales;
use autoconnect_jobs::sales::periode::Plage;
use autoconnect_jobs::sales::request::Encoding;
use autoconnect_jobs::settings::today;
use autoconnect_producer::confine;
use axum::Json;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, LOCATION};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncWriteExt as _, BufWriter};
use tokio::sync::broadcast::error::RecvError;
use utoipa::openapi::{Content, RefOr, Required};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::activity::JobState;
use crate::params::Params;
use crate::problem::Problem;
use crate::{App, Shared, body};

/// The route that takes uploads, and may take hours.
pub(crate) const PROCESS: &str = "/api/process";
/// The folder of uploads, in the data folder.
const UPLOADS: &str = "incoming";
/// The field of a form that is a file; there may be several.
const FIELD: &str = "fichier";
/// The most files of a form.
const MOST_FILES: usize = 100;
/// What the name of a file ends with that is not at its end yet.
const UNFINISHED: &str = "part";
/// The types of a body that is the file itself.
const RAW: [&str; 2] = ["text/csv", "application/octet-stream"];
/// The header with the name of a file that comes as the body itself.
const NAME: HeaderName = HeaderName::from_static("x-fichier");
/// The longest name of a file, in bytes.
const MAX_NAME: usize = 80;
/// What the name of a table may end with; anything else is given the first.
const ENDINGS: [&str; 5] = [".csv", ".csv.gz", ".csv.zst", ".txt", ".tsv"];
/// What an upload without a name is called.
const UNNAMED: &str = "envoi.csv";
/// Bytes that are written at once.
const WRITE: usize = 1 << 20;
/// The longest piece of a form that is looked at, and the most bytes of it that are not the file.
const PIECE: usize = 64 << 10;
const FORM: u64 = 1 << 20;
/// How long the broker may take to take a request for a job.
const PUBLISH: Duration = Duration::from_secs(5);
/// How often folders of uploads are looked at, beside when a job ends.
const LOOK: Duration = Duration::from_secs(60);
/// How old an upload may become whose job nobody knows.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long nothing may come of an upload that is not at its end.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);
/// Characters of a path that an error repeats.
const SHOWN: usize = 100;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    let mut routes = OpenApiRouter::new()
        .routes(routes!(process))
        // the limit of the settings is kept while the file is written
        .layer(DefaultBodyLimit::disable());
    // a request without a body is one as well, and a file as the body itself is of no schema
    let documented = routes.get_openapi_mut().paths.paths.get_mut(PROCESS);
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

/// What `POST /api/process` answers.
#[derive(Debug, Serialize, ToSchema)]
struct Started {
    /// `processing_started`, always.
    status: &'static str,
    /// The id of the job.
    #[schema(value_type = String)]
    job_id: JobId,
}

/// Which file of the data folder is reported on, and how.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = FileOfData)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// The path of a file in the data folder, relative to it; the usual file where absent.
    fichier: Option<String>,
    /// How the file spells text; told from its bytes where absent.
    #[schema(value_type = Option<EncodingWord>)]
    encoding: Option<String>,
    /// The months to report on, `2024-01..2024-06`; told from the rows where absent.
    periode: Option<String>,
    /// Whether a report without an accepted row becomes the newest.
    accept_empty: bool,
    /// Whether a report that lacks something becomes the newest, though the newest is complete.
    accept_incomplete: bool,
}

/// How files spell text: `auto` tells it from their bytes.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it describes the words of an encoding")]
enum EncodingWord {
    /// UTF-8, or Windows-1252 where every byte beyond ASCII says so.
    Auto,
    /// UTF-8; rows that are not are rejected.
    #[schema(rename = "utf-8")]
    Utf8,
    /// Old Windows exports.
    #[schema(rename = "windows-1252")]
    Windows1252,
    /// UTF-16, its byte order told by its mark.
    #[schema(rename = "utf-16")]
    Utf16,
}

/// A form with files.
#[derive(ToSchema)]
#[schema(as = FileForm)]
#[expect(dead_code, reason = "it describes a form, which is read as it comes")]
struct Form {
    /// The CSV file, compressed (`.gz`, `.zst`) or not. The field may come several times: the files are then one job.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    fichier: Vec<u8>,
    /// How the files spell text, where the query does not say.
    #[schema(inline)]
    encoding: Option<EncodingWord>,
    /// The months to report on, where the query does not say.
    periode: Option<String>,
    /// Whether a report without an accepted row becomes the newest.
    #[schema(inline)]
    accept_empty: Option<YesOrNo>,
    /// Whether a report that lacks something becomes the newest, though the newest is complete.
    #[schema(inline)]
    accept_incomplete: Option<YesOrNo>,
}

/// Yes or no, as a query and a form say it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes the words of a wish")]
enum YesOrNo {
    /// Yes.
    True,
    /// No.
    False,
}

/// The query of `POST /api/process`.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Named {
    /// The name of the file, where it is the body itself.
    nom: Option<String>,
    /// How the files spell text; told from their bytes where absent, and where no `charset` of a `Content-Type` says it.
    #[param(inline, value_type = Option<EncodingWord>)]
    encoding: Option<String>,
    /// The months to report on; told from the rows where absent.
    #[param(example = "2024-01..2024-06")]
    periode: Option<String>,
    /// Whether a report without an accepted row becomes the newest.
    #[param(inline, value_type = Option<YesOrNo>)]
    accept_empty: Option<String>,
    /// Whether a report that lacks something becomes the newest, though the newest is complete.
    #[param(inline, value_type = Option<YesOrNo>)]
    accept_incomplete: Option<String>,
}

/// What a request says of how its files are read, and what becomes of the report.
#[derive(Debug, Clone, Copy, Default)]
struct Wishes {
    encoding: Option<Encoding>,
    periode: Option<Plage>,
    accept: Accept,
}

impl Wishes {
    /// The names of what may be wished.
    const NAMES: [&str; 4] = ["encoding", "periode", "accept_empty", "accept_incomplete"];

    /// Takes these, by name; an absent or empty one is no wish.
    fn take(&mut self, wishes: &[(&str, Option<&str>)]) -> Result<(), Problem> {
        for (name, value) in wishes {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                self.set(name, value)?;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let unfit = |expected: &str| {
            let shown = printable(value.as_bytes(), SHOWN);
            let detail = format!("«\u{a0}{shown}\u{a0}»\u{a0}; attendu\u{a0}: {expected}");
            Problem::bad(name, detail)
        };
        match name {
            "encoding" => {
                let named = Encoding::named(value);
                let named = named.ok_or_else(|| unfit("auto, utf-8, windows-1252, utf-16"));
                self.encoding = Some(named?);
            }
            "periode" => {
                let months = value.parse();
                self.periode = Some(months.map_err(|_| unfit("AAAA-MM..AAAA-MM"))?);
            }
            "accept_empty" | "accept_incomplete" => {
                let yes = value.parse().map_err(|_| unfit("true, false"))?;
                let wish = match name {
                    "accept_empty" => &mut self.accept.empty,
                    _ => &mut self.accept.incomplete,
                };
                *wish = yes;
            }
            _ => return Err(unknown_field(name)),
        }
        Ok(())
    }
}

/// Asks for a report.
///
/// Without a body: on the usual file. JSON: on a file of the data folder. A form or a raw body: on the file that is sent, which is
/// written to disk as it comes.
#[utoipa::path(post, path = PROCESS, tag = "jobs",
    params(
        Named,
        ("X-Fichier" = Option<String>, Header, description = "The name of the file, where it is the body itself; `nom` goes first"),
    ),
    request_body(
        content(
            (Asked = "application/json"),
            (Form = "multipart/form-data"),
        ),
        description = "Nothing, the name of a file, or a file",
    ),
    responses(
        (status = 202, description = "The job is asked for", body = Started,
            headers(("Location" = String, description = "Where its state is"))),
        (status = 400, description = "The body, the name or the path cannot be used", body = Problem),
        (status = 404, description = "The data folder has no such file", body = Problem),
        (status = 413, description = "The file is larger than allowed", body = Problem),
        (status = 415, description = "The body is neither JSON, nor a form, nor a file", body = Problem),
        (status = 503, description = "The message broker does not answer", body = Problem),
        (status = 507, description = "The disk is full", body = Problem),
    ))]
async fn process(
    State(app): State<Shared>,
    Params(Named {
        nom,
        encoding,
        periode,
        accept_empty,
        accept_incomplete,
    }): Params<Named>,
    request: Request,
) -> Result<Response, Problem> {
    let job = new_job()?;
    let query = [
        ("encoding", encoding.as_deref()),
        ("periode", periode.as_deref()),
        ("accept_empty", accept_empty.as_deref()),
        ("accept_incomplete", accept_incomplete.as_deref()),
    ];
    // nothing is taken of a request that will be refused
    Wishes::default().take(&query)?;
    let ask = async |job, files, mut wishes: Wishes| {
        wishes.take(&query)?;
        on_files(&app, job, files, wishes).await
    };
    let (parts, body) = request.into_parts();
    let headers = &parts.headers;
    if headers
        .get(CONTENT_ENCODING)
        .is_some_and(|encoding| encoding != "identity")
    {
        let detail = "Content-Encoding n’est pas pris en charge\u{a0}; envoyez le fichier compressé tel quel (.gz, .zst)";
        return Err(body::unsupported(detail).about("Content-Encoding"));
    }
    match body::content_type(headers).as_deref() {
        None => {
            if !body::small(body).await?.is_empty() {
                return Err(unsupported());
            }
            ask(job, vec![usual(&app).await?], Wishes::default()).await
        }
        Some("application/json") => {
            let body = body::small(body).await?;
            let asked = match &*body {
                [] => Asked::default(),
                body => body::object(body, "{\"fichier\": \"…\", \"encoding\": \"windows-1252\"}")?,
            };
            let file = match asked.fichier {
                None => usual(&app).await?,
                Some(fichier) => inside(&app, &fichier).await?,
            };
            let mut wishes = Wishes {
                accept: Accept {
                    empty: asked.accept_empty,
                    incomplete: asked.accept_incomplete,
                },
                ..Wishes::default()
            };
            wishes.take(&[
                ("encoding", asked.encoding.as_deref()),
                ("periode", asked.periode.as_deref()),
            ])?;
            ask(job, vec![file], wishes).await
        }
        Some("multipart/form-data") => {
            check_length(&app, headers, FORM)?;
            let (upload, said) = from_form(&app, &job, Request::from_parts(parts, body)).await?;
            let started = ask(job, upload.files.clone(), said).await?;
            upload.keep();
            Ok(started)
        }
        Some(raw) if RAW.contains(&raw) => {
            check_length(&app, headers, 0)?;
            let name = nom.or_else(|| {
                let header = headers.get(NAME)?;
                Some(String::from_utf8_lossy(header.as_bytes()).into_owned())
            });
            let said = Wishes {
                encoding: charset(headers)?,
                ..Wishes::default()
            };
            let mut upload = Upload::new(&app, &job);
            let name = name.unwrap_or_default();
            upload
                .receive(&app, &name, body.into_data_stream(), |_| ())
                .await?;
            let started = ask(job, upload.files.clone(), said).await?;
            upload.keep();
            Ok(started)
        }
        Some(_) => Err(unsupported()),
    }
}

fn unsupported() -> Problem {
    body::unsupported(
        "attendu\u{a0}: application/json, multipart/form-data, text/csv ou application/octet-stream",
    )
}

/// The name of a job that nobody asked for before: a random UUID.
fn new_job() -> Result<JobId, Problem> {
    let mut bytes = [0; 16];
    let random = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    for dash in [20, 16, 12, 8] {
        digits.insert(dash, '-');
    }
    let named = digits.parse().ok().filter(|_| random.is_ok());
    named.ok_or_else(|| Problem::unavailable("le système ne donne pas de nombres aléatoires"))
}

/// The file that is reported on where nobody names one.
async fn usual(app: &App) -> Result<PathBuf, Problem> {
    let file = app.config.input.clone();
    match tokio::fs::metadata(&file).await {
        Ok(_) => Ok(file),
        Err(_) => Err(Problem::not_found(
            "le fichier par défaut n’existe pas\u{a0}; envoyez un fichier, ou nommez-en un",
        )),
    }
}

/// The file of the data folder with this path, wherever links lead.
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

/// Asks for a job on some files.
async fn on_files(
    app: &App,
    job: JobId,
    files: Vec<PathBuf>,
    wishes: Wishes,
) -> Result<Response, Problem> {
    let fichier = shown(&files);
    let usual = app.config.sales.request(files, today());
    let request = autoconnect_jobs::sales::Request {
        encoding: wishes.encoding.unwrap_or(usual.encoding),
        periode: wishes.periode.or(usual.periode),
        ..usual
    };
    let unsendable = |_| Problem::bad(FIELD, "le chemin du fichier n’est pas de l’UTF-8");
    let request = JobRequest {
        job: job.clone(),
        kind: Sales::NAME.to_owned(),
        schema: Sales::SCHEMA,
        request: serde_json::value::to_raw_value(&request).map_err(unsendable)?,
        fingerprint: None,
        accept: wishes.accept,
    };
    let message = request.to_message().map_err(unsendable)?;
    match tokio::time::timeout(PUBLISH, app.link.publish(message)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(job_id = %job, %error, "job not asked for");
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
    app.activity.asked(job.clone(), &fichier);
    tracing::info!(job_id = %job, fichier, "job asked for");
    let location = [(LOCATION, format!("/api/job/{job}/status"))];
    let started = Started {
        status: "processing_started",
        job_id: job,
    };
    Ok((StatusCode::ACCEPTED, location, Json(started)).into_response())
}

/// What people call these files: the first, and how many there are beside it.
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

/// The encoding that a `Content-Type` says; that of plain ASCII is none.
fn charset(headers: &HeaderMap) -> Result<Option<Encoding>, Problem> {
    let Some(said) = body::charset(headers) else {
        return Ok(None);
    };
    if said.eq_ignore_ascii_case("us-ascii") || said.eq_ignore_ascii_case("ascii") {
        return Ok(None);
    }
    Encoding::of_label(&said).map(Some).ok_or_else(|| {
        let shown = printable(said.as_bytes(), SHOWN);
        let detail = format!(
            "charset «\u{a0}{shown}\u{a0}» inconnu\u{a0}; attendu\u{a0}: utf-8, windows-1252 ou utf-16"
        );
        Problem::bad("Content-Type", detail)
    })
}

/// Refuses what says of itself that it is too large, before it comes.
fn check_length(app: &App, headers: &HeaderMap, beside: u64) -> Result<(), Problem> {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| {
        let length = length.to_str().ok()?;
        length.parse::<u64>().ok()
    });
    if length.is_some_and(|length| length > app.config.api.max_upload.saturating_add(beside)) {
        return Err(over_limit(app));
    }
    Ok(())
}

fn over_limit(app: &App) -> Problem {
    let most = app.config.api.max_upload;
    body::too_large(format!("un fichier de {most} octets au plus est accepté"))
}

/// The files that came, removed with their folder unless they are kept.
struct Upload {
    folder: PathBuf,
    files: Vec<PathBuf>,
    /// Bytes of all of them.
    length: u64,
}

impl Upload {
    /// Nothing yet, of this job.
    fn new(app: &App, job: &JobId) -> Self {
        Self {
            folder: app.config.api.data.join(UPLOADS).join(job.as_str()),
            files: Vec::new(),
            length: 0,
        }
    }

    /// The name of the next file, cleaned, as none before has it.
    fn name(&self, name: &str) -> String {
        let name = clean(name);
        let is_taken = |name: &str| self.files.contains(&self.folder.join(name));
        if !is_taken(&name) {
            return name;
        }
        let mut names = (2..).map(|n| format!("{n}-{name}"));
        names.find(|name| !is_taken(name)).unwrap_or_default()
    }

    /// Writes a file that was called so to disk as it comes; `taken` is told of every part.
    async fn receive<E: Error + 'static>(
        &mut self,
        app: &App,
        name: &str,
        parts: impl Stream<Item = Result<Bytes, E>>,
        taken: impl Fn(&Bytes),
    ) -> Result<(), Problem> {
        tokio::fs::create_dir_all(&self.folder)
            .await
            .map_err(unwritten)?;
        let name = self.name(name);
        let unfinished = self.folder.join(format!("{name}.{UNFINISHED}"));
        let file = tokio::fs::File::create_new(&unfinished).await;
        let mut file = BufWriter::with_capacity(WRITE, file.map_err(unwritten)?);
        let mut parts = std::pin::pin!(parts);
        let before = self.length;
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| body::unreadable(&error))?;
            taken(&part);
            self.length += part.len() as u64;
            if self.length > app.config.api.max_upload {
                return Err(over_limit(app));
            }
            app.metrics.uploaded(part.len() as u64);
            file.write_all(&part).await.map_err(unwritten)?;
        }
        if self.length == before {
            let detail = format!("le fichier {name} est vide");
            return Err(Problem::bad(FIELD, detail));
        }
        file.flush().await.map_err(unwritten)?;
        let file = self.folder.join(name);
        tokio::fs::rename(&unfinished, &file)
            .await
            .map_err(unwritten)?;
        self.files.push(file);
        Ok(())
    }

    fn keep(mut self) {
        self.folder.clear();
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.folder.as_os_str().is_empty() {
            remove(&self.folder);
        }
    }
}

fn remove(folder: &Path) {
    match fs::remove_dir_all(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "upload not removed");
        }
    }
}

/// Writes the files of a form to disk, and reads what else it says.
async fn from_form(app: &App, job: &JobId, request: Request) -> Result<(Upload, Wishes), Problem> {
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
    let mut upload = Upload::new(app, job);
    let (mut wishes, mut charsets) = (Wishes::default(), Vec::new());
    let mut given: Vec<String> = Vec::new();
    while let Some(field) = form.next_field().await.map_err(|e| body::unreadable(&e))? {
        match field.name() {
            Some(FIELD) if upload.files.len() == MOST_FILES => {
                let detail = format!("{MOST_FILES} fichiers au plus sont acceptés");
                return Err(Problem::bad(FIELD, detail));
            }
            Some(FIELD) => {
                charsets.push(charset(field.headers())?);
                let name = field.file_name().unwrap_or_default().to_owned();
                let taken = |bytes: &Bytes| {
                    allowed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                };
                upload.receive(app, &name, field, taken).await?;
            }
            Some(name) if Wishes::NAMES.contains(&name) => {
                let name = name.to_owned();
                if given.contains(&name) {
                    let detail = "champ donné plusieurs fois\u{a0}; une seule valeur est attendue";
                    return Err(Problem::bad(name, detail));
                }
                let value = field.text().await.map_err(|e| body::unreadable(&e))?;
                wishes.take(&[(&name, Some(value.trim()))])?;
                given.push(name);
            }
            other => return Err(unknown_field(other.unwrap_or_default())),
        }
    }
    if upload.files.is_empty() {
        return Err(Problem::bad(
            FIELD,
            "le formulaire n’a pas de champ «\u{a0}fichier\u{a0}»",
        ));
    }
    charsets.dedup();
    if wishes.encoding.is_none() {
        let [one] = charsets[..] else {
            return Err(Problem::bad(
                "Content-Type",
                "les fichiers disent des charsets différents\u{a0}; donnez «\u{a0}encoding\u{a0}», ou un job à chacun",
            ));
        };
        wishes.encoding = one;
    }
    Ok((upload, wishes))
}

fn unknown_field(name: &str) -> Problem {
    let shown = printable(name.as_bytes(), SHOWN);
    let detail = format!(
        "champ «\u{a0}{shown}\u{a0}» inconnu\u{a0}; attendu\u{a0}: {FIELD} (une ou plusieurs fois), {}",
        Wishes::NAMES.join(", ")
    );
    Problem::bad(shown, detail)
}

/// The same body, in pieces that come one at a time, failing where more of it comes than is `allowed`: whoever looks for
/// the end of a part keeps all that comes until then.
fn in_pieces(body: Body, allowed: Arc<AtomicU64>) -> Body {
    let start = (body.into_data_stream(), Bytes::new(), 0);
    Body::from_stream(stream::try_unfold(
        start,
        move |(mut frames, mut rest, seen)| {
            let allowed = Arc::clone(&allowed);
            async move {
                // so that the last piece is dealt with before the next one comes
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

/// Why a file could not be written.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn unwritten(error: io::Error) -> Problem {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    tracing::error!(%error, "upload not written");
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "Disque plein",
            "le serveur n’a plus de place pour ce fichier",
        ),
        _ => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Écriture impossible",
            "le serveur ne peut pas écrire ce fichier\u{a0}; la cause est dans son journal",
        ),
    }
}

/// A name for a file, as near to the one it came with as is safe: its last part, of letters, digits, `.`, `_` and `-`, at
/// most [`MAX_NAME`] bytes, with an ending that tables have.
fn clean(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let lower = plain.to_ascii_lowercase();
    let known = ENDINGS.iter().filter(|&&ending| lower.ends_with(ending));
    let ending = known.max_by_key(|ending| ending.len());
    let (stem, ending) = match ending {
        Some(ending) => (&plain[..plain.len() - ending.len()], *ending),
        None => (plain.as_str(), ENDINGS[0]),
    };
    let stem = stem.trim_start_matches(['.', '-']);
    let mut most = stem.len().min(MAX_NAME - ending.len());
    while !stem.is_char_boundary(most) {
        most -= 1;
    }
    match &stem[..most] {
        "" => UNNAMED.to_owned(),
        stem => format!("{stem}{ending}"),
    }
}

/// Removes uploads whose job has ended, and those that nobody needs any more, for as long as it is asked.
pub(crate) async fn sweep(app: &Shared) -> Infallible {
    let mut changes = app.activity.changes();
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = tick.tick() => sweep_all(app).await,
            change = changes.recv() => match change {
                Ok(job) if job.status.has_ended() => {
                    let folder = app.config.api.data.join(UPLOADS).join(job.job_id.as_str());
                    let _died = tokio::task::spawn_blocking(move || remove(&folder)).await;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => sweep_all(app).await,
                Err(RecvError::Closed) => std::future::pending().await,
            },
        }
    }
}

async fn sweep_all(app: &Shared) {
    let app = Arc::clone(app);
    let sweeping = tokio::task::spawn_blocking(move || {
        let Ok(folders) = fs::read_dir(app.config.api.data.join(UPLOADS)) else {
            return;
        };
        for folder in folders.flatten() {
            let is_folder = folder.file_type().is_ok_and(|file| file.is_dir());
            let name = folder.file_name();
            let Some(Ok(job)) = name.to_str().map(str::parse::<JobId>) else {
                continue;
            };
            let state = app.activity.job(&job).map(|job| job.status);
            if is_folder && is_done_with(&folder.path(), state) {
                remove(&folder.path());
            }
        }
    });
    let _died = sweeping.await;
}

/// Whether nobody needs an upload any more.
fn is_done_with(folder: &Path, state: Option<JobState>) -> bool {
    match state {
        Some(state) => state.has_ended(),
        None => {
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            let unfinished = files
                .map(|file| file.path())
                .find(|path| path.extension().is_some_and(|ending| ending == UNFINISHED));
            match unfinished {
                Some(file) => is_older(&file, ABANDONED),
                None => is_older(folder, STALE),
            }
        }
    }
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    let since = modified.map(|then| SystemTime::now().duration_since(then).unwrap_or_default());
    since.is_ok_and(|since| since > age)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_what_it_was_as_far_as_it_is_safe() {
        for (name, expected) in [
            ("ventes.csv", "ventes.csv"),
            ("Ventes été 2024 (1).CSV", "Ventes_été_2024__1_.csv"),
            ("a.csv.gz", "a.csv.gz"),
            ("a.tsv", "a.tsv"),
            ("a.zip", "a.zip.csv"),
            ("../../etc/passwd", "passwd.csv"),
            ("C:\\Users\\moi\\x.txt", "x.txt"),
            ("..", UNNAMED),
            (".csv", UNNAMED),
            ("", UNNAMED),
            ("-", UNNAMED),
            ("a\0b\n.csv", "a_b_.csv"),
        ] {
            assert_eq!(clean(name), expected, "{name:?}");
        }
        let long = clean(&"é".repeat(500));
        assert!(long.len() <= MAX_NAME && long.ends_with("é.csv"), "{long}");
    }

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

    #[test]
    fn what_has_become_old_is_done_with() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.csv.part");
        let at = |age: Duration| {
            let modified = SystemTime::now() - age;
            fs::File::create(&file)?.set_modified(modified)
        };
        let done = |state| is_done_with(folder.path(), state);
        at(ABANDONED / 2)?;
        assert!(!done(None));
        at(ABANDONED * 2)?;
        assert!(done(None));
        assert!(!done(Some(JobState::Processing)));
        fs::rename(&file, folder.path().join("a.csv"))?;
        assert!(!done(None));
        assert!(done(Some(JobState::Cancelled)));
        Ok(())
    }
}
