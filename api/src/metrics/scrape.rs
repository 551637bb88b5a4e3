//! The metrics that are read from the API's state at each scrape: the cluster, its workers, the newest report, the process.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::activity::{JobState, Snapshot, WorkerView};
use crate::app::App;

/// The state of the API at one scrape.
#[derive(Debug)]
pub(super) struct Scrape {
    snapshot: Arc<Snapshot>,
    workers: Vec<WorkerView>,
    /// How many jobs have each status.
    jobs: [(&'static str, i64); 6],
    streams: i64,
    /// When the newest report was written, in seconds since 1970.
    written: Option<f64>,
    uptime: f64,
    resident: Option<i64>,
}

impl Scrape {
    pub(super) fn of(app: &App) -> Self {
        let jobs = app.activity.jobs();
        let states = [
            ("queued", JobState::Queued),
            ("processing", JobState::Processing),
            ("done", JobState::Done),
            ("incomplete", JobState::Incomplete),
            ("failed", JobState::Failed),
            ("cancelled", JobState::Cancelled),
        ];
        let newest = app.editions.all_newest().into_iter();
        let written = newest.map(|edition| edition.written).max();
        let written = written.map(|written| written.duration_since(UNIX_EPOCH));
        Self {
            snapshot: Arc::clone(&app.activity.snapshots().borrow()),
            workers: app.activity.workers(),
            jobs: states.map(|(word, state)| {
                let count = jobs.iter().filter(|job| job.status == state).count();
                (word, count as i64)
            }),
            streams: app.streams.open() as i64,
            written: written.map(|since| since.unwrap_or_default().as_secs_f64()),
            uptime: app.since.elapsed().as_secs_f64(),
            resident: resident(),
        }
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        families.one(
            "autoconnect_event_streams",
            "Open streams of events.",
            Some(ConstGauge::new(self.streams)),
        )?;
        self.encode_cluster(&mut families)?;
        self.encode_workers(&mut families)?;
        families.one(
            "autoconnect_report_written_timestamp_seconds",
            "When the newest report was written, in seconds since 1970.",
            self.written.map(ConstGauge::new),
        )?;
        families.one(
            "autoconnect_uptime_seconds",
            "Seconds since the API started to serve.",
            Some(ConstGauge::new(self.uptime)),
        )?;
        families.one(
            "process_resident_memory_bytes",
            "Resident memory of the API's process, in bytes.",
            self.resident.map(ConstGauge::new),
        )
    }
}

impl Scrape {
    fn encode_cluster(&self, families: &mut Families<'_>) -> fmt::Result {
        let snapshot = &self.snapshot;
        families.one(
            "autoconnect_broker_up",
            "1 while the API is connected to the broker, else 0.",
            Some(ConstGauge::new(i64::from(snapshot.broker.up))),
        )?;
        let mut troubles = BTreeMap::<&str, i64>::new();
        for trouble in &snapshot.troubles {
            *troubles.entry(&trouble.program).or_default() += 1;
        }
        let troubles = troubles.into_iter();
        families.each(
            ("autoconnect_troubles", MetricType::Gauge),
            "Troubles that keep a program from making progress, by program; absent where there are none.",
            "program",
            troubles.map(|(program, count)| (program, ConstGauge::new(count))),
        )?;
        let queues = snapshot.queues.into_iter().flat_map(|queues| {
            [
                ("jobs", queues.jobs),
                ("chunks", queues.chunks),
                ("results", queues.results),
                ("dead", queues.dead),
            ]
        });
        families.each(
            ("autoconnect_queue_messages", MetricType::Gauge),
            "Ready messages, by queue; absent while the broker is away.",
            "queue",
            queues.map(|(queue, count)| (queue, ConstGauge::new(count as i64))),
        )?;
        families.each(
            ("autoconnect_jobs", MetricType::Gauge),
            "Jobs that the API keeps in memory, by status.",
            "status",
            self.jobs
                .map(|(word, count)| (word, ConstGauge::new(count))),
        )
    }

    fn encode_workers(&self, families: &mut Families<'_>) -> fmt::Result {
        families.each(
            ("autoconnect_worker_up", MetricType::Gauge),
            "1 while the worker sends heartbeats, else 0.",
            "worker",
            self.each_worker(|worker| ConstGauge::new(i64::from(worker.alive))),
        )?;
        families.each(
            ("autoconnect_worker_chunks", MetricType::Counter),
            "Chunks that the worker processed since it started.",
            "worker",
            self.each_worker(|worker| ConstCounter::new(worker.chunks)),
        )?;
        families.each(
            ("autoconnect_worker_rows", MetricType::Counter),
            "Rows that the worker processed since it started.",
            "worker",
            self.each_worker(|worker| ConstCounter::new(worker.rows)),
        )?;
        families.each(
            ("autoconnect_worker_buried", MetricType::Counter),
            "Chunks that the worker dead-lettered since it started.",
            "worker",
            self.each_worker(|worker| ConstCounter::new(worker.buried)),
        )?;
        families.each(
            ("autoconnect_worker_busy_seconds", MetricType::Counter),
            "Seconds that the worker computed since it started.",
            "worker",
            self.each_worker(|worker| ConstCounter::new(worker.busy_ms as f64 / 1000.0)),
        )?;
        families.each(
            ("autoconnect_worker_cpu_ratio", MetricType::Gauge),
            "CPU use of the worker's process, in cores; 0 while it sends no heartbeats.",
            "worker",
            self.each_worker(|worker| {
                ConstGauge::new(f64::from(worker.cpu_percent.unwrap_or(0.0)) / 100.0)
            }),
        )?;
        families.each(
            ("autoconnect_worker_memory_bytes", MetricType::Gauge),
            "Resident memory of the worker's process, in bytes.",
            "worker",
            self.each_worker(|worker| ConstGauge::new(worker.memory_bytes as i64)),
        )
    }

    fn each_worker<M>(&self, figure: fn(&WorkerView) -> M) -> impl Iterator<Item = (&str, M)> {
        let workers = self.workers.iter();
        workers.map(move |worker| (worker.name.as_str(), figure(worker)))
    }
}

/// Encodes families of metrics, also those without a sample: every documented name is always exposed.
struct Families<'e>(DescriptorEncoder<'e>);

impl Families<'_> {
    /// A gauge of at most one sample, without labels.
    fn one(&mut self, name: &str, help: &str, sample: Option<impl EncodeMetric>) -> fmt::Result {
        let encoder = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        sample.map_or(Ok(()), |sample| sample.encode(encoder))
    }

    /// A family of samples with one label.
    fn each<'s, M: EncodeMetric>(
        &mut self,
        (name, kind): (&str, MetricType),
        help: &str,
        label: &'static str,
        samples: impl IntoIterator<Item = (&'s str, M)>,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (value, sample) in samples {
            let labels = [(label, value)];
            sample.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// The resident memory of this process in bytes; `None` where the system does not say.
fn resident() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
