//! The page of a job: its progress, live, and the link to its report.

use std::time::Duration;

use askama::Template;
use autoconnect_common::JobId;
use autoconnect_report::lang::Lang;
use autoconnect_report::{measure, number};
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream;
use tokio::time::MissedTickBehavior;

use super::frame::{Frame, Here, Visitor, lost, rendered};
use super::live::{self, News};
use crate::activity::{JobState, JobView, now_ms};
use crate::app::Shared;

/// How often the job of an open page is polled: at five times a second its progress bar moves smoothly.
const LOOK: Duration = Duration::from_millis(200);
/// The route of the page of a report; a job's own is below it.
pub(super) const RESULTS: &str = "/resultats";

/// A job, as pages show it.
pub(super) struct Row {
    pub(super) id: String,
    /// The title: the name of the job's file, or else the start of its id.
    pub(super) name: String,
    /// The kind of job; empty where it is unknown.
    pub(super) kind: String,
    pub(super) state: &'static str,
    /// The class of the status in the style sheet.
    pub(super) class: &'static str,
    pub(super) value: f64,
    pub(super) percent: String,
    pub(super) chunks: String,
    pub(super) rows: String,
    /// The time that is left, or the duration of an ended job.
    pub(super) time: String,
    pub(super) when: String,
    pub(super) reason: String,
    pub(super) has_ended: bool,
    pub(super) has_report: bool,
    /// The acts and their durations.
    pub(super) acts: Vec<(&'static str, String)>,
    pub(super) duplicates: String,
    /// The link to the rejected rows of a job without a report; empty where there are none. A report has its own link.
    pub(super) rejects: String,
}

impl Row {
    pub(super) fn new(job: &JobView, lang: Lang) -> Self {
        let now = now_ms();
        let id = job.job_id.to_string();
        let progress = &job.progress;
        let (state, class) = match job.status {
            JobState::Queued => (lang.say("en attente", "queued"), "queued"),
            JobState::Processing => (lang.say("en cours", "running"), "running"),
            JobState::Done => (lang.say("terminé", "done"), "done"),
            JobState::Incomplete => (lang.say("incomplet", "incomplete"), "incomplete"),
            JobState::Failed => (lang.say("échoué", "failed"), "failed"),
            JobState::Cancelled => (lang.say("annulé", "cancelled"), "cancelled"),
        };
        let count = |n| number::count(n, lang);
        let chunks = match (progress.completed_tasks, progress.total_tasks) {
            (0, 0) => String::new(),
            (done, 0) => count(done),
            (done, all) => format!("{}\u{202f}/\u{202f}{}", count(done), count(all)),
        };
        let has_ended = job.status.has_ended();
        Self {
            name: job.fichier.clone().unwrap_or_else(|| short(&id)),
            kind: job.kind.clone().unwrap_or_default(),
            state,
            class,
            value: progress.percentage,
            percent: measure::percent(progress.percentage, lang),
            chunks,
            rows: if job.rows > 0 {
                count(job.rows)
            } else {
                String::new()
            },
            time: time(job, lang),
            when: measure::ago(job.ended_at_ms.unwrap_or(job.asked_at_ms), now, lang),
            reason: reason(job),
            has_ended,
            has_report: job.status.has_report(),
            acts: acts(job, lang),
            duplicates: count(job.duplicates_dropped),
            rejects: String::new(),
            id,
        }
    }
}

/// Shortens an id that is made of hexadecimal digits.
fn short(id: &str) -> String {
    if id.chars().count() <= 12 {
        return id.to_owned();
    }
    id.chars().take(8).chain(['…']).collect()
}

/// The reason of the job's end; empty for a cancelled job, whose status says it all.
fn reason(job: &JobView) -> String {
    let reason = job.reason.as_deref().unwrap_or_default();
    let reason = reason.strip_prefix("cancelled: ").unwrap_or(reason);
    reason.to_owned()
}

/// The duration of an ended job, from its `execution.json` or else from its events; the time left of an open one.
fn time(job: &JobView, lang: Lang) -> String {
    if let Some(acts) = &job.acts_ms {
        return measure::millis(acts.elapsed, lang);
    }
    if let (Some(started), Some(ended)) = (job.started_at_ms, job.ended_at_ms) {
        return measure::millis(ended.saturating_sub(started) as f64, lang);
    }
    match job.eta_seconds {
        Some(seconds) if !job.status.has_ended() => {
            let left = measure::lasting(Duration::from_secs(seconds));
            lang.say(format!("encore {left}"), format!("{left} left"))
        }
        _ => String::new(),
    }
}

/// The names and durations of the acts, in their order.
pub(super) fn acts(job: &JobView, lang: Lang) -> Vec<(&'static str, String)> {
    let Some(acts) = &job.acts_ms else {
        return Vec::new();
    };
    let named = [
        (lang.say("découpe", "cut"), acts.cut),
        (lang.say("calcul", "work"), Some(acts.work)),
        (lang.say("fusion", "merge"), Some(acts.merge)),
        (lang.say("conclusion", "conclude"), Some(acts.conclude)),
        (lang.say("écriture", "write"), Some(acts.publish)),
        (lang.say("en tout", "in all"), Some(acts.elapsed)),
    ];
    named
        .into_iter()
        .map(|(name, ms)| {
            let words = ms.map_or_else(|| "–".to_owned(), |ms| measure::millis(ms, lang));
            (name, words)
        })
        .collect()
}

#[derive(Template)]
#[template(path = "job.html")]
struct Page {
    t: Frame,
    job: Row,
}

#[derive(Template)]
#[template(path = "job_view.html")]
struct View<'a> {
    t: &'a Frame,
    job: Row,
}

