//! The rights of each user on the broker: each role has only those that it needs; for RabbitMQ's definitions file.

use autoconnect_common::message::Exchange;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The virtual host of a cluster.
pub(crate) const VHOST: &str = "autoconnect";

/// A user of the broker.
pub(crate) struct User {
    /// Its name, and that of its folder.
    pub(crate) name: &'static str,
    /// Whether it declares the topology, and so may configure, write and read everything.
    declares: bool,
    /// Where it publishes.
    writes: &'static [Exchange],
    /// The queues that it consumes, of any format.
    reads: &'static [Taken],
    /// Whether it listens to events, in a queue of its own that the broker names.
    listens: bool,
    /// Whether it may look at the management pages.
    looks: bool,
}

/// Queues that a user consumes: one, or those of every format, also of formats that this program does not know yet.
type Taken = &'static str;

/// A [`Format`](autoconnect_common::Format), as an expression.
const FORMAT: &str = r"[a-z0-9-]+\.v[0-9]+";
const JOBS: Taken = r"q\.jobs\.FORMAT";
const CHUNKS: Taken = r"q\.chunks\.FORMAT(\.quarantine)?";
const RESULTS: Taken = r"q\.results\.FORMAT";
const CONTROL: Taken = r"q\.control";
const DEAD: Taken = r"q\.(jobs|chunks|results)\.dead";

/// A user with no rights at all.
const NOBODY: User = User {
    name: "",
    declares: false,
    writes: &[],
    reads: &[],
    listens: false,
    looks: false,
};

/// A user that requests, follows and cancels jobs, and requeues dead messages.
const FIRST_AID: User = User {
    writes: &[
        Exchange::Jobs,
        Exchange::Chunks,
        Exchange::Results,
        Exchange::Control,
    ],
    reads: &[DEAD],
    listens: true,
    ..NOBODY
};

/// Every user of a cluster. There is no `guest`.
pub(crate) const USERS: [User; 6] = [
    User {
        name: "topology",
        declares: true,
        ..NOBODY
    },
    User {
        name: "producer",
        writes: &[
            Exchange::Chunks,
            Exchange::Results,
            Exchange::Jobs,
            Exchange::Control,
            Exchange::Dead,
            Exchange::Events,
        ],
        reads: &[JOBS],
        listens: true,
        ..NOBODY
    },
    User {
        name: "worker",
        writes: &[Exchange::Results, Exchange::Dead, Exchange::Events],
        reads: &[CHUNKS],
        ..NOBODY
    },
    User {
        name: "reducer",
        // it requests a job again whose producer died
        writes: &[Exchange::Jobs, Exchange::Dead, Exchange::Events],
        reads: &[RESULTS, CONTROL],
        ..NOBODY
    },
    User {
        name: "api",
        ..FIRST_AID
    },
    User {
        name: "operator",
        looks: true,
        ..FIRST_AID
    },
];

/// Queues that the broker names.
const LISTENERS: &str = r"amq\.gen.*";

impl User {
    /// What it may configure, write and read, as RabbitMQ's regular expressions.
    fn permissions(&self) -> [String; 3] {
        if self.declares {
            return [(); 3].map(|()| r"^[xq]\.".to_owned());
        }
        let own = self.listens.then(|| LISTENERS.to_owned());
        let writes = self.writes.iter().map(|exchange| escaped(exchange.name()));
        let reads = self
            .reads
            .iter()
            .map(|queue| queue.replace("FORMAT", FORMAT));
        let events = self.listens.then(|| escaped(Exchange::Events.name()));
        [
            one_of(own.clone()),
            one_of(writes.chain(own.clone())),
            one_of(reads.chain(events).chain(own)),
        ]
    }
}

fn escaped(name: &str) -> String {
    name.replace('.', r"\.")
}

/// An expression for any of these names and no other.
fn one_of(names: impl IntoIterator<Item = String>) -> String {
    let names: Vec<String> = names.into_iter().collect();
    match names.as_slice() {
        [] => "^$".to_owned(),
        names => format!("^({})$", names.join("|")),
    }
}

/// The definitions that the broker loads when it starts: users with digests of their passwords, and rights.
///
/// `passwords` are those of [`USERS`], in order, each with four random bytes of salt.
pub(crate) fn definitions(passwords: &[(String, [u8; 4])]) -> Value {
    let users = USERS.iter().zip(passwords).map(|(user, (password, salt))| {
        json!({
            "name": user.name,
            "password_hash": password_hash(password, *salt),
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": if user.looks { vec!["monitoring"] } else { vec![] },
        })
    });
    let permissions = USERS.iter().map(|user| {
        let [configure, write, read] = user.permissions();
        json!({"user": user.name, "vhost": VHOST, "configure": configure, "write": write, "read": read})
    });
    json!({
        "users": users.collect::<Vec<_>>(),
        "vhosts": [{"name": VHOST}],
        "permissions": permissions.collect::<Vec<_>>(),
    })
}

/// The salt and the SHA-256 digest of salt and password, in base64: <https://www.rabbitmq.com/docs/passwords>.
fn password_hash(password: &str, salt: [u8; 4]) -> String {
    let digest = Sha256::new()
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut bytes = salt.to_vec();
    bytes.extend_from_slice(&digest);
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hashed_as_the_brokers_manual_shows() {
        // the manual's own example: test12, salt 908D C60A
        assert_eq!(
            password_hash("test12", [0x90, 0x8d, 0xc6, 0x0a]),
            "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
        );
    }

    #[test]
    fn nobody_but_topology_may_declare_and_nobody_may_touch_what_is_not_named() {
        for user in &USERS {
            let [configure, write, read] = user.permissions();
            for permission in [&configure, &write, &read] {
                assert!(permission.starts_with('^'), "{}: {permission}", user.name);
                assert!(
                    permission.ends_with('$') || user.declares,
                    "{}: {permission}",
                    user.name
                );
            }
            let may_declare = !["^$", r"^(amq\.gen.*)$"].contains(&configure.as_str());
            assert_eq!(may_declare, user.declares, "{}: {configure}", user.name);
        }
        let worker = USERS.iter().find(|user| user.name == "worker");
        let expected = [
            "^$",
            r"^(x\.results\.2|x\.dead\.2|x\.events)$",
            r"^(q\.chunks\.[a-z0-9-]+\.v[0-9]+(\.quarantine)?)$",
        ];
        assert_eq!(
            worker.map(User::permissions),
            Some(expected.map(str::to_owned))
        );
    }
}
