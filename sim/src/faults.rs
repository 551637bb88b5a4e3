//! The faults, grouped by themes. Each history has a few themes, so that related faults occur together.

use std::time::Duration;

use autoconnect_common::broker::Queue;

use crate::cluster::Role;
use crate::dice::Dice;
use crate::kind::{self, Does};

/// A fault, or another event that a cluster must survive.
#[derive(Debug, Clone)]
pub enum Fault {
    /// A process is killed.
    Kill(Option<Role>),
    /// The reducers die at their n-th next operation on a file.
    DieAtOperation(u64),
    /// A process dies the n-th next time that it is polled.
    DieAtPoll(Role, u64),
    /// The machine of the reducers loses its power.
    PowerCut,
    /// A process is frozen, as by SIGSTOP.
    Freeze(Role, Duration),
    /// A process is stopped.
    Stop(Option<Role>),
    /// A process loses its connections.
    Cut(Option<Role>, Duration),
    /// The broker is down, then restarts.
    Restart(Duration),
    /// An alarm of the broker blocks every publish.
    Alarm(bool),
    /// A queue loses its bindings.
    Unbind(Queue, bool),
    /// A queue is full.
    Fill(Queue, bool),
    /// A queue loses its ready messages.
    Purge(Queue),
    /// A queue is deleted and declared again.
    Delete(Queue, Duration),
    /// How many of ten thousand messages are stored twice, and how many are lost with their connection.
    Net(u64, u64),
    /// How many of ten thousand operations on files fail.
    DiskFails(u64),
    /// The disk is full.
    DiskFull(bool),
    /// No folder can be flushed.
    FoldersDoNotFlush(bool),
    /// A bit of the reducer's state flips.
    Flip,
    /// All processes of a role are stopped, or started.
    Want(Role, bool),
    /// The programs are replaced by newer ones.
    Upgrade,
    /// The wall clock jumps.
    Clock(i64),
    /// An input is replaced.
    Change,
    /// An input that only producers can read is replaced, and a job on it is requested again under its old id.
    Recut,
    /// A job is cancelled.
    Cancel,
    /// A job is requested again.
    AskAgain,
    /// The dead messages are requeued.
    Requeue,
    /// Chunks that harmed workers do no harm from now on, as after a repair of the program.
    Mend,
    /// A copy of an old message arrives late.
    Late(Queue),
    /// The folder of results is moved away, or back.
    ResultsAway(bool),
    /// The results of a job are removed, and the job is requested again, or not.
    RemoveResults(bool),
}

/// Faults that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Processes are killed.
    Kills,
    /// The reducer dies at an operation on a file.
    Crashes,
    /// The power is cut.
    Power,
    /// Processes are frozen.
    Freezes,
    /// Processes are stopped.
    Stops,
    /// Connections are cut.
    Cuts,
    /// The broker is down.
    Outages,
    /// Alarms of the broker block every publish.
    Alarms,
    /// Queues lose their bindings.
    Bindings,
    /// Queues lose messages.
    Losses,
    /// Messages are duplicated, and lost on their way.
    Network,
    /// The disk fails.
    BadDisk,
    /// The disk is full while connections flap.
    FullDisk,
    /// Bits flip.
    Flips,
    /// No worker runs for a long time.
    NobodyWorks,
    /// The programs are replaced.
    Upgrades,
    /// The clock jumps.
    Clocks,
    /// Inputs change.
    Changes,
    /// Two versions of an input are cut for one job, and chunks of the first are lost.
    Recuts,
    /// Jobs are cancelled.
    Cancels,
    /// Jobs are requested again.
    Repeats,
    /// Chunks at which workers panic.
    Panics,
    /// Chunks that kill workers.
    Killers,
    /// Several chunks that kill workers. One of them is in quarantine, with chunks that were unacked beside it, while another
    /// still is in its queue.
    SeveralKillers,
    /// The reducer often replaces its journals by snapshots and is killed, while some chunks are dead and others are returned.
    Snapshots,
    /// The reducer restarts with a backlog, dies while it works it off, and the broker notices late.
    Backlogs,
    /// A request that kills its producers.
    DeadlyRequests,
    /// Inputs whose cut fails in the middle, or that are refused at their end.
    BadInputs,
    /// Dead queues are full.
    FullDead,
    /// Copies of old messages arrive late.
    LateCopies,
    /// Results are moved away and removed.
    Results,
}

