//! A cluster as tasks of this process, over any broker: what the embedded broker suffers as well as RabbitMQ.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::{Broker, Queue, Subscription};
use autoconnect_common::message::{JobRequest, Message};
use autoconnect_common::{JobId, Registry, Shutdown};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_testkit::broker::{Features, Home, soon};
use autoconnect_testkit::chaos::{Chaos, Mischief};
use autoconnect_testkit::cluster::{End, finished};
use autoconnect_worker::faults::Faults;
use autoconnect_worker::{self as worker, WorkerError};
use futures_util::future::try_join_all;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// The embedded broker, a new one for each connection.
pub(crate) struct InProcess;

impl Home for InProcess {
    type Broker = Embedded;

    async fn connect(&self) -> Result<Embedded> {
        Ok(Embedded::new())
    }

    fn features(&self) -> Features {
        unreachable!("only the suite of brokers asks")
    }
}

/// A producer and a reducer that live as long as this value, and workers that may not.
pub(crate) struct Tasks<B> {
    pub(crate) broker: Chaos<B>,
    registry: Arc<Registry>,
    folder: TempDir,
    stop: Shutdown,
    reducer: JoinHandle<Result<reducer::Summary, reducer::Error>>,
}

impl<B: Broker + Clone> Tasks<B> {
    /// Starts a producer and a reducer.
    pub(crate) fn start(
        broker: B,
        registry: Registry,
        mischief: Mischief,
        abandon_after: Duration,
    ) -> Result<Self> {
        let (registry, stop) = (Arc::new(registry), Shutdown::new());
        let (broker, folder) = (Chaos::over(broker, mischief), tempfile::tempdir()?);
        let all = || (broker.clone(), Arc::clone(&registry), stop.clone());
        let config = reducer::Config {
            abandon_after,
            ..reducer::Config::durable(folder.path().join("results"), folder.path().join("state"))
        };
        let reducer = {
            let (broker, registry, stop) = all();
            tokio::spawn(async move { reducer::run(&broker, &registry, config, stop).await })
        };
        let (producing, known, told) = all();
        tokio::spawn(async move {
            let config = producer::Config {
                threads: 1,
                data: None,
                blobs: None,
            };
            producer::run(&producing, &known, &config, &told).await
        });
        Ok(Self {
            broker,
            registry,
            folder,
            stop,
            reducer,
        })
    }

    /// Starts a worker that can be stopped, and dies when it is aborted or where `faults` say so.
    pub(crate) fn worker(
        &self,
        faults: Faults,
        stop: Shutdown,
    ) -> JoinHandle<Result<worker::Summary, WorkerError>> {
        let (broker, registry) = (self.broker.clone(), Arc::clone(&self.registry));
        let config = worker::Config {
            // with one chunk in hand, a death costs what it says
            prefetch: 1,
            faults,
            ..worker::Config::named("worker")
        };
        tokio::spawn(async move { worker::run(&broker, &registry, &config, &stop).await })
    }

    /// Where the reducer writes.
    pub(crate) fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    /// Listens to a job.
    pub(crate) async fn listen(&self, job: &JobId) -> Result<Subscription> {
        let events = self.broker.subscribe(Queue::Events(job.clone()), 64);
        Ok(soon("the broker to answer", events).await??)
    }

    /// Sends a request to the queue of jobs.
    pub(crate) async fn ask(&self, request: &JobRequest) -> Result<()> {
        let sent = self.broker.publish(request.to_message()?);
        Ok(soon("the request taken", sent).await??)
    }

    /// Sends messages, all at once.
    pub(crate) async fn send(&self, messages: &[Message]) -> Result<()> {
        let sending = messages.iter().map(|m| self.broker.publish(m.clone()));
        soon("the messages taken", try_join_all(sending)).await??;
        Ok(())
    }

    /// Waits for the end of a job, and until everything of it is acknowledged.
    pub(crate) async fn ended(&self, events: &mut Subscription, job: &JobId) -> Result<End> {
        let end = finished(events, job).await?;
        soon("everything to be acknowledged", self.broker.quiet()).await?;
        Ok(end)
    }

    /// Stops everybody; what the reducer did.
    pub(crate) async fn stop(self) -> Result<reducer::Summary> {
        self.stop.cancel();
        let summary = soon("the reducer to stop", self.reducer).await???;
        self.broker.close().await;
        Ok(summary)
    }
}
