//! What is printed at the end of a job: a summary in French for a person, or one JSON object for a program.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use autoconnect_common::execution::Execution;
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::Status;
use autoconnect_common::program::Exit;
use autoconnect_common::results::{self, EXECUTION, Results};
use autoconnect_common::{JobId, disk};
use autoconnect_report::lang::Lang;
use autoconnect_report::measure;
use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::kind::{AnyCommand, Rows, Shown};
use crate::print::printable;

/// The language of the summary.
const FR: Lang = Lang::Fr;
/// The most characters of a reason that are printed: it may quote a field of any length.
const REASON: usize = 500;

/// How a job ended.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    pub(crate) job: JobId,
    pub(crate) status: Status,
    /// Why there is no report or an incomplete one, or why a complete one is not the newest.
    pub(crate) reason: Option<String>,
    /// `report.json`, where it was small enough for an event.
    pub(crate) report: Option<String>,
    /// `execution.json`.
    pub(crate) execution: Option<String>,
}

/// The job's own folder of results.
fn own(out: &Path, job: &JobId) -> PathBuf {
    results::job_folder(out, job)
}

/// The folder that is named for the job's files: the root for the newest report of a kind whose files also lie there, the
/// job's own folder otherwise.
fn place(kind: &dyn AnyCommand, out: &Path, job: &JobId) -> PathBuf {
    let name = kind.format().kind;
    let results = Results::new(disk::real(), out, kind.at_root().then_some(name.as_str()));
    match results.newest(&name) {
        Ok(Some(newest)) if newest == *job && kind.at_root() => out.to_owned(),
        _ => own(out, job),
    }
}

/// `text` as JSON, or the file `name` of the job's own results, where the event did not carry it.
fn read<T: for<'de> Deserialize<'de>>(text: Option<&str>, own: &Path, name: &str) -> Option<T> {
    match text {
        Some(text) => serde_json::from_str(text).ok(),
        None => serde_json::from_slice(&fs::read(own.join(name)).ok()?).ok(),
    }
}

/// What the kind shows of its report; empty where there is none.
fn shown_of(kind: &dyn AnyCommand, out: &Path, finished: &Finished) -> Shown {
    if !finished.status.has_report() {
        return Shown::default();
    }
    let shown = match &finished.report {
        Some(report) => kind.shown(report.as_bytes()),
        None => fs::read(own(out, &finished.job).join(REPORT))
            .ok()
            .and_then(|report| kind.shown(&report)),
    };
    shown.unwrap_or_default()
}

fn execution(out: &Path, finished: &Finished) -> Option<Execution> {
    let own = own(out, &finished.job);
    read(finished.execution.as_deref(), &own, EXECUTION)
}

/// The paths of the job's files below [`place`]: `report.json`, other files, then files in folders.
fn written(out: &Path, job: &JobId) -> Vec<String> {
    let own = own(out, job);
    let mut found = Vec::new();
    let mut folders = vec![own.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(name) = path.strip_prefix(&own) {
                found.push(name.to_string_lossy().into_owned());
            }
        }
    }
    found.sort_by_key(|name| (name != REPORT, name.contains('/'), name.clone()));
    found
}

/// The summary for a person.
pub(crate) fn text(
    kind: &dyn AnyCommand,
    out: &Path,
    finished: &Finished,
    took: Duration,
) -> String {
    let mut text = shown_of(kind, out, finished).text;
    if !text.is_empty() && !text.ends_with("\n\n") {
        text.push('\n');
    }
    // for a complete report, the reason says why it is not the newest
    if let Some(reason) = finished
        .reason
        .as_ref()
        .filter(|_| finished.status == Status::Done)
    {
        line(
            &mut text,
            format_args!("Attention : {}", printable(reason.as_bytes(), REASON)),
        );
    }
    let files = written(out, &finished.job);
    let (tables, others): (Vec<_>, Vec<_>) = files.iter().partition(|name| name.contains('/'));
    if files.is_empty() {
        let job = &finished.job;
        line(
            &mut text,
            format_args!("Fichiers écrits par la grappe, dans jobs/{job}/ de ses résultats"),
        );
    } else {
        line(
            &mut text,
            format_args!(
                "Fichiers écrits dans {}/",
                shown(&place(kind, out, &finished.job))
            ),
        );
    }
    for name in others {
        line(&mut text, format_args!("  {name}"));
    }
    if let [first, ..] = tables.as_slice() {
        let folder = first.split('/').next().unwrap_or_default();
        line(
            &mut text,
            format_args!("  {folder}/ ({} tableaux)", tables.len()),
        );
    }
    times(&mut text, execution(out, finished).as_ref(), took);
    text
}

/// A folder's path without the slashes at its end.
fn shown(out: &Path) -> String {
    let path = out.display().to_string();
    path.trim_end_matches('/').to_owned()
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // writing to a String cannot fail
    let _ = writeln!(text, "{arguments}");
}

fn times(text: &mut String, execution: Option<&Execution>, took: Duration) {
    const ACTS: [(&str, &str); 5] = [
        ("cut", "lecture et découpe"),
        ("work", "calcul (cumulé)"),
        ("merge", "fusion"),
        ("conclude", "conclusion"),
        ("publish", "écriture"),
    ];
    let named = execution.map(|execution| execution.acts_ms.by_name());
    let acts: Vec<String> = named
        .iter()
        .flatten()
        .filter_map(|&(key, ms)| Some((ACTS.iter().find(|(act, _)| *act == key)?.1, ms?)))
        .map(|(name, ms)| format!("{name} {}", measure::millis(ms, FR)))
        .collect();
    line(
        text,
        format_args!(
            "\nDurée : {}",
            measure::millis(took.as_secs_f64() * 1e3, FR)
        ),
    );
    if !acts.is_empty() {
        line(text, format_args!("  {}", acts.join(" · ")));
    }
    let calculations: Vec<String> = execution
        .iter()
        .flat_map(|execution| &execution.calculations)
        .map(|timing| format!("{} {}", timing.name, measure::millis(timing.ms, FR)))
        .collect();
    for some in calculations.chunks(4) {
        line(text, format_args!("  {}", some.join(" · ")));
    }
}

