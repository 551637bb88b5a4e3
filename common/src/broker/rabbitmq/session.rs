//! Connects, waits, gives up, and notices when the broker is gone.
//!
//! A [`Session`] is one connection. A [`Link`] has at most one living session and builds the next one when asked: after
//! a failure it waits a random time, longer each time up to two seconds, without limit. Only where waiting cannot help
//! (credentials, virtual host, certificate, permissions) it gives up, after five tries, and for a queue that exists
//! with other arguments, at once.
//!
//! lapin's own recovery is not used: it hangs on a broker that froze, gives up on one that is away for long, and waits
//! for one that refuses us. Every session holds a second handle of its socket, its [`Plug`], because closing a frozen
//! connection politely takes forever.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::net::{Shutdown as Direction, TcpStream};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::address::Address;
use super::{Common, GOODBYE, declare};
use crate::broker::BrokerError;

/// How often a session is looked at that does not say by itself that it is dead.
const LOOK: Duration = Duration::from_millis(500);
/// How long a TCP connection, and then TLS, may take.
const REACH: Duration = Duration::from_secs(8);
/// How long the broker may take to let us in.
const GREET: Duration = Duration::from_secs(15);
/// How long it may take to answer everything we declare.
const DECLARE: Duration = Duration::from_secs(30);
/// The shortest and the longest wait between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// After how many refusals in a row the answer is taken for final.
const REFUSALS: u32 = 5;

/// Why a session could not begin, or ended.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Waiting may mend it.
    Away(String),
    /// Waiting does not mend it, unless it was a slip: final after some tries.
    Refused(String),
    /// Waiting does not mend it.
    Never(String),
}

impl Failure {
    /// What an error of lapin's means.
    pub(super) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(reason) => match reason.get_id() {
                403 | 530 => {
                    Self::Refused(format!("the broker refuses it: {}", reason.get_message()))
                }
                _ => Self::Away(reason.get_message().to_string()),
            },
            ErrorKind::IOError(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
                Self::Refused(format!("no secure connection: {reason}"))
            }
            ErrorKind::InvalidProtocolVersion(_) | ErrorKind::ParsingError(_) => {
                Self::Refused("what answers there does not speak AMQP 0.9.1".to_owned())
            }
            _ => Self::Away(error.to_string()),
        }
    }

    /// What an error means while we declare `what`.
    pub(super) fn declaring(what: &str, error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(reason) if reason.get_id() == 406 => Self::Never(format!(
                "{what} exists with other arguments than ours, remove it or name another prefix: {}",
                reason.get_message()
            )),
            _ => Self::of(error),
        }
    }

    /// What an error means while we log in: the broker's own words are for experts.
    fn greeting(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(reason) if reason.get_id() == 403 => {
                Self::Refused("wrong user or password".to_owned())
            }
            ErrorKind::ProtocolError(reason) if reason.get_id() == 530 => {
                Self::Refused("no such virtual host, or not one for this user".to_owned())
            }
            _ => Self::of(error),
        }
    }

    fn at(self, address: &Address) -> Self {
        match self {
            Self::Away(why) => Self::Away(format!("{address}: {why}")),
            Self::Refused(why) => Self::Refused(format!("{address}: {why}")),
            Self::Never(why) => Self::Never(format!("{address}: {why}")),
        }
    }

    fn why(&self) -> &str {
        let (Self::Away(why) | Self::Refused(why) | Self::Never(why)) = self;
        why
    }
}

impl From<lapin::Error> for Failure {
    fn from(error: lapin::Error) -> Self {
        Self::of(&error)
    }
}

/// A second handle of a connection's socket, to cut it whatever state it is in.
#[derive(Default)]
struct Plug {
    socket: OnceLock<TcpStream>,
    pulled: AtomicBool,
}

impl Plug {
    fn pull(&self) {
        self.pulled.store(true, Ordering::SeqCst);
        if let Some(socket) = self.socket.get() {
            // It may be gone already, which is what we want.
            let _gone = socket.shutdown(Direction::Both);
        }
    }

    /// Keeps a handle of `socket`, unless nobody waits for it any more.
    fn hold(&self, socket: &impl AsFd) -> std::io::Result<()> {
        let handle = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        let _first = self.socket.set(handle);
        if self.pulled.load(Ordering::SeqCst) {
            return Err(std::io::Error::other("nobody waits for this connection"));
        }
        Ok(())
    }
}

