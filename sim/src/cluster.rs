//! The processes of a cluster, each with a supervisor that starts it again after its death.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use autoconnect_common::{Registry, Shutdown};
use autoconnect_producer as producer;
use autoconnect_reducer as reducer;
use autoconnect_worker as worker;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::broker::{Connection, Simulated};
use crate::disk::Machine;
use crate::kind::Count;
use crate::life::Life;
use crate::world::{World, lock, tell};

/// How long the broker keeps the connections of a process that is frozen or cut off: two heartbeats of ten seconds.
pub const NOTICED: Duration = Duration::from_secs(20);

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The producer cuts jobs.
    Producer,
    /// A worker computes partials of chunks.
    Worker,
    /// The reducer merges partials.
    Reducer,
}

/// The settings of the roles.
#[derive(Debug, Clone)]
pub struct Settings {
    /// See [`reducer::Config`].
    pub abandon_after: Duration,
    /// See [`reducer::Config`].
    pub snapshot_after: u64,
    /// See [`worker::Config`] and [`reducer::Config`].
    pub prefetch: u16,
    /// The percentage of reducers' deaths that the broker notices only after [`NOTICED`].
    pub unnoticed: u64,
}

/// A whole cluster.
pub struct Cluster {
    /// The world of the history.
    pub world: World,
    /// The broker.
    pub broker: Simulated,
    /// The disk of the machine of the reducers.
    pub disk: Machine,
    settings: Settings,
    slots: Vec<Slot>,
}

/// A place in which a supervisor runs a process.
struct Slot {
    name: String,
    role: Role,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Whether the supervisor keeps it running.
    wanted: bool,
    /// The newest version of the kind that its program knows.
    version: u32,
    now: Option<(Arc<Life>, Shutdown)>,
}

/// The folder of reports.
pub fn results() -> PathBuf {
    PathBuf::from("/results")
}

/// The folder of the reducers' state.
pub fn state() -> PathBuf {
    PathBuf::from("/state")
}

