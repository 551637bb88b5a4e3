//! The heartbeat of a worker: publishes once a second what it does and needs.

use std::convert::Infallible;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use autoconnect_common::broker::Delivery;
use autoconnect_common::message::{Current, Event, Heartbeat};
use autoconnect_common::{Broker, JobId, Seq, machine, settings};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::time::Instant;

/// The time between heartbeats: the dashboard looks live, and the broker has one small message a second for each worker.
const EVERY: Duration = Duration::from_secs(1);

/// What a worker did and does, shared with the task that publishes it.
#[derive(Default)]
pub(crate) struct Pulse(Mutex<Beats>);

#[derive(Default)]
struct Beats {
    chunks: u64,
    rows: u64,
    buried: u64,
    busy: Duration,
    current: Option<(JobId, Seq, Instant)>,
}

impl Pulse {
    fn beats(&self) -> MutexGuard<'_, Beats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk begins to compute.
    pub(crate) fn begin(&self, delivery: &Delivery) {
        let header = |name: &str| delivery.message.headers.get(name);
        let job = header("job").and_then(|job| job.parse().ok());
        let seq = header("seq").and_then(|seq| seq.parse().ok());
        self.beats().current = job.zip(seq).map(|(job, seq)| (job, seq, Instant::now()));
    }

    /// Nothing is computed any more.
    pub(crate) fn pause(&self) {
        self.beats().current = None;
    }

    /// A partial of so many rows was confirmed.
    pub(crate) fn worked(&self, rows: u32, took: Duration) {
        let mut beats = self.beats();
        beats.chunks += 1;
        beats.rows += u64::from(rows);
        beats.busy += took;
    }

    /// A chunk was dead-lettered.
    pub(crate) fn buried(&self, took: Duration) {
        let mut beats = self.beats();
        beats.buried += 1;
        beats.busy += took;
    }

    /// Publishes heartbeats of the worker `name` until dropped. While the broker is down the current one waits, and none
    /// queue up.
    pub(crate) async fn tell<B: Broker>(&self, broker: &B, name: &str) -> Infallible {
        let host = settings::host();
        let mut system = System::new();
        // skip the first tick: a worker that exits within a second never reports
        let mut tick = tokio::time::interval_at(Instant::now() + EVERY, EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for stamp in 0.. {
            tick.tick().await;
            let event = Event::Worker(self.heartbeat(name, &host, &mut system, stamp == 0));
            // the publishing of partials reports what is wrong with the broker
            if let Ok(message) = event.to_message(stamp) {
                let _lost = broker.publish(message).await;
            }
        }
        std::future::pending().await
    }

    fn heartbeat(&self, name: &str, host: &str, system: &mut System, first: bool) -> Heartbeat {
        let pid = std::process::id();
        let own = Pid::from_u32(pid);
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        // in a simulation the process is the simulator
        if !machine::is_simulated() {
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, what);
        }
        let process = system.process(own);
        let beats = self.beats();
        Heartbeat {
            worker: name.to_owned(),
            host: host.to_owned(),
            pid,
            // CPU usage is measured between two refreshes
            cpu_percent: process
                .filter(|_| !first)
                .map(|process| process.cpu_usage()),
            memory_bytes: process.map_or(0, |process| process.memory()),
            chunks: beats.chunks,
            rows: beats.rows,
            buried: beats.buried,
            busy_ms: u64::try_from(beats.busy.as_millis()).unwrap_or(u64::MAX),
            current: beats.current.as_ref().map(|(job, seq, since)| Current {
                job: job.clone(),
                seq: *seq,
                for_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }
}
