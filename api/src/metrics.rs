//! For Prometheus and for whoever watches over processes: `/metrics`, `/healthz`, `/readyz`.
//!
//! Every name is in `docs/telemetry.md`, and no other. Labels are few: routes, not addresses; workers and jobs are bounded
//! by [`activity`](crate::activity).

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::activity::JobState;
use crate::app::{App, Shared};
use crate::params::{Nothing, Params};
use crate::problem::Problem;

/// Upper bounds of the times that requests are sorted by, in seconds.
const BOUNDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];
/// The type of the text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(ready))
        .routes(routes!(metrics))
}

/// What is counted here; everything else is asked of whoever knows.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<String, Route>>,
    uploaded: AtomicU64,
}

/// The requests of one route.
#[derive(Default)]
struct Route {
    answers: BTreeMap<(&'static str, u16), u64>,
    /// How many took at most as long as each of [`BOUNDS`], and longer.
    times: [u64; BOUNDS.len() + 1],
    seconds: f64,
}

impl Metrics {
    fn requests(&self) -> MutexGuard<'_, BTreeMap<String, Route>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an answer.
    pub(crate) fn answered(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        took: Duration,
    ) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        let seconds = took.as_secs_f64();
        let bound = BOUNDS.iter().position(|&bound| seconds <= bound);
        let mut requests = self.requests();
        if !requests.contains_key(route) {
            requests.insert(route.to_owned(), Route::default());
        }
        if let Some(route) = requests.get_mut(route) {
            *route.answers.entry((method, status.as_u16())).or_default() += 1;
            route.times[bound.unwrap_or(BOUNDS.len())] += 1;
            route.seconds += seconds;
        }
    }

    /// Counts bytes of uploads.
    pub(crate) fn uploaded(&self, bytes: u64) {
        self.uploaded.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// That the process lives.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Toujours `ok`.
    status: &'static str,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses(
        (status = 200, description = "The process answers", body = Health),
        (status = 400, description = "An unknown parameter", body = Problem),
    ))]
async fn health(_: Params<Nothing>) -> Json<Health> {
    Json(Health { status: "ok" })
}

/// Whether requests can be served, and are: the broker is up, results can be read, and every program makes progress.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses(
        (status = 200, description = "Everything is there", body = Health),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 503, description = "The broker or the folder of results is missing, or a program makes no progress", body = Problem),
    ))]
async fn ready(State(app): State<Shared>, _: Params<Nothing>) -> Result<Json<Health>, Problem> {
    if !app.activity.snapshots().borrow().broker.up {
        return Err(Problem::unavailable("le courtier de messages ne répond pas").about("broker"));
    }
    if tokio::fs::read_dir(&app.config.results).await.is_err() {
        let detail = "le dossier des résultats ne peut pas être lu";
        return Err(Problem::unavailable(detail).about("results"));
    }
    let troubles = app.activity.snapshots().borrow().troubles.clone();
    if !troubles.is_empty() {
        let each = troubles.iter();
        let each: Vec<String> = each
            .map(|trouble| format!("{}: {}", trouble.program, trouble.why))
            .collect();
        return Err(Problem::unavailable(each.join("; ")).about("progress"));
    }
    Ok(Json(Health { status: "ok" }))
}

/// Everything that is measured, as Prometheus reads it.
#[utoipa::path(get, path = "/metrics", tag = "health",
    responses(
        (status = 200, description = "The metrics, as text", body = String, content_type = "text/plain"),
        (status = 400, description = "An unknown parameter", body = Problem),
    ))]
async fn metrics(State(app): State<Shared>, _: Params<Nothing>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, TEXT)], exposition(&app))
}

/// A text in the exposition format, family by family.
#[derive(Default)]
struct Text {
    text: String,
    family: &'static str,
}

