//! Publishes the events of jobs in the background: merging never waits for a listener or for the broker.
//!
//! Progress is dropped while the broker is slow, because newer progress follows; so are answers, because a client that
//! gets none asks again. Ends are kept, but only their names: the report is read from its file when it is published, so a
//! broker that is down for hours costs no memory.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use autoconnect_common::disk::{Disk, Metadata};
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::parts::Fetch;
use autoconnect_common::message::{Event, MAX_JSON, Message, Status};
use autoconnect_common::results::{EXECUTION, job_folder};
use autoconnect_common::{Broker, JobId, machine};
use tokio::sync::mpsc;

use crate::parts::{self, Reading};

/// Progress and answers that wait for the broker; more are dropped. Few, so that what is published is current.
const WAITING: usize = 64;

/// The end of a job that is to be announced.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) job: JobId,
    pub(crate) status: Status,
    pub(crate) reason: Option<String>,
    /// The attempt to cut the job whose `begun` this end answers.
    pub(crate) cut: Option<JobId>,
}

/// The sending side: the reducer hands its events over here.
pub(crate) struct Announcer {
    news: mpsc::Sender<Event>,
    fetches: mpsc::Sender<Fetch>,
    ends: mpsc::UnboundedSender<End>,
}

/// The receiving side of an [`Announcer`]: publishes.
pub(crate) struct Announcements {
    news: mpsc::Receiver<Event>,
    fetches: mpsc::Receiver<Fetch>,
    ends: mpsc::UnboundedReceiver<End>,
    /// The report whose part was sent last.
    reading: Option<Reading>,
    disk: Arc<dyn Disk>,
    results: PathBuf,
    stamp: u64,
}

/// What is published next.
enum Next {
    Event(Event),
    /// The part of a report that a client fetches.
    Part(Fetch),
}

/// An announcer and its receiving side, for the reports below `results`.
pub(crate) fn announcer(disk: &Arc<dyn Disk>, results: &Path) -> (Announcer, Announcements) {
    let (news, news_out) = mpsc::channel(WAITING);
    let (fetches, fetches_out) = mpsc::channel(WAITING);
    let (ends, ends_out) = mpsc::unbounded_channel();
    let since = machine::now().duration_since(UNIX_EPOCH);
    let announcements = Announcements {
        news: news_out,
        fetches: fetches_out,
        reading: None,
        ends: ends_out,
        disk: Arc::clone(disk),
        results: results.to_owned(),
        // a restarted reducer must not reuse the stamps of the one before
        stamp: since.map_or(0, |since| since.as_secs() << 24),
    };
    let announcer = Announcer {
        news,
        fetches,
        ends,
    };
    (announcer, announcements)
}

impl Announcer {
    /// Announces progress or an answer; drops it where the channel is full.
    pub(crate) fn news(&self, event: Event) {
        let _dropped_when_full = self.news.try_send(event);
    }

    /// Sends a part of a report; drops it where the channel is full.
    pub(crate) fn part(&self, asked: Fetch) {
        let _dropped_when_full = self.fetches.try_send(asked);
    }

    /// Announces how a job ended.
    pub(crate) fn end(&self, end: End) {
        let _nobody_publishes_after_the_end = self.ends.send(end);
    }
}

impl Announcements {
    /// Publishes until the announcer is dropped and everything is published.
    pub(crate) async fn publish<B: Broker>(mut self, broker: &B) {
        while let Some(next) = self.next().await {
            self.stamp += 1;
            let message = match next {
                Next::Event(event) => event
                    .to_message(self.stamp)
                    .map(|message| fitting(message, &event, self.stamp))
                    .map_err(io::Error::from),
                Next::Part(asked) => self.part(asked).await,
            };
            let sent = match message {
                Ok(message) => broker.publish(message).await,
                Err(error) => {
                    tracing::warn!(%error, "event not written");
                    continue;
                }
            };
            if let Err(error) = sent {
                tracing::warn!(%error, "event not published");
            }
        }
    }

    async fn next(&mut self) -> Option<Next> {
        tokio::select! {
            biased;
            Some(end) = self.ends.recv() => Some(Next::Event(self.finished(end).await)),
            Some(news) = self.news.recv() => Some(Next::Event(news)),
            Some(asked) = self.fetches.recv() => Some(Next::Part(asked)),
            else => None,
        }
    }

    async fn part(&mut self, asked: Fetch) -> io::Result<Message> {
        let path = job_folder(&self.results, &asked.job).join(REPORT);
        let (disk, reading) = (Arc::clone(&self.disk), self.reading.take());
        let read = machine::block(move || parts::read(&*disk, &path, asked, reading));
        let (part, reading) = read.await.map_err(io::Error::other)??;
        self.reading = reading;
        Ok(part.to_message(self.stamp))
    }

    async fn finished(&mut self, end: End) -> Event {
        let folder = job_folder(&self.results, &end.job);
        let read = async |name: &str, most: usize| {
            let (disk, path) = (Arc::clone(&self.disk), folder.join(name));
            let read = machine::block(move || match disk.metadata(&path).ok()? {
                Some(Metadata::File(bytes)) if bytes <= most as u64 => disk.read(&path).ok(),
                _ => None,
            });
            String::from_utf8(read.await.ok()??).ok()
        };
        let report = match end.status {
            status if status.has_report() => read(REPORT, MAX_JSON / 2).await,
            _ => None,
        };
        Event::Finished {
            report,
            execution: read(EXECUTION, MAX_JSON / 8).await,
            job: end.job,
            status: end.status,
            reason: end.reason,
            cut: end.cut,
        }
    }
}

/// The message of an event, without report and figures where it is larger than a listener accepts.
fn fitting(message: Message, event: &Event, stamp: u64) -> Message {
    let Event::Finished {
        job,
        status,
        reason,
        cut,
        ..
    } = event
    else {
        return message;
    };
    if message.body.len() <= MAX_JSON {
        return message;
    }
    let bare = Event::Finished {
        job: job.clone(),
        status: *status,
        reason: reason.clone(),
        report: None,
        execution: None,
        cut: cut.clone(),
    };
    bare.to_message(stamp).unwrap_or(message)
}
