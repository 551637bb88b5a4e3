//! Publishes a producer's outcomes as messages.

use autoconnect_common::Broker;
use autoconnect_common::broker::BrokerError;
use autoconnect_common::message::{Manifest, Message};

pub(crate) async fn send<B: Broker>(broker: &B, manifest: &Manifest) -> Result<(), BrokerError> {
    broker.publish(written(manifest.to_message())?).await
}

pub(crate) fn written(message: Result<Message, serde_json::Error>) -> Result<Message, BrokerError> {
    message.map_err(|error| BrokerError::Unsendable(format!("message as JSON: {error}")))
}
