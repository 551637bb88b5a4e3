//! The broker for a cluster: RabbitMQ, through lapin, which is named in this folder only.
//!
//! ```text
//! publish() --> inbox --> publisher --(Link "publish")--> session --> RabbitMQ
//! subscribe() <-- deliveries <-- consumer --(Link "consume")--> session <-- RabbitMQ
//! ```
//!
//! A `session` is one connection, and it is never repaired: at its first error of any kind it is dropped, the link opens
//! another one, and every unconfirmed message is published again. Publishing and consuming use separate connections,
//! because a broker under a resource alarm stops reading from publishing connections, and acknowledgements must not wait
//! for that.
//!
//! | file | what it knows |
//! |---|---|
//! | `address` | URIs: read, masked, refused |
//! | `connect` | one connection: TCP, TLS, greeting |
//! | `session` | one connection in use: detects that it died |
//! | `link` | the next session: retries, and gives up |
//! | `failure` | why a session failed, and whether waiting helps |
//! | `declare`, `keep` | declares the topology; restores what is missing |
//! | `remove` | finds and removes parts of the topology |
//! | `wire` | [`Message`] to AMQP and back |
//! | `publish` | confirms, returns, rejects, the window |
//! | `consume` | deliveries and their settling |

mod address;
mod connect;
mod consume;
mod declare;
mod failure;
mod keep;
mod link;
mod publish;
mod remove;
mod session;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::stream::{StreamExt, TryStreamExt, iter};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

pub use self::remove::{Found, Removed};

use self::address::Address;
use self::failure::Failure;
use self::link::Link;
use self::publish::Outgoing;
use self::session::Session;
use super::part::Part;
use super::{Broker, BrokerError, Delivery, Offered, Queue, Subscription, check_sendable};
use crate::health::Health;
use crate::message::Message;
use crate::settings::{self, Secret};
use crate::{Format, Shutdown};

/// The purpose of the consuming connection, and the name of its trouble.
pub(crate) const CONSUME: &str = "consume";
/// How long closing may take before the connections are cut: enough for pending acknowledgements, well within the grace
/// period of a container.
const GOODBYE: Duration = Duration::from_secs(5);

/// The address, credentials and options of a connection to RabbitMQ.
#[derive(Clone, Default)]
pub struct Options {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`; several are tried in turn.
    pub uris: Vec<String>,
    /// The file that `uris` were read from, separated by commas: it is read again for each connection, so that a new
    /// password needs no restart.
    pub uri_file: Option<PathBuf>,
    /// How long a refused login is retried; by default 45 seconds, and 10 minutes once a login worked.
    pub refused_login_for: Option<Duration>,
    /// The only trusted certificates (PEM) for `amqps://`; by default the system's.
    pub ca: Option<PathBuf>,
    /// The role's name, shown as the connection's name.
    pub name: String,
    /// Whether every connection declares exchanges and queues; a role without that right waits for them.
    pub declare: bool,
    /// The formats whose queues are declared.
    pub formats: Vec<Format>,
    /// Whether declared queues expire after an hour without use: for a run's own cluster, which may be killed.
    pub passing: bool,
    /// The prefix of the name of every exchange and queue, so that several clusters, or tests, can share a virtual host.
    pub prefix: String,
}

impl Options {
    /// The options in the settings, for the role `name` of a cluster of these formats. Settings without an address give
    /// no URIs.
    pub fn of(settings: &settings::Broker, name: impl Into<String>, formats: Vec<Format>) -> Self {
        let uris = settings.uri.as_ref().map_or("", Secret::expose);
        Self {
            uris: settings::each(uris).map(str::to_owned).collect(),
            uri_file: settings.uri_file.clone(),
            refused_login_for: settings.refused_login_for,
            ca: settings.ca.clone(),
            name: name.into(),
            declare: settings.declare,
            formats,
            passing: false,
            prefix: settings.prefix.clone(),
        }
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("uris", &self.uris.len())
            .field("uri_file", &self.uri_file)
            .field("refused_login_for", &self.refused_login_for)
            .field("ca", &self.ca)
            .field("name", &self.name)
            .field("declare", &self.declare)
            .field("formats", &self.formats)
            .field("prefix", &self.prefix)
            .finish()
    }
}

