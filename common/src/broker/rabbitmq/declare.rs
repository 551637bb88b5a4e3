//! Declares the topology: [`crate::broker::topology`], in AMQP.
//!
//! Everything is durable and declared in full each time, so that deleted parts are restored. Nothing is ever deleted. The
//! arguments are valid for RabbitMQ 3.10 and 4; 3.10 ignores `x-consumer-timeout`.

use futures_util::stream::{StreamExt, TryStreamExt, iter};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};

use super::Common;
use super::failure::{Failure, is_missing};
use super::session::Session;
use super::wire::short;
use crate::broker::Queue;
use crate::broker::topology::UNROUTED;
use crate::message::Exchange;

/// The expiry of a run's own unused queues, in milliseconds: longer than any outage of the broker that a run survives.
const UNUSED_MS: i64 = 60 * 60 * 1000;

/// A delivery limit that stands for none: RabbitMQ 4 would apply its default of 20 to a queue without one, and drop
/// messages beyond it.
const NO_LIMIT: u32 = 1_000_000;

/// The key by which a run's own cluster binds one of its queues to its exchange of events; no event has it.
pub(super) const HELD: &str = "-";

fn name(common: &Common, name: &str) -> Result<ShortString, Failure> {
    short(common.named(name)).map_err(|error| Failure::Never(error.to_string()))
}

fn text(value: impl Into<Vec<u8>>) -> AMQPValue {
    AMQPValue::LongString(value.into().into())
}

fn table<const N: usize>(pairs: [(&str, AMQPValue); N]) -> Result<FieldTable, Failure> {
    let mut table = FieldTable::default();
    for (key, value) in pairs {
        let key = short(key).map_err(|error| Failure::Never(error.to_string()))?;
        table.insert(key, value);
    }
    Ok(table)
}

/// How many parts are declared or removed at a time, each over a channel of its own: a quorum queue takes some 20 ms, a
/// channel serves one request after the other, and eight queues are what a cluster of one kind has.
pub(super) const SIDE_BY_SIDE: usize = 8;

/// Declares every exchange, then every queue with its bindings, `at_a_time` queues over as many channels.
pub(super) async fn topology(
    connection: &Connection,
    common: &Common,
    at_a_time: usize,
) -> Result<(), Failure> {
    let channel = connection.create_channel().await?;
    exchange(&channel, common, UNROUTED, FieldTable::default()).await?;
    for each in Exchange::ALL {
        let arguments = if each == Exchange::Chunks {
            table([("alternate-exchange", text(common.named(UNROUTED)))])?
        } else {
            FieldTable::default()
        };
        exchange(&channel, common, each.name(), arguments).await?;
    }
    close(&channel).await?;
    let mut queues = Queue::durable(&common.formats);
    if common.passing {
        // no operator empties the dead queues of a run's own cluster; its reducer gets the same messages
        queues.retain(|queue| !matches!(queue, Queue::DeadJobs | Queue::DeadChunks));
    }
    let declared = iter(queues).map(async |each| {
        let channel = connection.create_channel().await?;
        queue(&channel, common, &each).await?;
        if common.passing && each == Queue::Control {
            // otherwise only listeners are bound to it, and it would be auto-deleted with the last of them
            let control = name(common, &each.name())?;
            bind(&channel, common, &control, Exchange::Events.name(), HELD).await?;
        }
        close(&channel).await
    });
    declared.buffer_unordered(at_a_time).try_collect().await
}

async fn close(channel: &Channel) -> Result<(), Failure> {
    Ok(channel.close(200, "declared".into()).await?)
}

async fn exchange(
    channel: &Channel,
    common: &Common,
    plain: &str,
    arguments: FieldTable,
) -> Result<(), Failure> {
    let options = ExchangeDeclareOptions {
        durable: true,
        auto_delete: common.passing,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            name(common, plain)?,
            ExchangeKind::Topic,
            options,
            arguments,
        )
        .await
        .map_err(|error| Failure::declaring(&common.named(plain), &error))
}

