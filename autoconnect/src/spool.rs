//! Writes into a local folder the report that a reducer on another machine concluded.
//!
//! The job's last event carries the report, and the files of the report are rendered from it. It does not carry side files
//! (`rejets.csv`), so a [`Spool`] keeps a copy of each of their pages on disk when it is published.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use autoconnect_common::broker::{Broker, BrokerError, Delivery, Offered, Queue, Subscription};
use autoconnect_common::fetch::{self, FetchError};
use autoconnect_common::health::Health;
use autoconnect_common::kind::{ConcludeError, Kind, REPORT};
use autoconnect_common::message::Message;
use autoconnect_common::results::{Accept, EXECUTION, Results};
use autoconnect_common::{Body, JobId, disk};

use crate::summary::Finished;

/// Why a report could not be written here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    /// A file or folder could not be written.
    #[error("{}: cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The event's report is not of this kind.
    #[error(transparent)]
    Report(#[from] ConcludeError),
    /// The report is too large for an event, and was not fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// A broker that keeps a copy of every page of a side file that is published.
pub(crate) struct Spool<B> {
    broker: B,
    folder: PathBuf,
    sides: Mutex<BTreeMap<String, Side>>,
}

/// A side file in progress: its pages are appended in the order of their numbers, in whatever order they are published.
#[derive(Default)]
struct Side {
    /// The number of the page that is appended next.
    next: u32,
    /// Pages that were published before an earlier one.
    early: BTreeMap<u32, Body>,
}

impl<B> Spool<B> {
    /// A spool in a folder of the job's own below `out`; dropping the spool removes the folder.
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

    /// Keeps a copy of a page of a side file; does nothing for another message.
    fn copy(&self, message: &Message) -> Result<(), BrokerError> {
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

    /// Fetches the report of an ended job, where the event of its end did not carry it.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(crate) async fn fetch(&self, finished: &Finished) -> Result<(), SpoolError>
    where
        B: Broker,
    {
        if !finished.status.has_report() || finished.report.is_some() {
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        let path = self.folder.join(REPORT);
        Ok(fetch::report(&self.broker, &finished.job, &path).await?)
    }

    /// Writes the results in `finished` into `out`, in the layout of a reducer; returns why the report does not become the
    /// newest there, if it does not.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub(crate) fn write(
        &self,
        kind: &dyn Kind,
        out: &Path,
        finished: &Finished,
        accept: Accept,
    ) -> Result<Option<String>, SpoolError> {
        let (disk, job) = (disk::real(), &finished.job);
        let at_root = kind.at_root().then(|| kind.name());
        let results = Results::new(Arc::clone(&disk), out, at_root);
        let unfinished = results.unfinished(job);
        results.begin(job).map_err(failed(&unfinished))?;
        let mut folders = BTreeSet::from([unfinished.clone()]);
        let text = finished.report.as_deref();
        let fetched = self.folder.join(REPORT);
        let report = match text {
            Some(text) => Some(kind.read(&mut text.as_bytes())?),
            None if fetched.exists() => {
                let mut file = fs::File::open(&fetched).map_err(failed(&fetched))?;
                Some(kind.read(&mut file)?)
            }
            None => None,
        };
        if let Some(report) = report {
            for path in report.rendered() {
                let file = unfinished.join(path);
                disk.write_with(&file, |out| report.write(path, out))
                    .map_err(failed(&file))?;
                folders.extend(file.parent().map(Path::to_owned));
            }
            let path = unfinished.join(REPORT);
            match text {
                Some(text) => disk.write_whole(&path, text.as_bytes()),
                None => fs::rename(&fetched, &path),
            }
            .map_err(failed(&path))?;
        }
        if let Some(execution) = &finished.execution {
            let path = unfinished.join(EXECUTION);
            let written = disk.write_whole(&path, execution.as_bytes());
            written.map_err(failed(&path))?;
        }
        for name in self.sides().keys() {
            let (spooled, side) = (self.folder.join(name), unfinished.join(name));
            fs::File::open(&spooled)
                .and_then(|file| file.sync_data())
                .and_then(|()| fs::rename(&spooled, &side))
                .map_err(failed(&side))?;
        }
        for folder in &folders {
            disk.sync_folder(folder).map_err(failed(folder))?;
        }
        results.put(job).map_err(failed(&results.of(job)))?;
        let claim = results.claim(job, accept);
        results.offer(job, kind.name(), claim).map_err(failed(out))
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
        self.copy(&message)?;
        self.broker.publish(message).await
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.copy(&message)?;
        self.broker.offer(message).await
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        self.broker.subscribe(queue, prefetch).await
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        self.broker.take(queue).await
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
