//! What each fault does to a cluster.

use std::sync::Arc;
use std::time::Duration;

use autoconnect_common::broker::Queue;
use autoconnect_common::message::{Cancel, JobStage, Message, Stage};
use autoconnect_common::{ask, dead};

use super::{History, lines};
use crate::broker::{Connection, Simulated};
use crate::cluster::{Cluster, Role, job_folder, results, state};
use crate::faults::Fault;
use crate::judge::{Awaited, Excuse};
use crate::kind;
use crate::life::Life;
use crate::world::{lock, tell};

impl History {
    pub(super) async fn happens(&mut self, fault: Fault) {
        tell!(self.world, "-- {fault:?}");
        match fault {
            Fault::Kill(role) => self.at_any(role, Cluster::kill),
            Fault::DieAtOperation(n) => {
                self.each_life(Role::Reducer, |life| life.dies_after_operations(n));
            }
            Fault::DieAtPoll(role, n) => {
                self.any_life(Some(role), |life| life.dies_after_polls(n));
            }
            Fault::PowerCut => self.cluster.cut_power(),
            Fault::Freeze(role, frozen) => {
                self.at_any(Some(role), |cluster, at| cluster.freeze(at, frozen));
            }
            Fault::Stop(role) => self.at_any(role, Cluster::stop),
            Fault::Cut(role, away) => self.any_life(role, |life| self.broker.cut(life, away)),
            Fault::Restart(away) => self.broker.restart(away),
            Fault::Alarm(on) => self.broker.alarm(on),
            Fault::Unbind(queue, unbound) => {
                self.judge.unbound(&queue);
                self.broker.unbind(&queue, unbound);
            }
            Fault::Fill(queue, full) => self.broker.fill(&queue, full),
            Fault::Purge(queue) => self.purge(&queue),
            Fault::Delete(queue, away) => {
                self.broker.delete(&queue, away);
                self.judge.excuse_all(Excuse::Purged);
            }
            Fault::Net(repeated, lost) => self.broker.set_net(|net| {
                net.repeated = repeated;
                net.lost = lost;
            }),
            Fault::DiskFails(of_ten_thousand) => self.disk.fail(of_ten_thousand),
            Fault::DiskFull(full) => self.disk.fill(full),
            Fault::FoldersDoNotFlush(deaf) => self.disk.refuse_to_flush_folders(deaf),
            Fault::Flip => self.flip(),
            Fault::Want(role, wanted) => self.want(role, wanted),
            Fault::Upgrade => self.upgrade(),
            Fault::Clock(seconds) => self.world.jump(seconds),
            Fault::Change => self.change().await,
            Fault::Recut => self.recut().await,
            Fault::Cancel => self.cancel(),
            Fault::AskAgain => self.ask_again().await,
            Fault::Mend => {
                kind::mend(true);
                self.judge.mended();
            }
            Fault::Requeue => self.requeue(),
            Fault::Late(queue) => self.late(&queue),
            Fault::ResultsAway(away) => self.results_away(away),
            Fault::RemoveResults(ask_again) => self.remove_results(ask_again).await,
        }
    }

    fn purge(&mut self, queue: &Queue) {
        if self.broker.purge(queue) > 0 {
            self.judge.excuse_all(Excuse::Purged);
        }
    }

    fn flip(&mut self) {
        if let Some(path) = self.disk.flip(&state()) {
            tell!(self.world, "a bit of {} flips", path.display());
            self.judge.excuse_path(&path, Excuse::Damaged);
        }
    }

    /// Upgrades one program after the other. In the order of docs/operations.md no message waits; in the other order some wait,
    /// but none is lost.
    fn upgrade(&self) {
        let mut places = self.cluster.places(None);
        if self.world.roll(|dice| dice.chance(50)) {
            places.reverse();
        }
        let (world, cluster) = (self.world.clone(), Arc::clone(&self.cluster));
        // in the background, because other faults happen meanwhile
        tokio::spawn(async move {
            for place in places {
                cluster.install(place, 2);
                cluster.stop(place);
                let pause = world.roll(|dice| dice.within(Duration::from_secs(3)));
                tokio::time::sleep(pause).await;
            }
        });
    }

    async fn ask_again(&mut self) {
        if let Some(request) = self.judge.any_request() {
            self.send(&request).await;
        }
    }

    /// Requeues the dead messages, in the background.
    fn requeue(&mut self) {
        let client = self.client.clone();
        let (world, broker) = (self.world.clone(), self.broker.clone());
        let awaited = self.judge.requeues();
        tokio::spawn(async move {
            let requeued = dead::requeue(&client, 100, false, |_| true).await;
            tell!(world, "requeued: {requeued:?}");
            if let (Some(awaited), Ok(requeued)) = (awaited, requeued) {
                await_requeued(&client, &broker, &requeued, &awaited).await;
            }
        });
    }