impl Text {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) -> &mut Self {
        self.family = name;
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        self
    }

    /// A sample of the family.
    fn sample(&mut self, labels: &[(&str, &str)], value: f64) -> &mut Self {
        self.sample_of("", labels, value)
    }

    /// A sample of the family whose name goes on with `suffix`.
    fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: f64) -> &mut Self {
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.as_slice() {
            [] => String::new(),
            some => format!("{{{}}}", some.join(",")),
        };
        let family = self.family;
        self.line(format_args!("{family}{suffix}{labels} {value}"));
        self
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // a String takes everything
        let _ = writeln!(self.text, "{line}");
    }
}

/// The value of a label, as it stands between quotes.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn exposition(app: &App) -> String {
    let mut text = Text::default();
    of_requests(&mut text, &app.metrics);
    text.family(
        "autoconnect_upload_bytes_total",
        "counter",
        "Bytes of uploads that were written.",
    )
    .sample(&[], app.metrics.uploaded.load(Ordering::Relaxed) as f64);
    text.family(
        "autoconnect_event_streams",
        "gauge",
        "Streams of events that are open.",
    )
    .sample(&[], app.streams.open() as f64);
    of_cluster(&mut text, app);
    of_workers(&mut text, app);
    text.family(
        "autoconnect_report_written_timestamp_seconds",
        "gauge",
        "When the newest report was written, in seconds since 1970.",
    );
    let newest = app.editions.all_newest().into_iter();
    if let Some(written) = newest.map(|edition| edition.written).max() {
        let written = written.duration_since(UNIX_EPOCH);
        text.sample(&[], written.unwrap_or_default().as_secs_f64());
    }
    text.family(
        "autoconnect_uptime_seconds",
        "gauge",
        "Seconds since the API started to serve.",
    )
    .sample(&[], app.since.elapsed().as_secs_f64());
    text.family(
        "process_resident_memory_bytes",
        "gauge",
        "Bytes of memory the process of the API has.",
    );
    if let Some(bytes) = resident() {
        text.sample(&[], bytes as f64);
    }
    text.text
}

fn of_requests(text: &mut Text, metrics: &Metrics) {
    let requests = metrics.requests();
    text.family(
        "autoconnect_http_requests_total",
        "counter",
        "Requests answered, by route, method and status.",
    );
    for (name, route) in requests.iter() {
        for ((method, status), count) in &route.answers {
            let status = status.to_string();
            let labels = [
                ("route", name.as_str()),
                ("method", *method),
                ("status", &status),
            ];
            text.sample(&labels, *count as f64);
        }
    }
    text.family(
        "autoconnect_http_request_duration_seconds",
        "histogram",
        "Seconds until the head of the answer, by route.",
    );
    for (name, route) in requests.iter() {
        let bounds = BOUNDS.iter().map(f64::to_string);
        let bounds = bounds.chain(["+Inf".to_owned()]);
        let mut count = 0;
        for (bound, more) in bounds.zip(route.times) {
            count += more;
            text.sample_of("_bucket", &[("route", name), ("le", &bound)], count as f64);
        }
        text.sample_of("_sum", &[("route", name)], route.seconds);
        text.sample_of("_count", &[("route", name)], count as f64);
    }
}

fn of_cluster(text: &mut Text, app: &App) {
    let snapshot = app.activity.snapshots().borrow().clone();
    text.family(
        "autoconnect_broker_up",
        "gauge",
        "1 while the broker serves the API, else 0.",
    )
    .sample(&[], f64::from(u8::from(snapshot.broker.up)));
    text.family(
        "autoconnect_troubles",
        "gauge",
        "What keeps a program from making progress, by program; absent where nothing does.",
    );
    let mut troubles = std::collections::BTreeMap::new();
    for trouble in &snapshot.troubles {
        *troubles.entry(trouble.program.as_str()).or_insert(0u32) += 1;
    }
    for (program, count) in troubles {
        text.sample(&[("program", program)], f64::from(count));
    }
    text.family(
        "autoconnect_queue_messages",
        "gauge",
        "Messages that wait, by queue; absent while the broker is away.",
    );
    if let Some(queues) = snapshot.queues {
        for (queue, count) in [
            ("jobs", queues.jobs),
            ("chunks", queues.chunks),
            ("results", queues.results),
            ("dead", queues.dead),
        ] {
            text.sample(&[("queue", queue)], count as f64);
        }
    }
    text.family(
        "autoconnect_jobs",
        "gauge",
        "Jobs that are remembered, by status.",
    );
    let jobs = app.activity.jobs();
    for (word, state) in [
        ("queued", JobState::Queued),
        ("processing", JobState::Processing),
        ("done", JobState::Done),
        ("incomplete", JobState::Incomplete),
        ("failed", JobState::Failed),
        ("cancelled", JobState::Cancelled),
    ] {
        let count = jobs.iter().filter(|job| job.status == state).count();
        text.sample(&[("status", word)], count as f64);
    }
}

