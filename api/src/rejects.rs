//! The rows that the newest report refused, page by page.
//!
//! They are in `rejets.csv`, which may be much larger than memory: it is read through once, when somebody first asks, to
//! learn where its rows begin; a page is then read from where it begins. The file is the one beside the report; one whose
//! counts are not the report's is not taken. A job that failed has rejects without a report.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use autoconnect_common::JobId;
use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_jobs::sales::reason::Reason;
use autoconnect_jobs::sales::ville;
use autoconnect_tables::reject::COLUMNS;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use csv::{Position, StringRecord};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::editions::Edition;
use crate::params::{Page, Paging, Params, PerPage};
use crate::problem::Problem;
use crate::reads::{Otherwise, Reader, json};

/// The most places that are remembered of a list; an even number.
const MARKS: usize = 1 << 14;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(rejets))
}

/// A row that was refused, cell for cell as in `rejets.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reject {
    /// The line of the file on which the row begins, from 1.
    pub ligne: u64,
    /// Why.
    pub motif: Motif,
    /// The column at fault; empty where it is the whole row.
    pub champ: String,
    /// What stood there.
    pub valeur: String,
    /// The first line of the row.
    pub extrait: String,
    /// The base name of the file.
    pub fichier: String,
}

/// Why a row was refused, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Motif(Reason);

impl Motif {
    /// The word.
    pub fn as_str(self) -> &'static str {
        self.0.word()
    }
}

impl TryFrom<String> for Motif {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = Reason::all().find(|reason| reason.word() == text).map(Self);
        known.ok_or_else(|| {
            let words: Vec<&str> = Reason::all().map(Reason::word).collect();
            format!("motif inconnu\u{a0}; attendu\u{a0}: {}", words.join(", "))
        })
    }
}

impl Serialize for Motif {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl PartialSchema for Motif {
    fn schema() -> RefOr<Schema> {
        let words = Reason::all().map(Reason::word);
        ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .enum_values(Some(words))
            .into()
    }
}

impl ToSchema for Motif {}

/// Which page of which rejects.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// The job whose rejects these are, with or without a report; that of the newest report without it.
    job: Option<String>,
    /// A reason; all without it.
    #[param(inline)]
    motif: Option<Motif>,
    /// A city: the rows whose line names it.
    ville: Option<String>,
    /// A month, `YYYY-MM`: the rows whose line has a date in it.
    mois: Option<String>,
    /// The number of the page.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000, default = 1)]
    page: Page,
    /// How many entries a page has.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 500, default = 50)]
    par_page: PerPage,
}

/// A page of rejects.
#[derive(Serialize, ToSchema)]
struct Rejets<'r> {
    /// In the order of the files and their lines.
    rejets: Vec<Reject>,
    /// The number of this page, from 1.
    page: u64,
    /// How many rejects a page has.
    par_page: u64,
    /// How many there are on all pages.
    total: u64,
    /// How many there are for each reason, whichever was asked for.
    par_motif: &'r BTreeMap<String, u64>,
}

/// The rows that the newest report refused, in the order of the file.
#[utoipa::path(get, path = "/api/rejets", tag = "report", params(Asked),
    responses((status = 200, description = "A page of rejected rows", body = Rejets<'_>),
        (status = 503, description = "The rejected rows could not be read", body = Problem), Otherwise))]
async fn rejets(
    State(app): State<Shared>,
    Params(asked): Params<Asked>,
    reader: Result<Reader, Problem>,
) -> Result<Response, Problem> {
    let reader = match reader {
        Ok(reader) => reader,
        Err(none) => return without_report(&app, asked).await?.ok_or(none),
    };
    let answer = move |edition: &Edition| {
        let (sought, paging) = asked.parts();
        let (rejets, total) = edition.rejects.page(&edition.report, &sought, paging)?;
        json(&Rejets {
            rejets,
            page: paging.page.get(),
            par_page: paging.par_page.get(),
            total,
            par_motif: &edition.report.qualite.par_motif,
        })
    };
    reader.answer(answer).await
}

/// The rejects of a job that ended without a report; `None` where it left none.
async fn without_report(app: &Shared, asked: Asked) -> Result<Option<Response>, Problem> {
    let job: Option<JobId> = asked.job.as_deref().and_then(|job| job.parse().ok());
    let Some(job) = job else { return Ok(None) };
    let app = Arc::clone(app);
    let made = spawn_blocking(move || {
        let Some(rejects) = app.editions.rejects_of(&job) else {
            return Ok(None);
        };
        let (sought, paging) = asked.parts();
        let page = rejects.page(&sought, paging);
        let (rejets, total) = page.map_err(|error| unreadable(&error))?;
        let counts = rejects.by_motif.iter();
        let counts = counts.map(|(motif, marks)| (motif.as_str().to_owned(), marks.count));
        json(&Rejets {
            rejets,
            page: paging.page.get(),
            par_page: paging.par_page.get(),
            total,
            par_motif: &counts.collect(),
        })
        .map(Some)
    });
    let body = made.await.unwrap_or_else(|error| Err(unreadable(&error)))?;
    let json = [(CONTENT_TYPE, "application/json")];
    Ok(body.map(|body| (json, body).into_response()))
}

