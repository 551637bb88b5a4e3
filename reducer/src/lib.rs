//! The reducer: merges every partial exactly once, in any order, of several jobs at once, and writes the reports.
//!
//! Results come at least once; they count once. The life of a result, and of a job:
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
//!  job ended? --yes--> late: acknowledged, dropped; how the job ended is announced again (to a manifest or a
//!     |no               cancellation at once; to anything else, where there is no report, at most once a tick)
//!     v
//!  absorb ---refused---> buried, as above                     (not in the manifest, another kind or schema)
//!     |  \---stale------> of another cut than the manifest's: logged, acknowledged
//!     |  \---duplicate--> counted; acknowledged after the next flush (the first copy may not be durable yet)
//!     |  \---harmful----> the job fails or the chunk is dead: journal, buried, acknowledged after the flush
//!     |news
//!     v
//!  journal (in memory) --64 results or 20 ms--> flush (fsync) --> acknowledge --> job at its end?
//!                                                 |failed: nothing is acknowledged, nothing more is taken,
//!                                                 |        tried again after a pause          |yes
//!                                                                                             v
//!  OPEN ------------------------------------------------------------------------> ENDING: conclude, publish
//!   ^  \--nothing came for `abandon_after`--------------------------------------/     |           |disk trouble
//!   |                                                                                 |        WAITING --pause--+
//!   | started again: snapshot + journal                                               |           ^-------------'
//!                                                                                     v
//!                                                ENDED: tombstone, announced, journal removed
//! ```
//!
//! A job ends when its manifest, its whole seal and every page of its side files came, and every chunk is merged or dead; or when it
//! fails or is cancelled, which it can be before anything of it came: the tombstone then drops what comes. A dead chunk
//! does not hold the job up: the report says what it lacks. Its partial, if one comes after all before that end, counts;
//! after the end nothing does.
//!
//! A job that ended stays so for as long as its own folder of results is there. Once somebody removed that, what comes of
//! the job is kept beside its tombstone. A producer that says that it cuts the job opens it again, for somebody asked for it
//! again; so does its manifest once all came that it counts. Anything else is dropped: a late copy of a manifest is no request,
//! and nothing else of the job may come. Where the folder of all results is away as well, its
//! file system may be back in a moment: that decides.
//!
//! # Killed at any moment
//!
//! | killed | what is on disk | what the next reducer does |
//! |---|---|---|
//! | before the flush of the journal | perhaps a torn record | passes it over and begins another journal; nothing was acknowledged, so everything comes again |
//! | between the write and the flush, and the power stays on | the results, perhaps not on disk | replays them; flushes them before a copy that comes again is acknowledged |
//! | after the flush, before the acknowledgement | the results | replays them; they come again, as duplicates |
//! | while a snapshot is written | the old snapshot and all journals, or the new snapshot, the journal it names and older ones | goes on from the snapshot; older journals are removed |
//! | while a job begins again whose results were removed | its tombstone, and what came beside it | goes on beside the tombstone until somebody asked for it again |
//! | while the report is written | the journal; the job's folder unfinished, under another name, or whole; the newest report is another one | concludes again, writes the same files again, and puts them in place |
//! | while `results/<kind>` is swapped | the journal, with the order of the job's end; the newest report is the old one or this one, whole | the same; a job that ended later stays the newest |
//! | after the tombstone | the tombstone, the journal, bodies in the blob store | announces the end again, removes the journal and the bodies |
//!
//! # Damaged on disk
//!
//! | damaged | what the reducer does |
//! |---|---|
//! | a record of a journal, its header | passes over what has no good checksum, keeps what is good in front of it and behind it, and leaves the file as it is. The job waits for what is missing; asked for again or delivered again, it is whole. Otherwise its end says that it may have been lost here, never that it did not come |
//! | a journal's last record, as torn as one that was never acknowledged | waits for what is missing; asks for the job again, once, before it is given up |
//! | a snapshot | the job fails with a sentence that names it |
//! | a page of a side file | the job ends `incomplete` without that side file, and says so. A page that comes again replaces it before. Found at the start, of a job whose request is known: asks for the job again, as below |
//! | a tombstone | its name still says that the job ended; how is read from the job's own `execution.json` |
//! | a journal of a job whose report was published just before the reducer was killed | keeps that report as the job's end, if it cannot make one as good |
//! | a journal's record in its middle, of a job whose request is known | asks for the job again, once: what was lost is cut and worked again, and the rest counts once |
//! | a journal or snapshot of another version of the program, an open job of a format that only another version knows | refuses to start, with a sentence |
//!
//! Without a state folder ([`Config::state`]) nothing outlives the process, and results are acknowledged once merged: right
//! for the embedded broker, whose messages do not outlive it either.

