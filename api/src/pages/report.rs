//! The page of a report: the part that is the same for every kind, and a plain page for a kind that has no template.

use std::time::UNIX_EPOCH;

use askama::Template;
use autoconnect_report::lang::Lang;
use autoconnect_report::measure;
use axum::response::Response;

use super::frame::{Frame, Here, Visitor};
use super::job::{RESULTS, Row};
use crate::activity::now_ms;
use crate::app::Shared;
use crate::editions::Edition;

/// How many reports of other jobs the page offers: as many as the activity page has jobs.
const OTHERS: usize = 20;

/// The page of a report, without the main part, which its kind adds.
pub struct ReportPage {
    /// The visitor, the language and the requested part.
    pub visitor: Visitor,
    /// The address of this report.
    pub here: String,
    /// The job of the report, and the other reports.
    pub whose: Whose,
}

#[derive(Template)]
#[template(path = "plain.html")]
struct Plain {
    t: Frame,
    heading: String,
    whose: Whose,
    html: String,
}

impl ReportPage {
    /// The page with this heading and this HTML as its main part. The caller escapes text from data.
    pub fn plain(self, heading: &str, html: String) -> Response {
        self.visitor.show(&Plain {
            t: self.visitor.frame(Here::Results, heading),
            heading: heading.to_owned(),
            whose: self.whose,
            html,
        })
    }
}

/// The job of a report, and the other reports that its page offers.
pub struct Whose {
    /// The id of the job; empty where it is unknown.
    pub(crate) job: String,
    /// When the job ended.
    pub(crate) when: String,
    pub(crate) is_newest: bool,
    /// The address of the newest report of its kind.
    pub(crate) newest: String,
    pub(crate) others: Vec<Other>,
}

/// The report of another job.
pub(crate) struct Other {
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) when: String,
}

impl Whose {
    /// Finds the jobs that left a report. Blocks.
    pub(super) fn new(app: &Shared, edition: &Edition, lang: Lang) -> Self {
        let now = now_ms();
        let newest = app.editions.newest(edition.kind).ok();
        let newest = newest.and_then(|newest| newest.job.clone());
        let is_default = edition.kind == app.config.kinds.default_kind();
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
            newest: match is_default {
                true => RESULTS.to_owned(),
                false => format!("{RESULTS}/{}", edition.kind),
            },
            others: others
                .take(OTHERS)
                .map(|job| Other {
                    address: format!("{RESULTS}/{}", job.job_id),
                    when: measure::ago(job.ended_at_ms.unwrap_or(job.asked_at_ms), now, lang),
                    name: Row::new(&job, lang).name,
                })
                .collect(),
        }
    }
}