impl Asked {
    fn parts(&self) -> (Sought, Paging) {
        let sought = Sought {
            motif: self.motif,
            ville: self.ville.as_deref().map(ville::key),
            mois: self.mois.clone(),
        };
        let paging = Paging {
            page: self.page,
            par_page: self.par_page,
        };
        (sought, paging)
    }
}

/// The first rejects of a report. Blocks.
///
/// # Errors
/// [`Problem`], where its file of rejects is not there any more.
pub fn first(edition: &Edition, most: PerPage) -> Result<Vec<Reject>, Problem> {
    let paging = Paging {
        page: Page::default(),
        par_page: most,
    };
    let (first, _) = edition
        .rejects
        .page(&edition.report, &Sought::default(), paging)?;
    Ok(first)
}

/// Which rejects are asked for; all of them by default.
#[derive(Debug, Default)]
struct Sought {
    motif: Option<Motif>,
    /// The key of a city that the line names.
    ville: Option<String>,
    /// The month of a date that the line has.
    mois: Option<String>,
}

impl Sought {
    /// Whether a row of `rejets.csv` is one of them.
    fn has(&self, row: &StringRecord) -> bool {
        let cells = || {
            let line = row.get(4).unwrap_or_default();
            let cells = line.split([',', ';', '\t', '|']);
            cells.map(|cell| cell.trim_matches(|c: char| c == '"' || c.is_whitespace()))
        };
        let in_month = |cell: &str, mois: &str| {
            let day = cell.strip_prefix(mois);
            day.is_some_and(|day| day.starts_with('-'))
        };
        self.motif
            .is_none_or(|motif| row.get(1) == Some(motif.as_str()))
            && (self.ville.as_ref()).is_none_or(|key| cells().any(|cell| ville::key(cell) == *key))
            && (self.mois.as_ref()).is_none_or(|mois| cells().any(|cell| in_month(cell, mois)))
    }
}

/// The file with all rejects of a report.
///
/// # Errors
/// [`Problem`], where it is not there any more.
pub async fn file(edition: &Arc<Edition>) -> Result<PathBuf, Problem> {
    let edition = Arc::clone(edition);
    spawn_blocking(move || Ok(edition.rejects.rejects(&edition.report)?.file.clone()))
        .await
        .unwrap_or_else(|error| Err(unreadable(&error)))
}

/// Where the rejects of a report are.
#[derive(Debug)]
pub(crate) struct Source {
    /// The folder that the report is in.
    folder: PathBuf,
    /// The rejects, once somebody asked for them.
    found: Mutex<Option<Arc<Rejects>>>,
}

impl Source {
    /// Those of the report in this folder.
    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            found: Mutex::default(),
        }
    }

    /// A page, and how many rejects all pages have. Blocks.
    fn page(
        &self,
        report: &Report,
        sought: &Sought,
        paging: Paging,
    ) -> Result<(Vec<Reject>, u64), Problem> {
        if report.source.rejetees == 0 {
            return Ok((Vec::new(), 0));
        }
        let page = self.rejects(report)?.page(sought, paging);
        page.map_err(|error| unreadable(&error))
    }

    fn rejects(&self, report: &Report) -> Result<Arc<Rejects>, Problem> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rejects) = &*found {
            return Ok(Arc::clone(rejects));
        }
        let rejects = Rejects::read_of(report, &self.folder).map(Arc::new);
        let rejects = rejects.ok_or_else(|| {
            Problem::not_found(
                "les lignes rejetées de ce rapport ne sont plus dans le dossier des résultats",
            )
        })?;
        *found = Some(Arc::clone(&rejects));
        Ok(rejects)
    }
}

fn unreadable(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "rejects not read");
    Problem::unavailable(
        "les lignes rejetées n’ont pas pu être lues\u{a0}; le journal du serveur dit pourquoi",
    )
}

/// A file of rejects, and where its rows begin.
#[derive(Debug)]
pub(crate) struct Rejects {
    file: PathBuf,
    reader: Mutex<csv::Reader<File>>,
    all: Marks,
    by_motif: BTreeMap<Motif, Marks>,
}

