//! The reducer: merges every partial exactly once, in any order, of several jobs at once, and writes the reports.
//!
//! Results are delivered at least once, and count once. The life of a result, and of a job:
//!
//! ```text
//!  q.control, then q.results.<format>
//!     |  delivery
//!     v
//!  readable? --no--> published to x.dead "results" with the reason, then acknowledged
//!     |yes
//!     v
//!  a question? --yes--> answered by an event, acknowledged
//!     |no
//!     v
//!  job ended? --yes--> late: acknowledged, dropped; the job's end is announced again (after a manifest or a
//!     |no               cancellation at once; after anything else, where there is no report, at most once a tick)
//!     v
//!  absorb ---refused---> dead-lettered, as above              (not in the manifest, another kind or schema)
//!     |  \---stale------> of another cut than the manifest's: logged, acknowledged
//!     |  \---duplicate--> counted; acknowledged after the next flush (the first copy may not be durable yet)
//!     |  \---harmful----> the job fails or the chunk is dead: journal, dead-lettered, acknowledged after the flush
//!     |news
//!     v
//!  journal (in memory) --64 results or 20 ms--> flush (fsync) --> acknowledge --> job at its end?
//!                                                 |failed: nothing is acknowledged, nothing more is consumed,
//!                                                 |        retried after a pause              |yes
//!                                                                                             v
//!  OPEN ------------------------------------------------------------------------> ENDING: conclude, publish
//!   ^  \--no result for `abandon_after`-----------------------------------------/     |           |disk trouble
//!   |                                                                                 |        WAITING --pause--+
//!   | restarted: snapshot + journal                                                   |           ^-------------'
//!                                                                                     v
//!                                                ENDED: tombstone, announced, journal removed
//! ```
//!
//! A job ends when its manifest, its whole seal and every page of its side files arrived, and every chunk is merged or
//! dead. It also ends when it fails or is cancelled, even before its first result: the tombstone makes the reducer drop
//! later results. A dead chunk does not hold the job up: the report names it. A partial of that chunk still counts if it
//! arrives before the job ends; after the end nothing counts.
//!
//! A job that ended stays ended for as long as its own folder of results exists. Once that folder is removed, the reducer
//! keeps the job's new results beside its tombstone. A `begun` of a producer reopens the job, because the job was
//! requested again; so does a manifest once everything that it counts has arrived. A late copy of a manifest alone does
//! not reopen the job. Where the folder of all results is missing too, its file system may be unmounted for a moment: the
//! reducer waits 5 seconds for it before the job's results count as removed.
//!
//! # Killed at any moment
//!
//! | killed | what is on disk | what the next reducer does |
//! |---|---|---|
//! | before the flush of the journal | perhaps a torn record | skips it and begins another journal; nothing was acknowledged, so everything is redelivered |
//! | between the write and the flush, and the power stays on | the results, perhaps not on disk | replays them; flushes them before it acknowledges a redelivered copy |
//! | after the flush, before the acknowledgement | the results | replays them; they are redelivered, and count as duplicates |
//! | while a snapshot is written | the old snapshot and all journals, or the new snapshot, the journal it names and older ones | continues from the snapshot; removes older journals |
//! | while a job begins again whose results were removed | its tombstone, and new results beside it | keeps results beside the tombstone until the job is requested again |
//! | while the report is written | the journal; the job's folder unfinished, under another name, or whole; the newest report is another one | concludes again, writes the same files again, and renames them into place |
//! | while `results/<kind>` is swapped | the journal, with the order of the job's end; the newest report is the old one or this one, whole | the same; a job that ended later stays the newest |
//! | after the tombstone | the tombstone, the journal, bodies in the blob store | announces the end again, removes the journal and the bodies |
//!
//! # Damaged on disk
//!
//! | damaged | what the reducer does |
//! |---|---|
//! | a record of a journal, its header | skips what fails its checksum, keeps the good records before and after it, and leaves the file unchanged. The job waits for what is missing, until it is redelivered or the job is requested again. Otherwise the job's end says that the result may have been lost here, never that it did not arrive |
//! | a journal's last record, torn like one that was never acknowledged | waits for what is missing; requests the job again, once, before giving it up |
//! | a snapshot | the job fails with a sentence that names it |
//! | a page of a side file | the job ends `incomplete` without that side file, and says so, unless the page arrives again before. Found at the start, of a job whose request is known: requests the job again, as below |
//! | a tombstone | its name still says that the job ended; the reducer reads how from the job's `execution.json` |
//! | a journal of a job whose report was published just before the reducer was killed | keeps that report as the job's end, if it cannot make one as good |
//! | a journal's record in its middle, of a job whose request is known | requests the job again, once: what was lost is cut and worked again, and the rest counts once |
//! | a journal or snapshot of another version of the program, an open job of a format that only another version knows | refuses to start, with a sentence |
//!
//! Without a state folder ([`Config::state`]) nothing outlives the process, and results are acknowledged once merged.
//! That is right for the embedded broker, whose messages do not outlive the process either.

