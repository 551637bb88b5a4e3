//! An operator's first aid to a cluster: [`dead`] messages, [`jobs`], and [`queues`].
//!
//! Everything goes through the broker, as somebody who may listen to events, tell the reducer something, send chunks and
//! take from the dead queues; nothing is declared but a listener's own queue. Only removing queues takes more: the rights
//! of the one who declares them.

pub(crate) mod dead;
pub(crate) mod jobs;
mod management;
pub(crate) mod queues;

use autoconnect_common::broker::rabbitmq::RabbitMq;
use autoconnect_common::broker::{Broker as _, Queue};

use crate::trouble::Trouble;
use crate::{Failure, cli, contact};

/// Reaches the cluster, does what is asked there, and leaves.
fn at<T>(
    place: &cli::Place,
    act: impl AsyncFnOnce(&RabbitMq) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    contact::at(&place.settings()?, "autoconnect operator", async |rabbit| {
        contact::first(rabbit, rabbit.waiting(Queue::DeadChunks)).await?;
        act(rabbit).await
    })
}
