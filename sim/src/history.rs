//! One history: a cluster, jobs and faults, all drawn from one seed. Then the faults stop, and the outcome is judged.

mod happens;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::Broker;
use autoconnect_common::broker::Queue;
use autoconnect_common::machine;
use autoconnect_common::message::{JobRequest, JobStage, Message};
use autoconnect_common::{Registry, ask};
use autoconnect_producer as producer;

use crate::broker::{Connection, Net, Simulated};
use crate::cluster::{Cluster, Role, Settings, results, state};
use crate::dice::Dice;
use crate::disk::Machine;
use crate::faults::{Fault, Theme, themes};
use crate::judge::{Job, Judge};
use crate::kind::{self, Count, Does, Line, Request};
use crate::life::Life;
use crate::world::{self, World, tell};

/// How long a cluster without faults may take to end every job, in addition to the time after which it abandons one. The time
/// is virtual, so a generous bound costs nothing.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The outcome of a history.
#[derive(Debug)]
pub struct Outcome {
    /// The promises that were broken.
    pub violations: Vec<String>,
    /// The hash of the trace, which is the same for the same seed.
    pub hash: u64,
    /// The trace, if it was requested.
    pub lines: Vec<String>,
    /// How long the history lasted, in virtual time.
    pub lasted: Duration,
}

/// Runs the history of a seed. With `readable`, the outcome has the trace.
pub fn run(seed: u64, readable: bool) -> Outcome {
    run_about(seed, readable, None)
}

/// Runs the history of a seed with these themes, or with themes that the seed decides.
pub fn run_about(seed: u64, readable: bool, about: Option<&[Theme]>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return Outcome {
                violations: vec![format!("no runtime: {error}")],
                hash: 0,
                lines: Vec::new(),
                lasted: Duration::ZERO,
            };
        }
    };
    let outcome = runtime.block_on(async {
        let world = World::new(seed, readable);
        machine::simulate(Some(Rc::new(world::Machine(world.clone()))));
        History::begin(world.clone(), about).go_on().await;
        let (hash, lines) = world.trace();
        Outcome {
            violations: world.violations(),
            hash,
            lines,
            lasted: world.age(),
        }
    });
    drop(runtime);
    machine::simulate(None);
    outcome
}

/// The state of a history.
struct History {
    world: World,
    broker: Simulated,
    disk: Machine,
    cluster: Arc<Cluster>,
    /// The connection of the client that requests jobs, which is never cut.
    client: Connection,
    judge: Judge,
    themes: Vec<Theme>,
    horizon: Duration,
    patience: Duration,
    chunk_lines: usize,
    /// The newest version of the kind that is requested.
    newest: u32,
}

/// Draws an input: lines with a few keys, some of them rejected, and the harmful lines `harm`.
fn lines(dice: &mut Dice, harm: &[Does]) -> Vec<Line> {
    let count = dice.between(1, 40);
    let keys = dice.between(1, 5);
    let mut lines: Vec<Line> = (0..count)
        .map(|_| Line {
            key: u8::try_from(dice.below(keys)).unwrap_or(0),
            value: dice.below(1_000_000),
            does: match dice.chance(15) {
                true => Does::Reject,
                false => Does::Count,
            },
        })
        .collect();
    for does in harm {
        let place = dice.index(lines.len());
        lines[place].does = *does;
    }
    lines
}

/// Draws a network, settings of the cluster, and the time during which faults happen.
fn drawn(dice: &mut Dice) -> (Net, Settings, Duration) {
    let net = Net {
        latency: Duration::from_millis(dice.between(0, 40)),
        shuffled: if dice.chance(50) { 30 } else { 0 },
        repeated: 0,
        lost: 0,
        room: if dice.chance(30) { 2_000 } else { u64::MAX },
    };
    let settings = Settings {
        abandon_after: Duration::from_secs(dice.between(300, 400)),
        snapshot_after: dice.between(300, 20_000),
        prefetch: u16::try_from(dice.between(1, 4)).unwrap_or(2),
        unnoticed: 10,
    };
    (net, settings, Duration::from_secs(dice.between(5, 90)))
}