mod announce;
mod asked;
mod attempts;
mod conclusions;
mod ending;
mod entry;
mod execution;
pub mod faults;
mod intake;
mod job;
mod journal;
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

/// How long the last announcements may take once the reducer was told to stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The usual [`Config::lease`]: twelve words of a producer that are missing, and longer than a restart of the broker takes.
const LEASE: Duration = Duration::from_secs(60);

/// How a reducer works.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder of reports; made where missing.
    pub results: PathBuf,
    /// The folder that lets a reducer go on where the last one stopped; absent, nothing outlives the process, and a
    /// report that cannot be written ends the reducer instead of being tried again.
    pub state: Option<PathBuf>,
    /// A job of which nothing came for that long is ended without what is missing. Longer than any outage of the broker
    /// that is to be survived.
    pub abandon_after: Duration,
    /// A job whose cut has begun, and of which no producer said for that long that it still cuts it, is asked for again.
    /// Longer than a few of the five seconds after which a producer says so again.
    pub lease: Duration,
    /// Results taken from the broker and not yet acknowledged, at most, of all formats together.
    pub prefetch: u16,
    /// The first pause after something could not be written; it doubles up to 30 seconds.
    pub retry: Duration,
    /// Bytes of a job's journal after which a snapshot replaces it; absent, 16 MiB.
    pub snapshot_after: Option<u64>,
    /// The disk that both folders are on.
    pub disk: Arc<dyn Disk>,
    /// Where bodies of chunks lie that were too large for a message: those of a job that ended are removed.
    pub blobs: Option<Blobs>,
    /// For tests: where to be killed.
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
            faults: Faults::default(),
        }
    }

    /// A reducer for a cluster: it can be killed at any moment, and gives a job up after an hour of silence.
    pub fn durable(results: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self {
            state: Some(state.into()),
            abandon_after: Duration::from_secs(3600),
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
    /// Jobs that nobody wanted any more.
    pub cancelled: u64,
    /// Partials that were merged.
    pub merged: u64,
    /// Results that came again while their job was open.
    pub duplicates: u64,
    /// Results of another cut of their job than the one that its manifest seals.
    pub stale: u64,
    /// Results that came after their job had ended.
    pub late: u64,
    /// Results that were not what they should be.
    pub buried: u64,
}

/// Why a reducer stopped without being told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker will not have us.
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
    /// The state folder is of no use.
    #[error("the state folder {} cannot be used", folder.display())]
    State {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A report cannot be written; only without a state folder, otherwise it is tried again.
    #[error("cannot {what}")]
    Publish {
        /// What was being done, and to which file.
        what: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A test killed the reducer.
    #[error(transparent)]
    Killed(#[from] Killed),
    /// A bug of ours.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// Whether starting the reducer again can help.
    pub fn fate(&self) -> Fate {
        match self {
            Self::BrokerGone | Self::Locked { .. } | Self::Publish { .. } | Self::Killed(_) => {
                Fate::Again
            }
            Self::Broker(_) | Self::State { .. } | Self::Internal(_) => Fate::Bury,
        }
    }
}

/// Plays the role as a program of a cluster: as the settings say, on RabbitMQ, until told to stop.
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

/// Reduces every job whose results come from `broker`, until `shutdown` is cancelled: what is in hand is finished then,
/// and the rest given back.
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
        // it lives as long as the announcer, which the reducer holds
        () = &mut announcing => return Err(Error::Internal("announcements ended".to_owned())),
    };
    let _nobody_may_listen = tokio::time::timeout(LAST_WORDS, announcing).await;
    Ok(summary)
}
