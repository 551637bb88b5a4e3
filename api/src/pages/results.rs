//! The newest report, or a job's own, or its part about a city or a month; its tables as CSV.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use askama::Template;
use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_jobs::sales::render::html::article::{Part, article};
use autoconnect_jobs::sales::render::{self, explain};
use autoconnect_report::lang::Lang;
use autoconnect_report::page::{Article, Links};
use autoconnect_report::{measure, number};
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use form_urlencoded::Serializer;

use super::frame::{Frame, Here, Visitor, lost, message};
use super::job::RESULTS;
use crate::activity::now_ms;
use crate::editions::Edition;
use crate::params::PerPage;
use crate::{Shared, files, reads, rejects};

/// Rejected rows that the page shows.
const REJECTS: u64 = 10;
/// Reports of other jobs that the page offers.
const OTHERS: usize = 20;

/// What a visitor asks of the report.
#[derive(Debug, Clone, Default)]
struct Asked {
    ville: Option<String>,
    mois: Option<String>,
}

impl Asked {
    /// A part of this report.
    ///
    /// # Errors
    /// The name of the city or the month that it does not know.
    fn of(visitor: &Visitor, report: &Report) -> Result<Self, String> {
        let ville = visitor
            .asked("ville")
            .map(|name| report.ville(name).ok_or_else(|| name.to_owned()))
            .transpose()?;
        let mois = visitor.asked("mois");
        let unknown = mois.filter(|mois| !report.periode.mois.iter().any(|known| known == mois));
        if let Some(mois) = unknown {
            return Err(mois.to_owned());
        }
        Ok(Self {
            ville: ville.map(str::to_owned),
            mois: mois.map(str::to_owned),
        })
    }

    fn part(&self) -> Part<'_> {
        Part {
            ville: self.ville.as_deref(),
            mois: self.mois.as_deref(),
        }
    }

    /// The same as the end of an address.
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("ville", &self.ville), ("mois", &self.mois)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        match query.finish() {
            none if none.is_empty() => none,
            query => format!("?{query}"),
        }
    }
}

/// An entry of a filter.
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

/// A rejected row.
struct Row {
    ligne: u64,
    /// Why, in words.
    motif: &'static str,
    champ: String,
    valeur: String,
    extrait: String,
}

#[derive(Template)]
#[template(path = "results.html")]
struct Page {
    t: Frame,
    article: Article,
    villes: Vec<Choice>,
    mois: Vec<Choice>,
    /// What is chosen, in words; empty where nothing is.
    chosen: String,
    month_chosen: bool,
    city_chosen: bool,
    rejects: Vec<Row>,
    rejected: String,
    /// The address of this report.
    here: String,
    whose: Whose,
}

/// Whose report it is, and which others there are.
struct Whose {
    /// The name of the job; empty where it is not known.
    job: String,
    /// When it ended.
    when: String,
    is_newest: bool,
    others: Vec<Other>,
}

/// The report of another job.
struct Other {
    address: String,
    name: String,
    when: String,
}

impl Whose {
    /// Blocks: looks which of the jobs left a report.
    fn new(app: &Shared, edition: &Edition, lang: Lang) -> Self {
        let now = now_ms();
        let newest = app.editions.newest().ok();
        let newest = newest.and_then(|newest| newest.job.clone());
        let known = edition.job.as_ref().and_then(|job| app.activity.job(job));
        let written = edition.written.duration_since(UNIX_EPOCH);
        let written = written.map_or(0, |since| since.as_millis() as u64);
        let ended = known.and_then(|job| job.ended_at_ms).unwrap_or(written);
        let others = app.activity.jobs().into_iter().filter(|job| {
            let is_other = edition.job.as_ref() != Some(&job.job_id);
            is_other && job.status.has_report() && app.editions.has_report(&job.job_id)
        });
        Self {
            job: edition
                .job
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
            when: measure::ago(ended, now, lang),
            is_newest: newest == edition.job,
            others: others
                .take(OTHERS)
                .map(|job| Other {
                    address: format!("{RESULTS}/{}", job.job_id),
                    when: measure::ago(job.ended_at_ms.unwrap_or(job.asked_at_ms), now, lang),
                    name: super::job::Row::new(&job, lang).name,
                })
                .collect(),
        }
    }
}

