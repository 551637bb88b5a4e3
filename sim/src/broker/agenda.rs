//! The agenda of the simulated broker: its future events, by time.

use std::time::Duration;

use autoconnect_common::broker::{Delivery, Offered, Verdict};
use autoconnect_common::message::Message;
use tokio::time::Instant;

use super::queues::{Routed, Stored};
use super::{Connection, Outbox, Simulated, State};
use crate::world::{World, tell};

/// The shortest and the longest pause before a rejected message is published again, as in `common`'s client of RabbitMQ.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// An event of the agenda.
pub(super) enum Due {
    /// A message reaches the broker.
    Arrive { sending: u64 },
    /// The confirm of a message reaches its publisher.
    Confirm { sending: u64 },
    /// A delivery reaches its consumer.
    Hand {
        consumer: u64,
        session: u64,
        tag: u64,
    },
    /// A verdict reaches the broker.
    Settle {
        consumer: u64,
        session: u64,
        tag: u64,
        verdict: Verdict,
    },
    /// The broker tries again to dead-letter a message.
    GiveUp { queue: String, stored: Stored },
    /// A client reconnects.
    Reconnect { client: u64 },
    /// A deleted queue is declared again.
    Restored { queue: String },
    /// The broker has restarted.
    Up,
}

/// Carries out the events of the agenda at their times, for ever.
pub(super) async fn keep(broker: Simulated) {
    loop {
        let next = broker.state().agenda.keys().next().copied();
        match next {
            Some((at, _)) if at <= Instant::now() => {
                for (deliveries, delivery) in broker.next_due() {
                    // if the consumer has left meanwhile, the dropped delivery is requeued
                    let _left = deliveries.try_send(delivery);
                }
                // so that its receiver may act before the next event
                tokio::task::yield_now().await;
            }
            Some((at, _)) => tokio::select! {
                biased;
                () = broker.0.changed.notified() => {}
                () = tokio::time::sleep_until(at) => {}
            },
            None => broker.0.changed.notified().await,
        }
    }
}

impl Simulated {
    /// Carries out the next event that is due, and returns the deliveries that it causes.
    fn next_due(&self) -> Outbox {
        let mut outbox = Outbox::new();
        let mut state = self.state();
        if let Some((_, due)) = state.agenda.pop_first() {
            state.happens(self, due, &mut outbox);
        }
        outbox
    }
}

impl State {
    /// Adds an event to the agenda.
    pub(super) fn due(&mut self, after: Duration, due: Due) {
        let number = self.number();
        self.agenda.insert((Instant::now() + after, number), due);
    }

    fn happens(&mut self, broker: &Simulated, due: Due, outbox: &mut Outbox) {
        let world = broker.world();
        match due {
            Due::Arrive { sending } => self.arrive(world, sending),
            Due::Confirm { sending } => self.confirm(world, sending),
            Due::Hand {
                consumer,
                session,
                tag,
            } => self.hand(broker, consumer, session, tag, outbox),
            Due::Settle {
                consumer,
                session,
                tag,
                verdict,
            } => {
                let same = self
                    .consumers
                    .get(&consumer)
                    .is_some_and(|c| c.session == session);
                if same {
                    self.settle(world, consumer, tag, verdict);
                }
            }
            Due::GiveUp { queue, stored } => self.give_up(world, &queue, stored),
            Due::Reconnect { client } => self.reconnect(world, client),
            Due::Restored { queue } => {
                tell!(world, "{queue} is there again");
                if let Some(held) = self.queues.get_mut(&queue) {
                    held.absent = false;
                }
                self.hand_out(world, &queue);
            }
            Due::Up => {
                tell!(world, "broker is there again");
                self.up = true;
                let clients: Vec<u64> = self.clients.keys().copied().collect();
                for client in clients {
                    let after = world.roll(|dice| dice.within(Duration::from_secs(2)));
                    self.due(after, Due::Reconnect { client });
                }
            }
        }
    }

    fn arrive(&mut self, world: &World, number: u64) {
        let Some(sending) = self.sending.get(&number) else {
            return;
        };
        let Some(client) = self.clients.get(&sending.client) else {
            return;
        };
        if client.life.is_dead() || client.closed {
            self.sending.remove(&number);
            return;
        }
        if let Some(until) = client.life.frozen() {
            let after = until.saturating_duration_since(Instant::now());
            return self.due(after, Due::Arrive { sending: number });
        }
        if !client.up {
            // offered again once its connection is back
            return;
        }
        if self.alarm {
            return self.due(Duration::from_secs(1), Due::Arrive { sending: number });
        }
        let (client, once) = (sending.client, sending.once);
        let message = sending.message.clone();
        if world.roll(|dice| dice.rarely(self.net.lost)) {
            tell!(world, "lost {} on its way", message.id);
            self.disconnect(world, client);
            return self.due(Duration::from_secs(1), Due::Reconnect { client });
        }
        self.land(world, number, once, &message);
    }

