//! `POST /api/process`: requests a report on the configured input, on a file of the data folder, or on one or several
//! uploaded files.

use std::sync::Arc;

use autoconnect_common::results::Accept;
use autoconnect_common::text::printable;
use autoconnect_jobs::sales::Sales as Job;
use autoconnect_jobs::sales::periode::Plage;
use autoconnect_jobs::sales::request::{Encoding, Request as Asks};
use autoconnect_jobs::sales::settings::today;
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Sales;
use crate::app::Shared;
use crate::body;
use crate::params::Params;
use crate::problem::Problem;
use crate::uploads::{self, Options, SHOWN, Started};

/// The route that takes uploads.
pub(super) const PROCESS: &str = "/api/process";

/// The route of this module.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    uploads::unlimited(OpenApiRouter::new().routes(routes!(process)), PROCESS)
}

/// The file of the data folder that the job reads, and the options of the job.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = FileOfData)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// The path of a file, relative to the data folder; the configured file where absent.
    fichier: Option<String>,
    /// The text encoding of the file; detected from its bytes where absent.
    #[schema(value_type = Option<EncodingWord>)]
    encoding: Option<String>,
    /// The months to report on, `2024-01..2024-06`; detected from the rows where absent.
    periode: Option<String>,
    /// Whether a report without accepted rows may become the newest.
    accept_empty: bool,
    /// Whether an incomplete report may replace a complete one as the newest.
    accept_incomplete: bool,
}

/// The text encoding of files; `auto` detects it from their bytes.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
#[expect(dead_code, reason = "it only describes the values of a parameter")]
enum EncodingWord {
    /// UTF-8; a file without any valid UTF-8 sequence beyond ASCII is read as Windows-1252.
    Auto,
    /// UTF-8; rows that are not valid UTF-8 are rejected.
    #[schema(rename = "utf-8")]
    Utf8,
    /// The encoding of old Windows exports.
    #[schema(rename = "windows-1252")]
    Windows1252,
    /// UTF-16, in the byte order of its mark, or little endian without one.
    #[schema(rename = "utf-16")]
    Utf16,
}

/// A form with files and options.
#[derive(ToSchema)]
#[schema(as = FileForm)]
#[expect(
    dead_code,
    reason = "it only describes the form, which is read as a stream"
)]
struct Form {
    /// A CSV file, compressed (`.gz`, `.zst`) or not. The field may be repeated: one job then reads all the files.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    fichier: Vec<u8>,
    /// The text encoding of the files; the query has priority.
    #[schema(inline)]
    encoding: Option<EncodingWord>,
    /// The months to report on; the query has priority.
    periode: Option<String>,
    /// Whether a report without accepted rows may become the newest.
    #[schema(inline)]
    accept_empty: Option<YesOrNo>,
    /// Whether an incomplete report may replace a complete one as the newest.
    #[schema(inline)]
    accept_incomplete: Option<YesOrNo>,
}

/// A boolean of a query or a form.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "it only describes the values of a parameter")]
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
    /// The name of the file, where the body is the file.
    nom: Option<String>,
    /// The text encoding of the files. Where absent, that of the `charset` in the `Content-Type`, or else detected from the bytes.
    #[param(inline, value_type = Option<EncodingWord>)]
    encoding: Option<String>,
    /// The months to report on; detected from the rows where absent.
    #[param(example = "2024-01..2024-06")]
    periode: Option<String>,
    /// Whether a report without accepted rows may become the newest.
    #[param(inline, value_type = Option<YesOrNo>)]
    accept_empty: Option<String>,
    /// Whether an incomplete report may replace a complete one as the newest.
    #[param(inline, value_type = Option<YesOrNo>)]
    accept_incomplete: Option<String>,
}

/// The options of a request: how its files are read, and whether the report may become the newest.
#[derive(Debug, Clone, Default)]
pub(super) struct Wishes {
    pub(super) encoding: Option<Encoding>,
    pub(super) periode: Option<Plage>,
    accept: Accept,
    /// The encoding that the `charset` of each file names; `None` for a file without one, or for ASCII.
    charsets: Vec<Option<Encoding>>,
}