mod announce;
mod attempts;
mod conclusions;
mod ending;
mod entry;
mod execution;
pub mod faults;
mod intake;
mod job;
mod journal;
mod lease;
mod merged;
mod pages;
mod parts;
mod reduce;
mod replay;
mod seal;
mod silence;
mod store;
mod together;
mod tombstone;
mod trouble;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::blob::Blobs;
use autoconnect_common::broker::BrokerError;
use autoconnect_common::disk::{self, Disk};
use autoconnect_common::program::{self, Failure};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Broker, Fate, Registry, Shutdown};

use faults::{Faults, Killed};
use reduce::Reducer;

/// How long a stopping reducer may take for its last announcements: a broker that is up takes milliseconds, and a
/// container runtime kills after 10 seconds or more.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The default [`Config::lease`]: twelve missed `begun` messages in a row, and longer than a restart of the broker takes.
const LEASE: Duration = Duration::from_secs(60);

/// How a reducer works.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of reports; made where missing.
    pub results: PathBuf,
    /// The folder from which a reducer continues where the last one stopped. Without it nothing outlives the process, and
    /// a report that cannot be written ends the reducer instead of being retried.
    pub state: Option<PathBuf>,
    /// A job without any result for that long ends without what is missing. Longer than any outage of the broker that is
    /// to be survived.
    pub abandon_after: Duration,
    /// A job whose cut has begun, and for which no producer sent `begun` for that long, is requested again. Several times
    /// the five seconds after which a producer repeats `begun`.
    pub lease: Duration,
    /// The most unacked results, of all formats together.
    pub prefetch: u16,
    /// The first pause after a failed write; it doubles up to 30 seconds.
    pub retry: Duration,
    /// Bytes of a job's journal after which a snapshot replaces it; absent, 16 MiB.
    pub snapshot_after: Option<u64>,
    /// The disk that both folders are on.
    pub disk: Arc<dyn Disk>,
    /// The blob store with the chunk bodies that were too large for a message. The reducer removes those of an ended job.
    pub blobs: Option<Blobs>,
    /// Whether the reducer sweeps the blob store for what jobs left behind that it does not know. Only the reducer of a
    /// cluster knows every job that shares the store.
    pub sweeps: bool,
    /// For tests: the points at which the reducer is killed.
    pub faults: Faults,
}

impl Config {
    /// A reducer for one run in one process: it keeps nothing but the reports in `results`, and never gives a job up.
    pub fn volatile(results: impl Into<PathBuf>) -> Self {
        Self {
            results: results.into(),
            state: None,
            abandon_after: Duration::MAX,
            lease: LEASE,
            prefetch: 256,
            retry: Duration::from_secs(1),
            snapshot_after: None,
            disk: disk::real(),
            blobs: None,
            sweeps: false,
            faults: Faults::default(),
        }
    }

