//! Turns a [`Message`] into AMQP and back.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use super::Common;
use crate::Body;
use crate::broker::{BrokerError, Queue};
use crate::message::{Exchange, Message};

const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;
const APP: &str = "autoconnect";
/// Bytes of a header frame besides its strings: 7 for the frame, 14 for the content header, 1 for each of four short
/// strings, 1 for the delivery mode, 4 for the table, 1 for the frame's end.
const FRAME: usize = 31;
/// Bytes of a header besides its name and value: the length of the name, the type, the length of the value.
const FIELD: usize = 6;

/// A message ready to be published, any number of times.
pub(super) struct Ready {
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
    pub(super) properties: BasicProperties,
    /// Whether the broker must return it if unroutable. Events without a listener are dropped.
    pub(super) mandatory: bool,
    pub(super) id: String,
    /// What it shares with messages for the same queue: exchange and routing key, without the last word of the key.
    pub(super) format: String,
    /// The bytes of its properties and headers, which must fit into one frame.
    pub(super) header_bytes: usize,
    pub(super) body: Body,
}

/// A short string, which has at most 255 bytes.
pub(super) fn short(text: impl Into<String>) -> Result<ShortString, BrokerError> {
    ShortString::try_new(text).map_err(|error| BrokerError::Unsendable(error.to_string()))
}

impl Ready {
    pub(super) fn new(message: Message, common: &Common) -> Result<Self, BrokerError> {
        let event = message.exchange == Exchange::Events;
        let content_type = match message.kind.as_str() {
            "chunk" | "annex" | "seal" => "application/octet-stream",
            _ => "application/json",
        };
        let mut headers = FieldTable::default();
        let names = [
            message.id.len(),
            message.kind.len(),
            content_type.len(),
            APP.len(),
        ];
        let mut header_bytes = FRAME + names.iter().sum::<usize>();
        for (name, value) in message.headers {
            header_bytes += FIELD + name.len() + value.len();
            headers.insert(short(name)?, AMQPValue::LongString(value.into()));
        }
        let properties = BasicProperties::default()
            .with_delivery_mode(if event { TRANSIENT } else { PERSISTENT })
            .with_message_id(short(message.id.clone())?)
            .with_type(short(message.kind)?)
            .with_content_type(short(content_type)?)
            .with_app_id(short(APP)?)
            .with_headers(headers);
        let exchange = message.exchange.name();
        let of = message.key.rsplit_once('.').map_or("", |(of, _)| of);
        let of = if message.exchange == Exchange::Dead {
            &message.key
        } else {
            of
        };
        Ok(Self {
            format: format!("{exchange} {of}"),
            header_bytes,
            exchange: short(common.named(exchange))?,
            key: short(message.key)?,
            properties,
            mandatory: !event,
            id: message.id,
            body: message.body,
        })
    }
}

/// Decodes a delivery from `queue`: the message, and how often it had been delivered before.
pub(super) fn received(
    delivery: lapin::message::Delivery,
    queue: &Queue,
    prefix: &str,
) -> (Message, u32) {
    let properties = &delivery.properties;
    let text = |value: &Option<ShortString>| {
        value
            .as_ref()
            .map_or_else(String::new, |text| text.as_str().to_owned())
    };
    let mut headers = BTreeMap::new();
    let mut death = None;
    let mut redeliveries = u32::from(delivery.redelivered);
    for (name, value) in properties.headers().iter().flatten() {
        let name = name.as_str();
        if name == "x-delivery-count" {
            redeliveries = redeliveries.max(count(value));
        } else if name == "x-death" {
            death = Death::last(value);
        } else if !name.starts_with("x-")
            && let AMQPValue::LongString(text) = value
        {
            headers.insert(name.to_owned(), text.to_string());
        }
    }
    let kind = text(properties.kind());
    if let Some(why) = death.and_then(|death| death.sentence(&kind)) {
        headers.entry("reason".to_owned()).or_insert(why);
    }
    let message = Message {
        exchange: exchange(delivery.exchange.as_str(), prefix).unwrap_or_else(|| home(queue)),
        key: delivery.routing_key.as_str().to_owned(),
        id: text(properties.message_id()),
        kind,
        headers,
        body: delivery.data.into(),
    };
    (message, redeliveries)
}

/// Why and from which queue the broker last dead-lettered a message.
struct Death {
    reason: String,
    queue: String,
}