impl Options for Wishes {
    const NAMES: &'static [&'static str] =
        &["encoding", "periode", "accept_empty", "accept_incomplete"];

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
            _ => {
                let yes = value.parse().map_err(|_| unfit("true, false"))?;
                let wish = match name {
                    "accept_empty" => &mut self.accept.empty,
                    _ => &mut self.accept.incomplete,
                };
                *wish = yes;
            }
        }
        Ok(())
    }

    fn charset(&mut self, charset: Option<&str>) -> Result<(), Problem> {
        let is_ascii = |said: &&str| {
            said.eq_ignore_ascii_case("us-ascii") || said.eq_ignore_ascii_case("ascii")
        };
        let encoding = match charset.filter(|said| !is_ascii(said)) {
            None => None,
            Some(said) => Some(Encoding::of_label(said).ok_or_else(|| {
                let shown = printable(said.as_bytes(), SHOWN);
                let detail = format!(
                    "charset «\u{a0}{shown}\u{a0}» inconnu\u{a0}; attendu\u{a0}: utf-8, windows-1252 ou utf-16"
                );
                Problem::bad("Content-Type", detail)
            })?),
        };
        self.charsets.push(encoding);
        Ok(())
    }

    fn check(&mut self) -> Result<(), Problem> {
        self.charsets.dedup();
        if self.encoding.is_none() {
            let [one] = self.charsets[..] else {
                return Err(Problem::bad(
                    "Content-Type",
                    "les fichiers disent des charsets différents\u{a0}; donnez «\u{a0}encoding\u{a0}», ou un job à chacun",
                ));
            };
            self.encoding = one;
        }
        Ok(())
    }

    fn of_json(body: &[u8]) -> Result<(Option<String>, Self), Problem> {
        let asked: Asked =
            body::object(body, "{\"fichier\": \"…\", \"encoding\": \"windows-1252\"}")?;
        let mut wishes = Self {
            accept: Accept {
                empty: asked.accept_empty,
                incomplete: asked.accept_incomplete,
            },
            ..Self::default()
        };
        uploads::set_all(
            &mut wishes,
            &[
                ("encoding", asked.encoding.as_deref()),
                ("periode", asked.periode.as_deref()),
            ],
        )?;
        Ok((asked.fichier, wishes))
    }

    fn accept(&self) -> Accept {
        self.accept
    }
}

/// Requests a report.
///
/// Without a body, the job reads the configured file; with JSON, a file of the data folder; with a form or a raw body, the
/// files that are sent, which are written to disk as they arrive.
#[utoipa::path(post, path = PROCESS, tag = "jobs",
    params(
        Named,
        ("X-Fichier" = Option<String>, Header, description = "The name of the file, where the body is the file; `nom` has priority"),
    ),
    request_body(
        content(
            (Asked = "application/json"),
            (Form = "multipart/form-data"),
        ),
        description = "Nothing, the name of a file, or a file",
    ),
    responses(
        (status = 202, description = "The job is requested", body = Started,
            headers(("Location" = String, description = "The address of the job's status"))),
        (status = 400, description = "The body, the name or the path cannot be used", body = Problem),
        (status = 404, description = "The data folder has no such file", body = Problem),
        (status = 413, description = "The file is larger than allowed", body = Problem),
        (status = 415, description = "The body is neither JSON, nor a form, nor a file", body = Problem),
        (status = 503, description = "The message broker does not answer", body = Problem),
        (status = 507, description = "The disk is full", body = Problem),
    ))]
async fn process(
    State(app): State<Shared>,
    Extension(sales): Extension<Arc<Sales>>,
    Params(Named {
        nom,
        encoding,
        periode,
        accept_empty,
        accept_incomplete,
    }): Params<Named>,
    request: Request,
) -> Result<Response, Problem> {
    let query = [
        ("encoding", encoding.as_deref()),
        ("periode", periode.as_deref()),
        ("accept_empty", accept_empty.as_deref()),
        ("accept_incomplete", accept_incomplete.as_deref()),
    ];
    let brought = uploads::take::<Wishes>(&app, nom, &query, request).await?;
    let default = sales.settings.request(brought.files.clone(), today());
    let request = Asks {
        encoding: brought.options.encoding.unwrap_or(default.encoding),
        periode: brought.options.periode.or(default.periode),
        ..default
    };
    brought.start::<Job>(&app, &request).await
}
