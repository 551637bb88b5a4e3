//! The sections every program shares: how to reach the broker, how to log, and how each role behaves.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::{Key, Secret, Section, Settings, SettingsError};

/// What an address looks like.
const ADDRESS: &str =
    "addresses like amqp://user:password@host:5672/vhost (or amqps://), separated by commas";

/// What a token looks like.
const TOKEN: &str = "16 to 256 printable ASCII characters without a blank";

/// Every key of these sections; kinds add their own.
pub const KEYS: &[Key] = &[
    Key::secret("broker.uri", ADDRESS, "where RabbitMQ is"),
    Key::new(
        "broker.uri_file",
        "the path of a file that holds broker.uri",
        "a file that holds broker.uri, for passwords; read again at each connection",
    ),
    Key::new(
        "broker.refused_login_for",
        "a time from 1 second, as in 90s, 30m or 1h",
        "how long a refused login is tried again [default: 45s, and 10m once it worked]",
    ),
    Key::new(
        "broker.ca",
        "the path of a PEM file",
        "the authority that signed the broker's certificate",
    ),
    Key::new(
        "broker.declare",
        "true or false",
        "whether exchanges and queues are declared",
    ),
    Key::new(
        "broker.prefix",
        "at most 64 letters, digits, ., _ or -",
        "what stands before the name of every queue",
    ),
    Key::new(
        "log.filter",
        "levels as in info or worker=debug,info",
        "what is logged",
    ),
    Key::new("log.format", "text or json", "how it is logged"),
    Key::new(
        "health.file",
        "the path of a file in a folder that exists",
        "where a running role writes whether it makes progress",
    ),
    Key::new(
        "producer.threads",
        "a whole number from 0 (one for each core) to 256",
        "threads that parse",
    ),
    Key::new(
        "producer.input",
        "the path of a file or folder",
        "what a producer cuts when it starts",
    ),
    Key::new(
        "producer.kind",
        "a kind of job that is made of files alone",
        "the kind of job made of producer.input [default: that of `autoconnect run`]",
    ),
    Key::new(
        "producer.data",
        "the path of a folder",
        "the only folder that requests may read from",
    ),
    Key::new(
        "worker.name",
        "1 to 64 letters, digits, ., _ or -",
        "the worker's name in execution.json and logs",
    ),
    Key::new(
        "worker.prefetch",
        "a whole number from 1 to 65535",
        "chunks a worker holds at a time",
    ),
    Key::new(
        "reducer.state",
        "the path of a folder",
        "the reducer's journal",
    ),
    Key::new(
        "reducer.results",
        "the path of a folder",
        "where reports are written",
    ),
    Key::new(
        "reducer.abandon_after",
        "a time from 1 second, as in 90s, 30m or 1h",
        "silence after which a job is given up",
    ),
    Key::new(
        "blobs.url",
        crate::blob::ACCEPTS,
        "where bodies lie that are too large for a message",
    ),
    Key::new(
        "blobs.max",
        "bytes, as in 64m or 1g",
        "the most bytes of such a body",
    ),
    Key::new(
        "api.bind",
        "an address and a port, as in 127.0.0.1:5000",
        "where the API listens",
    ),
    Key::new(
        "api.data",
        "the path of a folder",
        "the files that the API may have reported on",
    ),
    Key::secret(
        "api.token",
        TOKEN,
        "what requests that change something must bear",
    ),
    Key::new(
        "api.token_file",
        "the path of a file that holds api.token",
        "a file that holds api.token",
    ),
    Key::new(
        "api.max_upload",
        "bytes, as in 500m or 4g",
        "the most bytes of an upload",
    ),
    Key::new(
        "api.hosts",
        "names with commas between them, as in reports.example, reports",
        "the names, besides localhost and addresses, under which the API may be asked",
    ),
    Key::new(
        "api.origin",
        "an origin, as in https://reports.example",
        "whose pages elsewhere may read the API",
    ),
];

/// `[broker]`: how to reach RabbitMQ; without an address, everything happens in one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// `amqp://…` or `amqps://…`, with user and password; several, separated by commas, are tried in turn.
    pub uri: Option<Secret>,
    /// The file that `uri` was read from, if it was.
    pub uri_file: Option<PathBuf>,
    /// How long a refused login is retried; by default the client's own times.
    pub refused_login_for: Option<Duration>,
    /// The authority that signed the broker's certificate; the system's authorities where absent.
    pub ca: Option<PathBuf>,
    /// Whether exchanges and queues are declared; a role whose user may not, waits for them.
    pub declare: bool,
    /// The prefix of the name of every exchange and queue.
    pub prefix: String,
}