    /// Delivers a copy of an old message.
    fn late(&self, queue: &Queue) {
        if let Some(copy) = self.broker.any_old(queue) {
            self.broker.inject(copy);
        }
    }

    fn results_away(&mut self, away: bool) {
        // two faults of this kind may overlap: the second one has no effect
        if away == self.judge.are_results_away() {
            return;
        }
        let (here, there) = (results(), "/results.away");
        let moved = match away {
            true => self.disk.move_away(&here, there.as_ref()),
            false => {
                // drop the folder that the reducer made in the place of the one that comes back
                let _ = self.disk.remove(&here);
                self.disk.move_away(there.as_ref(), &here)
            }
        };
        tell!(self.world, "results away {away}: {moved}");
        self.judge.results_away(away);
    }

    async fn remove_results(&mut self, ask_again: bool) {
        let Some(job) = self.judge.any_request() else {
            return;
        };
        let removed = self.disk.remove(&job_folder(job.job.as_str()));
        tell!(self.world, "results of {} removed: {removed}", job.job);
        if removed {
            self.judge.excuse(job.job.as_str(), Excuse::Removed);
            if ask_again {
                self.send(&job).await;
            }
        }
    }

    fn any(&self, role: Option<Role>) -> Option<usize> {
        let places = self.cluster.places(role);
        let place = self.world.roll(|dice| dice.index(places.len()));
        places.get(place).copied()
    }

    /// Applies `act` to one process of a role, or of any role.
    fn at_any(&self, role: Option<Role>, act: impl Fn(&Cluster, usize)) {
        if let Some(place) = self.any(role) {
            act(&self.cluster, place);
        }
    }

    fn any_life(&self, role: Option<Role>, act: impl Fn(&Life)) {
        if let Some(life) = self.any(role).and_then(|place| self.cluster.life(place)) {
            act(&life);
        }
    }

    fn each_life(&self, role: Role, act: impl Fn(&Life)) {
        for place in self.cluster.places(Some(role)) {
            if let Some(life) = self.cluster.life(place) {
                act(&life);
            }
        }
    }

    /// Replaces an input by a corrected one, and perhaps requests a job on it.
    async fn change(&mut self) {
        let Some(file) = self.judge.any_file() else {
            return;
        };
        let new = self.world.roll(|dice| {
            let mut new = self.judge.newest(&file);
            match dice.below(3) {
                0 => new = lines(dice, &[]),
                1 => {
                    let place = dice.index(new.len());
                    new[place].value += 1;
                }
                _ => new.truncate(dice.index(new.len()) + 1),
            }
            new
        });
        tell!(self.world, "{file} is changed");
        kind::put_input(&file, new.clone());
        self.judge.input(&file, new);
        self.judge.excuse_file(&file, Excuse::Changed);
        if self.world.roll(|dice| dice.chance(50)) {
            self.submit(&file).await;
        }
    }

    /// Changes a line of an input that only producers can read, and requests its job again under the old id, as a client does
    /// that does not know of the change.
    async fn recut(&mut self) {
        let Some((request, file)) = self.judge.any_unseen() else {
            return;
        };
        let mut new = self.judge.newest(&file);
        let place = self.world.roll(|dice| dice.index(new.len()));
        new[place].value += 1;
        tell!(
            self.world,
            "{file} is changed, and {} asked for again",
            request.job
        );
        kind::put_input(&file, new.clone());
        self.judge.input(&file, new);
        self.judge.excuse_file(&file, Excuse::Changed);
        self.send(&request).await;
    }

    fn cancel(&mut self) {
        let Some(request) = self.judge.any_request() else {
            return;
        };
        tell!(self.world, "{} is cancelled", request.job);
        self.judge.excuse(request.job.as_str(), Excuse::Cancelled);
        let cancel = Cancel {
            job: request.job,
            reason: "a test".to_owned(),
        };
        if let Ok(message) = cancel.to_message() {
            self.publish(message);
        }
    }
}

/// Records the requeued chunks of which the reducer has received notices: a job that is open now waits for them.
async fn await_requeued(
    client: &Connection,
    broker: &Simulated,
    requeued: &dead::Requeued,
    awaited: &Awaited,
) {
    let is_word = |message: &Message| message.kind == "revived";
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if broker.look(&Queue::Control).iter().any(is_word) {
            continue;
        }
        let Ok(answer) = ask::ask(client, None).await else {
            continue;
        };
        let is_open = |stage: &&JobStage| matches!(stage.stage, Stage::Open { .. });
        for JobStage { job, .. } in answer.jobs.iter().filter(is_open) {
            let done = requeued.found.iter().filter(|id| {
                let is_left = |(left, _): &(String, _)| left == *id;
                !requeued.left.iter().any(is_left)
            });
            let of = done.filter_map(|id| id.strip_prefix(job.as_str())?.strip_prefix('/'));
            lock(awaited).extend(of.map(|seq| (job.to_string(), seq.to_owned())));
        }
        return;
    }
}