/// Pulls the plug of a connection that is not there in time, or that nobody waits for.
struct Unfinished(Option<Arc<Plug>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(plug) = &self.0 {
            plug.pull();
        }
    }
}

/// One connection, from its beginning to its first error.
pub(super) struct Session {
    connection: Connection,
    plug: Arc<Plug>,
    proved: AtomicBool,
    ended: OnceLock<Failure>,
}

impl Session {
    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, Failure> {
        Ok(self.connection.create_channel().await?)
    }

    /// Whether the broker does not read what we publish, because of an alarm.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(super) fn alive(&self) -> bool {
        self.ended.get().is_none() && self.connection.status().connected()
    }

    /// Does `work` over the session, for as long as it lives. What is asked of lapin in the moment in which a connection
    /// breaks may never be answered, so the work is not trusted to learn of it.
    pub(super) async fn carry<T>(
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
                }
            }
        }
    }

    /// Says that the session was of use, so that the next one is not waited for as if this one had failed.
    pub(super) fn prove(&self) {
        self.proved.store(true, Ordering::Relaxed);
    }

    /// Ends the session: nothing that it still carries counts.
    pub(super) fn fail(&self, failure: Failure) {
        let _first = self.ended.set(failure);
        self.plug.pull();
    }

    async fn close(&self) {
        let goodbye = self.connection.close(200, "leaving".into());
        if !matches!(timeout(GOODBYE, goodbye).await, Ok(Ok(()))) {
            self.plug.pull();
        }
    }
}

/// At most one session, and the way to the next one.
pub(super) struct Link {
    purpose: &'static str,
    pub(super) common: Arc<Common>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Arc<Session>>,
    /// How many tries in a row came to nothing.
    failures: u32,
    /// How many of them in a row were refusals.
    refusals: u32,
    /// Whether the log knows that the broker is away.
    told: bool,
}

impl State {
    /// Takes note of a failure; the reason, where it is final.
    fn note(&mut self, failure: &Failure) -> Option<String> {
        self.failures = self.failures.saturating_add(1);
        match failure {
            Failure::Away(_) => self.refusals = 0,
            Failure::Refused(_) => self.refusals += 1,
            Failure::Never(_) => self.refusals = REFUSALS,
        }
        (self.refusals >= REFUSALS).then(|| failure.why().to_owned())
    }