impl Death {
    /// The first entry of `x-death`.
    fn last(deaths: &AMQPValue) -> Option<Self> {
        let AMQPValue::FieldArray(deaths) = deaths else {
            return None;
        };
        let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else {
            return None;
        };
        let text = |name: &str| match death.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            _ => None,
        };
        Some(Self {
            reason: text("reason")?,
            queue: text("queue")?,
        })
    }

    /// The reason in words, for a message of this type; `None` where the default reason of a dead message applies.
    fn sentence(&self, kind: &str) -> Option<String> {
        let Self { reason, queue } = self;
        Some(match reason.as_str() {
            "delivery_limit" if kind == "chunk" => return None,
            "delivery_limit" => format!(
                "queue {queue} delivered it too often (delivery_limit): each time its consumer died or gave it back"
            ),
            "expired" => format!(
                "it expired in queue {queue}: a policy of the broker limits how long messages wait there"
            ),
            "maxlen" => format!("queue {queue} was full and dropped it (maxlen)"),
            "rejected" => format!(
                "a consumer rejected it from queue {queue} while the dead queue was full; the consumer's log says why"
            ),
            other => format!("the broker took it out of queue {queue} ({other})"),
        })
    }
}

/// The number in `x-delivery-count`, of any integer width.
fn count(value: &AMQPValue) -> u32 {
    let number = match *value {
        AMQPValue::ShortShortInt(number) => i64::from(number),
        AMQPValue::ShortShortUInt(number) => i64::from(number),
        AMQPValue::ShortInt(number) => i64::from(number),
        AMQPValue::ShortUInt(number) => i64::from(number),
        AMQPValue::LongInt(number) => i64::from(number),
        AMQPValue::LongUInt(number) => i64::from(number),
        AMQPValue::LongLongInt(number) => number,
        _ => 0,
    };
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

fn exchange(name: &str, prefix: &str) -> Option<Exchange> {
    let name = name.strip_prefix(prefix)?;
    Exchange::ALL
        .into_iter()
        .find(|exchange| exchange.name() == name)
}

/// The exchange of a message that was published to `queue` directly, by hand.
fn home(queue: &Queue) -> Exchange {
    match queue {
        Queue::Jobs(_) => Exchange::Jobs,
        Queue::Chunks(_) => Exchange::Chunks,
        Queue::Results(_) => Exchange::Results,
        Queue::Control => Exchange::Control,
        Queue::Quarantine(_) | Queue::DeadJobs | Queue::DeadChunks | Queue::DeadResults => {
            Exchange::Dead
        }
        Queue::Events(_) | Queue::AllEvents => Exchange::Events,
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::FieldArray;

    use super::*;

    fn deaths(reasons: &[(&str, &str)]) -> AMQPValue {
        let entry = |&(reason, queue): &(&str, &str)| {
            let mut table = FieldTable::default();
            let text = |text: &str| AMQPValue::LongString(text.into());
            table.insert("reason".into(), text(reason));
            table.insert("queue".into(), text(queue));
            AMQPValue::FieldTable(table)
        };
        let entries: Vec<AMQPValue> = reasons.iter().map(entry).collect();
        AMQPValue::FieldArray(FieldArray::from(entries))
    }

    #[test]
    fn a_death_is_told_by_its_latest_reason_and_its_queue() {
        let said = |reason: &str, kind: &str| {
            let deaths = deaths(&[(reason, "q.a"), ("delivery_limit", "q.b")]);
            Death::last(&deaths).expect("a death").sentence(kind)
        };
        for reason in ["expired", "maxlen", "rejected", "new_one"] {
            let why = said(reason, "chunk").expect("a sentence");
            assert!(why.contains("queue q.a") && !why.contains("q.b"), "{why}");
        }
        assert!(said("expired", "partial").is_some_and(|why| why.contains("expired")));
        // for a chunk the default reason applies: every worker that took it died
        assert_eq!(said("delivery_limit", "chunk"), None);
        assert!(said("delivery_limit", "partial").is_some_and(|why| why.contains("too often")));
    }

    #[test]
    fn a_death_that_is_none_is_no_reason() {
        let hostile = [
            AMQPValue::Boolean(true),
            AMQPValue::FieldArray(FieldArray::default()),
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void])),
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(
                FieldTable::default(),
            )])),
        ];
        for value in hostile {
            assert!(Death::last(&value).is_none(), "{value:?}");
        }
    }
}
