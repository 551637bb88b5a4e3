//! Serves the queues of requests: one job at a time, until shutdown.

use std::path::PathBuf;
use std::sync::Arc;

use autoconnect_common::blob::Blobs;
use autoconnect_common::broker::{BrokerError, Delivery, Queue, Subscription, subscribe_each};
use autoconnect_common::message::{Event, JobRequest, MAX_NAME, Message, Status, bury_request};
use autoconnect_common::program::{self, Failure};
use autoconnect_common::settings::{self, Settings};
use autoconnect_common::{Broker, CutError, Digest, Fate, Format, Registry, Shutdown, machine};

use crate::confine;
use crate::cut::{Job, Producer};
use crate::error::ProducerError;
use crate::held::{Held, Talk};
use crate::input::{SINCE_ASKED, known, unchanged};
use crate::publish::{send, written};

/// How [`run`] serves.
#[derive(Debug, Clone)]
pub struct Config {
    /// How many threads a cut may use.
    pub threads: usize,
    /// The folder that must contain every input; `None` allows any.
    pub data: Option<PathBuf>,
    /// The blob store for bodies that are too large for a message; without it, no chunk may have one.
    pub blobs: Option<Blobs>,
}

/// What a serving producer did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs cut to their end.
    pub jobs: u64,
    /// Requests refused.
    pub refused: u64,
    /// Jobs that ended without a report while they were cut: cancelled, or failed.
    pub stopped: u64,
}

/// Runs the role as a program of a cluster: as the settings say, on RabbitMQ, until shutdown. It publishes the request
/// `first`, if any, before it serves; that request waits in its queue like any other.
///
/// # Errors
/// [`Failure`].
pub async fn play(
    settings: &Settings,
    registry: Arc<Registry>,
    first: Option<JobRequest>,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    let settings::Producer { threads, data, .. } = settings.load()?;
    let blobs = settings.load::<settings::Blobs>()?.open();
    let config = Config {
        threads,
        data,
        blobs: Some(blobs.map_err(Failure::usage)?),
    };
    let broker = program::connect_role(settings, "producer", registry.formats())?;
    tracing::info!(threads, "producer started");
    let served = async {
        if let Some(request) = first {
            let first = broker.publish(written(request.to_message())?);
            // the broker may be down
            tokio::select! {
                biased;
                sent = first => sent?,
                () = shutdown.cancelled() => {}
            }
        }
        run(&broker, &registry, &config, shutdown).await
    };
    let served = served.await;
    broker.close().await;
    let summary = served.map_err(|error| Failure::of(&error))?;
    tracing::info!(?summary, "producer stopped");
    Ok(())
}

/// Serves requests for jobs, one at a time, until shutdown. It acknowledges a request:
///
/// * once its manifest is confirmed, or, where the cut takes long, once the reducer has it in its journal;
/// * once it is refused, if it can never work: the refusal and its reason are published;
/// * once its job has ended, before or during the cut;
/// * once it is dead-lettered, if it cannot be read.
///
/// # Errors
/// [`ProducerError::Broker`] where the broker refuses our messages for good.
pub async fn run<B: Broker>(
    broker: &B,
    registry: &Arc<Registry>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<Summary, ProducerError> {
    let producer = Producer {
        broker,
        registry,
        config,
        shutdown,
    };
    let mut summary = Summary::default();
    let mut requests = None;
    loop {
        let delivery = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(summary),
            delivery = next(broker, registry, &mut requests) => delivery?,
        };
        let request = match JobRequest::from_message(&delivery.message) {
            Ok(request) => request,
            Err(error) => {
                tracing::error!(%error, "request for a job is dead");
                summary.refused += 1;
                let dead = bury_request(delivery.message.clone(), &error.to_string());
                broker.publish(dead).await?;
                delivery.ack();
                continue;
            }
        };
        let was_taken_before = delivery.redeliveries > 0;
        let mut held = Held::new(delivery, &mut requests);
        match producer.serve(request, was_taken_before, &mut held).await {
            Ok(Served::Cut) => summary.jobs += 1,
            Ok(Served::Stopped) => summary.stopped += 1,
            Err(Unserved { error, .. }) if error.fate() == Fate::Bury => summary.refused += 1,
            Err(Unserved { error, request }) => {
                held.give_back(broker, request).await;
                return match error {
                    ProducerError::Cut(CutError::Cancelled) => Ok(summary),
                    error => Err(error),
                };
            }
        }
        held.done();
    }
}

/// The next request; subscribes first where there is no subscription.
async fn next<B: Broker>(
    broker: &B,
    registry: &Registry,
    requests: &mut Option<Subscription>,
) -> Result<Delivery, BrokerError> {
    let requests = match requests {
        Some(requests) => requests,
        None => requests.insert(subscribe_each(broker, queues(registry.formats())).await?),
    };
    requests.next().await.ok_or(BrokerError::Closed)
}