const ALL: [Theme; 31] = [
    Theme::Kills,
    Theme::Crashes,
    Theme::Power,
    Theme::Freezes,
    Theme::Stops,
    Theme::Cuts,
    Theme::Outages,
    Theme::Alarms,
    Theme::Bindings,
    Theme::Losses,
    Theme::Network,
    Theme::BadDisk,
    Theme::FullDisk,
    Theme::Flips,
    Theme::NobodyWorks,
    Theme::Upgrades,
    Theme::Clocks,
    Theme::Changes,
    Theme::Recuts,
    Theme::Cancels,
    Theme::Repeats,
    Theme::Panics,
    Theme::Killers,
    Theme::SeveralKillers,
    Theme::Snapshots,
    Theme::Backlogs,
    Theme::DeadlyRequests,
    Theme::BadInputs,
    Theme::FullDead,
    Theme::LateCopies,
    Theme::Results,
];

/// Draws the themes of a history.
pub fn themes(dice: &mut Dice) -> Vec<Theme> {
    let mut themes = Vec::new();
    for _ in 0..dice.between(0, 4) {
        let theme = ALL[dice.index(ALL.len())];
        if !themes.contains(&theme) {
            themes.push(theme);
        }
    }
    themes
}

fn role(dice: &mut Dice) -> Role {
    [Role::Producer, Role::Worker, Role::Reducer][dice.index(3)]
}

fn any_role(dice: &mut Dice) -> Option<Role> {
    dice.chance(70).then(|| role(dice))
}