/// A user of the broker.
#[derive(Clone, Debug)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// The virtual host.
    pub vhost: String,
}

/// State shared by all parts of one [`RabbitMq`].
struct Common {
    name: String,
    declare: bool,
    formats: Vec<Format>,
    passing: bool,
    prefix: String,
    /// The addresses that were read last.
    addresses: Mutex<Vec<Address>>,
    uris: Vec<String>,
    uri_file: Option<PathBuf>,
    ca: Option<PathBuf>,
    refused_login_for: Option<Duration>,
    /// Whether a login ever worked.
    was_up: AtomicBool,
    health: Health,
    /// Why the last connection could not be opened, or ended.
    failed: Mutex<Option<Failure>>,
    /// When a new connection last declared everything.
    declared: tokio::sync::Mutex<Option<tokio::time::Instant>>,
    /// Signalled when something is missing that this program declares.
    missing: Notify,
    closed: Shutdown,
    /// Why the broker refuses this program for good, once that is known.
    refused: OnceLock<String>,
}

impl Common {
    /// The name of an exchange or queue on the broker.
    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The current addresses, and the trusted PEM certificates where an address asks for TLS.
    fn read_addresses(&self) -> Result<(Vec<Address>, Option<String>), String> {
        let read = match &self.uri_file {
            None => address::read_all(&self.uris, self.ca.as_deref()),
            Some(file) => address::read_file(file, self.ca.as_deref()),
        }?;
        self.addresses().clone_from(&read.0);
        Ok(read)
    }

    fn addresses(&self) -> MutexGuard<'_, Vec<Address>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) -> MutexGuard<'_, Option<Failure>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error of a request that can no longer be answered.
    fn end(&self) -> BrokerError {
        match self.refused.get() {
            Some(why) => BrokerError::Refused(why.clone()),
            None => BrokerError::Closed,
        }
    }
}

