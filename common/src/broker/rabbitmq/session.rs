//! One connection, and the detection that it died.
//!
//! lapin's own recovery is not used: it hangs on a frozen broker, gives up on one that is down for long, and keeps
//! retrying one that refuses the login.

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

/// How often an open connection is polled for its death, which it does not always signal: far below the seconds in which a
/// heartbeat fails, and free.
const LOOK: Duration = Duration::from_millis(500);
/// How long a session must last to count as working: refusals of its first requests, of a missing queue for example,
/// arrive within that time.
const LASTED: Duration = Duration::from_secs(5);

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

/// The state of a session.
struct Said {
    events: BoxStream<'static, Event>,
    /// Why it ended, if it did: of several reasons the most specific.
    ended: Option<Failure>,
    /// The broker's last reason for blocking the connection.
    alarm: String,
}

impl Said {
    /// Records lapin's events of the connection.
    fn hear(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            match event {
                Event::ConnectionBlocked(why) => self.alarm = why,
                Event::Error(error) => self.end(Failure::of(&error)),
                _ => {}
            }
        }
    }

    /// Records why it ended; the broker's own reason replaces the general one that every request gets when a connection
    /// breaks.
    fn end(&mut self, failure: Failure) {
        match (&self.ended, &failure) {
            (None | Some(Failure::Away(_)), Failure::Refused(_) | Failure::Never(_))
            | (None, _) => self.ended = Some(failure),
            _ => {}
        }
    }
}

impl Session {
    /// A session over an open connection.
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

    /// The connection, for callers that need several channels.
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

    /// Why the broker blocks publishing, while it does.
    pub(super) fn blocked(&self) -> Option<String> {
        let mut said = self.said();
        said.hear();
        let blocked = self.connection.status().blocked();
        blocked.then(|| said.alarm.clone())
    }

    /// Why a message cannot be sent over this connection, if it cannot: its headers must fit into one frame.
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

    /// Runs `work` until it ends or the session does. A request made at the moment in which a connection breaks may never
    /// be answered by lapin, so `work` cannot be relied on to notice.
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
                    if alive && self.has_lasted() {
                        self.health.clear(self.purpose);
                    }
                }
            }
        }
    }

    /// Marks the session as useful, so that the next one is opened without the wait after a failure.
    pub(super) fn mark_healthy(&self) {
        self.healthy.store(true, Ordering::Relaxed);
    }

    /// Ends the session; later outcomes on it do not count.
    pub(super) fn fail(&self, failure: Failure) {
        self.said().end(failure);
        self.killer.kill();
    }

    /// Why the session ended; closes its socket.
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

    /// Whether it was useful.
    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether it lasted long enough to count as working.
    pub(super) fn has_lasted(&self) -> bool {
        self.begun.elapsed() >= LASTED
    }

    /// Closes the connection, or cuts it where that takes too long.
    pub(super) async fn close(&self) {
        let goodbye = self.connection.close(200, "leaving".into());
        if !matches!(timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
            self.killer.kill();
        }
    }
}
