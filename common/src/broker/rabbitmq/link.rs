//! Holds at most one open session, and opens the next one.
//!
//! A [`Link`] opens the next session on demand. After a failure it retries without limit, after a random wait that grows
//! up to two seconds. It gives up only where waiting cannot help (credentials, virtual host, certificate, permissions,
//! limits): after 45 seconds of refusals; for a login that worked before, after the time in the settings; and at once for
//! a queue that exists with other arguments. An address file is read again for each attempt.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use lapin::Connection;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::connect::{Connected, connect};
use super::failure::Failure;
use super::session::Session;
use super::{CONSUME, Common, declare};
use crate::broker::BrokerError;

/// How long the broker may take to declare everything: some 20 ms for each quorum queue, more while it starts.
const DECLARE: Duration = Duration::from_secs(30);
/// How long after one connection declared everything the other one need not: both connect together. A broker that loses
/// its data and restarts takes longer than that.
const DECLARED: Duration = Duration::from_secs(1);
/// The shortest and the longest wait between two attempts: a restart of the broker is noticed within two seconds, and a
/// broker that comes up is not flooded.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How long the broker must refuse every attempt before the refusal is final: an operator's brief mistake is survived,
/// and a program that cannot work ends with the reason within 60 seconds.
const REFUSED: Duration = Duration::from_secs(45);
/// The same for a login that worked before, by default: time to write a new password into the file of `broker.uri_file` by
/// hand.
const LOGIN_REFUSED: Duration = Duration::from_secs(600);
/// How often the log repeats that the program waits for the broker: often enough to find, and not a flood.
const REMIND: Duration = Duration::from_secs(60);

/// At most one open session, and how to open the next one.
pub(super) struct Link {
    purpose: &'static str,
    pub(super) common: Arc<Common>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Session>>,
    /// The number of failed attempts in a row.
    failures: u32,
    /// Since when every attempt was refused, and whether for the login.
    refused: Option<(bool, Instant)>,
    /// The failure that was logged last, and when.
    said: Option<(String, Instant)>,
}

impl State {
    /// Records a failure; returns the reason where it is final.
    fn note(&mut self, failure: &Failure, common: &Common) -> Option<String> {
        self.failures = self.failures.saturating_add(1);
        *common.failed() = Some(failure.clone());
        let was_up = common.was_up.load(Ordering::Relaxed);
        let patience = match failure {
            Failure::Away(_) | Failure::Message(_) => {
                self.refused = None;
                return None;
            }
            Failure::Login(_) => match (common.refused_login_for, was_up) {
                (Some(patience), _) => patience,
                (None, true) => LOGIN_REFUSED,
                (None, false) => REFUSED,
            },
            Failure::Never(_) if !was_up => Duration::ZERO,
            Failure::Never(_) | Failure::Refused(_) => REFUSED,
        };
        let login = matches!(failure, Failure::Login(_));
        let since = match self.refused {
            Some((known, since)) if known == login => since,
            _ => Instant::now(),
        };
        self.refused = Some((login, since));
        (since.elapsed() >= patience).then(|| failure.why().to_owned())
    }

    /// Records the session that ended, if one did.
    fn take_ended(&mut self, common: &Common) -> Option<String> {
        let session = self.current.take()?;
        if session.is_healthy() {
            self.failures = 0;
            // a session that is refused something soon after it opened counts as a failed attempt
            if session.has_lasted() {
                self.refused = None;
            }
        }
        let failure = session.end();
        let why = failure.why();
        if self.tells(&failure) {
            tracing::warn!(error = why, "the broker session ended");
        }
        let purpose = session.purpose();
        common.health.raise(purpose, no_connection(purpose, why));
        self.note(&failure, common)
    }

    /// Whether to log this failure: once when it is new, then every [`REMIND`].
    fn tells(&mut self, failure: &Failure) -> bool {
        let known = self.said.as_ref();
        let told = known.is_some_and(|(why, at)| why == failure.why() && at.elapsed() < REMIND);
        if !told {
            self.said = Some((failure.why().to_owned(), Instant::now()));
        }
        !told
    }
}

impl Link {
    pub(super) fn new(purpose: &'static str, common: Arc<Common>) -> Self {
        Self {
            purpose,
            common,
            state: Mutex::new(State::default()),
        }
    }