/// Adapts them to the themes.
fn suited(
    themes: &[Theme],
    mut net: Net,
    mut settings: Settings,
    mut horizon: Duration,
) -> (Net, Settings, Duration) {
    if themes.contains(&Theme::NobodyWorks) {
        // longer than the reducer waits for a producer's next `begun`, and than a killing chunk takes to be
        // dead-lettered
        settings.abandon_after = Duration::from_secs(180);
        horizon += Duration::from_secs(120);
    }
    if themes.contains(&Theme::SeveralKillers) {
        // chunks that are unacked beside a killing one must come after it, so that they are returned as often
        net.shuffled = 0;
        settings.prefetch = 3;
    }
    if themes.contains(&Theme::Snapshots) {
        // in bytes: a snapshot after a few results
        settings.snapshot_after = 1_000;
    }
    if themes.contains(&Theme::Backlogs) {
        settings.unnoticed = 60;
    }
    (net, settings, horizon)
}

impl History {
    fn begin(world: World, about: Option<&[Theme]>) -> Self {
        kind::mend(false);
        let (net, settings, horizon) = world.roll(drawn);
        let themes = match about {
            Some(themes) => themes.to_vec(),
            None => world.roll(themes),
        };
        let (net, settings, horizon) = suited(&themes, net, settings, horizon);
        tell!(world, "{themes:?} {net:?} {settings:?} until {horizon:?}");
        let broker = Simulated::start(world.clone(), net, durable());
        let disk = Machine::new(world.clone(), &[results(), state()]);
        let processes = world.roll(|dice| {
            let mut n = |most| usize::try_from(dice.between(1, most)).unwrap_or(1);
            [
                (Role::Producer, n(2)),
                (Role::Worker, n(4)),
                (Role::Reducer, n(2)),
            ]
        });
        let patience = settings.abandon_after * 4 + PATIENCE;
        let upgraded = themes.contains(&Theme::Upgrades);
        let version = match upgraded {
            true => 1,
            false => world.roll(|dice| if dice.chance(50) { 2 } else { 1 }),
        };
        let cluster = Cluster::start(
            world.clone(),
            broker.clone(),
            disk.clone(),
            settings,
            &processes,
            version,
        );
        let client = broker.connect(Life::new("client#1".to_owned()));
        let chunk_lines = world.roll(|dice| dice.index(6) + 1);
        Self {
            judge: Judge::new(world.clone(), disk.clone()),
            world,
            broker,
            disk,
            cluster,
            client,
            themes,
            horizon,
            patience,
            chunk_lines,
            // a client may be upgraded before the cluster, and request a format that no program of it knows yet
            newest: if upgraded { 2 } else { version },
        }
    }

    async fn go_on(mut self) {
        let mut faults = self.world.roll(|dice| {
            let mut faults: Vec<(Duration, Fault)> = self
                .themes
                .iter()
                .flat_map(|theme| theme.faults(dice, self.horizon))
                .collect();
            faults.sort_by_key(|(at, _)| *at);
            faults
        });
        // a role that is away from the beginning misses the first jobs
        let is_away = |fault: &Fault| matches!(fault, Fault::Want(_, false));
        for (_, fault) in faults.extract_if(.., |(at, fault)| at.is_zero() && is_away(fault)) {
            self.happens(fault).await;
        }
        self.submit_jobs().await;
        for (at, fault) in faults {
            self.wait_until(at).await;
            self.happens(fault).await;
        }
        self.wait_until(self.horizon).await;
        self.heal();
        if !self.cluster.are_wanted(Role::Worker) {
            self.wait_for_cancelled().await;
            self.want(Role::Worker, true);
        }
        self.wait_for_ends().await;
        self.judge.judge(&self.broker);
    }

    /// Waits, and looks at the newest results meanwhile.
    async fn wait_until(&mut self, at: Duration) {
        while let Some(left) = at
            .checked_sub(self.world.age())
            .filter(|left| !left.is_zero())
        {
            tokio::time::sleep(left.min(Duration::from_millis(700))).await;
            self.judge.look();
        }
    }

