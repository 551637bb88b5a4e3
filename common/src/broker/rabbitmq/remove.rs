//! Finds the parts of a cluster by their names, and removes them. The only file that ever deletes anything.
//!
//! Finding declares passively, which needs no right and changes nothing. Removing needs the right to configure.

use lapin::ExchangeKind;
use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;

use super::declare::HELD;
use super::failure::{Failure, is_in_use, is_missing};
use super::session::Session;
use super::wire::short;
use crate::broker::Queue;
use crate::broker::part::{Part, What};
use crate::message::Exchange;

/// An existing part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The part.
    pub part: Part,
    /// Its ready messages, unacked ones not counted; 0 for an exchange.
    pub messages: u32,
    /// Its consumers; 0 for an exchange.
    pub consumers: u32,
}

/// What became of a part that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It was removed, with so many messages.
    Gone(u32),
    /// It is an exchange that has bindings, and was left.
    InUse,
}

/// Which of these parts exist, and what they hold.
pub(super) async fn look(session: &Session, parts: &[Part]) -> Result<Vec<Found>, Failure> {
    let mut found = Vec::new();
    let mut channel = session.channel().await?;
    for part in parts {
        let name = short(part.full_name()).map_err(|error| Failure::Never(error.to_string()))?;
        let looked = match part.what {
            What::Queue => {
                let options = QueueDeclareOptions {
                    passive: true,
                    ..QueueDeclareOptions::default()
                };
                let looked = channel.queue_declare(name, options, FieldTable::default());
                looked
                    .await
                    .map(|queue| (queue.message_count(), queue.consumer_count()))
            }
            What::Exchange => {
                let options = ExchangeDeclareOptions {
                    passive: true,
                    ..ExchangeDeclareOptions::default()
                };
                let (kind, arguments) = (ExchangeKind::Topic, FieldTable::default());
                let looked = channel.exchange_declare(name, kind, options, arguments);
                looked.await.map(|()| (0, 0))
            }
        };
        match looked {
            Ok((messages, consumers)) => found.push(Found {
                part: part.clone(),
                messages,
                consumers,
            }),
            // the broker closed the channel
            Err(error) if is_missing(&error) => channel = session.channel().await?,
            Err(error) => return Err(error.into()),
        }
    }
    channel.close(200, "looked".into()).await?;
    Ok(found)
}

/// Removes a part: a queue with its messages, an exchange with bindings only where `even_in_use`.
pub(super) async fn remove(
    session: &Session,
    part: &Part,
    even_in_use: bool,
) -> Result<Removed, Failure> {
    let channel = session.channel().await?;
    let name = short(part.full_name()).map_err(|error| Failure::Never(error.to_string()))?;
    let removed = match part.what {
        // quorum queues do not support `if-unused` and `if-empty`
        What::Queue => channel
            .queue_delete(name, QueueDeleteOptions::default())
            .await
            .map(Removed::Gone),
        What::Exchange => {
            if part.name == Exchange::Events.name() {
                unhold(session, part).await?;
            }
            let options = ExchangeDeleteOptions {
                if_unused: !even_in_use,
                ..ExchangeDeleteOptions::default()
            };
            let removed = channel.exchange_delete(name, options).await;
            removed.map(|()| Removed::Gone(0))
        }
    };
    match removed {
        Ok(gone) => {
            channel.close(200, "removed".into()).await?;
            Ok(gone)
        }
        Err(error) if part.what == What::Exchange && is_in_use(&error) => Ok(Removed::InUse),
        Err(error) => Err(error.into()),
    }
}

/// Removes the binding by which a run's own cluster keeps its exchange of events, so that only listeners' bindings count.
async fn unhold(session: &Session, events: &Part) -> Result<(), Failure> {
    let channel = session.channel().await?;
    let named = |name: String| short(name).map_err(|error| Failure::Never(error.to_string()));
    let control = named(format!("{}{}", events.prefix, Queue::Control.name()))?;
    let exchange = named(events.full_name())?;
    let unbound = channel.queue_unbind(control, exchange, HELD.into(), FieldTable::default());
    match unbound.await {
        Err(error) if is_missing(&error) => Ok(()),
        unbound => {
            unbound?;
            Ok(channel.close(200, "unbound".into()).await?)
        }
    }
}