/// The page of the newest report.
pub(super) async fn page(State(app): State<Shared>, visitor: Visitor) -> Response {
    let Ok(edition) = app.editions.newest() else {
        return no_report(&visitor);
    };
    show(&app, visitor, edition, RESULTS.to_owned()).await
}

/// The page of a job's own report.
pub(super) async fn job_page(
    State(app): State<Shared>,
    visitor: Visitor,
    Path(job): Path<String>,
) -> Response {
    match reads::of_job(&app, &job).await {
        Ok(edition) => show(&app, visitor, edition, format!("{RESULTS}/{job}")).await,
        Err(_) => no_report_of(&app, &visitor, &job),
    }
}

async fn show(app: &Shared, visitor: Visitor, edition: Arc<Edition>, here: String) -> Response {
    let asked = match Asked::of(&visitor, &edition.report) {
        Ok(asked) => asked,
        Err(unknown) => return not_in_report(&visitor, &unknown, here),
    };
    let app = Arc::clone(app);
    // a report of many cities takes a while to render
    let made = tokio::task::spawn_blocking(move || {
        let whose = Whose::new(&app, &edition, visitor.lang);
        make(&visitor, &edition, &asked, here, whose)
    });
    let made = made.await;
    made.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn make(
    visitor: &Visitor,
    edition: &Edition,
    asked: &Asked,
    here: String,
    whose: Whose,
) -> Response {
    let lang = visitor.lang;
    let report = &edition.report;
    let links = Links {
        before: format!("{here}/tables/"),
        after: asked.query(),
        label: lang.say("Télécharger ", "Download ").to_owned(),
    };
    let article = article(report, asked.part(), lang, links);
    let chosen: Vec<String> = asked
        .ville
        .iter()
        .cloned()
        .chain(asked.mois.iter().map(|mois| number::mois(mois, lang)))
        .collect();
    let title = match chosen.as_slice() {
        [] => lang.say("Résultats", "Results").to_owned(),
        some => format!("{} – {}", lang.say("Résultats", "Results"), some.join(", ")),
    };
    let choice = |chosen: &Option<String>, value: &String, label: String| Choice {
        is_chosen: chosen.as_ref() == Some(value),
        value: value.clone(),
        label,
    };
    let villes = report.villes.iter();
    let mois = report.periode.mois.iter().rev();
    let rejected = report.source.rejetees;
    visitor.show(&Page {
        t: visitor.frame(Here::Results, title),
        villes: villes
            .map(|ville| choice(&asked.ville, ville, ville.clone()))
            .collect(),
        mois: mois
            .map(|mois| choice(&asked.mois, mois, number::mois(mois, lang)))
            .collect(),
        chosen: chosen.join(", "),
        month_chosen: asked.mois.is_some(),
        city_chosen: asked.ville.is_some(),
        rejects: first_rejects(edition, lang),
        rejected: number::count(rejected, lang),
        here,
        whose,
        article,
    })
}

/// The first rejected rows; none where their file is not there any more.
fn first_rejects(edition: &Edition, lang: Lang) -> Vec<Row> {
    let rejects = rejects::first(edition, PerPage::of::<REJECTS>());
    let rows = rejects.unwrap_or_default().into_iter();
    rows.map(|reject| {
        let motif = reject.motif.as_str();
        Row {
            ligne: reject.ligne,
            motif: explain(motif, lang).unwrap_or(motif),
            champ: reject.champ,
            valeur: reject.valeur,
            extrait: reject.extrait,
        }
    })
    .collect()
}

fn no_report(visitor: &Visitor) -> Response {
    let lang = visitor.lang;
    let detail = lang.say(
        "Choisissez un fichier de transactions\u{a0}: son rapport apparaîtra ici.",
        "Choose a file of transactions: its report will appear here.",
    );
    message(
        visitor,
        StatusCode::OK,
        Here::Results,
        (
            lang.say("Pas encore de résultats", "No results yet"),
            detail.to_owned(),
        ),
        (
            "/analyse".to_owned(),
            lang.say("Lancer une première analyse", "Start a first analysis"),
        ),
    )
}

/// A job without a report leads to its own page, which says how it is; a job that is not known, nowhere.
fn no_report_of(app: &Shared, visitor: &Visitor, job: &str) -> Response {
    let known = job
        .parse()
        .is_ok_and(|job| app.activity.job(&job).is_some());
    if !known {
        return lost(visitor);
    }
    let lang = visitor.lang;
    let detail = lang.say(
        "Sa page dit où il en est, ou pourquoi il s’est terminé sans rapport.",
        "Its page says how it goes, or why it ended without a report.",
    );
    message(
        visitor,
        StatusCode::NOT_FOUND,
        Here::Results,
        (
            lang.say("Ce job n’a pas de rapport", "This job has no report"),
            detail.to_owned(),
        ),
        (
            format!("/jobs/{job}"),
            lang.say("Voir le job", "See the job"),
        ),
    )
}

fn not_in_report(visitor: &Visitor, unknown: &str, here: String) -> Response {
    let lang = visitor.lang;
    let unknown: String = unknown.chars().take(80).collect();
    message(
        visitor,
        StatusCode::NOT_FOUND,
        Here::Results,
        (
            lang.say(
                "Rien de tel dans ce rapport",
                "Nothing of the kind in this report",
            ),
            lang.say(
                format!("Le rapport ne connaît pas «\u{a0}{unknown}\u{a0}»."),
                format!("The report does not know “{unknown}”."),
            ),
        ),
        (
            here,
            lang.say("Voir tout le rapport", "See the whole report"),
        ),
    )
}

/// A table of the newest report, or of its part, as a spreadsheet wants it; all rejected rows.
pub(super) async fn table(
    State(app): State<Shared>,
    visitor: Visitor,
    Path(file): Path<String>,
) -> Response {
    let Ok(edition) = app.editions.newest() else {
        return no_report(&visitor);
    };
    table_of(visitor, edition, &file, RESULTS.to_owned()).await
}

/// The same of a job's own report.
pub(super) async fn job_table(
    State(app): State<Shared>,
    visitor: Visitor,
    Path((job, file)): Path<(String, String)>,
) -> Response {
    match reads::of_job(&app, &job).await {
        Ok(edition) => table_of(visitor, edition, &file, format!("{RESULTS}/{job}")).await,
        Err(_) => no_report_of(&app, &visitor, &job),
    }
}

async fn table_of(visitor: Visitor, edition: Arc<Edition>, file: &str, here: String) -> Response {
    if file == REJETS {
        return all_rejects(&edition, &visitor).await;
    }
    let asked = match Asked::of(&visitor, &edition.report) {
        Ok(asked) => asked,
        Err(unknown) => return not_in_report(&visitor, &unknown, here),
    };
    let wanted = format!("tables/{file}");
    let made = tokio::task::spawn_blocking(move || csv_of(&edition, &asked, &wanted)).await;
    match made {
        Ok(Some(bytes)) => download(file, Body::from(bytes)),
        _ => lost(&visitor),
    }
}

fn csv_of(edition: &Arc<Edition>, asked: &Asked, wanted: &str) -> Option<Vec<u8>> {
    let file = render::FILES.iter().find(|file| file.path == wanted)?;
    let mut bytes = Vec::new();
    let written = match asked.part() {
        Part {
            ville: None,
            mois: None,
        } => (file.write)(&edition.report, &mut bytes),
        Part { ville, mois } => (file.write)(&edition.report.filtered(ville, mois), &mut bytes),
    };
    written.is_ok().then_some(bytes)
}

fn download(name: &str, body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}\""),
        ),
    ];
    (headers, body).into_response()
}

async fn all_rejects(edition: &Arc<Edition>, visitor: &Visitor) -> Response {
    let file = match rejects::file(edition).await {
        Ok(file) => tokio::fs::File::open(file).await.ok(),
        Err(_) => None,
    };
    let Some(file) = file else {
        return lost(visitor);
    };
    files::sent(REJETS, file).await
}
