//! The queues of the simulated broker: routing, length limits, delivery limits, dead letters.

use std::collections::VecDeque;

use autoconnect_common::broker::{Queue, Verdict};
use autoconnect_common::message::{Exchange, Message};

use super::agenda::Due;
use super::{Consumer, State};
use crate::life::Life;
use crate::world::{World, tell};

/// How many past messages of a queue are kept, so that a copy of one can be delivered late, long after its job's end.
const REMEMBERED: usize = 64;

/// A message in a queue, and how often it was returned.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) message: Message,
    pub(super) returned: u32,
}

/// A queue with its messages.
pub(super) struct Held {
    pub(super) queue: Queue,
    pub(super) waiting: VecDeque<Stored>,
    pub(super) unbound: bool,
    pub(super) absent: bool,
    pub(super) full: bool,
    /// Past messages, of which a copy may be delivered late.
    pub(super) seen: VecDeque<Message>,
}

impl Held {
    pub(super) fn new(queue: Queue) -> Self {
        Self {
            queue,
            waiting: VecDeque::new(),
            unbound: false,
            absent: false,
            full: false,
            seen: VecDeque::new(),
        }
    }

    fn has_room(&self, room: u64) -> bool {
        let bytes: usize = self
            .waiting
            .iter()
            .map(|stored| stored.message.body.len())
            .sum();
        let bounded = self.queue.delivery_limit().is_some();
        !self.full && (!bounded || bytes as u64 <= room)
    }

    fn store(&mut self, message: Message, returned: u32) {
        if self.seen.len() == REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(message.clone());
        self.waiting.push_back(Stored { message, returned });
    }
}

/// The outcome of routing a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Routed {
    Stored,
    /// No queue is bound for it.
    Returned,
    /// A queue that is bound for it is full.
    Rejected,
}

impl State {
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn clients_of(&self, life: &Life) -> Vec<u64> {
        let ours = self.clients.iter();
        let ours = ours.filter(|(_, client)| client.life.name == life.name);
        ours.map(|(number, _)| *number).collect()
    }

    /// The queues that a message is routed to.
    fn takers(&self, message: &Message) -> Vec<String> {
        let takes = |held: &Held| !held.absent && held.queue.takes(message);
        let takers = self.queues.iter().filter(|(_, held)| takes(held));
        // a queue that lost its binding is still bound to the alternate exchange, if it was before
        let routed =
            takers.filter(|(_, held)| !held.unbound || held.queue.takes_unrouted().is_some());
        routed.map(|(name, _)| name.clone()).collect()
    }

    /// Stores a message in every queue that it is routed to.
    pub(super) fn route(&mut self, world: &World, message: &Message) -> Routed {
        let takers = self.takers(message);
        let room = self.net.room;
        let mut routed = Routed::Stored;
        if takers.is_empty() && message.exchange != Exchange::Events {
            return Routed::Returned;
        }
        for name in takers {
            let Some(held) = self.queues.get_mut(&name) else {
                continue;
            };
            if held.has_room(room) {
                held.store(message.clone(), 0);
                self.hand_out(world, &name);
            } else {
                routed = Routed::Rejected;
            }
        }
        routed
    }

    /// Requeues a message, or dead-letters it at the delivery limit.
    fn give_back(&mut self, world: &World, name: &str, mut stored: Stored) {
        let Some(held) = self.queues.get_mut(name) else {
            return;
        };
        match held.queue.delivery_limit() {
            Some((limit, key)) if stored.returned >= limit => {
                let mut dead = stored.message.clone();
                dead.exchange = Exchange::Dead;
                dead.key = key.clone();
                tell!(world, "{name} gives {} up, to {key}", dead.id);
                // at-least-once dead-lettering: the message stays until the next queue has it
                if self.route(world, &dead) != Routed::Stored {
                    let name = name.to_owned();
                    self.due(
                        std::time::Duration::from_secs(1),
                        Due::GiveUp {
                            queue: name,
                            stored,
                        },
                    );
                }
            }
            _ => {
                stored.returned += 1;
                held.waiting.push_front(stored);
            }
        }
    }

    /// Dead-letters a rejected message, or drops it where its queue has no dead-letter exchange.
    fn reject(&mut self, world: &World, name: &str, mut stored: Stored) {
        let held = self.queues.get(name);
        if let Some((limit, _)) = held.and_then(|held| held.queue.delivery_limit()) {
            stored.returned = stored.returned.max(limit);
            self.give_back(world, name, stored);
        }
    }

    /// Tries again to dead-letter a message.
    pub(super) fn give_up(&mut self, world: &World, name: &str, stored: Stored) {
        self.give_back(world, name, stored);
        self.hand_out(world, name);
    }

    /// Applies a verdict that arrived.
    pub(super) fn settle(&mut self, world: &World, number: u64, tag: u64, verdict: Verdict) {
        let Some(consumer) = self.consumers.get_mut(&number) else {
            return;
        };
        let Some(stored) = consumer.unsettled.remove(&tag) else {
            return;
        };
        let name = consumer.queue.clone();
        if consumer.prefetch == 0 {
            self.consumers.remove(&number);
        }
        tell!(world, "{verdict:?} of {} in {name}", stored.message.id);
        match verdict {
            Verdict::Ack => {}
            Verdict::GiveBack => self.give_back(world, &name, stored),
            Verdict::Reject => self.reject(world, &name, stored),
        }
        self.hand_out(world, &name);
    }