    /// Takes note of the session that ended, if one did.
    fn bury(&mut self) -> Option<String> {
        let session = self.current.take()?;
        if session.proved.load(Ordering::Relaxed) {
            self.failures = 0;
            self.refusals = 0;
        }
        let lost = Failure::Away("the connection was lost".to_owned());
        let failure = session.ended.get().unwrap_or(&lost);
        session.plug.pull();
        tracing::warn!(error = failure.why(), "the broker session ended");
        self.note(failure)
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

    /// The living session, or the next one, however long that takes. Dropping the future loses nothing.
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
        let mut last_word = state.bury();
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
            match self.begin().await {
                Ok(session) => {
                    state.told = false;
                    state.current = Some(Arc::clone(&session));
                    return Ok(session);
                }
                Err(failure) => {
                    if !std::mem::replace(&mut state.told, true) {
                        let error = failure.why();
                        tracing::warn!(error, purpose = self.purpose, "waiting for the broker");
                    }
                    last_word = state.note(&failure);
                }
            }
        }
    }

    /// Tries every address once; where all fail, the failure that gives the most hope.
    async fn begin(&self) -> Result<Arc<Session>, Failure> {
        let mut worst = None;
        for address in &self.common.addresses {
            let failure = match self.open(address).await {
                Ok(session) => {
                    tracing::info!(broker = %address, purpose = self.purpose, "connected");
                    return Ok(Arc::new(session));
                }
                Err(failure) => failure.at(address),
            };
            match (&worst, &failure) {
                (_, Failure::Never(_)) => return Err(failure),
                (Some(Failure::Away(_)), Failure::Refused(_)) => {}
                _ => worst = Some(failure),
            }
        }
        Err(worst.unwrap_or_else(|| Failure::Never("no broker address is given".to_owned())))
    }

    async fn open(&self, address: &Address) -> Result<Session, Failure> {
        let plug = Arc::new(Plug::default());
        let mut unfinished = Unfinished(Some(Arc::clone(&plug)));
        let name = format!("{} ({})", self.common.name, self.purpose);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        let reached = async {
            let AMQPUri {
                scheme, authority, ..
            } = &address.uri;
            let host = (authority.host.as_str(), authority.port);
            let addresses: Vec<_> = tokio::net::lookup_host(host).await?.collect();
            let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
            if let AsyncTcpStream::Plain(socket) = &stream {
                plug.hold(socket.get_ref())?;
            }
            if *scheme == AMQPScheme::AMQP {
                return Ok(stream);
            }
            let config = TLSConfig {
                identity: None,
                cert_chain: self.common.trusted.as_deref(),
            };
            match stream.into_tls(&authority.host, config).await? {
                AsyncTcpStream::Plain(_) => Err(no_tls()),
                stream => Ok(stream),
            }
        };
        let slow = |_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let reached = timeout(REACH, reached).await.unwrap_or_else(slow);
        let stream = reached.map_err(|error| Failure::of(&error.into()))?;
        // a connection that lapin itself fails to make leaves tasks behind, for ever: it is given one that is made
        let stream = Mutex::new(Some(stream));
        let greeting = Connection::connector(
            address.uri.clone(),
            runtime,
            async move |_, _| {
                let stream = stream.lock().await.take();
                Ok(stream.ok_or_else(|| std::io::Error::other("the connection was lost"))?)
            },
            properties,
        );
        let connection = match timeout(GREET, greeting).await {
            Ok(greeted) => greeted.map_err(|error| Failure::greeting(&error))?,
            Err(_) => {
                return Err(Failure::Away(format!(
                    "no answer within {} s",
                    GREET.as_secs()
                )));
            }
        };
        if self.common.declare {
            let declared = async {
                let channel = connection.create_channel().await?;
                declare::topology(&channel, &self.common).await?;
                channel
                    .close(200, "declared".into())
                    .await
                    .map_err(Failure::from)
            };
            match timeout(DECLARE, declared).await {
                Ok(declared) => declared?,
                Err(_) => {
                    return Err(Failure::Away(
                        "declaring the queues took too long".to_owned(),
                    ));
                }
            }
        }
        unfinished.0 = None;
        Ok(Session {
            connection,
            plug,
            proved: AtomicBool::new(false),
            ended: OnceLock::new(),
        })
    }

    /// Whether a session lives now.
    pub(super) fn is_up(&self) -> bool {
        // whoever holds the lock is waiting for the next session
        let state = self.state.try_lock();
        state.is_ok_and(|state| {
            state
                .current
                .as_ref()
                .is_some_and(|session| session.alive())
        })
    }

    /// Leaves politely.
    pub(super) async fn close(&self) {
        let session = self.state.lock().await.current.take();
        if let Some(session) = session {
            session.close().await;
        }
    }
}

/// What a build says that would send passwords in the clear instead of through TLS.
fn no_tls() -> std::io::Error {
    let why = "this program was built without TLS";
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

/// A random wait before try number `failures` + 1: at least the shortest, at most twice as long each time.
fn jittered(failures: u32) -> Duration {
    let (shortest, longest) = WAIT;
    let most = shortest.saturating_mul(1 << failures.min(10)).min(longest);
    shortest + (most - shortest).mul_f64(random())
}

/// A random number from 0 to 1: hashers are seeded at random, which is random enough to spread waits.
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

    #[test]
    fn only_refusals_in_a_row_are_final_and_a_broker_that_is_away_is_waited_for() {
        let mut state = State::default();
        let refused = Failure::Refused("wrong user or password".to_owned());
        for _ in 1..REFUSALS {
            assert_eq!(state.note(&refused), None);
        }
        assert_eq!(state.note(&Failure::Away("not there".to_owned())), None);
        for _ in 1..REFUSALS {
            assert_eq!(state.note(&refused), None);
        }
        assert!(state.note(&refused).is_some());
        let mut state = State::default();
        for _ in 0..1000 {
            assert_eq!(state.note(&Failure::Away("not there".to_owned())), None);
        }
        assert!(
            state
                .note(&Failure::Never("other arguments".to_owned()))
                .is_some()
        );
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
            let failure = rabbit.consuming.begin().await.err();
            assert!(matches!(failure, Some(Failure::Away(_))), "{failure:?}");
        }
        assert_eq!(tasks(), before);
    }
}