fn of_workers(text: &mut Text, app: &App) {
    let workers = app.activity.workers();
    type Figure = fn(&crate::activity::WorkerView) -> f64;
    let figures: [(&'static str, &str, &str, Figure); 7] = [
        (
            "autoconnect_worker_up",
            "gauge",
            "1 while the worker is heard of, else 0.",
            |worker| f64::from(u8::from(worker.alive)),
        ),
        (
            "autoconnect_worker_chunks_total",
            "counter",
            "Chunks the worker worked since it started.",
            |worker| worker.chunks as f64,
        ),
        (
            "autoconnect_worker_rows_total",
            "counter",
            "Rows the worker worked since it started.",
            |worker| worker.rows as f64,
        ),
        (
            "autoconnect_worker_buried_total",
            "counter",
            "Chunks the worker could not work since it started.",
            |worker| worker.buried as f64,
        ),
        (
            "autoconnect_worker_busy_seconds_total",
            "counter",
            "Seconds the worker computed since it started.",
            |worker| worker.busy_ms as f64 / 1000.0,
        ),
        (
            "autoconnect_worker_cpu_ratio",
            "gauge",
            "Part of one core that the worker's process uses; 0 while it is not heard of.",
            |worker| f64::from(worker.cpu_percent.unwrap_or(0.0)) / 100.0,
        ),
        (
            "autoconnect_worker_memory_bytes",
            "gauge",
            "Bytes of memory the worker's process has.",
            |worker| worker.memory_bytes as f64,
        ),
    ];
    for (name, kind, help, figure) in figures {
        text.family(name, kind, help);
        for worker in &workers {
            text.sample(&[("worker", &worker.name)], figure(worker));
        }
    }
}

/// Bytes of memory that this process has, where the system says so.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_quotes() {
        let mut text = Text::default();
        text.family("a", "gauge", "A.")
            .sample(&[("worker", "x\"} 1\n\\b")], 0.5);
        let expected = "# HELP a A.\n# TYPE a gauge\na{worker=\"x\\\"} 1\\n\\\\b\"} 0.5\n";
        assert_eq!(text.text, expected);
    }

    #[test]
    fn times_add_up() {
        let metrics = Metrics::default();
        for millis in [0, 1, 3, 90_000] {
            let took = Duration::from_millis(millis);
            metrics.answered("/a", &Method::GET, StatusCode::OK, took);
        }
        let mut text = Text::default();
        of_requests(&mut text, &metrics);
        for line in [
            "autoconnect_http_requests_total{route=\"/a\",method=\"GET\",status=\"200\"} 4",
            "autoconnect_http_request_duration_seconds_bucket{route=\"/a\",le=\"0.001\"} 2",
            "autoconnect_http_request_duration_seconds_bucket{route=\"/a\",le=\"0.005\"} 3",
            "autoconnect_http_request_duration_seconds_bucket{route=\"/a\",le=\"60\"} 3",
            "autoconnect_http_request_duration_seconds_bucket{route=\"/a\",le=\"+Inf\"} 4",
            "autoconnect_http_request_duration_seconds_count{route=\"/a\"} 4",
        ] {
            assert!(text.text.lines().any(|said| said == line), "{line}");
        }
    }
}
