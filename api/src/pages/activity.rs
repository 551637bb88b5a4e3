//! The live page of the cluster's activity.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use autoconnect_report::chart::bars::Bar;
use autoconnect_report::chart::draw::{self, Caption};
use autoconnect_report::lang::Lang;
use autoconnect_report::{measure, number};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;

use super::frame::{Frame, Here, Visitor, rendered};
use super::job::{self, Row};
use super::live::{self, News};
use crate::activity::{JobView, POINTS, Point, Snapshot, TroubleView, WorkerView};
use crate::app::Shared;

/// How many jobs the chart of acts shows: five bars are easy to compare.
const TIMED: usize = 5;
/// The most workers that the chart shows, for its height; the table shows all.
const BARS: usize = 16;
/// The height of a chart over time, in pixels.
const HEIGHT: u16 = 132;

/// The live part of the page.
#[derive(Template)]
#[template(path = "board.html")]
struct Board {
    lang: Lang,
    /// For how long the broker has been away; empty where it is not.
    alarm: String,
    /// The troubles of programs, as they report them.
    troubles: Vec<TroubleView>,
    tiles: Vec<Tile>,
    charts: Vec<Series>,
    jobs: Vec<Row>,
    workers: Vec<Worker>,
    spread: String,
    acts: String,
    timed: Vec<Row>,
    dead: Option<u64>,
}

/// A large number at the top of the page.
struct Tile {
    key: &'static str,
    name: &'static str,
    value: String,
    note: String,
    is_bad: bool,
}

/// A chart over time.
struct Series {
    key: &'static str,
    name: &'static str,
    svg: String,
}

/// A worker, as the table shows it.
struct Worker {
    name: String,
    host: String,
    pid: u32,
    alive: bool,
    state: &'static str,
    cpu: String,
    /// The CPU use in percent of one core, for the small bar.
    load: u64,
    memory: String,
    chunks: String,
    rows_per_second: String,
    buried: u64,
    current: String,
    current_job: String,
    seen: String,
}

impl Board {
    fn say(&self, fr: &'static str, en: &'static str) -> &'static str {
        self.lang.say(fr, en)
    }

    /// The names of the acts, with their classes in the style sheet.
    fn act_names(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let names = self.timed.first().map(|job| &job.acts);
        let names = names.into_iter().flatten().map(|(name, _)| *name);
        CLASSES.into_iter().zip(names)
    }

    fn new(snapshot: &Snapshot, lang: Lang) -> Self {
        let timed = snapshot
            .jobs
            .iter()
            .filter(|job| job.acts_ms.is_some())
            .take(TIMED);
        let timed: Vec<&JobView> = timed.collect();
        let jobs = snapshot.jobs.iter().map(|job| Row::new(job, lang));
        let workers = snapshot.workers.iter();
        Self {
            lang,
            alarm: alarm(snapshot, lang),
            troubles: snapshot.troubles.clone(),
            tiles: tiles(snapshot, lang),
            charts: charts(snapshot, lang),
            jobs: jobs.collect(),
            workers: workers.map(|worker| Worker::new(worker, lang)).collect(),
            spread: spread(&snapshot.workers, lang),
            acts: acts(&timed, lang),
            timed: timed.into_iter().map(|job| Row::new(job, lang)).collect(),
            dead: snapshot.queues.map(|queues| queues.dead),
        }
    }
}

fn alarm(snapshot: &Snapshot, lang: Lang) -> String {
    let broker = &snapshot.broker;
    // until the first count of the queues, after a second, the state of the broker is unknown
    if broker.up || broker.since_ms == 0 {
        return String::new();
    }
    let away = snapshot.at_ms.saturating_sub(broker.since_ms);
    let away = measure::lasting(Duration::from_millis(away));
    lang.say(format!("Depuis {away}."), format!("For {away}."))
}

/// The tile with the number of workers that are alive; marked where none is, or one sends no heartbeats.
fn workers_tile(snapshot: &Snapshot, lang: Lang) -> Tile {
    let count = |n: usize| number::count(n as u64, lang);
    let alive = snapshot.workers.iter().filter(|worker| worker.alive);
    let alive = alive.count();
    let gone = snapshot.workers.len() - alive;
    Tile {
        key: "workers",
        name: lang.say("Workers actifs", "Workers alive"),
        value: count(alive),
        note: match gone {
            0 => String::new(),
            gone => format!(
                "{} {}",
                count(gone),
                lang.say("sans nouvelles", "without heartbeats")
            ),
        },
        is_bad: alive == 0 || gone > 0,
    }
}