/// The kinds that a program of this version knows. A newer program also knows the older version.
fn registry(version: u32) -> Registry {
    let registry = Registry::default().with::<Count<1>>();
    match version {
        1 => registry,
        _ => registry.with::<Count<2>>(),
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Cluster {
    /// Starts a cluster with these numbers of processes of each role.
    pub fn start(
        world: World,
        broker: Simulated,
        disk: Machine,
        settings: Settings,
        processes: &[(Role, usize)],
        version: u32,
    ) -> Arc<Self> {
        let slot = |role: Role, number: usize| Slot {
            name: format!("{role:?}-{number}").to_lowercase(),
            role,
            state: Mutex::new(State {
                wanted: true,
                version,
                now: None,
            }),
            changed: Notify::new(),
        };
        let slots = processes
            .iter()
            .flat_map(|&(role, n)| (1..=n).map(move |i| (role, i)));
        let cluster = Arc::new(Self {
            world,
            broker,
            disk,
            settings,
            slots: slots.map(|(role, number)| slot(role, number)).collect(),
        });
        for number in 0..cluster.slots.len() {
            tokio::spawn(supervise(Arc::clone(&cluster), number));
        }
        cluster
    }

    /// The places of a role, or of all roles.
    pub fn places(&self, role: Option<Role>) -> Vec<usize> {
        let of = |slot: &Slot| role.is_none_or(|role| slot.role == role);
        let places = self.slots.iter().enumerate().filter(|(_, slot)| of(slot));
        places.map(|(place, _)| place).collect()
    }

    /// The process that runs in a place.
    pub fn life(&self, place: usize) -> Option<Arc<Life>> {
        let state = self.slots[place].state();
        state.now.as_ref().map(|(life, _)| Arc::clone(life))
    }

    /// Stops a process as a supervisor does: by its shutdown, which gives it time to finish.
    pub fn stop(&self, place: usize) {
        if let Some((life, shutdown)) = &self.slots[place].state().now {
            tell!(self.world, "{} is told to stop", life.name);
            shutdown.cancel();
        }
    }

    /// Lets the supervisor keep a process running, or not.
    pub fn want(&self, place: usize, wanted: bool) {
        self.slots[place].state().wanted = wanted;
        self.slots[place].changed.notify_one();
    }

    /// Whether the supervisor keeps the processes of a role running.
    pub fn are_wanted(&self, role: Role) -> bool {
        let mut slots = self.slots.iter().filter(|slot| slot.role == role);
        slots.all(|slot| slot.state().wanted)
    }

    /// Installs another version of the program; the next start uses it.
    pub fn install(&self, place: usize, version: u32) {
        self.slots[place].state().version = version;
    }

    /// Kills a process.
    pub fn kill(&self, place: usize) {
        if let Some(life) = self.life(place) {
            tell!(self.world, "{} is killed", life.name);
            life.kill();
        }
    }

    /// Freezes a process. The broker closes its connections after [`NOTICED`], and the process notices when it thaws.
    pub fn freeze(&self, place: usize, frozen: Duration) {
        let Some(life) = self.life(place) else { return };
        tell!(self.world, "{} is frozen for {frozen:?}", life.name);
        life.freeze(Instant::now() + frozen);
        if frozen > NOTICED {
            let broker = self.broker.clone();
            tokio::spawn(async move {
                tokio::time::sleep(NOTICED).await;
                broker.cut(&life, Duration::from_secs(1));
            });
        }
    }

    /// Cuts the power of the machine that the reducers run on.
    pub fn cut_power(&self) {
        tell!(self.world, "the power is cut");
        for place in self.places(Some(Role::Reducer)) {
            self.life(place).into_iter().for_each(|life| life.vanish());
        }
        self.disk.cut_power();
    }
}

async fn supervise(cluster: Arc<Cluster>, place: usize) {
    let slot = &cluster.slots[place];
    for number in 1.. {
        while !slot.state().wanted {
            slot.changed.notified().await;
        }
        let life = Life::new(format!("{}#{number}", slot.name));
        let shutdown = Shutdown::new();
        let version = {
            let mut state = slot.state();
            state.now = Some((Arc::clone(&life), shutdown.clone()));
            state.version
        };
        tell!(cluster.world, "{} starts, version {version}", life.name);
        let connection = cluster.broker.connect(Arc::clone(&life));
        let process = play(
            Arc::clone(&cluster),
            place,
            connection,
            Arc::clone(&life),
            version,
            shutdown,
        );
        let ended = tokio::spawn(Arc::clone(&life).live(process)).await;
        let died = life.is_dead();
        life.kill();
        slot.state().now = None;
        match ended {
            Ok(Some(Ok(what))) => tell!(cluster.world, "{} ended: {what}", life.name),
            Ok(Some(Err(error))) => tell!(cluster.world, "{} failed: {error}", life.name),
            Ok(None) => tell!(cluster.world, "{} died", life.name),
            Err(panic) => cluster
                .world
                .violation(format_args!("{} panicked: {panic}", life.name)),
        }
        // A machine without power closes no connection. One whose process crashed does: a chunk that kills its worker
        // twenty times is dead-lettered before the reducer may give its job up.
        let unnoticed = match slot.role {
            Role::Reducer => cluster.settings.unnoticed,
            Role::Producer | Role::Worker => 10,
        };
        let silent = life.has_vanished()
            || died && !life.has_crashed() && cluster.world.roll(|dice| dice.chance(unnoticed));
        let broker = cluster.broker.clone();
        let gone = Arc::clone(&life);
        tokio::spawn(async move {
            if silent {
                tokio::time::sleep(NOTICED).await;
            }
            broker.bury(&gone);
        });
        let pause = cluster
            .world
            .roll(|dice| dice.within(Duration::from_secs(3)));
        tokio::time::sleep(pause + Duration::from_millis(100)).await;
    }
}

/// Runs a role once, and returns how it ended.
async fn play(
    cluster: Arc<Cluster>,
    place: usize,
    connection: Connection,
    life: Arc<Life>,
    version: u32,
    shutdown: Shutdown,
) -> Result<String, String> {
    let registry = Arc::new(registry(version));
    let slot = &cluster.slots[place];
    let settings = &cluster.settings;
    match slot.role {
        Role::Producer => {
            let config = producer::Config {
                threads: 1,
                data: None,
                blobs: None,
            };
            let played = producer::run(&connection, &registry, &config, &shutdown).await;
            played
                .map(|s| format!("{s:?}"))
                .map_err(|error| error.to_string())
        }
        Role::Worker => {
            let config = worker::Config {
                prefetch: settings.prefetch,
                ..worker::Config::named(slot.name.as_str())
            };
            let played = worker::run(&connection, &registry, &config, &shutdown).await;
            played
                .map(|s| format!("{s:?}"))
                .map_err(|error| error.to_string())
        }
        Role::Reducer => {
            let config = reducer::Config {
                abandon_after: settings.abandon_after,
                snapshot_after: Some(settings.snapshot_after),
                disk: cluster.disk.of(life),
                ..reducer::Config::durable(results(), state())
            };
            let played = reducer::run(&connection, &registry, config, shutdown).await;
            if let Err(reducer::Error::Internal(what)) = &played {
                cluster
                    .world
                    .violation(format_args!("the reducer has a bug: {what}"));
            }
            played
                .map(|s| format!("{s:?}"))
                .map_err(|error| error.to_string())
        }
    }
}

/// The folder of a job's own results.
pub fn job_folder(job: &str) -> PathBuf {
    Path::new("/results/jobs").join(job)
}