    /// Routes a message that arrived, and schedules what follows.
    fn land(&mut self, world: &World, number: u64, once: bool, message: &Message) {
        let mut routed = self.route(world, message);
        if routed == Routed::Stored && world.roll(|dice| dice.rarely(self.net.repeated)) {
            tell!(world, "stored {} twice", message.id);
            routed = self.route(world, message);
        }
        let after = match routed {
            Routed::Stored => {
                if message.kind != "event" {
                    tell!(world, "stored {} for {}", message.id, message.key);
                }
                if let Some(sending) = self.sending.get_mut(&number) {
                    sending.stored = true;
                }
                let after = world.roll(|dice| dice.within(self.net.latency));
                return self.due(after, Due::Confirm { sending: number });
            }
            Routed::Returned | Routed::Rejected if once => {
                tell!(world, "{routed:?} {}, which was offered once", message.id);
                if let Some(done) = self.sending.remove(&number).and_then(|s| s.done) {
                    let _whoever_waited_is_gone =
                        done.send(Ok(Offered::Refused(format!("{routed:?}"))));
                }
                return;
            }
            Routed::Returned | Routed::Rejected => self.sending.get_mut(&number).map(|sending| {
                sending.pause = (sending.pause * 2).clamp(PAUSE.0, PAUSE.1);
                sending.pause
            }),
        };
        tell!(world, "{routed:?} {}", message.id);
        self.due(after.unwrap_or(PAUSE.1), Due::Arrive { sending: number });
    }

    fn confirm(&mut self, world: &World, number: u64) {
        let up = self
            .sending
            .get(&number)
            .is_some_and(|s| s.stored && self.clients.get(&s.client).is_some_and(|c| c.up));
        if up
            && let Some(sending) = self.sending.remove(&number)
            && let Some(done) = sending.done
        {
            if sending.message.kind != "event" {
                tell!(world, "confirmed {}", sending.message.id);
            }
            let _whoever_waited_is_gone = done.send(Ok(Offered::Taken));
        }
    }

    fn hand(
        &mut self,
        broker: &Simulated,
        number: u64,
        session: u64,
        tag: u64,
        outbox: &mut Outbox,
    ) {
        let Some(consumer) = self.consumers.get(&number) else {
            return;
        };
        if consumer.session != session {
            return;
        }
        let Some(stored) = consumer.unsettled.get(&tag).cloned() else {
            return;
        };
        if consumer.deliveries.is_closed() {
            // no role received the delivery, but it counts as a return all the same
            return self.settle(broker.world(), number, tag, Verdict::GiveBack);
        }
        let connection = Connection {
            broker: broker.clone(),
            client: consumer.client,
        };
        if stored.message.kind != "event" {
            let name = self
                .clients
                .get(&consumer.client)
                .map(|c| c.life.name.as_str());
            tell!(
                broker.world(),
                "{} gets {} of {} (returned {})",
                name.unwrap_or("?"),
                stored.message.id,
                consumer.queue,
                stored.returned
            );
        }
        let settle = connection.settler(number, session, tag);
        let delivery = Delivery::new(stored.message, stored.returned, settle);
        outbox.push((consumer.deliveries.clone(), delivery));
    }

    fn reconnect(&mut self, world: &World, number: u64) {
        let up = self.up;
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if !up || client.up || client.life.is_dead() {
            return;
        }
        if let Some(until) = client.life.frozen() {
            let after = until.saturating_duration_since(Instant::now());
            return self.due(after, Due::Reconnect { client: number });
        }
        client.up = true;
        tell!(world, "{} is connected again", client.life.name);
        let ours: Vec<u64> = self
            .sending
            .iter()
            .filter(|(_, sending)| sending.client == number)
            .map(|(sending, _)| *sending)
            .collect();
        for sending in ours {
            if let Some(sending) = self.sending.get_mut(&sending) {
                sending.stored = false;
            }
            self.due(Duration::ZERO, Due::Arrive { sending });
        }
        // its consumers go to the end of the lines of their queues
        let consumers: Vec<u64> = self
            .consumers
            .iter()
            .filter(|(_, consumer)| consumer.client == number)
            .map(|(consumer, _)| *consumer)
            .collect();
        for old in consumers {
            let new = self.number();
            if let Some(mut consumer) = self.consumers.remove(&old) {
                consumer.session = new;
                let name = consumer.queue.clone();
                self.consumers.insert(new, consumer);
                self.hand_out(world, &name);
            }
        }
    }
}
