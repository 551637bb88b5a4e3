//! Connects a command to the cluster's broker, with a short timeout for the first answer.

use std::future::Future;
use std::time::Duration;

use autoconnect_common::Registry;
use autoconnect_common::broker::rabbitmq::RabbitMq;
use autoconnect_common::broker::{Broker as _, BrokerError, Queue};
use autoconnect_common::program::{self, Exit};
use autoconnect_common::settings::Settings;

use crate::Failure;
use crate::options::Place;
use crate::trouble::Trouble;

/// How long the broker may take for its first answer. Services retry for longer; here a person waits at a terminal.
const FIRST_CONTACT: Duration = Duration::from_secs(10);

/// Connects to the cluster as `name`, runs `act` there, and disconnects.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn at<T>(
    settings: &Settings,
    registry: &Registry,
    name: &str,
    act: impl AsyncFnOnce(&RabbitMq) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    program::run(|shutdown| async move {
        let rabbit = program::connect(settings, name, registry.formats())?;
        let done = tokio::select! {
            done = act(&rabbit) => done.map_err(Trouble::into_failure),
            () = shutdown.cancelled() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        };
        rabbit.close().await;
        done
    })
}

/// Connects to the cluster as its operator, runs `act` there, and disconnects.
///
/// # Errors
/// [`Failure`]: one sentence and the exit code.
pub(crate) fn operator<T>(
    place: &Place,
    registry: &Registry,
    act: impl AsyncFnOnce(&RabbitMq) -> Result<T, Trouble>,
) -> Result<T, Failure> {
    at(
        &place.settings(registry)?,
        registry,
        "autoconnect operator",
        async |rabbit| {
            first(rabbit, rabbit.waiting(Queue::DeadChunks)).await?;
            act(rabbit).await
        },
    )
}

/// The answer to the first request to the broker, or the error that there is none.
///
/// # Errors
/// [`Trouble::Broker`] where the broker refuses the connection, [`Trouble::Failed`] where it does not answer in time.
pub(crate) async fn first<T>(
    rabbit: &RabbitMq,
    asked: impl Future<Output = Result<T, BrokerError>>,
) -> Result<T, Trouble> {
    if let Ok(answer) = tokio::time::timeout(FIRST_CONTACT, asked).await {
        return Ok(answer?);
    }
    // the client retries a refused login, as a broker that is starting needs; after the timeout it is the reason to give
    if let Some(why) = rabbit.refusal() {
        return Err(BrokerError::Refused(why).into());
    }
    Err(Trouble::Failed(format!(
        "{}: the broker did not answer within {} seconds",
        rabbit.addresses(),
        FIRST_CONTACT.as_secs()
    )))
}