    async fn submit_jobs(&mut self) {
        let jobs = self.world.roll(|dice| dice.between(1, 4));
        let harm = self.themes.iter().flat_map(|theme| theme.harm()).copied();
        let harm: Vec<Does> = harm.collect();
        for number in 0..jobs {
            let harm: &[Does] = match number {
                0 => &harm,
                _ => &[],
            };
            let file = format!("in-{number}");
            let lines = self.world.roll(|dice| lines(dice, harm));
            kind::put_input(&file, lines.clone());
            self.judge.input(&file, lines);
            self.submit(&file).await;
            if self.world.roll(|dice| dice.chance(50)) {
                let pause = self.world.roll(|dice| dice.within(Duration::from_secs(2)));
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Requests a job on the current content of a file.
    async fn submit(&mut self, file: &str) {
        let request = Request {
            file: file.to_owned(),
            chunk_lines: self.chunk_lines,
        };
        let newer = self.newest == 2 && self.world.roll(|dice| dice.chance(50));
        // an input that only the producer can read, as on another machine
        let often = if self.themes.contains(&Theme::Recuts) {
            70
        } else {
            30
        };
        let unseen = self.world.roll(|dice| dice.chance(often));
        let named = match newer {
            true => name::<2>(&request, unseen.then(|| self.judge.number())),
            false => name::<1>(&request, unseen.then(|| self.judge.number())),
        };
        let named = match named {
            Ok(named) => named,
            Err(error) => return self.world.violation(format_args!("not named: {error}")),
        };
        let lines = self.judge.newest(file);
        self.judge
            .asked(Job::new(named.clone(), file, self.chunk_lines, &lines));
        self.send(&named).await;
    }

    async fn send(&mut self, request: &JobRequest) {
        tell!(self.world, "asked for {}", request.job);
        if let Ok(message) = request.to_message() {
            self.publish(message);
        }
    }

    /// Publishes in the background, so that the history goes on.
    fn publish(&self, message: Message) {
        let client = self.client.clone();
        tokio::spawn(async move {
            let _the_history_goes_on = client.publish(message).await;
        });
    }

    /// Starts or stops all processes of a role.
    fn want(&self, role: Role, wanted: bool) {
        for place in self.cluster.places(Some(role)) {
            self.cluster.want(place, wanted);
            if !wanted {
                self.cluster.stop(place);
            }
        }
    }

    /// Ends all faults. Roles that were stopped on purpose stay stopped.
    fn heal(&mut self) {
        tell!(self.world, "-- from here on nothing breaks");
        self.broker.alarm(false);
        for queue in durable() {
            self.broker.unbind(&queue, false);
            self.broker.fill(&queue, false);
        }
        self.broker.set_net(|net| {
            net.repeated = 0;
            net.lost = 0;
        });
        self.disk.fail(0);
        self.disk.fill(false);
        self.disk.refuse_to_flush_folders(false);
        self.world.set_longest_work(Duration::from_millis(10));
    }

    /// Waits until every job ended.
    async fn wait_for_ends(&mut self) {
        if !self.ask_until(Judge::hears).await {
            self.judge.never_ended();
        }
    }

    /// Waits until the cancelled jobs ended, which needs no workers.
    async fn wait_for_cancelled(&mut self) {
        if !self.ask_until(Judge::hears_of_cancelled).await {
            self.world.violation("a cancelled job goes on");
        }
    }

    /// Asks the reducer about its jobs until `is_content`; returns whether that was in time.
    async fn ask_until(&mut self, is_content: fn(&mut Judge, Vec<JobStage>) -> bool) -> bool {
        let until = self.world.age() + self.patience;
        while self.world.age() <= until {
            self.wait_until(self.world.age() + Duration::from_secs(1))
                .await;
            match ask::ask(&self.client, None).await {
                Ok(answer) => {
                    if is_content(&mut self.judge, answer.jobs) {
                        return true;
                    }
                }
                Err(error) => tell!(self.world, "no answer: {error}"),
            }
        }
        false
    }
}

/// Names a request for a job. `unseen` is the number of the request, for a client that cannot read the input.
fn name<const V: u32>(request: &Request, unseen: Option<usize>) -> Result<JobRequest, String> {
    match unseen {
        Some(number) => producer::name_unseen::<Count<V>>(request, &format!("run {number}"))
            .map_err(|error| error.to_string()),
        None => {
            let registry = Registry::default().with::<Count<V>>();
            producer::name_job::<Count<V>>(&registry, request, None)
                .map_err(|error| error.to_string())
        }
    }
}

/// The queues of the cluster.
pub fn durable() -> Vec<Queue> {
    Queue::durable(&kind::formats())
}