    /// The open session, or the next one, however long that takes. Cancel-safe.
    pub(super) async fn session(&self) -> Result<Arc<Session>, BrokerError> {
        tokio::select! {
            biased;
            () = self.common.closed.cancelled() => Err(self.common.end()),
            session = self.living() => session,
        }
    }

    async fn living(&self) -> Result<Arc<Session>, BrokerError> {
        let mut state = self.state.lock().await;
        match &state.current {
            Some(session) if session.alive() => return Ok(Arc::clone(session)),
            _ => {}
        }
        let mut last_word = state.take_ended(&self.common);
        loop {
            if let Some(why) = last_word {
                let _first = self.common.refused.set(why);
            }
            if self.common.refused.get().is_some() {
                return Err(self.common.end());
            }
            if state.failures > 0 {
                tokio::time::sleep(jittered(state.failures)).await;
            }
            // a user may be limited to few channels: after a failure, declare one queue at a time
            let at_a_time = if state.failures > 0 {
                1
            } else {
                declare::SIDE_BY_SIDE
            };
            match self.begin(at_a_time).await {
                Ok(session) => {
                    state.current = Some(Arc::clone(&session));
                    if !self.common.was_up.swap(true, Ordering::Relaxed) {
                        self.common.health.clear(CONSUME);
                    }
                    return Ok(session);
                }
                Err(failure) => {
                    let why = failure.why();
                    if state.tells(&failure) {
                        tracing::warn!(
                            error = why,
                            purpose = self.purpose,
                            "waiting for the broker"
                        );
                    }
                    let why = no_connection(self.purpose, why);
                    self.common.health.raise(self.purpose, why);
                    last_word = state.note(&failure, &self.common);
                }
            }
        }
    }

    /// Tries every address once, and declares `at_a_time` queues at a time; where all fail, returns the most retryable
    /// failure.
    async fn begin(&self, at_a_time: usize) -> Result<Arc<Session>, Failure> {
        let mut worst = None;
        let (addresses, trusted) = self.common.read_addresses().map_err(Failure::Login)?;
        for address in &addresses {
            let failure = match self.open(address, trusted.as_deref(), at_a_time).await {
                Ok(session) => {
                    tracing::info!(broker = %address, purpose = self.purpose, "connected");
                    return Ok(Arc::new(session));
                }
                Err(failure) => failure.at(address),
            };
            match (&worst, &failure) {
                (_, Failure::Never(_)) => return Err(failure),
                (Some(Failure::Away(_)), Failure::Refused(_) | Failure::Login(_)) => {}
                _ => worst = Some(failure),
            }
        }
        Err(worst.unwrap_or_else(|| Failure::Never("no broker address is given".to_owned())))
    }

    async fn open(
        &self,
        address: &Address,
        trusted: Option<&str>,
        at_a_time: usize,
    ) -> Result<Session, Failure> {
        let name = format!("{} ({})", self.common.name, self.purpose);
        let Connected {
            connection,
            killer,
            unfinished,
        } = connect(&address.uri, trusted, name).await?;
        if self.common.declare {
            let declared = timeout(DECLARE, declare_once(&connection, &self.common, at_a_time));
            let slow = |_| {
                Err(Failure::Away(
                    "declaring the queues took too long".to_owned(),
                ))
            };
            declared.await.unwrap_or_else(slow)?;
        }
        unfinished.finish();
        let health = self.common.health.clone();
        Ok(Session::new(connection, killer, self.purpose, health))
    }

    /// The open session, if there is one; opens none.
    pub(super) fn current(&self) -> Option<Arc<Session>> {
        // the task that holds the lock is opening one
        let state = self.state.try_lock().ok()?;
        state.current.clone().filter(|session| session.alive())
    }

    /// Whether a session is open.
    pub(super) fn is_up(&self) -> bool {
        self.current().is_some()
    }

    /// Closes the session.
    pub(super) async fn close(&self) {
        let session = self.state.lock().await.current.take();
        if let Some(session) = session {
            session.close().await;
        }
    }
}

/// The name of the trouble of a link without a working session.
fn no_connection(purpose: &str, why: &str) -> String {
    format!("the connection to {purpose} over does not work: {why}")
}