fn tiles(snapshot: &Snapshot, lang: Lang) -> Vec<Tile> {
    let running = snapshot.jobs.iter().filter(|job| !job.status.has_ended());
    let queues = snapshot.queues;
    let waiting = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), |n| number::count(n, lang));
    let dead = queues.map(|queues| queues.dead);
    let tile = |key, name, value, note| Tile {
        key,
        name,
        value,
        note,
        is_bad: false,
    };
    vec![
        workers_tile(snapshot, lang),
        tile(
            "jobs",
            lang.say("Analyses en cours", "Analyses running"),
            number::count(running.count() as u64, lang),
            String::new(),
        ),
        tile(
            "waiting",
            lang.say("Chunks en attente", "Chunks waiting"),
            waiting(queues.map(|queues| queues.chunks)),
            queues.map_or_else(String::new, |queues| {
                let results = number::count(queues.results, lang);
                lang.say(
                    format!("{results} résultats à fusionner"),
                    format!("{results} results to merge"),
                )
            }),
        ),
        tile(
            "chunks",
            lang.say("Chunks par seconde", "Chunks a second"),
            number::count(snapshot.chunks_per_second, lang),
            String::new(),
        ),
        tile(
            "rows",
            lang.say("Lignes par seconde", "Rows a second"),
            measure::short(snapshot.rows_per_second, lang),
            String::new(),
        ),
        Tile {
            is_bad: dead.is_some_and(|dead| dead > 0),
            ..tile(
                "dead",
                lang.say("Messages morts", "Dead messages"),
                waiting(dead),
                String::new(),
            )
        },
    ]
}

fn charts(snapshot: &Snapshot, lang: Lang) -> Vec<Series> {
    let series =
        |key: &'static str, name: &'static str, class, now: String, of: fn(&Point) -> u64| {
            let values: Vec<u64> = snapshot.history.iter().map(of).collect();
            let highest = number::count(values.iter().copied().max().unwrap_or(0), lang);
            let desc = lang.say(
                format!("{now} maintenant, {highest} au plus pendant ces cinq minutes."),
                format!("{now} now, {highest} at most during these five minutes."),
            );
            let caption = Caption {
                id: &format!("chart-{key}"),
                title: name,
                desc: &desc,
            };
            let below = [
                lang.say("il y a 5 min", "5 min ago"),
                lang.say("maintenant", "now"),
            ];
            let svg = draw::line(
                caption,
                &values,
                (HEIGHT, POINTS),
                class,
                |value| measure::short(value, lang),
                below.map(str::to_owned),
            );
            Series { key, name, svg }
        };
    let waiting = snapshot.queues.map(|queues| queues.chunks);
    vec![
        series(
            "waiting",
            lang.say("Chunks en attente", "Chunks waiting"),
            "low",
            waiting.map_or_else(|| "–".to_owned(), |n| number::count(n, lang)),
            |point| point.waiting,
        ),
        series(
            "chunks",
            lang.say("Chunks par seconde", "Chunks a second"),
            "high",
            number::count(snapshot.chunks_per_second, lang),
            |point| point.chunks,
        ),
        series(
            "rows",
            lang.say("Lignes par seconde", "Rows a second"),
            "sale",
            measure::short(snapshot.rows_per_second, lang),
            |point| point.rows,
        ),
    ]
}

impl Worker {
    fn new(worker: &WorkerView, lang: Lang) -> Self {
        let cpu = worker.cpu_percent.map(f64::from);
        let current = worker.current.as_ref();
        Self {
            name: worker.name.clone(),
            host: worker.host.clone(),
            pid: worker.pid,
            alive: worker.alive,
            state: match (worker.alive, current) {
                (true, Some(_)) => lang.say("au travail", "working"),
                (true, None) => lang.say("prêt", "ready"),
                (false, _) => lang.say("absent", "away"),
            },
            cpu: cpu.map_or_else(|| "–".to_owned(), |cpu| percent(cpu, lang)),
            load: cpu.map_or(0, |cpu| cpu.clamp(0.0, 100.0).round() as u64),
            memory: measure::bytes(worker.memory_bytes, lang),
            chunks: number::count(worker.chunks, lang),
            rows_per_second: measure::short(worker.rows_per_second, lang),
            buried: worker.buried,
            current: current.map_or_else(String::new, |chunk| chunk.seq.to_string()),
            current_job: current.map_or_else(String::new, |chunk| chunk.job_id.to_string()),
            seen: measure::lasting(Duration::from_millis(worker.seen_ms_ago)),
        }
    }
}

/// A percentage of one core; above 100 for a process that uses several.
fn percent(value: f64, lang: Lang) -> String {
    let value = number::count(value.max(0.0).round() as u64, lang);
    lang.say(format!("{value}\u{202f}%"), format!("{value}%"))
}

