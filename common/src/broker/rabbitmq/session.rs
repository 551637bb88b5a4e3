//! Connects, waits, gives up, and notices when the broker is gone.
//!
//! A [`Session`] is one connection. A [`Link`] has at most one living session and builds the next one when asked: after
//! a failure it waits a random time, longer each time up to two seconds, without limit. Only where waiting alone cannot
//! help (credentials, virtual host, certificate, permissions, limits) it gives up: after 45 seconds of refusals, for a
//! login that worked before after the time that the settings allow, and for a queue that exists with other arguments at
//! once. Where the address comes from a file, that file is read again each time.
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
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{BoxStream, StreamExt};
use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, Event};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::address::Address;
use super::wire::Ready;
use super::{CONSUME, Common, GOODBYE, declare};
use crate::broker::BrokerError;
use crate::health::Health;

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
/// How long the broker refuses us, each time, before the answer is taken for final: what an operator mends in a minute is
/// survived, and a program that cannot work says so and ends within 60 seconds.
const REFUSED: Duration = Duration::from_secs(45);
/// The same for a login that worked before, where the settings say nothing: time to write a new password into the file of
/// `broker.uri_file` by hand.
const LOGIN_REFUSED: Duration = Duration::from_secs(600);
/// How long a session lives before it counts as one that works: what its first requests are refused, a queue that is
/// missing for example, comes within that time.
const SETTLED: Duration = Duration::from_secs(5);
/// How often a broker that is waited for is spoken of in the log, once it is known there.
const REMIND: Duration = Duration::from_secs(60);

/// The broker's code for a queue or an exchange that is not there.
const NOT_FOUND: u16 = 404;
/// Its code for an exchange that is to be removed only if nothing is bound to it, and something is.
const PRECONDITION_FAILED: u16 = 406;

/// Whether an error says that something is not there; the session goes on, only the channel is lost.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    is_answer(error, NOT_FOUND)
}

/// Whether an error says that something is used by somebody; as for [`is_missing`], only the channel is lost.
pub(super) fn is_in_use(error: &lapin::Error) -> bool {
    is_answer(error, PRECONDITION_FAILED)
}

fn is_answer(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(reason) if reason.get_id() == code)
}

/// Why a session could not begin, or ended. Each sentence holds the broker's own, where it said one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Waiting may mend it.
    Away(String),
    /// Only somebody who changes something at the broker mends it: final once it lasts.
    Refused(String),
    /// User and password are not those of the broker, or cannot be read: final once it lasts, but new ones may be on their
    /// way.
    Login(String),
    /// Waiting does not mend it.
    Never(String),
    /// The broker closed the channel because of a message that we published.
    Message(String),
}

impl Failure {
    /// What an error of lapin's means.
    pub(super) fn of(error: &lapin::Error) -> Self {
        match error.kind() {
            ErrorKind::ProtocolError(reason) => {
                let said = reason.get_message();
                match reason.get_id() {
                    // access refused, resource locked, not allowed
                    403 | 405 | 530 => Self::Refused(format!("the broker refuses it: {said}")),
                    _ => Self::Away(said.to_string()),
                }
            }
            ErrorKind::ChannelsLimitReached => Self::Refused(
                "the broker allows too few channels on a connection for this program (channel_max)"
                    .to_owned(),
            ),
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
            // Only the sentence tells a queue that is not ours from a limit of the broker: both are 406.
            ErrorKind::ProtocolError(reason) if reason.get_id() == 406 => {
                let said = reason.get_message();
                if said.as_str().contains("inequivalent arg") {
                    Self::Never(format!(
                        "{what} exists with other arguments than ours, remove it or name another prefix: {said}"
                    ))
                } else {
                    Self::Refused(format!("{what} cannot be declared: {said}"))
                }
            }
            _ => Self::of(error),
        }
    }

    /// What an error means while we publish.
    pub(super) fn publishing(error: &lapin::Error) -> Self {
        match error.kind() {
            // precondition failed (a message too large), frame error, syntax error, unexpected frame
            ErrorKind::ProtocolError(reason)
                if matches!(reason.get_id(), 406 | 501 | 502 | 505) =>
            {
                Self::Message(reason.get_message().to_string())
            }
            _ => Self::of(error),
        }
    }

    /// What an error means while we log in.
    fn greeting(error: &lapin::Error) -> Self {
        let ErrorKind::ProtocolError(reason) = error.kind() else {
            return Self::of(error);
        };
        let said = reason.get_message().as_str();
        match reason.get_id() {
            403 => Self::Login(format!("wrong user or password: {said}")),
            // 530 is said of a virtual host that is missing, is not this user's, or has a limit.
            530 if said.contains("limit") => {
                Self::Refused(format!("a limit of the broker is reached: {said}"))
            }
            530 if said.contains("not found") => {
                Self::Refused(format!("no such virtual host: {said}"))
            }
            530 => Self::Refused(format!("this user may not use the virtual host: {said}")),
            _ => Self::of(error),
        }
    }

    fn at(self, address: &Address) -> Self {
        let at = |why| format!("{address}: {why}");
        match self {
            Self::Away(why) => Self::Away(at(why)),
            Self::Refused(why) => Self::Refused(at(why)),
            Self::Login(why) => Self::Login(at(why)),
            Self::Never(why) => Self::Never(at(why)),
            Self::Message(why) => Self::Message(at(why)),
        }
    }