/// RabbitMQ; clones share their connections.
#[derive(Clone)]
pub struct RabbitMq {
    common: Arc<Common>,
    inbox: mpsc::Sender<Outgoing>,
    consuming: Arc<Link>,
    publishing: Arc<Link>,
    /// The [`Taker`](consume::Taker) of each queue from which single messages were taken.
    takers: Arc<Mutex<BTreeMap<String, mpsc::Sender<consume::Asked>>>>,
    /// The tasks of the publisher, consumers and takers, so that closing can wait for them.
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl RabbitMq {
    /// A broker that connects on first use. Call it inside a Tokio runtime.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] for an invalid address, an unusable certificate file, and the user `guest` at an address
    /// off this machine. None of them holds a password.
    pub fn connect(options: Options) -> Result<Self, BrokerError> {
        let common = Arc::new(Common {
            name: options.name,
            declare: options.declare,
            formats: options.formats,
            passing: options.passing,
            prefix: options.prefix,
            addresses: Mutex::default(),
            uris: options.uris,
            uri_file: options.uri_file,
            ca: options.ca,
            refused_login_for: options.refused_login_for,
            was_up: AtomicBool::new(false),
            health: Health::default(),
            failed: Mutex::default(),
            declared: tokio::sync::Mutex::default(),
            missing: Notify::new(),
            closed: Shutdown::new(),
            refused: OnceLock::new(),
        });
        common.read_addresses().map_err(BrokerError::Refused)?;
        let publishing = Arc::new(Link::new("publish", Arc::clone(&common)));
        let consuming = Arc::new(Link::new(CONSUME, Arc::clone(&common)));
        let (inbox, messages) = mpsc::channel(1);
        let publisher = tokio::spawn(publish::run(Arc::clone(&publishing), messages));
        let mut tasks = vec![publisher];
        if common.declare {
            tasks.push(tokio::spawn(keep::keep_declared(Arc::clone(&consuming))));
        }
        Ok(Self {
            common,
            inbox,
            consuming,
            publishing,
            takers: Arc::default(),
            tasks: Arc::new(Mutex::new(tasks)),
        })
    }

    /// The addresses, without passwords.
    pub fn addresses(&self) -> String {
        let addresses = self.common.addresses();
        let addresses: Vec<String> = addresses.iter().map(Address::to_string).collect();
        addresses.join(", ")
    }

    /// Why the broker refused the last connection, if it did: for callers that do not want to wait for the final refusal.
    pub fn refusal(&self) -> Option<String> {
        let failed = self.common.failed();
        let failed = failed
            .as_ref()
            .filter(|failed| !matches!(failed, Failure::Away(_)));
        failed.map(|failed| failed.why().to_owned())
    }

    /// Whether a connection is open now, as far as is known.
    pub fn is_up(&self) -> bool {
        self.consuming.is_up()
    }

    /// Waits until a connection is open and, where this program declares, every exchange and queue exists; however long
    /// that takes.
    ///
    /// # Errors
    /// [`BrokerError`] where waiting cannot help.
    pub async fn reach(&self) -> Result<(), BrokerError> {
        self.consuming.session().await.map(drop)
    }

    /// Removes every exchange and queue of these options, with their messages.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refuses it, or no connection is open within `patience`.
    pub async fn remove_all(options: Options, patience: Duration) -> Result<(), BrokerError> {
        let parts = Part::current(&options.prefix, &options.formats);
        let broker = Self::connect(Options {
            declare: false,
            ..options
        })?;
        let remove = async |at_a_time| {
            let removed = iter(&parts).map(|part| broker.remove(part, true));
            let mut removed = removed.buffer_unordered(at_a_time);
            while removed.try_next().await?.is_some() {}
            Ok(())
        };
        let removing = async {
            match remove(declare::SIDE_BY_SIDE).await {
                // the user may be limited to few channels
                Err(BrokerError::Refused(_)) => remove(1).await,
                removed => removed,
            }
        };
        let removed = tokio::time::timeout(patience, removing).await;
        broker.close().await;
        removed.unwrap_or_else(|_| {
            let why = format!("the broker did not remove them within {patience:?}");
            Err(BrokerError::Refused(why))
        })
    }

    /// Which of these parts exist, and what they hold. Needs no right but to connect, and changes nothing.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refuses to answer.
    pub async fn look(&self, parts: &[Part]) -> Result<Vec<Found>, BrokerError> {
        self.asked(async |session| remove::look(session, parts).await)
            .await
    }

    /// Removes a part: a queue with its messages, an exchange with bindings only where `even_in_use`. A missing part
    /// counts as removed.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker refuses it.
    pub async fn remove(&self, part: &Part, even_in_use: bool) -> Result<Removed, BrokerError> {
        self.asked(async |session| remove::remove(session, part, even_in_use).await)
            .await
    }

    /// Makes an idempotent request, again where the connection breaks.
    async fn asked<T>(
        &self,
        ask: impl AsyncFn(&Session) -> Result<T, Failure>,
    ) -> Result<T, BrokerError> {
        loop {
            let session = self.consuming.session().await?;
            match session.run_while_alive(ask(&session)).await {
                Ok(answer) => {
                    session.mark_healthy();
                    return Ok(answer);
                }
                Err(failure @ Failure::Away(_)) => session.fail(failure),
                Err(failure) => return Err(BrokerError::Refused(failure.why().to_owned())),
            }
        }
    }

    /// User, password and virtual host; of several addresses, the first one's.
    pub fn account(&self) -> Option<Account> {
        let addresses = self.common.addresses();
        let uri = &addresses.first()?.uri;
        let user = &uri.authority.userinfo;
        Some(Account {
            user: user.username.clone(),
            password: Secret::new(user.password.clone()),
            vhost: uri.vhost.clone(),
        })
    }

    /// Publishes; with `once`, a refusal is returned instead of retried.
    async fn send(&self, message: Message, once: bool) -> Result<Offered, BrokerError> {
        check_sendable(&message)?;
        if self.common.closed.is_cancelled() || self.common.refused.get().is_some() {
            return Err(self.common.end());
        }
        let (done, confirmed) = oneshot::channel();
        let outgoing = Outgoing::new(message, &self.common, once, done)?;
        if self.inbox.send(outgoing).await.is_err() {
            return Err(self.common.end());
        }
        confirmed.await.unwrap_or_else(|_| Err(self.common.end()))
    }

    /// Starts a task that closing waits for.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Result<(), BrokerError> {
        let mut tasks = self.tasks();
        if self.common.closed.is_cancelled() {
            return Err(self.common.end());
        }
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(task));
        Ok(())
    }

    /// The taker of a queue.
    fn taker(&self, queue: Queue) -> Result<mpsc::Sender<consume::Asked>, BrokerError> {
        let mut takers = self.takers.lock().unwrap_or_else(PoisonError::into_inner);
        let name = queue.name();
        if let Some(taker) = takers.get(&name).filter(|taker| !taker.is_closed()) {
            return Ok(taker.clone());
        }
        let (taker, asked) = mpsc::channel(1);
        let link = Arc::clone(&self.consuming);
        self.spawn(consume::Taker { link, queue }.run(asked))?;
        takers.insert(name, taker.clone());
        Ok(taker)
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RabbitMq")
            .field("addresses", &self.addresses())
            .finish_non_exhaustive()
    }
}