/// The queues of requests for these formats, in an order that starts at random. The broker delivers the first request of
/// each at once. Where one kills this producer, the others are returned with it, so each must come first before it
/// reaches its delivery limit.
fn queues(mut formats: Vec<Format>) -> impl Iterator<Item = (Queue, u16)> {
    let first = machine::random() % formats.len().max(1) as u64;
    formats.rotate_left(usize::try_from(first).unwrap_or(0));
    formats.into_iter().map(|format| (Queue::Jobs(format), 1))
}

/// What became of a request.
enum Served {
    /// Its job was cut to its end.
    Cut,
    /// Its job ended or was cut before.
    Stopped,
}

/// A request that was not served, and the message that lets another producer serve it.
struct Unserved {
    error: ProducerError,
    request: Option<Message>,
}

impl<E: Into<ProducerError>> From<E> for Unserved {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            request: None,
        }
    }
}

impl<B: Broker> Producer<'_, B> {
    async fn serve(
        &self,
        mut request: JobRequest,
        was_taken_before: bool,
        held: &mut Held<'_>,
    ) -> Result<Served, Unserved> {
        tracing::info!(job_id = %request.job, kind = name(&request.kind), "cutting a job");
        let prepared = tokio::select! {
            biased;
            prepared = self.prepare(&request) => prepared,
            () = self.shutdown.cancelled() => return Err(CutError::Cancelled.into()),
        };
        match prepared {
            Ok(fingerprint) => {
                request.fingerprint = fingerprint;
                let talk = Talk::new(self.broker, request, was_taken_before)?;
                let served = self.cut(&talk, held).await;
                served.map_err(|error| Unserved {
                    error,
                    request: talk.request().to_message().ok(),
                })
            }
            Err(error) => Err(self.refuse(&request, error).await?.into()),
        }
    }

    /// Checks that the input is inside the allowed folder and unchanged since the job was named; returns its fingerprint.
    async fn prepare(&self, request: &JobRequest) -> Result<Option<Digest>, ProducerError> {
        if let Some(data) = self.config.data.clone() {
            let inputs =
                known(self.registry, &request.kind, request.schema)?.inputs(&request.request)?;
            machine::block(move || confine::check(&inputs, &data))
                .await
                .unwrap_or(Err(CutError::Cancelled))?;
        }
        unchanged(self.registry, request, request.fingerprint, SINCE_ASKED).await
    }

    /// Cuts a job, until the reducer says that the job ended or was cut before.
    async fn cut(&self, talk: &Talk<'_, B>, held: &mut Held<'_>) -> Result<Served, ProducerError> {
        let request = talk.request();
        let job = Job::new(self, request)?.behind(Arc::clone(&talk.ahead));
        let cut = async {
            talk.ask_first().await;
            job.run(Arc::default()).await
        };
        let cut = tokio::select! {
            biased;
            cut = cut => cut,
            () = self.shutdown.cancelled() => Err(CutError::Cancelled.into()),
            stop = talk.listen() => {
                tracing::warn!(job_id = %request.job, why = ?stop?, "the job need not be cut any further");
                return Ok(Served::Stopped);
            }
            unsaid = talk.say() => match unsaid? {},
            never = talk.leave(held) => match never {},
        };
        match cut {
            Ok(manifest) => {
                let chunks = manifest.seqs().count();
                tracing::info!(job_id = %request.job, chunks, refusal = manifest.refusal, "job cut");
                Ok(Served::Cut)
            }
            Err(error) => Err(self.refuse(request, error).await?),
        }
    }

    /// Publishes the end of a job that can never be cut; returns the reason.
    async fn refuse(
        &self,
        request: &JobRequest,
        error: ProducerError,
    ) -> Result<ProducerError, BrokerError> {
        if error.fate() == Fate::Bury {
            tracing::error!(job_id = %request.job, %error, "job refused");
            self.tell(request, error.to_string()).await?;
        }
        Ok(error)
    }

    /// Publishes the end of a refused job: as a manifest or, where the kind is unknown, as an event only.
    async fn tell(&self, request: &JobRequest, why: String) -> Result<(), BrokerError> {
        match Job::new(self, request) {
            Ok(job) => send(self.broker, &job.refused(why)).await,
            Err(_) => {
                let event = Event::Finished {
                    job: request.job.clone(),
                    status: Status::Failed,
                    reason: Some(why),
                    report: None,
                    execution: None,
                    cut: None,
                };
                self.broker.publish(written(event.to_message(0))?).await
            }
        }
    }
}

/// A kind's name from outside, short enough to log.
fn name(kind: &str) -> &str {
    kind.get(..kind.len().min(MAX_NAME)).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_no_format_are_always_taken_first() {
        let formats = [1, 2, 3].map(|schema| Format::new("count", schema));
        let firsts = (0..1000).filter_map(|_| queues(formats.to_vec()).next());
        let firsts: Vec<Queue> = firsts.map(|(queue, _)| queue).collect();
        for format in formats {
            assert!(firsts.contains(&Queue::Jobs(format)));
        }
    }
}
