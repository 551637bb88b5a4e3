//! How a reducer starts: what it finds in its state folder, it takes up again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use autoconnect_common::results::Results;
use autoconnect_common::{Broker, Registry};
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::blobs::Removals;
use super::phase::Phase;
use super::{CATCH_UP, Reducer, silent};
use crate::announce::Announcer;
use crate::conclusions::Conclusions;
use crate::ending::Place;
use crate::pages::VolatilePages;
use crate::silence::Silence;
use crate::store::{Found, Store};
use crate::together::FLUSHING;
use crate::tombstone::{Graves, Tombstones};
use crate::{Config, Error, Summary};

impl<'r, B: Broker> Reducer<'r, B> {
    /// A reducer that goes on where the last one on the same state folder stopped.
    pub(crate) async fn start(
        broker: &'r B,
        registry: &'r Registry,
        config: Config,
        announcer: Announcer,
    ) -> Result<Self, Error> {
        let (store, found) = match &config.state {
            None => (None, Found::default()),
            Some(folder) => {
                let faults = config.faults.clone();
                let disk = Arc::clone(&config.disk);
                let (store, found) =
                    Store::open(disk, folder, registry, config.snapshot_after, faults)?;
                tracing::info!(folder = %folder.display(), "state folder locked");
                (Some(store), found)
            }
        };
        let abandon_after = config.abandon_after;
        let removals = Removals::new(config.blobs.clone(), broker.health(), config.sweeps);
        let mut reducer = Self {
            broker,
            registry,
            place: place(&config, registry),
            config,
            announcer,
            store,
            volatile_pages: VolatilePages::default(),
            jobs: BTreeMap::new(),
            tombstones: Tombstones::default(),
            reading: None,
            questions: Vec::new(),
            pointless: BTreeSet::new(),
            unsettled: Vec::new(),
            commit_at: None,
            failed_commits: 0,
            ripe: BTreeSet::new(),
            found: BTreeSet::new(),
            caught_up_at: Instant::now() + CATCH_UP,
            took_at: Instant::now(),
            conclusions: Conclusions::default(),
            silence: Silence::new(broker, registry.formats(), abandon_after),
            requeued: Silence::new(
                broker,
                registry.formats(),
                abandon_after.min(silent::REQUEUED),
            ),
            burials: FuturesUnordered::new(),
            begun: Vec::new(),
            requests: FuturesUnordered::new(),
            attempts: JoinSet::new(),
            stopping: false,
            choices: JoinSet::new(),
            removals,
            last_order: 0,
            summary: Summary::default(),
        };
        reducer.go_on(found);
        Ok(reducer)
    }

    /// Takes up what was found in the state folder.
    fn go_on(&mut self, found: Found) {
        if let Some(state) = self.config.state.clone() {
            let (disk, results) = (Arc::clone(&self.place.disk), self.place.results.clone());
            let graves = Graves {
                disk,
                state,
                results,
            };
            self.tombstones = Tombstones::of(graves, found.ended);
        }
        for job in found.unannounced {
            self.announce(&job);
            self.removals.remove(&job);
            if let Some(store) = &mut self.store {
                store.forget(&job);
            }
        }
        let newest = self.place.results.newest_order().unwrap_or_default();
        let orders = found.jobs.iter().filter_map(|(_, job)| job.order());
        self.last_order = orders.fold(newest, u64::max);
        for (id, job) in found.jobs {
            tracing::info!(job_id = %id, "job taken up again");
            self.found.insert(id.clone());
            self.jobs.insert(id, Phase::Open(Box::new(job)));
        }
        for (id, job) in found.again {
            self.jobs.insert(id, Phase::Again(Box::new(job)));
        }
    }
}

/// Where the ends of jobs are written.
fn place(config: &Config, registry: &Registry) -> Place {
    let disk = Arc::clone(&config.disk);
    Place {
        results: Results::new(disk, &config.results, registry.at_root()),
        disk: Arc::clone(&config.disk),
        state: config.state.clone(),
        faults: config.faults.clone(),
        flushing: FLUSHING,
    }
}