    /// Requeues all unacked deliveries of a client, and ends its sessions.
    pub(super) fn disconnect(&mut self, world: &World, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        client.up = false;
        tell!(world, "{} is cut off", client.life.name);
        let mut back = Vec::new();
        let mut gone = Vec::new();
        for (consumer_number, consumer) in &mut self.consumers {
            if consumer.client != number {
                continue;
            }
            consumer.session += 1;
            let unsettled = std::mem::take(&mut consumer.unsettled);
            back.extend(
                unsettled
                    .into_values()
                    .rev()
                    .map(|s| (consumer.queue.clone(), s)),
            );
            if consumer.deliveries.is_closed() {
                gone.push(*consumer_number);
            }
            let held = self.queues.get_mut(&consumer.queue);
            if let Some(held) = held.filter(|held| held.queue.listens_to().is_some()) {
                // the queue of a listener is exclusive: it ends with the connection
                held.waiting.clear();
            }
        }
        for number in gone {
            self.consumers.remove(&number);
        }
        let mut touched: Vec<String> = back.iter().map(|(name, _)| name.clone()).collect();
        for (name, stored) in back {
            let listener = self
                .queues
                .get(&name)
                .is_none_or(|h| h.queue.listens_to().is_some());
            if !listener {
                self.give_back(world, &name, stored);
            }
        }
        touched.dedup();
        for name in touched {
            self.hand_out(world, &name);
        }
    }

    /// Removes a client that has died.
    pub(super) fn forget(&mut self, number: u64) {
        self.clients.remove(&number);
        self.sending.retain(|_, sending| sending.client != number);
        let listeners: Vec<String> = self
            .consumers
            .values()
            .filter(|consumer| consumer.client == number)
            .map(|consumer| consumer.queue.clone())
            .filter(|name| {
                self.queues
                    .get(name)
                    .is_some_and(|h| h.queue.listens_to().is_some())
            })
            .collect();
        self.consumers
            .retain(|_, consumer| consumer.client != number);
        for name in listeners {
            self.queues.remove(&name);
        }
    }

    /// Whether a verdict of a client is on its way.
    pub(super) fn settles(&self, client: u64) -> bool {
        self.agenda.values().any(|due| {
            let Due::Settle { consumer, .. } = due else {
                return false;
            };
            let consumer = self.consumers.get(consumer);
            consumer.is_some_and(|consumer| consumer.client == client)
        })
    }

    /// Delivers one message to a client that takes it (`basic.get`), by a consumer that receives no other; returns the consumer,
    /// the tag and the message.
    pub(super) fn take(
        &mut self,
        world: &World,
        client: u64,
        name: &str,
    ) -> Option<(u64, u64, Stored)> {
        let held = self.queues.get(name).filter(|held| !held.absent)?;
        let (waiting, shuffled) = (held.waiting.len(), self.net.shuffled);
        if waiting == 0 {
            return None;
        }
        let place = world.roll(|dice| match dice.chance(shuffled) {
            true => dice.index(waiting),
            false => 0,
        });
        let stored = self.queues.get_mut(name)?.waiting.remove(place)?;
        let (number, tag) = (self.number(), self.number());
        let (deliveries, _) = tokio::sync::mpsc::channel(1);
        let consumer = Consumer {
            client,
            queue: name.to_owned(),
            prefetch: 0,
            session: 0,
            unsettled: [(tag, stored.clone())].into(),
            deliveries,
        };
        self.consumers.insert(number, consumer);
        tell!(world, "{} is taken from {name}", stored.message.id);
        Some((number, tag, stored))
    }

    /// Whether a consumer is below its prefetch.
    fn is_free(&self, consumer: &Consumer) -> bool {
        let client = self.clients.get(&consumer.client);
        client.is_some_and(|client| client.up && !client.closed && !client.life.is_dead())
            && !consumer.deliveries.is_closed()
            && consumer.unsettled.len() < consumer.prefetch
    }

    /// Delivers the ready messages of a queue to consumers below their prefetch.
    pub(super) fn hand_out(&mut self, world: &World, name: &str) {
        loop {
            let Some(held) = self.queues.get(name) else {
                return;
            };
            if held.absent || held.waiting.is_empty() {
                return;
            }
            let ours = self.consumers.iter().filter(|(_, c)| c.queue == name);
            let taking = if held.queue.single_active_consumer() {
                // with a single active consumer, the first that is connected; the others stand by
                let there = |c: &Consumer| {
                    let client = self.clients.get(&c.client);
                    !c.deliveries.is_closed() && client.is_some_and(|c| c.up && !c.closed)
                };
                let mut active = ours.filter(|(_, c)| there(c));
                active
                    .next()
                    .filter(|(_, c)| self.is_free(c))
                    .map(|(n, _)| *n)
            } else {
                let free: Vec<u64> = ours
                    .filter(|(_, c)| self.is_free(c))
                    .map(|(n, _)| *n)
                    .collect();
                free.get(world.roll(|dice| dice.index(free.len()))).copied()
            };
            let Some(number) = taking else { return };
            let waiting = held.waiting.len();
            let shuffled = self.net.shuffled;
            let place = world.roll(|dice| match dice.chance(shuffled) {
                true => dice.index(waiting),
                false => 0,
            });
            let tag = self.number();
            let Some(stored) = self
                .queues
                .get_mut(name)
                .and_then(|h| h.waiting.remove(place))
            else {
                return;
            };
            let Some(consumer) = self.consumers.get_mut(&number) else {
                return;
            };
            consumer.unsettled.insert(tag, stored);
            let session = consumer.session;
            let takes = world.roll(|dice| dice.within(self.net.latency));
            self.due(
                takes,
                Due::Hand {
                    consumer: number,
                    session,
                    tag,
                },
            );
        }
    }
}