/// The one JSON object of `--json`.
#[derive(Debug, Serialize)]
struct Json<'a> {
    status: &'a str,
    exit_code: u8,
    job: Option<&'a JobId>,
    reason: Option<&'a str>,
    report: Option<String>,
    files: Vec<String>,
    rows: Option<Rows>,
    times_ms: BTreeMap<String, Option<f64>>,
}

/// What `--json` prints of a job that ended: status, reason, report, files, rows, times in milliseconds.
pub(crate) fn json(
    kind: &dyn AnyCommand,
    out: &Path,
    finished: &Finished,
    took: Duration,
) -> String {
    let exit = match finished.status {
        Status::Done => Exit::Done,
        Status::Incomplete => Exit::Incomplete,
        Status::Failed | Status::Cancelled => Exit::Failed,
    };
    let acts = execution(out, finished).map(|execution| execution.acts_ms.by_name());
    let acts = acts.iter().flatten();
    let mut times_ms: BTreeMap<String, Option<f64>> =
        acts.map(|&(act, ms)| (act.to_owned(), ms)).collect();
    times_ms.insert(
        "total".to_owned(),
        Some((took.as_secs_f64() * 1e6).round() / 1e3),
    );
    let place = place(kind, out, &finished.job);
    let path = |name: &String| place.join(name).display().to_string();
    written_as_json(&Json {
        status: finished.status.word(),
        exit_code: exit.code(),
        job: Some(&finished.job),
        reason: finished.reason.as_deref(),
        report: finished
            .status
            .has_report()
            .then(|| path(&REPORT.to_owned())),
        files: written(out, &finished.job).iter().map(path).collect(),
        rows: shown_of(kind, out, finished).rows,
        times_ms,
    })
}

/// What `--json` prints where no job ended.
pub(crate) fn json_of_failure(failure: &Failure) -> String {
    written_as_json(&Json {
        status: Status::Failed.word(),
        exit_code: failure.exit.code(),
        job: None,
        reason: Some(&failure.sentence),
        report: None,
        files: Vec::new(),
        rows: None,
        times_ms: BTreeMap::new(),
    })
}

fn written_as_json(json: &Json<'_>) -> String {
    let mut text = serde_json::to_string_pretty(json).unwrap_or_else(|_| "{}".to_owned());
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::erased;
    use crate::kinds::sales;

    fn finished(report: &str) -> Finished {
        Finished {
            job: "sales-0".parse().expect("valid"),
            status: Status::Done,
            reason: None,
            report: Some(report.to_owned()),
            execution: Some(
                r#"{"status": "done", "acts_ms": {"cut": 12, "work": 3.5, "merge": 0.2, "conclude": 1, "publish": null},
                    "calculations": [{"name": "ca_total", "ms": 0.01}], "workers": {}}"#
                    .to_owned(),
            ),
        }
    }

    const REPORT_JSON: &str = r#"{
        "source": {"fichiers": ["a.csv"], "lignes": 10000, "acceptees": 9998, "rejetees": 2,
                   "avertissements": 3},
        "qualite": {"par_motif": {"date_invalide": 2}, "avertissements": {"prix_nul": 3}, "complet": true, "chunks_perdus": []},
        "ca_total": 1234567.5,
        "comparatif": [
            {"rang": 1, "ville": "Lyon", "ca": 1000000, "part": 81.0, "transactions": 5},
            {"rang": 2, "ville": "Saint-\u001b[2JÉtienne", "ca": 234567.5, "part": null}
        ]}"#;

    #[test]
    fn the_summary_says_rows_ranking_rejects_warnings_files_and_times() {
        let took = Duration::from_millis(30);
        let said = text(
            &*erased::<sales::Report>(),
            Path::new("nowhere/"),
            &finished(REPORT_JSON),
            took,
        )
        .replace(['\u{202f}', '\u{a0}'], " ");
        assert_eq!(
            said,
            "10 000 lignes lues : 9 998 acceptées, 2 rejetées\n\n\
             CA total : 1 234 567,50 €\n\n  \
               Rang  Ville                               CA     Part\n     \
                  1  Lyon                    1 000 000,00 €  81,00 %\n     \
                  2  Saint-\\u{1b}[2JÉtienne    234 567,50 €        –\n\n\
             Rejets (rejets.csv)\n  \
               date_invalide  2\n\n\
             Avertissements\n  \
               prix_nul  3\n\n\
             Fichiers écrits par la grappe, dans jobs/sales-0/ de ses résultats\n\n\
             Durée : 30 ms\n  \
               lecture et découpe 12 ms · calcul (cumulé) 3,5 ms · fusion 200 µs · conclusion 1,0 ms\n  \
               ca_total 10 µs\n"
        );
    }

    #[test]
    fn the_json_object_says_status_files_rows_and_times() {
        let said = json(
            &*erased::<sales::Report>(),
            Path::new("nowhere"),
            &finished(REPORT_JSON),
            Duration::from_millis(30),
        );
        let object: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(object["status"], "done");
        assert_eq!(object["exit_code"], 0);
        // a report that is not the newest is named where it is
        assert_eq!(object["report"], "nowhere/jobs/sales-0/report.json");
        assert_eq!(object["rows"]["acceptees"], 9998);
        assert_eq!(object["times_ms"]["total"], 30.0);
        assert_eq!(object["times_ms"]["cut"], 12.0);
    }
}