async fn queue(channel: &Channel, common: &Common, queue: &Queue) -> Result<(), Failure> {
    let queue_name = name(common, &queue.name())?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue_name.clone(), options, arguments(common, queue)?)
        .await
        .map_err(|error| Failure::declaring(queue_name.as_str(), &error))?;
    for (exchange, key) in queue.bindings() {
        bind(channel, common, &queue_name, exchange.name(), &key).await?;
    }
    if let Some(key) = queue.takes_unrouted() {
        bind(channel, common, &queue_name, UNROUTED, &key).await?;
    }
    Ok(())
}

async fn bind(
    channel: &Channel,
    common: &Common,
    queue: &ShortString,
    exchange: &str,
    key: &str,
) -> Result<(), Failure> {
    let exchange = name(common, exchange)?;
    let key = short(key).map_err(|error| Failure::Never(error.to_string()))?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(queue.clone(), exchange, key, options, FieldTable::default())
        .await
        .map_err(|error| Failure::declaring(queue.as_str(), &error))
}

fn arguments(common: &Common, queue: &Queue) -> Result<FieldTable, Failure> {
    let max_bytes = i64::try_from(queue.max_bytes()).unwrap_or(i64::MAX);
    let (limit, dead_letter_key) = match queue.delivery_limit() {
        Some((limit, key)) => (limit, Some(key)),
        None => (NO_LIMIT, None),
    };
    let mut arguments = table([
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-max-length-bytes", AMQPValue::LongLongInt(max_bytes)),
        ("x-delivery-limit", AMQPValue::LongLongInt(i64::from(limit))),
    ])?;
    if let Some(key) = dead_letter_key {
        let dead = common.named(Exchange::Dead.name());
        arguments.insert("x-dead-letter-exchange".into(), text(dead));
        arguments.insert("x-dead-letter-routing-key".into(), text(key));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    }
    if let Some(ms) = queue.consumer_timeout() {
        let ms = AMQPValue::LongLongInt(i64::from(ms));
        arguments.insert("x-consumer-timeout".into(), ms);
    }
    if common.passing {
        arguments.insert("x-expires".into(), AMQPValue::LongLongInt(UNUSED_MS));
    }
    if queue.single_active_consumer() {
        arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
    }
    Ok(arguments)
}

/// Declares an exclusive queue for the events with this binding key: the broker names it, and deletes it with the
/// connection.
pub(super) async fn listener(
    channel: &Channel,
    common: &Common,
    key: &str,
    max_bytes: u64,
) -> Result<ShortString, Failure> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let arguments = table([("x-max-length-bytes", AMQPValue::LongLongInt(max_bytes))])?;
    let queue = channel
        .queue_declare(ShortString::default(), options, arguments)
        .await
        .map_err(|error| Failure::of(&error))?;
    bind(channel, common, queue.name(), Exchange::Events.name(), key).await?;
    Ok(queue.name().clone())
}

/// Why a consumer ended: its queue was deleted, or the broker cancelled it.
pub(super) async fn why_stopped(session: &Session, name: &ShortString) -> String {
    let asked = async {
        let channel = session.channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        channel
            .queue_declare(name.clone(), options, FieldTable::default())
            .await?;
        Ok(channel.close(200, "looked".into()).await?)
    };
    match session.run_while_alive(asked).await {
        Ok(()) => format!("the broker cancelled the consumer of queue {name}"),
        Err(failure) => format!("queue {name} stopped delivering: {}", failure.why()),
    }
}

/// How many messages are ready in a queue, by a passive declaration, which needs no right to configure. A queue that does
/// not exist and that this program may not declare has none.
pub(super) async fn waiting(
    session: &Session,
    common: &Common,
    queue: &Queue,
) -> Result<u64, Failure> {
    let channel = session.channel().await?;
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let name = name(common, &queue.name())?;
    let found = channel
        .queue_declare(name, options, FieldTable::default())
        .await;
    let found = match found {
        Err(error) if is_missing(&error) && !common.declare => return Ok(0),
        found => found?,
    };
    session.mark_healthy();
    channel.close(200, "counted".into()).await?;
    Ok(u64::from(found.message_count()))
}