/// A job with the link to its rejected rows.
async fn whole_row(app: &Shared, job: &JobView, lang: Lang) -> Row {
    let mut row = Row::new(job, lang);
    if row.has_ended && !row.has_report {
        let folder = app.editions.folder(&job.job_id);
        for name in app.config.kinds.rejects() {
            if tokio::fs::try_exists(folder.join(name))
                .await
                .unwrap_or(false)
            {
                row.rejects = format!("/api/jobs/{}/files/{name}", row.id);
            }
        }
    }
    row
}

fn find(app: &Shared, id: &str) -> Option<JobView> {
    app.activity.job(&id.parse::<JobId>().ok()?)
}

/// The page.
pub(super) async fn page(
    State(app): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Response {
    let Some(job) = find(&app, &id) else {
        return lost(&visitor);
    };
    let job = whole_row(&app, &job, visitor.lang).await;
    let title = visitor.lang.say("Analyse", "Analysis");
    let t = visitor.frame(Here::Elsewhere, format!("{title} {}", job.name));
    visitor.show(&Page { t, job })
}

/// The stream of the live part of the page, whenever it changes; once there is a report, the address of its page.
pub(super) async fn stream(
    State(app): State<Shared>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Response {
    if find(&app, &id).is_none() {
        return lost(&visitor);
    }
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watched = Watched {
        app,
        t: visitor.frame(Here::Elsewhere, ""),
        id,
        tick,
        shown: String::new(),
        is_over: false,
    };
    live::stream(stream::unfold(watched, async |mut watched| {
        let news = watched.next().await?;
        Some((news, watched))
    }))
}

/// A job whose page is open.
struct Watched {
    app: Shared,
    t: Frame,
    id: String,
    tick: tokio::time::Interval,
    shown: String,
    is_over: bool,
}

impl Watched {
    async fn next(&mut self) -> Option<News> {
        if self.is_over {
            // the page now leaves or has its last content; never end the stream, because the browser would reopen it
            return std::future::pending().await;
        }
        loop {
            self.tick.tick().await;
            let job = find(&self.app, &self.id)?;
            let view = rendered(&View {
                t: &self.t,
                job: whole_row(&self.app, &job, self.t.lang).await,
            });
            if view != self.shown {
                self.shown.clone_from(&view);
                return Some(News::View(view));
            }
            if job.status.has_report() {
                self.is_over = true;
                return Some(News::Elsewhere(format!("{RESULTS}/{}", self.id)));
            }
        }
    }
}