    pub(super) fn why(&self) -> &str {
        let (Self::Away(why)
        | Self::Refused(why)
        | Self::Login(why)
        | Self::Never(why)
        | Self::Message(why)) = self;
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
    purpose: &'static str,
    health: Health,
    proved: AtomicBool,
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
                    if alive && self.begun.elapsed() >= SETTLED {
                        self.health.clear(self.purpose);
                    }
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
        self.said().end(failure);
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
    /// Since when each of them was refused, and whether for the login.
    refused: Option<(bool, Instant)>,
    /// What the log last said, and when.
    said: Option<(String, Instant)>,
}

impl State {
    /// Takes note of a failure; the reason, where it is final.
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
                (Some(settled), _) => settled,
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

    /// Takes note of the session that ended, if one did.
    fn bury(&mut self, common: &Common) -> Option<String> {
        let session = self.current.take()?;
        if session.proved.load(Ordering::Relaxed) {
            self.failures = 0;
            // One that is refused something soon after its beginning, each time, comes to nothing.
            if session.begun.elapsed() >= SETTLED {
                self.refused = None;
            }
        }
        let failure = {
            let mut said = session.said();
            said.hear();
            let lost = || Failure::Away("the connection was lost".to_owned());
            said.ended.clone().unwrap_or_else(lost)
        };
        session.plug.pull();
        let why = failure.why();
        if self.tells(&failure) {
            tracing::warn!(error = why, "the broker session ended");
        }
        let purpose = session.purpose;
        common.health.raise(purpose, no_connection(purpose, why));
        self.note(&failure, common)
    }

    /// Whether the log is to speak of this failure: of each once, and then now and then.
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
        let mut last_word = state.bury(&self.common);
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

    /// Tries every address once; where all fail, the failure that gives the most hope.
    async fn begin(&self) -> Result<Arc<Session>, Failure> {
        let mut worst = None;
        let (addresses, trusted) = self.common.read_addresses().map_err(Failure::Login)?;
        for address in &addresses {
            let failure = match self.open(address, trusted.as_deref()).await {
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

    async fn open(&self, address: &Address, trusted: Option<&str>) -> Result<Session, Failure> {
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
                cert_chain: trusted,
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
        let events = connection.events_listener().boxed();
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
            purpose: self.purpose,
            health: self.common.health.clone(),
            proved: AtomicBool::new(false),
            begun: Instant::now(),
            said: std::sync::Mutex::new(Said {
                events,
                ended: None,
                alarm: "short of memory or disk".to_owned(),
            }),
        })
    }

    /// The session that lives now, if one does; none is begun.
    pub(super) fn current(&self) -> Option<Arc<Session>> {
        // Whoever holds the lock begins one.
        let state = self.state.try_lock().ok()?;
        state.current.clone().filter(|session| session.alive())
    }

    /// Whether a session lives now.
    pub(super) fn is_up(&self) -> bool {
        self.current().is_some()
    }

    /// Leaves politely.
    pub(super) async fn close(&self) {
        let session = self.state.lock().await.current.take();
        if let Some(session) = session {
            session.close().await;
        }
    }
}

/// The trouble of a link without a session that works.
fn no_connection(purpose: &str, why: &str) -> String {
    format!("the connection to {purpose} over does not work: {why}")
}

/// What a build says that would send passwords in the clear instead of through TLS.
fn no_tls() -> std::io::Error {
    let why = "this program was built without TLS";
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

/// A random wait before try number `failures` + 1: at least the shortest, at most twice as long each time.
pub(super) fn jittered(failures: u32) -> Duration {
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
        let settled = Duration::from_secs(7);
        assert_eq!(lasts(&common(Some(settled))).await, settled);
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

    #[test]
    fn what_the_broker_says_is_passed_on_and_tells_apart_what_its_code_does_not() {
        let said = |code: u16, text: &str| {
            let error = lapin::protocol::AMQPError::from_id(code, text.into());
            lapin::Error::from(ErrorKind::ProtocolError(error.expect("a code of AMQP")))
        };
        let limit = "NOT_ALLOWED - access to vhost 'v' refused for user 'u': connection limit (1) is reached";
        let greetings = [
            (
                403,
                "ACCESS_REFUSED - Login was refused",
                "wrong user or password: ",
            ),
            (530, limit, "a limit of the broker is reached: "),
            (
                530,
                "NOT_ALLOWED - vhost v not found",
                "no such virtual host: ",
            ),
            (
                530,
                "NOT_ALLOWED - access to vhost 'v' refused for user 'u'",
                "this user may not use the virtual host: ",
            ),
            (541, "INTERNAL_ERROR - vhost 'v' is down", ""),
        ];
        for (code, text, ours) in greetings {
            let failure = Failure::greeting(&said(code, text));
            assert_eq!(failure.why(), format!("{ours}{text}"));
        }
        let limit = "PRECONDITION_FAILED - cannot declare queue 'q': queue limit in vhost 'v' (2) is reached";
        let failure = Failure::declaring("q", &said(406, limit));
        assert_eq!(
            failure,
            Failure::Refused(format!("q cannot be declared: {limit}"))
        );
        let other = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q'";
        let failure = Failure::declaring("q", &said(406, other));
        assert!(matches!(failure, Failure::Never(why) if why.ends_with(other)));
        let locked = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q'";
        let failure = Failure::declaring("q", &said(405, locked));
        assert!(matches!(failure, Failure::Refused(why) if why.ends_with(locked)));
        let large =
            "PRECONDITION_FAILED - message size 2000 is larger than configured max size 1500";
        let failure = Failure::publishing(&said(406, large));
        assert_eq!(failure, Failure::Message(large.to_owned()));
        let gone = "NOT_FOUND - no exchange 'x.results' in vhost '/'";
        let failure = Failure::publishing(&said(404, gone));
        assert_eq!(failure, Failure::Away(gone.to_owned()));
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