impl Rejects {
    /// Those in this folder, if they are of that report.
    fn read_of(report: &Report, folder: &Path) -> Option<Self> {
        match Self::read(&folder.join(REJETS)) {
            Ok(rejects) => Some(rejects).filter(|rejects| rejects.are_of(report)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "rejects not read");
                None
            }
        }
    }

    /// Those in this file, read through to its end. Blocks.
    ///
    /// # Errors
    /// The disk's, and where the file is none of rejects.
    pub(crate) fn read(file: &Path) -> io::Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(1 << 16)
            .from_reader(File::open(file)?);
        if reader.headers()? != COLUMNS[..] {
            return Err(invalid("its columns are not those of rejects"));
        }
        let (mut all, mut by_motif) = (Marks::default(), BTreeMap::<Motif, Marks>::new());
        let mut row = StringRecord::new();
        while reader.read_record(&mut row)? {
            let at = row.position().map_or(0, Position::byte);
            all.push(at);
            by_motif.entry(motif(&row)?).or_default().push(at);
        }
        Ok(Self {
            file: file.to_owned(),
            reader: Mutex::new(reader),
            all,
            by_motif,
        })
    }

    /// Whether these are the rejects of that report, as far as counts tell.
    fn are_of(&self, report: &Report) -> bool {
        let counts = self.by_motif.iter();
        let counts = counts.map(|(motif, marks)| (motif.as_str(), marks.count));
        let expected = report.qualite.par_motif.iter();
        let expected: BTreeMap<&str, u64> = expected
            .map(|(motif, count)| (motif.as_str(), *count))
            .collect();
        self.all.count == report.source.rejetees && counts.collect::<BTreeMap<_, _>>() == expected
    }

    fn page(&self, sought: &Sought, paging: Paging) -> io::Result<(Vec<Reject>, u64)> {
        if sought.ville.is_some() || sought.mois.is_some() {
            return self.page_of_lines(sought, paging);
        }
        let marks = match sought.motif {
            None => Some(&self.all),
            Some(motif) => self.by_motif.get(&motif),
        };
        let Some(marks) = marks else {
            return Ok((Vec::new(), 0));
        };
        let start = paging.skipped().min(marks.count);
        let end = (start + paging.par_page.get()).min(marks.count);
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut row, mut page) = (StringRecord::new(), Vec::new());
        for number in marks.before(start)..end {
            if let Some(at) = marks.at(number) {
                let mut position = Position::new();
                position.set_byte(at);
                reader.seek(position)?;
            }
            loop {
                if !reader.read_record(&mut row)? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if sought.has(&row) {
                    break;
                }
            }
            if number >= start {
                page.push(reject(&row)?);
            }
        }
        Ok((page, marks.count))
    }

    /// A page of those whose line says something: where they begin is not remembered, so all are read through.
    fn page_of_lines(&self, sought: &Sought, paging: Paging) -> io::Result<(Vec<Reject>, u64)> {
        let Some(first) = self.all.at(0) else {
            return Ok((Vec::new(), 0));
        };
        let start = paging.skipped();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut position = Position::new();
        position.set_byte(first);
        reader.seek(position)?;
        let (mut row, mut page, mut total) = (StringRecord::new(), Vec::new(), 0);
        while reader.read_record(&mut row)? {
            if sought.has(&row) {
                if (start..start + paging.par_page.get()).contains(&total) {
                    page.push(reject(&row)?);
                }
                total += 1;
            }
        }
        Ok((page, total))
    }
}

fn motif(row: &StringRecord) -> io::Result<Motif> {
    let word = row.get(1).unwrap_or_default().to_owned();
    Motif::try_from(word).map_err(|_| invalid("a reason that is none"))
}

fn reject(row: &StringRecord) -> io::Result<Reject> {
    let cell = |index: usize| row.get(index).unwrap_or_default().to_owned();
    Ok(Reject {
        ligne: cell(0)
            .parse()
            .map_err(|_| invalid("a line that is no number"))?,
        motif: motif(row)?,
        champ: cell(2),
        valeur: cell(3),
        extrait: cell(4),
        fichier: cell(5),
    })
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Where some entries of a list begin in a file: each `stride`-th, the fewer the longer the list.
#[derive(Debug)]
struct Marks {
    stride: u64,
    places: Vec<u64>,
    count: u64,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            stride: 1,
            places: Vec::new(),
            count: 0,
        }
    }
}

impl Marks {
    /// Adds the next entry.
    fn push(&mut self, at: u64) {
        if self.places.len() == MARKS && self.count.is_multiple_of(self.stride) {
            let mut keep = false;
            self.places.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride *= 2;
        }
        if self.count.is_multiple_of(self.stride) {
            self.places.push(at);
        }
        self.count += 1;
    }

    /// The last entry up to this one whose place is remembered.
    fn before(&self, number: u64) -> u64 {
        number - number % self.stride
    }

