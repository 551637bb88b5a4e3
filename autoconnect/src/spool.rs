//! Writes here a report that a reducer concluded elsewhere.
//!
//! The report travels in the job's last event, and its files are rendered from it; side files (`rejets.csv`) do not, so a
//! [`Spool`] keeps a copy of their pages on disk while they pass on their way to the broker.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use autoconnect_common::broker::{Broker, BrokerError, Offered, Queue, Subscription};
use autoconnect_common::health::Health;
use autoconnect_common::kind::{ConcludeError, Kind, REPORT};
use autoconnect_common::message::Message;
use autoconnect_common::{Body, JobId, disk};

use crate::summary::Finished;

/// Why a report could not be written here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// A file or folder could not be written.
    #[error("{}: cannot be written", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// What came in the event is no report of this kind.
    #[error(transparent)]
    Report(#[from] ConcludeError),
    /// The report is too large for an event.
    #[error(
        "the report is too large to travel: it is in the reducer's own results folder, job {0}"
    )]
    TooLarge(JobId),
}

/// A broker that keeps a copy of every page of a side file that is published.
pub(crate) struct Spool<B> {
    broker: B,
    folder: PathBuf,
    sides: Mutex<BTreeMap<String, Side>>,
}

/// A side file on its way: its pages are appended in order, whichever passes first.
#[derive(Default)]
struct Side {
    next: u32,
    early: BTreeMap<u32, Body>,
}

impl<B> Spool<B> {
    /// A spool in a folder of the job's own below `out`; gone when the spool is.
    pub(crate) fn new(broker: B, out: &Path, job: &JobId) -> Self {
        Self {
            broker,
            folder: out.join(format!(".spool-{job}")),
            sides: Mutex::default(),
        }
    }

    fn sides(&self) -> MutexGuard<'_, BTreeMap<String, Side>> {
        self.sides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a copy of a page that passes.
    fn pass(&self, message: &Message) -> Result<(), BrokerError> {
        if message.kind != "annex" {
            return Ok(());
        }
        self.keep(message)
            .map_err(|error| BrokerError::Unsendable(format!("{}: {error}", self.folder.display())))
    }

    fn keep(&self, message: &Message) -> io::Result<()> {
        let header = |name| message.headers.get(name);
        let (Some(name), Some(page)) = (header("name"), header("page")) else {
            return Ok(());
        };
        let page = page.parse().map_err(io::Error::other)?;
        let mut sides = self.sides();
        let side = sides.entry(name.clone()).or_default();
        side.early.insert(page, message.body.clone());
        while let Some(body) = side.early.remove(&side.next) {
            fs::create_dir_all(&self.folder)?;
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.folder.join(name))?
                .write_all(&body)?;
            side.next += 1;
        }
        Ok(())
    }

    /// Writes what `finished` tells into `out`, in the places where a reducer would have put it: `report.json` last.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(crate) fn write(
        &self,
        kind: &dyn Kind,
        out: &Path,
        finished: &Finished,
    ) -> Result<(), SpoolError> {
        let disk = disk::real();
        let own = out.join("jobs").join(finished.job.as_str());
        let mut written: Vec<String> = Vec::new();
        let report = finished.report.as_deref();
        if let Some(report) = report {
            let report = kind.read(&mut report.as_bytes())?;
            for path in report.rendered() {
                disk.write_with(&own.join(path), |file| report.write(path, file))
                    .map_err(failed(&own.join(path)))?;
                written.push(path.to_owned());
            }
        }
        if let Some(execution) = &finished.execution {
            disk.write_whole(&own.join("execution.json"), execution.as_bytes())
                .map_err(failed(&own.join("execution.json")))?;
            written.push("execution.json".to_owned());
        }
        for name in self.sides().keys() {
            let (spooled, side) = (self.folder.join(name), own.join(name));
            fs::create_dir_all(&own)
                .and_then(|()| fs::File::open(&spooled)?.sync_data())
                .and_then(|()| fs::rename(&spooled, &side))
                .map_err(failed(&side))?;
            written.push(name.clone());
        }
        if let Some(report) = report {
            disk.write_whole(&own.join(REPORT), report.as_bytes())
                .map_err(failed(&own.join(REPORT)))?;
            written.push(REPORT.to_owned());
        }
        for path in &written {
            disk.link_whole(&own.join(path), &out.join(path))
                .map_err(failed(&out.join(path)))?;
        }
        disk.sync_folder(out).map_err(failed(out))?;
        match (finished.status.has_report(), report) {
            (true, None) => Err(SpoolError::TooLarge(finished.job.clone())),
            _ => Ok(()),
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
    let path = path.to_owned();
    move |source| SpoolError::Write { path, source }
}

impl<B> Drop for Spool<B> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl<B: Broker> Broker for Spool<B> {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        self.pass(&message)?;
        self.broker.publish(message).await
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.pass(&message)?;
        self.broker.offer(message).await
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        self.broker.subscribe(queue, prefetch).await
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        self.broker.waiting(queue).await
    }

    fn health(&self) -> Health {
        self.broker.health()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}
