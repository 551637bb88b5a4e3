//! The reducer's loop: takes results, merges them, makes them durable, acknowledges them, ends jobs.

mod again;
mod answers;
mod blobs;
mod orphans;
mod silent;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use autoconnect_common::broker::{Delivery, Verdict};
use autoconnect_common::dead;
use autoconnect_common::message::{
    Annex, Event, Exchange, Message, Outcome, Question, Stage, Status, Told,
};
use autoconnect_common::results::Results;
use autoconnect_common::{Broker, JobId, Registry, Shutdown, machine};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use self::blobs::Removals;
use crate::announce::{self, Announcer};
use crate::attempts;
use crate::conclusions::{Conclusions, Due};
use crate::ending::{Ending, PageOf, Place, Work, kept, pages_folder};
use crate::entry::Entry;
use crate::faults::Point;
use crate::intake::{Intake, Opening, Taken};
use crate::job::{Absorbed, End, Job};
use crate::pages::VolatilePages;
use crate::silence::Silence;
use crate::store::{Found, Store, stored_page};
use crate::together::FLUSHING;
use crate::tombstone::{Graves, Tombstone, Tombstones};
use crate::trouble::Trouble;
use crate::{Config, Error, Summary};

/// Outcomes that are made durable and acknowledged together, at most.
const GROUP: usize = 64;
/// How long an outcome waits for others to be made durable with.
const GATHER: Duration = Duration::from_millis(20);
/// How often progress is told, and clocks are looked at.
const TICK: Duration = Duration::from_millis(200);
/// Messages being buried at the same time, at most.
const BURYING: usize = 64;
/// The name of the trouble that the state cannot be written.
const STATE: &str = "state";
/// How long a reducer that starts takes what waits at the broker before it ends the jobs it found, at most: a cancellation
/// of one whose conclusion kills the reducer must come first, and a broker hands over what waits within moments.
const SETTLE: Duration = Duration::from_secs(5);
/// How long nothing came once everything that waited was taken: far more than from one delivery to the next.
const QUIET: Duration = Duration::from_millis(300);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Where a job is in its life.
enum Phase {
    /// Results are coming.
    Open(Box<Job>),
    /// It ended, its results are gone, and something of it comes: it begins anew if somebody asked for it again, as a
    /// producer says that cuts it, or all that came of it. Until then it is one that ended.
    Again(Box<Job>),
    /// It is being concluded or published.
    Ending { kind: Option<String> },
    /// The disk refused what is left to do; it is tried again at that time.
    Waiting {
        work: Work,
        attempt: u32,
        at: Instant,
    },
}

impl Phase {
    fn stage(&self) -> Stage {
        match self {
            Self::Open(job) | Self::Again(job) => {
                let (done, total, rows) = job.counts();
                Stage::Open {
                    done,
                    total,
                    rows,
                    idle_ms: u64::try_from(job.idle().as_millis()).unwrap_or(u64::MAX),
                }
            }
            Self::Ending { .. } | Self::Waiting { .. } => Stage::Ending,
        }
    }

    /// The job's kind, as far as anything said it.
    fn kind(&self) -> Option<String> {
        match self {
            Self::Open(job) | Self::Again(job) => job.kind().map(str::to_owned),
            Self::Ending { kind } => kind.clone(),
            Self::Waiting { work, .. } => work.kind().map(str::to_owned),
        }
    }
}

/// What a thread that ends a job hands back.
struct Attempt {
    job: JobId,
    number: u32,
    result: Result<Ending, (Option<Work>, Trouble)>,
}