/// Declares the topology, unless the other connection has just done so.
async fn declare_once(
    connection: &Connection,
    common: &Common,
    at_a_time: usize,
) -> Result<(), Failure> {
    let mut declared = common.declared.lock().await;
    if declared.is_some_and(|at| at.elapsed() < DECLARED) {
        return Ok(());
    }
    declare::topology(connection, common, at_a_time).await?;
    *declared = Some(Instant::now());
    Ok(())
}

/// A random wait after that many failures: at least the shortest, with an upper bound that doubles each time.
pub(super) fn jittered(failures: u32) -> Duration {
    let (shortest, longest) = WAIT;
    let most = shortest.saturating_mul(1 << failures.min(10)).min(longest);
    shortest + (most - shortest).mul_f64(random())
}

/// A random number from 0 to 1, from a hasher's random seed: random enough to spread waits.
pub(super) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0u8) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::rabbitmq::{Options, RabbitMq};

    #[test]
    fn waits_grow_from_a_fifth_of_a_second_to_two_seconds_and_no_further() {
        for failures in 1..100 {
            let wait = jittered(failures);
            assert!(wait >= WAIT.0 && wait <= WAIT.1, "{failures}: {wait:?}");
        }
        assert!(jittered(1) <= 2 * WAIT.0);
        assert!((0..100).any(|_| jittered(40) > WAIT.1 / 2));
    }

    fn common(refused_login_for: Option<Duration>) -> Arc<Common> {
        let rabbit = RabbitMq::connect(Options {
            uris: vec!["amqp://127.0.0.1:1".to_owned()],
            refused_login_for,
            ..Options::default()
        });
        rabbit.expect("an address").common
    }

    fn refused() -> Failure {
        Failure::Refused("no such virtual host".to_owned())
    }

    fn login() -> Failure {
        Failure::Login("wrong user or password".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn only_refusals_that_last_are_final_and_a_broker_that_is_away_is_waited_for() {
        let common = common(None);
        let mut state = State::default();
        assert_eq!(state.note(&refused(), &common), None);
        tokio::time::advance(REFUSED / 2).await;
        let away = Failure::Away("not there".to_owned());
        assert_eq!(state.note(&away, &common), None);
        assert_eq!(state.note(&refused(), &common), None);
        tokio::time::advance(REFUSED / 2).await;
        assert_eq!(state.note(&refused(), &common), None);
        tokio::time::advance(REFUSED / 2).await;
        let why = state.note(&refused(), &common);
        assert_eq!(why.as_deref(), Some("no such virtual host"));
        for _ in 0..1000 {
            tokio::time::advance(REFUSED).await;
            assert_eq!(state.note(&away, &common), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_that_worked_before_is_tried_for_longer_and_as_long_as_the_settings_say() {
        let lasts = async |common: &Common| {
            let (mut state, since) = (State::default(), Instant::now());
            while state.note(&login(), common).is_none() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            since.elapsed()
        };
        let fresh = common(None);
        assert_eq!(lasts(&fresh).await, REFUSED);
        fresh.was_up.store(true, Ordering::Relaxed);
        assert_eq!(lasts(&fresh).await, LOGIN_REFUSED);
        let patience = Duration::from_secs(7);
        assert_eq!(lasts(&common(Some(patience))).await, patience);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_is_not_ours_is_final_at_the_start_and_may_be_mended_while_we_run() {
        let common = common(None);
        let other = Failure::Never("other arguments".to_owned());
        assert!(State::default().note(&other, &common).is_some());
        common.was_up.store(true, Ordering::Relaxed);
        assert_eq!(State::default().note(&other, &common), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_hears_of_each_failure_once_and_then_now_and_then() {
        let mut state = State::default();
        assert!(state.tells(&login()));
        assert!(!state.tells(&login()));
        assert!(state.tells(&refused()));
        tokio::time::advance(REMIND).await;
        assert!(state.tells(&refused()));
    }

    #[tokio::test]
    async fn a_broker_that_is_away_leaves_no_task_behind_however_often_it_is_tried() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = closed.local_addr().expect("bound").port();
        drop(closed);
        let rabbit = RabbitMq::connect(Options {
            uris: vec![format!("amqp://127.0.0.1:{port}")],
            ..Options::default()
        })
        .expect("an address");
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = tasks();
        for _ in 0..20 {
            let failure = rabbit.consuming.begin(1).await.err();
            assert!(matches!(failure, Some(Failure::Away(_))), "{failure:?}");
        }
        assert_eq!(tasks(), before);
    }
}