impl Theme {
    /// The harmful lines of the first input.
    pub fn harm(self) -> &'static [Does] {
        match self {
            Self::Panics => &[Does::Panic, Does::Panic],
            // one dies at once, the other takes as many workers as a quarantine lets it
            Self::Killers | Self::Snapshots => &[Does::Kill, Does::Panic],
            Self::SeveralKillers => &[Does::Kill; 4],
            Self::DeadlyRequests => &[Does::KillProducer],
            Self::BadInputs => &[Does::Refuse],
            _ => &[],
        }
    }

    /// Draws the faults of the theme, each with its time.
    pub fn faults(self, dice: &mut Dice, horizon: Duration) -> Vec<(Duration, Fault)> {
        let mut faults = Vec::new();
        for _ in 0..dice.between(1, 4) {
            let at = dice.within(horizon);
            // most jobs end early in a history, so half of the faults come in its first tenth
            let at = if dice.chance(50) { at / 10 } else { at };
            faults.extend(self.fault(dice, at, horizon));
        }
        faults
    }

    // long, as a catalogue is: an entry for each theme
    fn fault(self, dice: &mut Dice, at: Duration, horizon: Duration) -> Vec<(Duration, Fault)> {
        let for_a_while = dice.within(horizon.saturating_sub(at).max(Duration::from_secs(1)));
        let until = at + for_a_while;
        let once = |fault| vec![(at, fault)];
        let meanwhile = |on: Fault, off: Fault| vec![(at, on), (until, off)];
        match self {
            Self::Kills => once(Fault::Kill(any_role(dice))),
            Self::Crashes => match dice.chance(70) {
                true => once(Fault::DieAtOperation(dice.below(60))),
                false => once(Fault::DieAtPoll(role(dice), dice.below(60))),
            },
            Self::Power => match dice.chance(50) {
                true => once(Fault::PowerCut),
                false => vec![
                    (at, Fault::DieAtOperation(dice.below(60))),
                    (at + dice.within(Duration::from_secs(2)), Fault::PowerCut),
                ],
            },
            Self::Freezes => once(Fault::Freeze(role(dice), for_a_while)),
            Self::Stops => once(Fault::Stop(any_role(dice))),
            Self::Cuts => once(Fault::Cut(any_role(dice), for_a_while / 4)),
            Self::Outages => once(Fault::Restart(for_a_while / 2)),
            Self::Alarms => meanwhile(Fault::Alarm(true), Fault::Alarm(false)),
            Self::Bindings => {
                let queue = bound(dice);
                meanwhile(
                    Fault::Unbind(queue.clone(), true),
                    Fault::Unbind(queue, false),
                )
            }
            Self::Losses => {
                let queue = bound(dice);
                match dice.chance(50) {
                    true => once(Fault::Purge(queue)),
                    false => once(Fault::Delete(queue, for_a_while / 4)),
                }
            }
            Self::Network => meanwhile(
                Fault::Net(dice.below(2_000), dice.below(200)),
                Fault::Net(0, 0),
            ),
            Self::BadDisk => match dice.chance(70) {
                true => meanwhile(
                    Fault::DiskFails(dice.between(10, 2_000)),
                    Fault::DiskFails(0),
                ),
                false => meanwhile(
                    Fault::FoldersDoNotFlush(true),
                    Fault::FoldersDoNotFlush(false),
                ),
            },
            // the reducer may forget a request that it refused before the disk has room again
            Self::FullDisk if dice.chance(30) => {
                let after = |dice: &mut Dice| at + dice.within(Duration::from_secs(4));
                vec![
                    (at, Fault::ResultsAway(true)),
                    (at, Fault::DiskFull(true)),
                    (at, Fault::AskAgain),
                    (after(dice), Fault::ResultsAway(false)),
                    (after(dice), Fault::DiskFull(false)),
                ]
            }
            Self::FullDisk => {
                let mut faults = meanwhile(Fault::DiskFull(true), Fault::DiskFull(false));
                // a client connects again after 0.2 s at the earliest
                let every = (for_a_while / 30).max(Duration::from_millis(500));
                for n in 0..30 {
                    let flap = at + every * n;
                    if flap < until {
                        faults.push((flap, Fault::Cut(Some(Role::Reducer), Duration::ZERO)));
                    }
                }
                faults
            }
            Self::Flips => match dice.chance(50) {
                true => once(Fault::Flip),
                false => vec![(at, Fault::Flip), (at, Fault::Kill(Some(Role::Reducer)))],
            },
            Self::NobodyWorks => vec![(Duration::ZERO, Fault::Want(Role::Worker, false))],
            Self::Upgrades => once(Fault::Upgrade),
            Self::Clocks => {
                let jump = i64::try_from(dice.between(1, 7_200)).unwrap_or(0);
                once(Fault::Clock(if dice.chance(50) { jump } else { -jump }))
            }
            Self::Changes => match dice.chance(50) {
                true => once(Fault::Change),
                false => vec![
                    (at, Fault::DieAtPoll(Role::Producer, dice.below(30))),
                    (at, Fault::Change),
                ],
            },
            Self::Recuts => {
                let mut faults = vec![(Duration::ZERO, Fault::Want(Role::Worker, false))];
                let chunks = kind::formats().map(Queue::Chunks);
                faults.extend(chunks.map(|queue| (at, Fault::Purge(queue))));
                faults.push((at, Fault::Recut));
                if dice.chance(70) {
                    faults.push((at, Fault::DieAtPoll(Role::Producer, dice.below(30))));
                }
                faults
            }
            Self::Snapshots => once(Fault::Kill(Some(Role::Reducer))),
            Self::Backlogs => {
                let starts = at + Duration::from_millis(10);
                vec![
                    (Duration::ZERO, Fault::Want(Role::Reducer, false)),
                    (at, Fault::Want(Role::Reducer, true)),
                    (starts, Fault::DieAtOperation(dice.below(60))),
                ]
            }
            Self::Cancels => match dice.chance(50) {
                true => once(Fault::Cancel),
                // without workers nothing but the cancellation can end the job
                false => vec![
                    (Duration::ZERO, Fault::Want(Role::Worker, false)),
                    (at, Fault::Cancel),
                ],
            },
            Self::Repeats | Self::BadInputs => once(Fault::AskAgain),
            Self::Panics | Self::Killers if dice.chance(30) => {
                let soon = dice.within(Duration::from_secs(5));
                vec![(at, Fault::Mend), (at + soon, Fault::Requeue)]
            }
            Self::Panics | Self::Killers | Self::SeveralKillers | Self::DeadlyRequests => {
                once(Fault::Requeue)
            }
            Self::FullDead => {
                let queue = [Queue::DeadChunks, Queue::DeadResults][dice.index(2)].clone();
                meanwhile(Fault::Fill(queue.clone(), true), Fault::Fill(queue, false))
            }
            Self::LateCopies => once(Fault::Late(bound(dice))),
            Self::Results => match dice.below(3) {
                0 => once(Fault::RemoveResults(true)),
                1 => vec![
                    (at, Fault::ResultsAway(true)),
                    (at + Duration::from_secs(1), Fault::ResultsAway(false)),
                ],
                // late messages of an earlier run of a job arrive during the next run
                _ => {
                    let mut soon = || at + dice.within(Duration::from_millis(300));
                    let removed = (soon(), soon());
                    let late: Vec<Duration> = (0..8).map(|_| soon()).collect();
                    let formats = kind::formats();
                    let format = &formats[dice.index(formats.len())];
                    let late = late.into_iter();
                    let late = late.map(|at| (at, Fault::Late(Queue::Results(format.clone()))));
                    let mut faults: Vec<_> = late.collect();
                    faults.push((removed.0, Fault::RemoveResults(dice.chance(50))));
                    faults.push((removed.1, Fault::RemoveResults(true)));
                    faults
                }
            },
        }
    }
}

/// One of the queues that programs publish to.
fn bound(dice: &mut Dice) -> Queue {
    let formats = kind::formats();
    let format = formats[dice.index(formats.len())].clone();
    match dice.below(3) {
        0 => Queue::Chunks(format),
        1 => Queue::Results(format),
        _ => Queue::Jobs(format),
    }
}
