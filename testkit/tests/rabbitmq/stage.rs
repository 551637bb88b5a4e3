//! A connection past ours, to change what is on the broker, and waiting for what must happen.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_testkit::node::OnNode;
use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};

/// How long anything that must happen may take, on a slow and busy machine.
const SOON: Duration = Duration::from_secs(60);

/// Somebody who changes exchanges and queues under our programs.
pub(crate) struct Meddler {
    channel: Channel,
    connection: Connection,
    prefix: String,
}

impl Meddler {
    pub(crate) async fn at(node: &OnNode) -> Result<Self> {
        let uri = node.options.uris.join(",");
        let connection = Connection::connect(&uri, ConnectionProperties::default()).await?;
        Ok(Self {
            channel: connection.create_channel().await?,
            connection,
            prefix: node.options.prefix.clone(),
        })
    }

    fn named(&self, name: &str) -> lapin::types::ShortString {
        format!("{}{name}", self.prefix).into()
    }

    pub(crate) async fn unbind(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let (queue, exchange) = (self.named(queue), self.named(exchange));
        let arguments = FieldTable::default();
        let unbound = self
            .channel
            .queue_unbind(queue, exchange, key.into(), arguments);
        Ok(unbound.await?)
    }

    pub(crate) async fn bind(&self, queue: &str, exchange: &str, key: &str) -> Result<()> {
        let (queue, exchange) = (self.named(queue), self.named(exchange));
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let bound = self
            .channel
            .queue_bind(queue, exchange, key.into(), options, arguments);
        Ok(bound.await?)
    }

    pub(crate) async fn delete(&self, queue: &str) -> Result<()> {
        let options = QueueDeleteOptions::default();
        self.channel
            .queue_delete(self.named(queue), options)
            .await?;
        Ok(())
    }

    /// Declares a queue of ours as a classic one.
    pub(crate) async fn declare_classic(&self, queue: &str) -> Result<()> {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let arguments = FieldTable::default();
        self.channel
            .queue_declare(self.named(queue), options, arguments)
            .await?;
        Ok(())
    }

    pub(crate) async fn leave(self) -> Result<()> {
        Ok(self.connection.close(200, "meddled".into()).await?)
    }
}

/// A client that declares nothing, on the queues of `node`.
pub(crate) fn guest_of(node: &OnNode) -> Result<RabbitMq> {
    Ok(RabbitMq::connect(Options {
        declare: false,
        ..node.options.clone()
    })?)
}

/// Waits until `seen` says so.
pub(crate) async fn until<F>(what: &str, mut seen: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = Result<bool>>,
{
    let since = Instant::now();
    while !seen().await? {
        ensure!(since.elapsed() < SOON, "waited {SOON:?} for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
