//! The files that a job left on disk. A job that failed leaves files too: its rejects.
//!
//! A requested name is looked up in the list of the job's files, which is made by walking the job's folder without following
//! links. So no name can lead out of the folder.

use std::fs;
use std::io;
use std::path::{Path as FilePath, PathBuf};

use autoconnect_common::JobId;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::lookup::{Named, named, unknown};
use crate::params::{Nothing, Params};
use crate::problem::Problem;

/// How many bytes of a file are read and sent at once.
const PIECE: usize = 64 << 10;
/// The most files of a job that are listed; a job leaves some twenty.
const MOST: usize = 1000;
/// How many levels of folders are walked: the job's folder, and the folder of tables in it.
const DEPTH: usize = 2;
/// The route of a file, as axum writes it; in the OpenAPI document the parameter has no star.
const FILE: &str = "/api/jobs/{id}/files/{*chemin}";
const DOCUMENTED: &str = "/api/jobs/{id}/files/{chemin}";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    let mut routes = OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(file));
    let paths = &mut routes.get_openapi_mut().paths.paths;
    if let Some(item) = paths.remove(FILE) {
        paths.insert(DOCUMENTED.to_owned(), item);
    }
    routes
}

/// A file that a job left.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub struct JobFile {
    /// The path of the file below the folder of the job, as in `tables/marge.csv`.
    pub chemin: String,
    /// The size of the file in bytes.
    pub octets: u64,
}

/// The files that a job left.
#[derive(Debug, Serialize, ToSchema)]
struct JobFiles {
    /// The files, sorted by path.
    fichiers: Vec<JobFile>,
}

/// The files in a folder of results, sorted by path; empty where there is no such folder. Blocks.
pub(crate) fn files_of(folder: &FilePath) -> Vec<JobFile> {
    let mut files = Vec::new();
    walk(folder, "", DEPTH, &mut files);
    files.sort();
    files
}

fn walk(folder: &FilePath, prefix: &str, depth: usize, files: &mut Vec<JobFile>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // a file that is being written has such a name
        let is_hidden = name.starts_with('.') || name.ends_with(".tmp");
        let (Ok(kind), false) = (entry.file_type(), is_hidden || files.len() >= MOST) else {
            continue;
        };
        let chemin = format!("{prefix}{name}");
        if kind.is_dir() && depth > 1 {
            walk(&entry.path(), &format!("{chemin}/"), depth - 1, files);
        } else if kind.is_file()
            && let Ok(metadata) = entry.metadata()
        {
            let octets = metadata.len();
            files.push(JobFile { chemin, octets });
        }
    }
}

/// The files that a job left. A job that failed may leave files too.
#[utoipa::path(get, path = "/api/jobs/{id}/files", tag = "jobs",
    params(("id" = String, Path, description = "The id of the job")),
    responses(
        (status = 200, description = "The files, sorted by path", body = JobFiles),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id, or it left no file", body = Problem),
    ))]
async fn list(
    State(app): State<Shared>,
    id: Named,
    _: Params<Nothing>,
) -> Result<Json<JobFiles>, Problem> {
    let (_, fichiers) = listed(&app, named(id)?).await?;
    Ok(Json(JobFiles { fichiers }))
}

/// A file that a job left, byte for byte.
#[utoipa::path(get, path = FILE, tag = "jobs",
    params(
        ("id" = String, Path, description = "The id of the job"),
        ("chemin" = String, Path, description = "The path of the file, as it is listed: `rejets.csv`, `tables/marge.csv`"),
    ),
    responses(
        (status = 200, description = "The file", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 404, description = "No job has this id, or it left no such file", body = Problem),
    ))]
async fn file(
    State(app): State<Shared>,
    path: Result<Path<(String, String)>, PathRejection>,
    _: Params<Nothing>,
) -> Result<Response, Problem> {
    let Ok(Path((id, chemin))) = path else {
        return Err(no_file());
    };
    let (folder, files) = listed(&app, named(Ok(Path(id)))?).await?;
    let found = files.into_iter().find(|file| file.chemin == chemin);
    let found = found.ok_or_else(no_file)?;
    let opened = tokio::fs::File::open(folder.join(&found.chemin)).await;
    let opened = opened.map_err(|_| no_file())?;
    Ok(sent(&found.chemin, opened).await)
}

fn no_file() -> Problem {
    Problem::not_found("ce job n’a pas laissé de tel fichier").about("chemin")
}

/// The folder of a job, and the files in it.
async fn listed(app: &Shared, job: JobId) -> Result<(PathBuf, Vec<JobFile>), Problem> {
    let folder = app.editions.folder(&job);
    let looked = folder.clone();
    let files = spawn_blocking(move || files_of(&looked)).await;
    let files = files.unwrap_or_default();
    if !files.is_empty() {
        return Ok((folder, files));
    }
    Err(match app.activity.job(&job) {
        Some(_) => Problem::not_found("ce job n’a laissé aucun fichier").about("id"),
        None => unknown().about("id"),
    })
}

/// A response that sends a file as a download, and reads it piece by piece.
pub(crate) async fn sent(chemin: &str, file: tokio::fs::File) -> Response {
    let name = chemin.rsplit('/').next().unwrap_or_default();
    let kind = match name.rsplit('.').next() {
        Some("csv") => "text/csv; charset=utf-8",
        Some("json") => "application/json",
        Some("html") => "text/html; charset=utf-8",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    };
    let length = file.metadata().await.map(|metadata| metadata.len());
    let pieces = stream::try_unfold(file, async |mut file| {
        let mut piece = Vec::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        Ok::<_, io::Error>((read > 0).then(|| (Bytes::from(piece), file)))
    });
    let headers = [
        (CONTENT_TYPE, kind.to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    let length = length.ok().map(|length| [(CONTENT_LENGTH, length)]);
    (headers, length, Body::from_stream(pieces)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_files_of_the_folder_itself_are_listed() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = place.path().join("jobs/one");
        fs::create_dir_all(folder.join("tables/deeper")).expect("folders");
        fs::write(place.path().join("secret"), "x").expect("written");
        for name in [
            "rejets.csv",
            "tables/marge.csv",
            "tables/deeper/x.csv",
            ".pages",
            "report.json.tmp",
        ] {
            fs::write(folder.join(name), "abc").expect("written");
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink("../../secret", folder.join("link.csv")).expect("linked");
            symlink("../..", folder.join("up")).expect("linked");
        }
        let found = files_of(&folder);
        let names: Vec<&str> = found.iter().map(|file| file.chemin.as_str()).collect();
        assert_eq!(names, ["rejets.csv", "tables/marge.csv"]);
        assert!(found.iter().all(|file| file.octets == 3));
        assert!(files_of(&place.path().join("none")).is_empty());
    }
}