    /// A reducer for a cluster: it can be killed at any moment, and gives a job up after an hour of silence.
    pub fn durable(results: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self {
            state: Some(state.into()),
            abandon_after: Duration::from_secs(3600),
            sweeps: true,
            ..Self::volatile(results)
        }
    }
}

/// What a reducer did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs with a complete report.
    pub done: u64,
    /// Jobs whose report lacks something.
    pub incomplete: u64,
    /// Jobs without a report.
    pub failed: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Partials that were merged.
    pub merged: u64,
    /// Results that arrived again while their job was open.
    pub duplicates: u64,
    /// Results of another cut of their job than the one that its manifest seals.
    pub stale: u64,
    /// Results that arrived after their job had ended.
    pub late: u64,
    /// Results that were dead-lettered as invalid.
    pub buried: u64,
}

/// Why a reducer stopped before its shutdown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker refuses this program for good.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The broker ended the subscription.
    #[error("the broker stopped delivering results")]
    BrokerGone,
    /// Two reducers must not share a state folder.
    #[error("the state folder {} is in use by another reducer", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// The state folder cannot be read or written.
    #[error("the state folder {} cannot be used", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A report cannot be written. Only without a state folder; with one, writing is retried.
    #[error("cannot {what}")]
    Publish {
        /// What was being done, and to which file.
        what: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// A test killed the reducer.
    #[error(transparent)]
    Killed(#[from] Killed),
    /// A bug.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Whether a restart of the reducer can help.
    pub fn fate(&self) -> Fate {
        match self {
            Self::BrokerGone | Self::Locked { .. } | Self::Publish { .. } | Self::Killed(_) => {
                Fate::Again
            }
            Self::Broker(_) | Self::State { .. } | Self::Internal(_) => Fate::Bury,
        }
    }
}

/// Runs the role as a program of a cluster: as the settings say, on RabbitMQ, until shutdown.
///
/// # Errors
/// [`Failure`].
pub async fn play(
    settings: &Settings,
    registry: &Registry,
    shutdown: Shutdown,
) -> Result<(), Failure> {
    let settings::Reducer {
        state,
        results,
        abandon_after,
    } = settings.load()?;
    let broker = program::connect_role(settings, "reducer", registry.formats())?;
    tracing::info!(state = %state.display(), results = %results.display(), "reducer started");
    let blobs = settings.load::<settings::Blobs>()?.open();
    let config = Config {
        abandon_after,
        blobs: Some(blobs.map_err(Failure::usage)?),
        ..Config::durable(results, state)
    };
    let reduced = run(&broker, registry, config, shutdown).await;
    broker.close().await;
    let summary = reduced.map_err(|error| Failure::of(&error))?;
    tracing::info!(?summary, "reducer stopped");
    Ok(())
}

/// Reduces every job whose results `broker` delivers, until `shutdown`: it then finishes what it has begun, and requeues
/// the rest.
///
/// # Errors
/// [`Error`], where waiting does not help.
pub async fn run<B: Broker>(
    broker: &B,
    registry: &Registry,
    config: Config,
    shutdown: Shutdown,
) -> Result<Summary, Error> {
    let (announcer, announcements) = announce::announcer(&config.disk, &config.results);
    let reducing = async {
        let reducer = Reducer::start(broker, registry, config, announcer).await?;
        reducer.run(&shutdown).await
    };
    let mut announcing = std::pin::pin!(announcements.publish(broker));
    let summary = tokio::select! {
        biased;
        reduced = reducing => reduced?,
        // pending while the reducer holds the announcer
        () = &mut announcing => return Err(Error::Internal("announcements ended".to_owned())),
    };
    let _nobody_may_listen = tokio::time::timeout(LAST_WORDS, announcing).await;
    Ok(summary)
}
