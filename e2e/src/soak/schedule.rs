//! The schedule of faults, drawn from a seed.
//!
//! Two schedules run at the same time: one kills workers and the reducer every few seconds, the other ends the broker about
//! every forty seconds. So programs are also killed while the broker is down. The producer and the first worker are never
//! killed, so that their memory is measured over the whole time.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::{RngExt as _, SeedableRng as _};
use rand_pcg::Pcg64Mcg;

use super::Soak;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    WorkerKilled,
    ReducerKilled,
    BrokerKilled,
    BrokerStopped,
}

impl Kind {
    pub(super) const ALL: [(Self, &'static str); 4] = [
        (Self::WorkerKilled, "a worker killed (SIGKILL)"),
        (Self::ReducerKilled, "the reducer killed (SIGKILL)"),
        (Self::BrokerKilled, "the broker killed (SIGKILL)"),
        (Self::BrokerStopped, "the broker stopped (SIGTERM)"),
    ];
}

/// A fault that the cluster recovered from.
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// The time from the restart of the program until every program is connected and a job makes a step. `None` if the broker
    /// was down too: that time belongs to the fault of the broker.
    pub(super) recovery: Option<Duration>,
}

impl Soak {
    /// Runs both schedules until the time is over.
    pub(super) async fn faults(&self, seed: u64) -> Result<Vec<Fault>> {
        let (mut faults, more) = tokio::try_join!(
            self.kill_programs(Pcg64Mcg::seed_from_u64(seed)),
            self.end_broker(Pcg64Mcg::seed_from_u64(!seed)),
        )?;
        faults.extend(more);
        Ok(faults)
    }

    async fn kill_programs(&self, mut rng: Pcg64Mcg) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        while self.lasts(rng.random_range(1_000..6_000)).await {
            let (kind, name) = if rng.random_bool(0.3) {
                (Kind::ReducerKilled, "reducer".to_owned())
            } else {
                let number = rng.random_range(2..=self.workers);
                (Kind::WorkerKilled, format!("worker-{number}"))
            };
            let outages = self.outages.load(Ordering::SeqCst);
            self.cluster.program(&name)?.kill()?;
            tokio::time::sleep(Duration::from_millis(rng.random_range(0..1_500))).await;
            self.cluster.program(&name)?.again()?;
            let recovery = self.cluster.recovered(&[(name, 0)]).await?;
            let alone = outages.is_multiple_of(2) && self.outages.load(Ordering::SeqCst) == outages;
            faults.push(Fault {
                kind,
                recovery: alone.then_some(recovery),
            });
        }
        Ok(faults)
    }

    async fn end_broker(&self, mut rng: Pcg64Mcg) -> Result<Vec<Fault>> {
        let mut faults = Vec::new();
        while self.lasts(rng.random_range(15_000..60_000)).await {
            let (kind, signal) = if rng.random_bool(0.7) {
                (Kind::BrokerKilled, "KILL")
            } else {
                (Kind::BrokerStopped, "TERM")
            };
            self.outages.fetch_add(1, Ordering::SeqCst);
            let logs = self.cluster.log_lengths()?;
            self.cluster.node.end(signal).await?;
            self.cluster.node.again().await?;
            let recovery = self.cluster.recovered(&logs).await?;
            self.outages.fetch_add(1, Ordering::SeqCst);
            faults.push(Fault {
                kind,
                recovery: Some(recovery),
            });
        }
        Ok(faults)
    }

    /// Waits `milliseconds`; returns whether there is time left afterwards.
    async fn lasts(&self, milliseconds: u64) -> bool {
        let wait = Duration::from_millis(milliseconds);
        if Instant::now() + wait >= self.until {
            return false;
        }
        tokio::time::sleep(wait).await;
        true
    }
}