impl Broker for RabbitMq {
    async fn publish(&self, message: Message) -> Result<(), BrokerError> {
        self.send(message, false).await.map(drop)
    }

    async fn offer(&self, message: Message) -> Result<Offered, BrokerError> {
        self.send(message, true).await
    }

    async fn subscribe(&self, queue: Queue, prefetch: u16) -> Result<Subscription, BrokerError> {
        let prefetch = prefetch.max(1);
        let (deliveries, stream) = mpsc::channel(usize::from(prefetch));
        let (ready, established) = oneshot::channel();
        let consumer = consume::Consumer {
            link: Arc::clone(&self.consuming),
            queue,
            prefetch,
            deliveries,
        };
        self.spawn(consumer.run(ready))?;
        established
            .await
            .unwrap_or_else(|_| Err(self.common.end()))?;
        Ok(Subscription::new(stream).ending_with(self.common.closed.clone()))
    }

    async fn take(&self, queue: Queue) -> Result<Option<Delivery>, BrokerError> {
        let (answer, taken) = oneshot::channel();
        let taker = self.taker(queue)?;
        taker.send(answer).await.map_err(|_| self.common.end())?;
        taken.await.map_err(|_| self.common.end())
    }

    async fn waiting(&self, queue: Queue) -> Result<u64, BrokerError> {
        loop {
            let session = self.consuming.session().await?;
            let counted = declare::waiting(&session, &self.common, &queue);
            match session.run_while_alive(counted).await {
                Ok(waiting) => return Ok(waiting),
                Err(failure) => session.fail(failure),
            }
        }
    }

    fn health(&self) -> Health {
        self.common.health.clone()
    }

    async fn close(&self) {
        self.common.closed.cancel();
        let tasks = std::mem::take(&mut *self.tasks());
        let finished = async {
            for task in tasks {
                if let Err(error) = task.await {
                    tracing::error!(%error, "a broker task failed");
                }
            }
        };
        if tokio::time::timeout(GOODBYE, finished).await.is_err() {
            tracing::warn!("the broker did not take the last verdicts in time");
        }
        tokio::join!(self.consuming.close(), self.publishing.close());
    }
}
