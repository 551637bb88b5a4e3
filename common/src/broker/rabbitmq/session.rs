//! One connection, and how it is noticed that the broker is gone.
//!
//! lapin's own recovery is not used: it hangs on a broker that froze, gives up on one that is away for long, and waits
//! for one that refuses us.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{BoxStream, StreamExt};
use lapin::{Channel, Connection, Event};
use tokio::time::{Instant, timeout};

use super::GOODBYE;
use super::connect::SocketKiller;
use super::failure::Failure;
use super::wire::Ready;
use crate::health::Health;

/// How often a session is looked at that does not say by itself that it is dead.
const LOOK: Duration = Duration::from_millis(500);
/// How long a session lives before it counts as one that works: what its first requests are refused, a queue that is
/// missing for example, comes within that time.
const SETTLED: Duration = Duration::from_secs(5);

/// One connection, from its beginning to its first error.
pub(super) struct Session {
    connection: Connection,
    killer: Arc<SocketKiller>,
    purpose: &'static str,
    health: Health,
    healthy: AtomicBool,
    begun: Instant,
    said: std::sync::Mutex<Said>,
}

/// What is known of a session's state.
struct Said {
    events: BoxStream<'static, Event>,
    /// Why it ended, if it did: of several reasons the one that says most.
    ended: Option<Failure>,
    /// Why the broker last took no messages.
    alarm: String,
}

impl Said {
    /// Takes note of what lapin tells of the connection itself.
    fn hear(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            match event {
                Event::ConnectionBlocked(why) => self.alarm = why,
                Event::Error(error) => self.end(Failure::of(&error)),
                _ => {}
            }
        }
    }

    /// What every request learns when a connection breaks says less than what the broker said.
    fn end(&mut self, failure: Failure) {
        match (&self.ended, &failure) {
            (None | Some(Failure::Away(_)), Failure::Refused(_) | Failure::Never(_))
            | (None, _) => self.ended = Some(failure),
            _ => {}
        }
    }
}

impl Session {
    /// A session over a connection that is made.
    pub(super) fn new(
        connection: Connection,
        killer: Arc<SocketKiller>,
        purpose: &'static str,
        health: Health,
    ) -> Self {
        let events = connection.events_listener().boxed();
        Self {
            connection,
            killer,
            purpose,
            health,
            healthy: AtomicBool::new(false),
            begun: Instant::now(),
            said: std::sync::Mutex::new(Said {
                events,
                ended: None,
                alarm: "short of memory or disk".to_owned(),
            }),
        }
    }

    /// The connection, for what needs several channels.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        Ok(self.connection.create_channel().await?)
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the broker does not read what we publish, while there is an alarm.
    pub(super) fn blocked(&self) -> Option<String> {
        let mut said = self.said();
        said.hear();
        let blocked = self.connection.status().blocked();
        blocked.then(|| said.alarm.clone())
    }

    /// Why a message cannot travel over this connection, if it cannot: its headers must fit into one frame.
    pub(super) fn refuses(&self, message: &Ready) -> Option<String> {
        let (bytes, most) = (
            message.header_bytes,
            self.connection.configuration().frame_max(),
        );
        let fits = most == 0 || u32::try_from(bytes).is_ok_and(|bytes| bytes <= most);
        (!fits).then(|| {
            format!(
                "message {:?}: headers of {bytes} bytes, the broker takes frames of at most {most} (frame_max)",
                message.id
            )
        })
    }

    pub(super) fn alive(&self) -> bool {
        self.said().ended.is_none() && self.connection.status().connected()
    }

    /// Does `work` over the session, for as long as it lives. What is asked of lapin in the moment in which a connection
    /// breaks may never be answered, so the work is not trusted to learn of it.
    pub(super) async fn run_while_alive<T>(
        &self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut was_alive = true;
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = look.tick() => {
                    let alive = self.alive();
                    if !alive && !was_alive {
                        return Err(Failure::Away("the connection was lost".to_owned()));
                    }
                    was_alive = alive;
                    if alive && self.has_settled() {
                        self.health.clear(self.purpose);
                    }
                }
            }
        }
    }

    /// Says that the session was of use, so that the next one is not waited for as if this one had failed.
    pub(super) fn mark_healthy(&self) {
        self.healthy.store(true, Ordering::Relaxed);
    }

    /// Ends the session: nothing that it still carries counts.
    pub(super) fn fail(&self, failure: Failure) {
        self.said().end(failure);
        self.killer.kill();
    }

    /// Why the session ended; whatever it is, its socket is cut.
    pub(super) fn end(&self) -> Failure {
        let failure = {
            let mut said = self.said();
            said.hear();
            let lost = || Failure::Away("the connection was lost".to_owned());
            said.ended.clone().unwrap_or_else(lost)
        };
        self.killer.kill();
        failure
    }

    /// What it is for.
    pub(super) fn purpose(&self) -> &'static str {
        self.purpose
    }

    /// Whether it was of use.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether it lived long enough to count as one that works.
    pub(super) fn has_settled(&self) -> bool {
        self.begun.elapsed() >= SETTLED
    }

    /// Closes the connection politely, or cuts it where that takes too long.
    pub(super) async fn close(&self) {
        let goodbye = self.connection.close(200, "leaving".into());
        if !matches!(timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
            self.killer.kill();
        }
    }
}