impl Section for Broker {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let uri = kept_in_file(settings, "broker.uri", "broker.uri_file")?;
        let given = settings.get::<Secret>("broker.uri")?.is_some();
        if let Some(uri) = &uri
            && !each(uri.expose()).all(is_address)
        {
            let path = if given {
                "broker.uri"
            } else {
                "broker.uri_file"
            };
            return Err(settings.bad_value(path, "something else", ADDRESS));
        }
        let uri_file = settings.get("broker.uri_file")?;
        Ok(Self {
            uri,
            uri_file: uri_file.filter(|_| !given),
            refused_login_for: settings
                .get::<Span>("broker.refused_login_for")?
                .map(|Span(time)| time),
            ca: settings.get("broker.ca")?,
            declare: settings.get("broker.declare")?.unwrap_or(true),
            prefix: settings
                .get_where("broker.prefix", |prefix: &String| is_prefix(prefix))?
                .unwrap_or_default(),
        })
    }
}

/// The secret `path`, or what is in the file that `path_file` names: a secret given on the way is the stronger one.
fn kept_in_file(
    settings: &Settings,
    path: &str,
    path_file: &str,
) -> Result<Option<Secret>, SettingsError> {
    let given = settings.get::<Secret>(path)?;
    let Some(file) = settings
        .get::<PathBuf>(path_file)?
        .filter(|_| given.is_none())
    else {
        return Ok(given);
    };
    let text = std::fs::read_to_string(&file).map_err(|error| {
        settings.bad_value(
            path_file,
            &format!("{:?} ({error})", file.display().to_string()),
            &format!("the path of a file that holds {path}"),
        )
    })?;
    Ok(Some(Secret::new(text.trim())))
}

/// The longest prefix: RabbitMQ takes names of 255 bytes, and ours leave more than half of that to what follows.
const MAX_PREFIX: usize = 64;

/// Whether a name may have this prefix.
pub(crate) fn is_prefix(text: &str) -> bool {
    text.len() <= MAX_PREFIX && text.bytes().all(is_plain)
}

/// Whether a name may have this byte.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// Each of several, with commas between them.
pub(crate) fn each(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim)
}
/// Whether it looks like an address; the client checks it in full.
fn is_address(uri: &str) -> bool {
    uri.strip_prefix("amqp://")
        .or_else(|| uri.strip_prefix("amqps://"))
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Levels, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// One JSON object a line, for machines.
    pub json: bool,
}

impl Section for Log {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let format = settings.get_where("log.format", |format: &String| {
            matches!(format.as_str(), "text" | "json")
        })?;
        let filter = settings.get_where("log.filter", |filter: &String| {
            tracing_subscriber::EnvFilter::try_new(filter).is_ok()
        })?;
        Ok(Self {
            filter: filter.unwrap_or_else(|| "info".to_owned()),
            json: format.is_some_and(|format| format == "json"),
        })
    }
}

/// `[health]`: how a program says that it is well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The file in which it says whether it makes progress; none where absent.
    pub file: Option<PathBuf>,
}

impl Section for Health {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            file: settings.get_where("health.file", |file: &PathBuf| file.file_name().is_some())?,
        })
    }
}

/// `[producer]`: how jobs are cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Producer {
    /// How many threads parse.
    pub threads: usize,
    /// What is cut when the program starts; nothing where absent.
    pub input: Option<PathBuf>,
    /// The kind of job that is made of `input`; the program's default where absent.
    pub kind: Option<String>,
    /// The only folder that requests may read from; any where absent.
    pub data: Option<PathBuf>,
}

impl Section for Producer {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let threads = settings.get_where("producer.threads", |&threads: &usize| threads <= 256)?;
        Ok(Self {
            threads: match threads {
                Some(threads) if threads > 0 => threads,
                _ => cores(),
            },
            input: settings.get("producer.input")?,
            kind: settings.get("producer.kind")?,
            data: settings.get("producer.data")?,
        })
    }
}

/// How many threads this machine runs at a time.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// `[worker]`: how chunks are worked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Its name; `<host>-<process id>` where absent.
    pub name: String,
    /// How many chunks it holds at a time.
    pub prefetch: u16,
}

impl Section for Worker {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let name = settings.get_where("worker.name", |name: &String| {
            (1..=64).contains(&name.len()) && name.bytes().all(is_plain)
        })?;
        let prefetch = settings.get::<NonZeroU16>("worker.prefetch")?;
        Ok(Self {
            name: name.unwrap_or_else(|| format!("{}-{}", host(), std::process::id())),
            prefetch: prefetch.map_or(2, NonZeroU16::get),
        })
    }
}