pub(crate) struct Reducer<'r, B> {
    broker: &'r B,
    registry: &'r Registry,
    config: Config,
    place: Place,
    announcer: Announcer,
    /// Absent while a thread commits, and always in a volatile reducer.
    store: Option<Store>,
    volatile_pages: VolatilePages,
    jobs: BTreeMap<JobId, Phase>,
    ended: Tombstones,
    /// The tombstones that are being read, and who asked for them.
    reading: Option<JoinHandle<Vec<Tombstone>>>,
    asked: Vec<Question>,
    /// Jobs without a report of which something came late: whoever still makes it is to hear of their end.
    pointless: BTreeSet<JobId>,
    /// Deliveries whose outcome is not durable yet.
    unsettled: Vec<(Delivery, Verdict)>,
    commit_at: Option<Instant>,
    /// Commits that failed in a row; nothing is taken meanwhile.
    failed_commits: u32,
    /// Jobs that may be at their end, once everything is committed.
    ripe: BTreeSet<JobId>,
    /// Jobs that were found in the state folder: they end once what waits at the broker was taken.
    found: BTreeSet<JobId>,
    /// When that is, whatever still comes.
    settled_at: Instant,
    /// When something was taken last, or taking began.
    took_at: Instant,
    conclusions: Conclusions,
    /// Watched for jobs that are silent, and for those that wait for requeued chunks only.
    silence: Silence<'r, B>,
    requeued: Silence<'r, B>,
    burials: FuturesUnordered<BoxFuture<'r, (Delivery, Verdict)>>,
    /// Attempts to cut that producers told of, to be answered once that is durable.
    begun: Vec<(JobId, JobId)>,
    /// Requests on their way to the producers once more.
    asking: FuturesUnordered<BoxFuture<'r, ()>>,
    endings: JoinSet<Attempt>,
    /// Whether we are told to stop: no conclusion is begun any more.
    stopping: bool,
    /// Reports that a person makes the newest.
    choices: JoinSet<Event>,
    /// What is removed from the blob store.
    removals: Removals<'r>,
    /// The order of the job whose end was decided last.
    last_order: u64,
    summary: Summary,
}

impl<'r, B: Broker> Reducer<'r, B> {
    /// A reducer that goes on where the last one on the same state folder stopped.
    pub(crate) async fn start(
        broker: &'r B,
        registry: &'r Registry,
        config: Config,
        announcer: Announcer,
    ) -> Result<Self, Error> {
        let (store, found) = match &config.state {
            None => (None, Found::default()),
            Some(folder) => {
                let faults = config.faults.clone();
                let disk = Arc::clone(&config.disk);
                let (store, found) =
                    Store::open(disk, folder, registry, config.snapshot_after, faults)?;
                tracing::info!(folder = %folder.display(), "state folder locked");
                (Some(store), found)
            }
        };
        let abandon_after = config.abandon_after;
        let removals = Removals::new(config.blobs.clone(), config.state.is_some());
        let mut reducer = Self {
            broker,
            registry,
            place: Place {
                disk: Arc::clone(&config.disk),
                results: Results::new(
                    Arc::clone(&config.disk),
                    &config.results,
                    registry.at_root(),
                ),
                state: config.state.clone(),
                faults: config.faults.clone(),
                flushing: FLUSHING,
            },
            config,
            announcer,
            store,
            volatile_pages: VolatilePages::default(),
            jobs: BTreeMap::new(),
            ended: Tombstones::default(),
            reading: None,
            asked: Vec::new(),
            pointless: BTreeSet::new(),
            unsettled: Vec::new(),
            commit_at: None,
            failed_commits: 0,
            ripe: BTreeSet::new(),
            found: BTreeSet::new(),
            settled_at: Instant::now() + SETTLE,
            took_at: Instant::now(),
            conclusions: Conclusions::default(),
            silence: Silence::new(broker, registry.formats(), abandon_after),
            requeued: Silence::new(
                broker,
                registry.formats(),
                abandon_after.min(silent::REQUEUED),
            ),
            burials: FuturesUnordered::new(),
            begun: Vec::new(),
            asking: FuturesUnordered::new(),
            endings: JoinSet::new(),
            stopping: false,
            choices: JoinSet::new(),
            removals,
            last_order: 0,
            summary: Summary::default(),
        };
        reducer.go_on(found);
        Ok(reducer)
    }