fn spread(workers: &[WorkerView], lang: Lang) -> String {
    let mut most: Vec<&WorkerView> = workers.iter().filter(|worker| worker.chunks > 0).collect();
    most.sort_by(|a, b| b.alive.cmp(&a.alive).then_with(|| a.name.cmp(&b.name)));
    most.truncate(BARS);
    if most.is_empty() {
        return String::new();
    }
    let title = lang.say("Chunks traités par worker", "Chunks by worker");
    let bars = most.iter().map(|worker| Bar {
        name: worker.name.clone(),
        value: number::count(worker.chunks, lang),
        pieces: vec![(
            worker.chunks.into(),
            if worker.alive { "high" } else { "c0" }.to_owned(),
            format!("{} {}", worker.name, number::count(worker.rows, lang)),
        )],
    });
    let said: Vec<String> = most
        .iter()
        .map(|worker| format!("{} {}", worker.name, number::count(worker.chunks, lang)))
        .collect();
    let caption = Caption {
        id: "chart-spread",
        title,
        desc: &said.join(", "),
    };
    draw::bars(caption, bars.collect())
}

/// A chart with a bar for each job that ended last, divided into its acts.
fn acts(jobs: &[&JobView], lang: Lang) -> String {
    if jobs.is_empty() {
        return String::new();
    }
    let mut said = Vec::new();
    let bars = jobs.iter().filter_map(|job| {
        let acts = job.acts_ms?;
        let names = job::acts(job, lang);
        let values = [
            acts.cut.unwrap_or(0.0),
            acts.work,
            acts.merge,
            acts.conclude,
            acts.publish,
        ];
        let pieces = shares(values, acts.elapsed);
        let pieces = pieces.into_iter().zip(CLASSES).zip(&names);
        let row = Row::new(job, lang);
        let value = measure::millis(acts.elapsed, lang);
        said.push(format!("{} {value}", row.name));
        Some(Bar {
            name: row.name,
            value,
            pieces: pieces
                .map(|((micros, class), (name, words))| {
                    (micros.into(), class.to_owned(), format!("{name} {words}"))
                })
                .collect(),
        })
    });
    let bars = bars.collect();
    let caption = Caption {
        id: "chart-acts",
        title: lang.say("Durée de chaque acte", "Duration of each act"),
        desc: &said.join(", "),
    };
    draw::bars(caption, bars)
}

/// Divides a job's duration among its acts, in microseconds, because charts are drawn in integers. The acts of several
/// workers overlap: with their sum, the bar of a short job could be longer than that of a long one.
fn shares(acts: [f64; 5], elapsed: f64) -> [u64; 5] {
    let sane = |ms: f64| {
        if ms.is_finite() {
            ms.clamp(0.0, 1e12)
        } else {
            0.0
        }
    };
    let all: f64 = acts.iter().copied().map(sane).sum();
    let scale = if all > 0.0 { sane(elapsed) / all } else { 0.0 };
    acts.map(|ms| (sane(ms) * scale * 1e3) as u64)
}

/// The style sheet's classes of the acts, in their order.
const CLASSES: [&str; 5] = ["c1", "c3", "c2", "c4", "c5"];

#[derive(Template)]
#[template(path = "activity.html")]
struct Page {
    t: Frame,
    board: String,
}

/// The page.
pub(super) async fn page(State(app): State<Shared>, visitor: Visitor) -> Response {
    let snapshot = Arc::clone(&app.activity.snapshots().borrow());
    let title = visitor.lang.say("Activité", "Activity");
    let page = Page {
        t: visitor.frame(Here::Activity, title),
        board: rendered(&Board::new(&snapshot, visitor.lang)),
    };
    visitor.show(&page)
}

