//! Messages that are not what they should be: published to the dead queue of results with the reason, then acknowledged.

use autoconnect_common::broker::{Delivery, Verdict};
use autoconnect_common::message::{Exchange, Message};
use autoconnect_common::{Broker, dead};

use super::Reducer;

impl<B: Broker> Reducer<'_, B> {
    /// Dead-letters a message for the operator; it is acknowledged once the broker confirmed that.
    pub(super) fn dead_letter(&mut self, delivery: Delivery, reason: &str) {
        self.summary.buried += 1;
        tracing::warn!(id = delivery.message.id, reason, "result buried");
        let dead = to_dead_queue(&delivery.message, reason);
        let broker = self.broker;
        self.burials.push(Box::pin(async move {
            let verdict = match dead::dead_letter(broker, dead).await {
                Ok(verdict) => verdict,
                Err(error) => {
                    tracing::error!(id = delivery.message.id, %error, "result not buried");
                    Verdict::GiveBack
                }
            };
            (delivery, verdict)
        }));
    }
}

/// `message`, on its way to the dead queue of results.
fn to_dead_queue(message: &Message, reason: &str) -> Message {
    let mut dead = message.clone();
    dead.exchange = Exchange::Dead;
    dead.key = "results".to_owned();
    let reason = reason.chars().take(500).collect();
    dead.headers.insert("reason".to_owned(), reason);
    dead
}