    /// Takes up what was found in the state folder.
    fn go_on(&mut self, found: Found) {
        if let Some(state) = self.config.state.clone() {
            let (disk, results) = (Arc::clone(&self.place.disk), self.place.results.clone());
            let graves = Graves {
                disk,
                state,
                results,
            };
            self.ended = Tombstones::of(graves, found.ended);
        }
        for job in found.unannounced {
            self.announce(&job);
            self.removals.remove(&job);
            if let Some(store) = &mut self.store {
                store.forget(&job);
            }
        }
        let newest = self.place.results.newest_order().unwrap_or_default();
        let orders = found.jobs.iter().filter_map(|(_, job)| job.order());
        self.last_order = orders.fold(newest, u64::max);
        for (id, job) in found.jobs {
            tracing::info!(job_id = %id, "job taken up again");
            self.found.insert(id.clone());
            self.jobs.insert(id, Phase::Open(Box::new(job)));
        }
        for (id, job) in found.again {
            self.jobs.insert(id, Phase::Again(Box::new(job)));
        }
    }

    /// Reduces until told to stop.
    pub(crate) async fn run(mut self, shutdown: &Shutdown) -> Result<Summary, Error> {
        let mut intake = Intake::Closed;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.regulate(&mut intake);
            let taking = self.failed_commits == 0 && self.burials.len() < BURYING;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(attempt) = self.endings.join_next() => self.ended(attempt).await?,
                Some((delivery, verdict)) = self.burials.next() => self.settle_as(delivery, verdict),
                Some(Ok(answer)) = self.choices.join_next() => self.announcer.news(answer),
                read = finished(&mut self.reading) => self.answer_asked(read),
                Some(()) = self.asking.next() => {}
                found = self.removals.next() => self.sweep(found),
                () = until(self.commit_at) => self.commit().await?,
                _ = tick.tick() => self.tick(intake.is_open()),
                () = self.silence.next() => {}
                () = self.requeued.next() => {}
                taken = intake.next(), if taking => match taken? {
                    Taken::Opened => {
                        self.took_at = Instant::now();
                        self.settled_at = self.took_at + SETTLE;
                    }
                    Taken::Delivery(delivery) => {
                        self.take(delivery);
                        self.take_waiting(&mut intake);
                        if self.is_due() {
                            self.commit().await?;
                        }
                    }
                    Taken::Ended if shutdown.is_cancelled() => break,
                    Taken::Ended => return Err(Error::BrokerGone),
                },
            }
        }
        self.stop(intake).await
    }

    /// What is taken, and in which order.
    fn subscribe(&self) -> Opening<'r> {
        let (broker, formats) = (self.broker, self.registry.formats());
        Box::pin(crate::intake::subscribe(
            broker,
            formats,
            self.config.prefetch,
        ))
    }

    /// Takes while what comes can be kept. Once it cannot, what has arrived is gathered in memory and nothing more is
    /// taken, until a write works again: a delivery that is then given back comes again as a duplicate, which needs no
    /// write to be acknowledged. So however long the disk refuses, nothing comes back to its queue a second time.
    fn regulate(&mut self, intake: &mut Intake<'r>) {
        if self.failed_commits == 0 {
            intake.open(|| self.subscribe());
        } else if !intake.is_closed() {
            for delivery in intake.close() {
                self.take(delivery);
            }
        }
    }

    /// Finishes what is in hand: what was merged becomes durable, what is being published is published.
    async fn stop(mut self, intake: Intake<'r>) -> Result<Summary, Error> {
        self.stopping = true;
        self.take_attempts_back().await?;
        self.commit().await?;
        drop(intake);
        while let Some(attempt) = self.endings.join_next().await {
            self.ended(attempt).await?;
        }
        self.removals.finish().await;
        Ok(self.summary)
    }

    /// Takes what has arrived already, up to a group.
    fn take_waiting(&mut self, intake: &mut Intake<'r>) {
        // also behind a job's last result: one flush for the ends of several jobs
        while self.unsettled.len() < GROUP
            && self.burials.len() < BURYING
            && let Some(delivery) = intake.arrived()
        {
            self.take(delivery);
        }
    }

    /// Whether waiting longer for more to commit is pointless.
    fn is_due(&self) -> bool {
        self.unsettled.len() >= GROUP || !self.ripe.is_empty()
    }

    /// Whether everything that was merged is durable: the first copy of whatever comes again is.
    fn is_all_kept(&self) -> bool {
        let is_dirty = self.store.as_ref().is_some_and(Store::is_dirty);
        !is_dirty && self.unsettled.is_empty()
    }

    fn settle_later(&mut self, delivery: Delivery) {
        self.settle_as(delivery, Verdict::Ack);
    }

    fn settle_as(&mut self, delivery: Delivery, verdict: Verdict) {
        self.unsettled.push((delivery, verdict));
        self.commit_at
            .get_or_insert_with(|| Instant::now() + GATHER);
    }

    /// Takes one delivery in.
    fn take(&mut self, delivery: Delivery) {
        self.took_at = Instant::now();
        let outcome = match Told::from_message(&delivery.message) {
            Ok(Told::Outcome(outcome)) => outcome,
            Ok(Told::Question(question)) => {
                self.ask(question);
                return delivery.ack();
            }
            Ok(Told::Newest(wish)) => {
                self.choose(wish);
                return delivery.ack();
            }
            Ok(Told::Fetch(asked)) => {
                self.announcer.part(asked);
                return delivery.ack();
            }
            // it lies in the dead queue of requests as it is
            Err(error) if delivery.message.kind == "job" => {
                tracing::warn!(%error, "a dead request does not say which job it is of");
                return self.settle_later(delivery);
            }
            Err(error) => return self.bury(delivery, &error.to_string()),
        };
        let id = outcome.job();
        let ended = self.ended.contains(id);
        if ended && !self.may_begin_again(&outcome) {
            return self.take_late(delivery, &outcome);
        }
        let begins_again = ended && !self.jobs.contains_key(id);
        let fresh = || match (ended, Box::new(Job::new(id.clone()))) {
            (false, job) => Phase::Open(job),
            (true, job) => Phase::Again(job),
        };
        let job = match self.jobs.entry(id.clone()).or_insert_with(fresh) {
            Phase::Open(job) | Phase::Again(job) => job,
            Phase::Ending { .. } | Phase::Waiting { .. } => {
                return self.take_late(delivery, &outcome);
            }
        };
        if let Outcome::Begun(begun) = &outcome {
            self.begun.push((id.clone(), begun.cut.clone()));
        }
        let entry = Entry::from(&outcome);
        let absorbed = job.absorb(&entry, self.registry);
        let known = !job.is_blank();
        if job.end().is_some() {
            self.ripe.insert(id.clone());
        }
        let came_again = match (&entry, &outcome) {
            (Entry::Page(page), Outcome::Annex(annex)) if job.has_page(page) => Some(annex),
            _ => None,
        };
        if !known {
            self.jobs.remove(id);
        }
        if begins_again
            && known
            && let Some(store) = &mut self.store
        {
            store.begin_again(id);
        }
        self.absorbed(delivery, &outcome, absorbed, came_again);
        self.note_end(outcome.job());
    }

    /// Does what the verdict on an outcome asks for.
    fn absorbed(
        &mut self,
        delivery: Delivery,
        outcome: &Outcome,
        absorbed: Absorbed,
        came_again: Option<&Annex>,
    ) {
        let (id, entry) = (outcome.job(), Entry::from(outcome));
        match absorbed {
            Absorbed::News => {
                self.summary.merged += u64::from(matches!(outcome, Outcome::Partial(_)));
                match self.keep(id, &entry, outcome) {
                    Ok(()) => self.settle_later(delivery),
                    Err(reason) => self.bury(delivery, &reason),
                }
            }
            Absorbed::Duplicate => {
                self.summary.duplicates += 1;
                if let Some(store) = &mut self.store {
                    store.touch(id);
                    // the first copy may be damaged by now
                    if let Some(annex) = came_again {
                        store.keep_page(id, &annex.name, annex.page, &annex.body);
                    }
                }
                if self.is_all_kept() {
                    delivery.ack();
                } else {
                    self.settle_later(delivery);
                }
            }
            Absorbed::Renewed => self.settle_later(delivery),
            Absorbed::Stale(reason) => {
                tracing::warn!(job_id = %id, reason, "result of another cut dropped");
                self.summary.stale += 1;
                self.settle_later(delivery);
            }
            // a dead chunk is in the dead queue of chunks as it is
            Absorbed::Refused(reason) if delivery.message.kind == "chunk" => {
                tracing::warn!(job_id = %id, reason, "dead notice refused");
                self.settle_later(delivery);
            }
            Absorbed::Refused(reason) => self.bury(delivery, &reason),
            Absorbed::Last(entry) => {
                tracing::error!(job_id = %id, ?entry, "job given up");
                match self.keep(id, &entry, outcome) {
                    Ok(()) => self.settle_later(delivery),
                    Err(reason) => self.bury(delivery, &reason),
                }
            }
            Absorbed::Harmful(entry) => {
                let reason = match &entry {
                    Entry::Dead { reason, .. } | Entry::Failed { reason } => reason.to_string(),
                    _ => String::new(),
                };
                tracing::error!(job_id = %id, reason, "result that does its job harm");
                let kept = self.keep(id, &entry, outcome);
                self.bury(delivery, kept.err().as_deref().unwrap_or(&reason));
            }
        }
    }

    /// Keeps what changed a job: in the journal, or nowhere but in memory.
    fn keep(&mut self, id: &JobId, entry: &Entry<'_>, outcome: &Outcome) -> Result<(), String> {
        let page = match outcome {
            Outcome::Annex(annex) if matches!(entry, Entry::Page(_)) => Some(annex),
            _ => None,
        };
        match (&mut self.store, page) {
            (Some(store), page) => {
                if let Some(annex) = page {
                    store.keep_page(id, &annex.name, annex.page, &annex.body);
                }
                store.append(id, entry)
            }
            (None, Some(annex)) => {
                let folder = pages_folder(&self.place.results, id);
                self.volatile_pages
                    .keep(
                        &*self.place.disk,
                        id,
                        (&annex.name, annex.page),
                        (annex.body.digest(), &annex.body),
                        &folder,
                    )
                    .map_err(|error| format!("page {} of {}: {error}", annex.page, annex.name))
            }
            (None, None) => Ok(()),
        }
    }

    /// When the end is that is decided now, among all jobs: in milliseconds since 1970, unless the clock was set back.
    fn next_order(&mut self) -> u64 {
        let now = machine::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let now = u64::try_from(now.as_millis()).unwrap_or(0);
        self.last_order = now.max(self.last_order.saturating_add(1));
        self.last_order
    }

    /// Notes when a job comes to its end, before it is concluded: however often its publication is tried, and by however
    /// many reducers, it does not take the place of one that came to its end later.
    fn note_end(&mut self, id: &JobId) {
        let decided = match self.jobs.get(id) {
            Some(Phase::Open(job)) => job.order().is_none() && job.end().is_some(),
            _ => false,
        };
        if decided {
            let order = self.next_order();
            self.note(id, &Entry::AtEnd { order });
        }
    }

    /// Drops a result of a job that ended. A manifest means that somebody asked for the job again, a cancellation that
    /// somebody wants it to end: tell how it ended. Anything else means that somebody may still be making a job without
    /// a report: tell soon.
    fn take_late(&mut self, delivery: Delivery, outcome: &Outcome) {
        let id = outcome.job();
        self.summary.late += 1;
        tracing::debug!(job_id = %id, id = delivery.message.id, "late result dropped");
        match outcome {
            Outcome::Begun(begun) => self.announce_to(id, Some(begun.cut.clone())),
            Outcome::Manifest(_) | Outcome::Cancel(_) => self.announce(id),
            _ if self.ended.get(id).is_some_and(|e| !e.status.has_report()) => {
                self.pointless.insert(id.clone());
            }
            _ => {}
        }
        delivery.ack();
    }

    /// Hands a message that is not what it should be to the operator; its verdict comes after that.
    fn bury(&mut self, delivery: Delivery, reason: &str) {
        self.summary.buried += 1;
        tracing::warn!(id = delivery.message.id, reason, "result buried");
        let buried = buried(&delivery.message, reason);
        let broker = self.broker;
        self.burials.push(Box::pin(async move {
            let verdict = match dead::dead_letter(broker, buried).await {
                Ok(verdict) => verdict,
                Err(error) => {
                    tracing::error!(id = delivery.message.id, %error, "result not buried");
                    Verdict::GiveBack
                }
            };
            (delivery, verdict)
        }));
    }

    /// Makes what was merged durable, then acknowledges it, then ends the jobs that are at their end.
    async fn commit(&mut self) -> Result<(), Error> {
        self.commit_at = None;
        if let Some(mut store) = self.store.take_if(|store| store.is_dirty()) {
            let (store, committed) = machine::block(move || {
                let committed = store.commit();
                (store, committed)
            })
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
            self.store = Some(store);
            match committed {
                Ok(()) => {}
                Err(Trouble::Killed(killed)) => return Err(killed.into()),
                Err(error) => {
                    let pause = self.pause(self.failed_commits);
                    tracing::error!(error = %chain(&error), ?pause, "state not written; nothing is acknowledged");
                    let why = format!("the reducer's state cannot be written: {}", chain(&error));
                    self.broker.health().raise(STATE, why);
                    // one failure may be a moment's; after that, others are to have what we hold
                    if self.failed_commits > 0 {
                        self.unsettled.clear();
                    }
                    self.failed_commits += 1;
                    self.commit_at = Some(Instant::now() + pause);
                    return Ok(());
                }
            }
        }
        // also where what could not be written was forgotten meanwhile: nothing is left to fail
        if std::mem::take(&mut self.failed_commits) > 0 {
            self.broker.health().clear(STATE);
        }
        for (delivery, verdict) in self.unsettled.drain(..) {
            delivery.settle(verdict);
        }
        self.answer_begun();
        self.config.faults.at(Point::Acknowledged)?;
        self.replace_long_journals().await?;
        self.end_ripe();
        Ok(())
    }

    /// How long to wait after `failed` failures in a row.
    fn pause(&self, failed: u32) -> Duration {
        let doubled = self.config.retry.saturating_mul(1 << failed.min(16));
        doubled.min(LONGEST_PAUSE.max(self.config.retry))
    }

    async fn replace_long_journals(&mut self) -> Result<(), Error> {
        let long = self.store.as_mut().map(Store::long_journals);
        for id in long.unwrap_or_default() {
            let Some(Phase::Open(job)) = self.jobs.get(&id) else {
                continue;
            };
            let snapshot = match job.snapshot() {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    tracing::warn!(job_id = %id, error, "snapshot not taken");
                    continue;
                }
            };
            let Some(mut store) = self.store.take() else {
                continue;
            };
            let name = id.clone();
            let (store, replaced) = machine::block(move || {
                let replaced = store.replace_journal(&name, snapshot);
                (store, replaced)
            })
            .await
            .map_err(|error| Error::Internal(error.to_string()))?;
            self.store = Some(store);
            match replaced {
                Ok(()) => {}
                Err(Trouble::Killed(killed)) => return Err(killed.into()),
                Err(error) => {
                    tracing::warn!(job_id = %id, error = %chain(&error), "snapshot not written");
                }
            }
        }
        Ok(())
    }

    /// Ends the jobs that are at their end.
    fn end_ripe(&mut self) {
        for id in std::mem::take(&mut self.ripe) {
            let end = match self.jobs.get(&id) {
                Some(Phase::Open(job)) => job.end(),
                _ => None,
            };
            if let Some(end) = end {
                self.end(&id, end);
            }
        }
    }

    /// Ends a job: at once where there is no report to make, so that a cancellation waits for nobody; in its turn
    /// otherwise.
    fn end(&mut self, id: &JobId, end: End) {
        match (&end, self.jobs.get(id)) {
            // what waits at the broker comes first
            (End::Report { .. }, _) if self.found.contains(id) => {}
            (End::Report { .. }, Some(Phase::Open(job))) => {
                let (job, weight) = (id.clone(), job.weight());
                self.conclusions.push(Due { job, end, weight });
                self.conclude_due();
            }
            _ => self.begin_end(id, end),
        }
    }

    /// Begins the conclusions there is room for.
    fn conclude_due(&mut self) {
        while !self.stopping
            && let Some(Due { job: id, end, .. }) = self.conclusions.next()
        {
            let end = match self.jobs.get(&id) {
                // something may have come since: its partial after all, or a cancellation
                Some(Phase::Open(job)) => job.end().or_else(|| {
                    let still_silent = job.idle() > self.config.abandon_after;
                    still_silent.then_some(end)
                }),
                _ => None,
            };
            match end {
                Some(end) => self.begin_end(&id, end),
                None => self.conclusions.over(&id),
            }
        }
    }

    fn begin_end(&mut self, id: &JobId, end: End) {
        let kind = self.jobs.get(id).and_then(Phase::kind);
        let ending = Phase::Ending { kind };
        let Some(Phase::Open(job)) = self.jobs.insert(id.clone(), ending) else {
            return;
        };
        let order = job.order().unwrap_or_else(|| self.next_order());
        let ended = Box::new(job.into_ended(end, order));
        let stored = self.store.as_ref().map(|store| store.job_folder(id));
        let page: PageOf = match stored {
            Some(folder) => {
                Box::new(move |name, page, digest| Some(stored_page(&folder, name, page, digest)))
            }
            None => Box::new(kept(self.volatile_pages.take(id))),
        };
        self.carry_out(id, Work::Conclude(ended, page, None), 0);
    }

    fn carry_out(&mut self, id: &JobId, work: Work, number: u32) {
        let job = id.clone();
        let place = Place {
            // side by side with the files of other jobs that end
            flushing: FLUSHING.div_ceil(self.endings.len() + 1),
            ..self.place.clone()
        };
        let state = self.store.as_ref().map(|store| store.job_folder(id));
        machine::block_in(&mut self.endings, move || Attempt {
            job,
            number,
            result: work.carry_out(state.as_deref(), &place),
        });
    }

    /// Takes back the attempts that are being made: whoever told us to stop may not wait for them.
    async fn take_attempts_back(&mut self) -> Result<(), Error> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        let running = self.conclusions.running();
        let folders: Vec<PathBuf> = running.map(|job| store.job_folder(job)).collect();
        let disk = Arc::clone(&self.place.disk);
        let taken_back = machine::block(move || {
            for folder in folders {
                if let Err(error) = attempts::take_back(&*disk, &folder) {
                    tracing::warn!(error = %chain(&error), "attempt to conclude not taken back");
                }
            }
        });
        taken_back
            .await
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// A job ended, or its publication has to be tried again; and every other of which that is known by now.
    async fn ended(&mut self, first: Result<Attempt, tokio::task::JoinError>) -> Result<(), Error> {
        let mut next = Some(first);
        let mut over = Vec::new();
        while let Some(attempt) = next {
            let attempt = attempt.map_err(|error| Error::Internal(error.to_string()))?;
            over.extend(self.took_end(attempt)?);
            next = self.endings.try_join_next();
        }
        if let Some(mut store) = self.store.take_if(|_| !over.is_empty()) {
            let forgotten = machine::block(move || {
                for job in over {
                    store.forget(&job);
                }
                store
            });
            self.store = Some(
                forgotten
                    .await
                    .map_err(|error| Error::Internal(error.to_string()))?,
            );
        }
        self.conclude_due();
        Ok(())
    }

    /// Announces the end of a job, if it has come to it.
    fn took_end(&mut self, attempt: Attempt) -> Result<Option<JobId>, Error> {
        let Attempt { job, number, .. } = attempt;
        let ending = match attempt.result {
            Ok(ending) => ending,
            Err((_, Trouble::Killed(killed))) => return Err(killed.into()),
            Err((work, error)) => {
                self.try_again(job, number, work, error)?;
                return Ok(None);
            }
        };
        self.conclusions.over(&job);
        self.broker.health().clear(&unwritten(&job));
        tracing::info!(job_id = %job, status = ?ending.status, reason = ending.reason, "job ended");
        match ending.status {
            Status::Done => self.summary.done += 1,
            Status::Incomplete => self.summary.incomplete += 1,
            Status::Failed => self.summary.failed += 1,
            Status::Cancelled => self.summary.cancelled += 1,
        }
        self.jobs.remove(&job);
        self.ended.insert(ending.tombstone());
        self.announce(&job);
        self.removals.remove(&job);
        self.config.faults.at(Point::Announced)?;
        Ok(Some(job))
    }

    fn try_again(
        &mut self,
        job: JobId,
        number: u32,
        work: Option<Work>,
        error: Trouble,
    ) -> Result<(), Error> {
        let (Some(work), Trouble::Disk { what, source }) = (work, error) else {
            return Err(Error::Internal(format!("job {job} was not concluded")));
        };
        if self.config.state.is_none() {
            return Err(Error::Publish { what, source });
        }
        let pause = self.pause(number);
        tracing::error!(job_id = %job, error = %source, ?pause, "report not published: cannot {what}");
        let why = format!("the report of job {job} is not written: cannot {what}: {source}");
        self.broker.health().raise(&unwritten(&job), why);
        self.conclusions.stuck(&job);
        let waiting = Phase::Waiting {
            work,
            attempt: number + 1,
            at: Instant::now() + pause,
        };
        self.jobs.insert(job, waiting);
        Ok(())
    }

    fn announce(&mut self, job: &JobId) {
        self.announce_to(job, None);
    }

    /// Announces how a job ended, as an answer to this attempt to cut it.
    fn announce_to(&mut self, job: &JobId, cut: Option<JobId>) {
        if let Some(tombstone) = self.ended.get(job) {
            self.announcer.end(announce::End {
                job: job.clone(),
                status: tombstone.status,
                reason: tombstone.reason,
                cut,
            });
        }
    }

    /// Tells progress, and ends that somebody missed; tries publications again, ends abandoned jobs.
    fn tick(&mut self, taking: bool) {
        self.decide_again();
        for job in std::mem::take(&mut self.pointless) {
            self.announce(&job);
        }
        self.look_after_orphans();
        let now = Instant::now();
        let is_quiet = now - self.took_at > QUIET || now > self.settled_at;
        if taking && !self.found.is_empty() && is_quiet {
            self.ripe.append(&mut self.found);
            self.commit_at.get_or_insert(now);
        }
        let mut again = Vec::new();
        for (id, phase) in &mut self.jobs {
            match phase {
                Phase::Open(job) => {
                    if let Some((done, total, rows)) = job.progress() {
                        self.announcer.news(Event::Progress {
                            job: id.clone(),
                            done,
                            total,
                            rows,
                        });
                    }
                }
                Phase::Waiting { at, attempt, .. } if *at <= now => {
                    let number = *attempt;
                    let kind = phase.kind();
                    let ending = Phase::Ending { kind };
                    if let Phase::Waiting { work, .. } = std::mem::replace(phase, ending) {
                        again.push((id.clone(), work, number));
                    }
                }
                Phase::Again(_) | Phase::Ending { .. } | Phase::Waiting { .. } => {}
            }
        }
        for (id, work, number) in again {
            self.conclusions.again(&id);
            self.carry_out(&id, work, number);
        }
        if taking {
            self.give_up_silent();
        }
    }
}

/// The name of the trouble that the report of a job cannot be written.
fn unwritten(job: &JobId) -> String {
    format!("report of {job}")
}

/// `message`, on its way to the dead queue of results.
fn buried(message: &Message, reason: &str) -> Message {
    let mut buried = message.clone();
    buried.exchange = Exchange::Dead;
    buried.key = "results".to_owned();
    let reason = reason.chars().take(500).collect();
    buried.headers.insert("reason".to_owned(), reason);
    buried
}

/// An error and its causes, in one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What was read, once it was; forever where nothing is being read.
async fn finished(reading: &mut Option<JoinHandle<Vec<Tombstone>>>) -> Vec<Tombstone> {
    match reading {
        Some(reading) => reading.await.unwrap_or_default(),
        None => std::future::pending().await,
    }
}

/// Waits until that time; forever where there is none.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