/// The stream of the live part, once a second.
pub(super) async fn stream(State(app): State<Shared>, visitor: Visitor) -> Response {
    let lang = visitor.lang;
    let mut snapshots = app.activity.snapshots();
    snapshots.mark_changed();
    live::stream(stream::unfold(snapshots, move |mut snapshots| async move {
        snapshots.changed().await.ok()?;
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let board = rendered(&Board::new(&snapshot, lang));
        Some((News::View(board), snapshots))
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::activity::{Acts, BrokerView, Chunk, JobState, Progress, Queues};

    const HOSTILE: &str = "<script>&\"'\r\n\u{0}</td>";

    fn snapshot() -> Snapshot {
        let job = JobView {
            job_id: "j-1".parse().expect("a job id"),
            status: JobState::Failed,
            progress: Progress {
                completed_tasks: u64::MAX,
                total_tasks: 1,
                percentage: f64::NAN,
            },
            kind: Some(HOSTILE.to_owned()),
            fichier: Some(HOSTILE.to_owned()),
            rows: u64::MAX,
            asked_at_ms: u64::MAX,
            started_at_ms: Some(u64::MAX),
            ended_at_ms: Some(0),
            eta_seconds: Some(u64::MAX),
            reason: Some(HOSTILE.to_owned()),
            acts_ms: Some(Acts {
                cut: None,
                work: f64::INFINITY,
                merge: -1.0,
                conclude: f64::MAX,
                publish: 0.0,
                elapsed: f64::NAN,
            }),
            workers: BTreeMap::new(),
            duplicates_dropped: 0,
        };
        let worker = WorkerView {
            name: HOSTILE.to_owned(),
            host: HOSTILE.to_owned(),
            pid: 1,
            alive: true,
            seen_ms_ago: u64::MAX,
            cpu_percent: Some(f32::NAN),
            memory_bytes: u64::MAX,
            chunks: u64::MAX,
            rows: u64::MAX,
            buried: 1,
            busy_ms: 0,
            rows_per_second: u64::MAX,
            current: Some(Chunk {
                job_id: "j-1".parse().expect("a job id"),
                seq: "0.7".parse().expect("a chunk's number"),
                for_ms: 0,
            }),
        };
        Snapshot {
            at_ms: 61_000,
            broker: BrokerView {
                up: false,
                since_ms: 1_000,
                embedded: false,
            },
            queues: Some(Queues {
                dead: 3,
                ..Queues::default()
            }),
            history: vec![Point::default(); POINTS],
            jobs: vec![job],
            workers: vec![worker],
            ..Snapshot::default()
        }
    }

    #[test]
    fn hostile_names_in_events_are_escaped() {
        for lang in [Lang::Fr, Lang::En] {
            let board = rendered(&Board::new(&snapshot(), lang));
            assert!(board.contains("&#60;script&#62;"), "{board}");
            assert!(!board.contains("<script"));
            assert_eq!(board.matches("<td").count(), board.matches("</td>").count());
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_job_took_and_says_so() {
        let longest = |acts, elapsed| shares(acts, elapsed).iter().sum::<u64>();
        // two workers computed 40 ms within 25 ms; the other job took 21 ms, one act after the other
        let (first, second) = (
            longest([5.0, 40.0, 1.0, 2.0, 3.0], 25.0),
            longest([5.0, 9.0, 1.0, 2.0, 3.0], 21.0),
        );
        assert!(first > second, "{first} {second}");
        assert!(first.abs_diff(25_000) < 5 && second.abs_diff(21_000) < 5);
        assert_eq!(shares([0.0; 5], 1.0), [0; 5]);
        assert_eq!(
            shares([f64::NAN, 1.0, f64::INFINITY, -1.0, 0.0], 1.0),
            [0, 1000, 0, 0, 0]
        );
    }

    #[test]
    fn a_job_s_time_is_the_same_wherever_it_is_shown() {
        let mut snapshot = snapshot();
        let job = &mut snapshot.jobs[0];
        (job.started_at_ms, job.ended_at_ms) = (Some(1_000), Some(1_051));
        job.acts_ms = Some(Acts {
            elapsed: 25.0,
            ..Acts::default()
        });
        let row = Row::new(&snapshot.jobs[0], Lang::En);
        assert_eq!(row.time, "25\u{a0}ms");
        assert_eq!(row.acts.last(), Some(&("in all", row.time.clone())));
        let board = rendered(&Board::new(&snapshot, Lang::En));
        assert!(!board.contains("51\u{a0}ms"), "{board}");
    }

    #[test]
    fn what_keeps_a_program_from_going_on_is_shown_and_escaped() {
        let board = |snapshot: &Snapshot| rendered(&Board::new(snapshot, Lang::En));
        let mut snapshot = Snapshot::default();
        assert!(!board(&snapshot).contains("No progress"));
        snapshot.troubles.push(TroubleView {
            program: "worker <1>".to_owned(),
            why: "q.results.dead is <b>full</b>".to_owned(),
        });
        let board = board(&snapshot);
        assert!(board.contains("No progress"), "{board}");
        assert!(!board.contains("<b>full") && board.contains("q.results.dead is"));
    }

    #[test]
    fn a_broker_that_is_away_is_shown_with_the_duration() {
        let mut snapshot = snapshot();
        let board = |snapshot: &Snapshot| rendered(&Board::new(snapshot, Lang::En));
        assert!(board(&snapshot).contains("The broker is away"));
        assert!(board(&snapshot).contains("For 1\u{a0}min\u{a0}00\u{a0}s."));
        snapshot.broker.up = true;
        assert!(!board(&snapshot).contains("The broker is away"));
        assert!(!board(&Snapshot::default()).contains("The broker is away"));
    }
}