/// The name of this machine, at most 48 letters, digits, `.`, `_` or `-`. It distinguishes containers: the process in each
/// has the same id.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String = name
        .bytes()
        .filter(|&b| is_plain(b))
        .map(char::from)
        .take(48)
        .collect();
    if plain.is_empty() {
        "worker".to_owned()
    } else {
        plain
    }
}

/// The most bytes of an upload.
const MAX_UPLOAD: u64 = 4 << 30;

/// A number of bytes as people write it: `500k`, `20m`, `4g`, or whole bytes.
pub(super) struct Bytes(pub(super) u64);

impl FromStr for Bytes {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.trim_end_matches(['k', 'm', 'g']);
        let shift = match &text[digits.len()..] {
            "" => 0,
            "k" => 10,
            "m" => 20,
            "g" => 30,
            _ => return Err(()),
        };
        let count: u32 = digits.parse().map_err(|_| ())?;
        match u64::from(count) << shift {
            0 => Err(()),
            bytes => Ok(Self(bytes)),
        }
    }
}

/// `[api]`: where the HTTP API listens, and what it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// The address and port it listens on.
    pub bind: SocketAddr,
    /// The folder of files that may be reported on; uploads go into a folder inside it.
    pub data: PathBuf,
    /// The token that every request that changes something must carry; required where other machines can reach the API.
    pub token: Option<Secret>,
    /// The most bytes of an upload.
    pub max_upload: u64,
    /// The names, besides `localhost` and addresses, under which it may be asked; in lower case.
    pub hosts: Vec<String>,
    /// The origin of pages elsewhere that may read; none where absent.
    pub origin: Option<String>,
}

impl Section for Api {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let bind = settings.get::<SocketAddr>("api.bind")?;
        let bind = bind.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 5000)));
        let token = kept_in_file(settings, "api.token", "api.token_file")?;
        if let Some(token) = &token
            && !is_token(token.expose())
        {
            return Err(settings.bad_value("api.token", "something else", TOKEN));
        }
        Ok(Self {
            bind,
            data: settings
                .get_where("api.data", |folder: &PathBuf| {
                    !folder.as_os_str().is_empty()
                })?
                .unwrap_or_else(|| PathBuf::from("data")),
            token,
            max_upload: settings
                .get("api.max_upload")?
                .map_or(MAX_UPLOAD, |Bytes(bytes)| bytes),
            hosts: settings
                .get_where("api.hosts", |hosts: &String| {
                    each(hosts).all(|host| !host.is_empty() && host.bytes().all(is_plain))
                })?
                .map_or_else(Vec::new, |hosts| {
                    each(&hosts).map(str::to_ascii_lowercase).collect()
                }),
            origin: settings.get_where("api.origin", |origin: &String| {
                origin.starts_with("http://") || origin.starts_with("https://")
            })?,
        })
    }
}

/// Whether it can stand in a header and is hard to guess.
fn is_token(token: &str) -> bool {
    (16..=256).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// How long a job may be idle: longer than any outage of the broker that is to be survived.
const ABANDON_AFTER: Duration = Duration::from_secs(3600);

/// A time as people write it: `90s`, `30m`, `1h`, or whole seconds.
struct Span(Duration);

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.trim_end_matches(['s', 'm', 'h']);
        let unit = match &text[digits.len()..] {
            "" | "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(()),
        };
        let count: u32 = digits.parse().map_err(|_| ())?;
        match u64::from(count) * unit {
            0 => Err(()),
            seconds => Ok(Self(Duration::from_secs(seconds))),
        }
    }
}

/// `[reducer]`: where it keeps what it must not lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reducer {
    /// Its journal.
    pub state: PathBuf,
    /// Where reports are written.
    pub results: PathBuf,
    /// How long a job may be idle before it is ended without what is missing.
    pub abandon_after: Duration,
}

impl Section for Reducer {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let folder =
            |path| settings.get_where(path, |folder: &PathBuf| !folder.as_os_str().is_empty());
        Ok(Self {
            state: folder("reducer.state")?.unwrap_or_else(|| PathBuf::from("state")),
            results: folder("reducer.results")?.unwrap_or_else(|| PathBuf::from("results")),
            abandon_after: settings
                .get("reducer.abandon_after")?
                .map_or(ABANDON_AFTER, |Span(time)| time),
        })
    }
}