    /// The place of an entry, if it is remembered.
    fn at(&self, number: u64) -> Option<u64> {
        let index = usize::try_from(number / self.stride).ok()?;
        self.places
            .get(index)
            .filter(|_| number.is_multiple_of(self.stride))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use autoconnect_jobs::sales::reason::{Refusal, Rule};
    use autoconnect_tables::reject::{self, RejectLog};

    use super::*;

    fn paging(page: u64, par_page: u64) -> Paging {
        Paging {
            page: page.to_string().try_into().expect("a page"),
            par_page: par_page.to_string().try_into().expect("a size"),
        }
    }

    /// A file of rejects in which every hundredth row has another reason and every tenth another line, and what a report says
    /// of it.
    fn written(folder: &Path, rows: u64) -> Report {
        let mut log = RejectLog::new();
        let mut bytes = Vec::new();
        for line in 0..rows {
            let rule = match line % 100 {
                7 => Rule::VilleVide,
                _ => Rule::PrixInvalide,
            };
            let text = match line % 10 {
                3 => "TX1;2024-02-31;\"LYON\" ;vente",
                _ => "a \"quoted\", long\r\nline",
            };
            let refusal = Refusal {
                reason: Reason::Rule(rule),
                field: "prix",
                value: "=1,\"2\"".to_owned(),
            };
            let row = reject::Reject::new(line, refusal, text.as_bytes());
            log.push("ventes.csv", &row);
        }
        let (pages, _, par_motif) = log.finish();
        for (_, page) in pages {
            bytes.extend_from_slice(&page);
        }
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(folder.join(REJETS), bytes).expect("written");
        let mut report = Report::default();
        report.source.rejetees = rows;
        report.qualite.par_motif = par_motif;
        report
    }

    #[test]
    fn any_page_of_any_reason_holds_the_rows_it_should() {
        let folder = tempfile::tempdir().expect("a folder");
        let rows = 40_000;
        let report = written(folder.path(), rows);
        let rejects = Rejects::read(&folder.path().join(REJETS)).expect("read");
        assert!(rejects.are_of(&report));
        assert!(rejects.all.stride > 1 && rejects.all.places.len() <= MARKS);
        let of = |reason, ville: Option<&str>, mois: Option<&str>| Sought {
            motif: reason,
            ville: ville.map(ville::key),
            mois: mois.map(str::to_owned),
        };
        let of_rule = |rule| of(Some(Motif(Reason::Rule(rule))), None, None);
        let every = |most: u64, which: u64| (0..rows).filter(move |line| line % most == which);
        let prix = Some(Motif(Reason::Rule(Rule::PrixInvalide)));
        for (asked, all) in [
            (Sought::default(), (0..rows).collect::<Vec<_>>()),
            (of_rule(Rule::VilleVide), every(100, 7).collect()),
            (of_rule(Rule::IdVide), Vec::new()),
            (of(None, Some("lyon"), None), every(10, 3).collect()),
            (of(prix, None, Some("2024-02")), every(10, 3).collect()),
            (of(None, Some("Lyon"), Some("2024-03")), Vec::new()),
            (of(None, Some("Lyo"), None), Vec::new()),
            (of(None, None, Some("2024-0")), Vec::new()),
        ] {
            for (page, par_page) in [
                (1, 50),
                (2, 50),
                (1, 500),
                (8, 50),
                (9, 50),
                (37, 499),
                (80, 500),
                (81, 500),
                (1_000_000_000, 500),
            ] {
                let paging = paging(page, par_page);
                let (found, total) = rejects.page(&asked, paging).expect("read");
                assert_eq!(total, all.len() as u64, "{asked:?}");
                let found: Vec<u64> = found.iter().map(|reject| reject.ligne).collect();
                assert_eq!(
                    found,
                    paging.of(all.iter().copied()),
                    "{asked:?} {page} {par_page}"
                );
            }
        }
        let ville_vide = of_rule(Rule::VilleVide);
        let (page, _) = rejects.page(&ville_vide, paging(1, 1)).expect("read");
        let first = &page[0];
        assert_eq!((first.ligne, first.valeur.as_str()), (7, "'=1,\"2\""));
        assert_eq!(first.extrait, "a \"quoted\", long");
        assert_eq!(first.fichier, "ventes.csv");
    }

    #[test]
    fn rejects_of_another_report_are_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let report = written(folder.path(), 30);
        let page = || {
            let source = Source::in_folder(folder.path());
            source.page(&report, &Sought::default(), paging(1, 500))
        };
        assert_eq!(page().expect("a page").0.len(), 30);
        written(folder.path(), 31);
        let lost = page().expect_err("lost");
        assert!(
            serde_json::to_string(&lost)
                .expect("JSON")
                .contains("Introuvable")
        );
    }

    #[test]
    fn a_report_without_rejects_needs_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = Source::in_folder(folder.path());
        let page = source.page(&Report::default(), &Sought::default(), Paging::default());
        assert_eq!(page, Ok((Vec::new(), 0)));
    }
}
