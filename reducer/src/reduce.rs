//! The reducer's loop: takes results, merges them, makes them durable, acknowledges them, ends jobs.

mod again;
mod answers;
mod blobs;
mod commit;
mod conclude;
mod dead_letter;
mod ended;
mod orphans;
mod phase;
mod silent;
mod start;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use autoconnect_common::broker::{Delivery, Verdict};
use autoconnect_common::message::{Event, Question};
use autoconnect_common::wait::or_pending;
use autoconnect_common::{Broker, JobId, Registry, Shutdown};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use self::blobs::Removals;
use self::commit::GROUP;
use self::conclude::Attempt;
use self::phase::Phase;
use crate::announce::Announcer;
use crate::conclusions::Conclusions;
use crate::ending::Place;
use crate::intake::{Intake, Opening, Taken};
use crate::pages::VolatilePages;
use crate::silence::Silence;
use crate::store::Store;
use crate::tombstone::{Tombstone, Tombstones};
use crate::{Config, Error, Summary};

/// How often progress is announced, and clocks are looked at.
const TICK: Duration = Duration::from_millis(200);
/// Messages being dead-lettered at the same time, at most.
const BURYING: usize = 64;
/// The longest time for which a reducer that starts takes waiting messages before it concludes the jobs it found in its state:
/// where a job's conclusion kills the reducer, a cancellation of that job must be taken first.
const CATCH_UP: Duration = Duration::from_secs(5);
/// A pause between deliveries after which everything that waited is taken: deliveries of a backlog come within milliseconds.
const QUIET: Duration = Duration::from_millis(300);

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
    tombstones: Tombstones,
    /// The tombstones that are being read, and the questions that wait for them.
    reading: Option<JoinHandle<Vec<Tombstone>>>,
    questions: Vec<Question>,
    /// Jobs that ended without a report and still receive results: their end is announced again, so that workers drop their
    /// chunks.
    pointless: BTreeSet<JobId>,
    /// Deliveries whose change is not durable yet.
    unsettled: Vec<(Delivery, Verdict)>,
    commit_at: Option<Instant>,
    /// Commits that failed in a row; nothing is taken meanwhile.
    failed_commits: u32,
    /// Jobs that may be at their end, once everything is committed.
    ripe: BTreeSet<JobId>,
    /// Jobs found in the state folder at the start: they are concluded once the messages that waited are taken.
    found: BTreeSet<JobId>,
    /// When the jobs in `found` are concluded even if messages still come.
    caught_up_at: Instant,
    /// When the last delivery was taken, or taking began.
    took_at: Instant,
    conclusions: Conclusions,
    /// Watched for jobs that are silent, and for those that wait for requeued chunks only.
    silence: Silence<'r, B>,
    requeued: Silence<'r, B>,
    burials: FuturesUnordered<BoxFuture<'r, (Delivery, Verdict)>>,
    /// Attempts to cut that producers began, to be answered once that is durable.
    begun: Vec<(JobId, JobId)>,
    /// Requests on their way to the producers once more.
    requests: FuturesUnordered<BoxFuture<'r, ()>>,
    /// Attempts to conclude a job, each on a thread.
    attempts: JoinSet<Attempt>,
    /// Whether the reducer is stopping: no conclusion is begun any more.
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
    /// Reduces until `shutdown`.
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
                Some(attempt) = self.attempts.join_next() => self.concluded(attempt).await?,
                Some((delivery, verdict)) = self.burials.next() => self.settle_as(delivery, verdict),
                Some(Ok(answer)) = self.choices.join_next() => self.announcer.news(answer),
                read = or_pending(self.reading.as_mut()) => self.answer_questions(read.unwrap_or_default()),
                Some(()) = self.requests.next() => {}
                found = self.removals.next() => self.sweep(found),
                () = or_pending(self.commit_at.map(sleep_until)) => self.commit().await?,
                _ = tick.tick() => self.tick(intake.is_open()),
                () = self.silence.next() => {}
                () = self.requeued.next() => {}
                taken = intake.next(), if taking => match taken? {
                    Taken::Opened => {
                        self.took_at = Instant::now();
                        self.caught_up_at = self.took_at + CATCH_UP;
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
    /// taken, until a write works again: a delivery that is then requeued comes again as a duplicate, which needs no
    /// write to be acknowledged. So each message is requeued at most once, however long the disk refuses writes.
    fn regulate(&mut self, intake: &mut Intake<'r>) {
        if self.failed_commits == 0 {
            intake.open(|| self.subscribe());
        } else if !intake.is_closed() {
            for delivery in intake.close() {
                self.take(delivery);
            }
        }
    }

    /// Takes what has arrived already, up to a group.
    fn take_waiting(&mut self, intake: &mut Intake<'r>) {
        // Go on behind a job's last result: the results that end several jobs then share one flush.
        while self.unsettled.len() < GROUP
            && self.burials.len() < BURYING
            && let Some(delivery) = intake.arrived()
        {
            self.take(delivery);
        }
    }

    /// Finishes what is in hand: what was merged becomes durable, what is being published is published.
    async fn stop(mut self, intake: Intake<'r>) -> Result<Summary, Error> {
        self.stopping = true;
        self.take_attempts_back().await?;
        self.commit().await?;
        drop(intake);
        while let Some(attempt) = self.attempts.join_next().await {
            self.concluded(attempt).await?;
        }
        self.removals.finish().await;
        Ok(self.summary)
    }

    /// Announces progress, and ends again; tries publications again, ends abandoned jobs.
    fn tick(&mut self, taking: bool) {
        self.decide_again();
        for job in std::mem::take(&mut self.pointless) {
            self.announce(&job);
        }
        self.look_after_orphans();
        let now = Instant::now();
        let is_quiet = now - self.took_at > QUIET || now > self.caught_up_at;
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
