//! The page that requests an analysis: of an uploaded file, or of one in the data folder.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use askama::Template;
use autoconnect_report::{measure, number};
use axum::extract::State;
use axum::response::Response;

use super::frame::{Frame, Here, Visitor, lost};
use crate::activity::now_ms;
use crate::app::Shared;
use crate::kinds::Intake;

/// The most files that are listed, the newest ones: more are hard to choose from.
const LISTED: usize = 50;
/// The most entries of the folder that are read: each costs a system call, and a page must not take seconds.
const LOOKED_AT: usize = 10_000;
/// The suffixes of readable files.
const ENDS: [&str; 9] = [
    ".csv", ".csv.gz", ".csv.zst", ".tsv", ".tsv.gz", ".tsv.zst", ".txt", ".txt.gz", ".txt.zst",
];

/// A file in the data folder.
#[derive(Debug, PartialEq, Eq)]
struct File {
    name: String,
    bytes: u64,
    changed: SystemTime,
}

struct Listed {
    name: String,
    size: String,
    when: String,
}

#[derive(Template)]
#[template(path = "analysis.html")]
struct Page {
    t: Frame,
    intake: Intake,
    files: Vec<Listed>,
    /// The sentence that says how many more files there are; empty where there are none.
    more: String,
    limit: String,
    max_upload: u64,
}

/// The page.
pub(super) async fn page(State(app): State<Shared>, visitor: Visitor) -> Response {
    let lang = visitor.lang;
    let Some(intake) = app.config.kinds.intake(lang) else {
        return lost(&visitor);
    };
    let folder = app.config.api.data.clone();
    let listed = tokio::task::spawn_blocking(move || files(&folder)).await;
    let mut files = listed.unwrap_or_default();
    let more = match files.len().saturating_sub(LISTED) {
        0 => String::new(),
        n => {
            let n = number::count(n as u64, lang);
            lang.say(
                format!("et {n} autres, plus anciens"),
                format!("and {n} older ones"),
            )
        }
    };
    files.truncate(LISTED);
    let now = now_ms();
    let files = files.into_iter().map(|file| {
        let changed = file.changed.duration_since(UNIX_EPOCH);
        let changed = changed.map_or(0, |since| since.as_millis() as u64);
        Listed {
            size: measure::bytes(file.bytes, lang),
            when: measure::ago(changed, now, lang),
            name: file.name,
        }
    });
    let max_upload = app.config.api.max_upload;
    visitor.show(&Page {
        t: visitor.frame(Here::Analysis, lang.say("Nouvelle analyse", "New analysis")),
        intake,
        files: files.collect(),
        more,
        limit: measure::bytes(max_upload, lang),
        max_upload,
    })
}

/// The readable files directly in the folder, the newest first; empty for a folder that cannot be read.
fn files(folder: &Path) -> Vec<File> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let file = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let lower = name.to_ascii_lowercase();
        let fits = !name.starts_with('.') && ENDS.iter().any(|end| lower.ends_with(end));
        // `metadata` of an entry does not follow links, which might lead out of the folder
        let metadata = entry.metadata().ok().filter(|_| fits)?;
        metadata.is_file().then_some(File {
            name,
            bytes: metadata.len(),
            changed: metadata.modified().unwrap_or(UNIX_EPOCH),
        })
    };
    let mut files: Vec<File> = entries
        .take(LOOKED_AT)
        .filter_map(|entry| file(entry.ok()?))
        .collect();
    files.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.name.cmp(&b.name)));
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_can_be_read_are_listed() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["a.csv", "B.CSV.GZ", "README.md", ".hidden.csv", "c.txt"] {
            std::fs::write(folder.path().join(name), "x").expect("written");
        }
        std::fs::create_dir(folder.path().join("d.csv")).expect("a folder");
        #[cfg(unix)]
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("e.csv")).expect("a link");
        let mut names: Vec<String> = files(folder.path()).into_iter().map(|f| f.name).collect();
        names.sort();
        assert_eq!(names, ["B.CSV.GZ", "a.csv", "c.txt"]);
        assert!(files(&folder.path().join("none")).is_empty());
    }
}
