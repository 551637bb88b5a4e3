//! What of a job is kept on disk, as its snapshot: everything but the clock.

use std::collections::BTreeMap;

use autoconnect_common::kind::AddError;
use autoconnect_common::message::Manifest;
use autoconnect_common::{Format, JobId, Registry, Seq};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::annexes::Annexes;
use super::deaths::{Dead, Deaths, Requeued};
use super::losses::Losses;
use super::{Job, Without};
use crate::execution::Figures;
use crate::lease::Lease;
use crate::merged::Merged;
use crate::seal::{KnownSeal, StoredPage};

/// A job as it is kept on disk: everything but the clock.
#[derive(Serialize, Deserialize)]
pub(crate) struct Snapshot {
    format: Option<Format>,
    tally: Option<Box<RawValue>>,
    merged: Vec<(Seq, Merged)>,
    dead: BTreeMap<Seq, Dead>,
    revived: BTreeMap<Seq, Requeued>,
    seal: Vec<StoredPage>,
    // as snapshots of earlier versions call it
    #[serde(rename = "asked")]
    lease: Option<Lease>,
    pages: Annexes,
    manifest: Option<Manifest>,
    without: Option<Without>,
    pub(super) figures: Figures,
    #[serde(default)]
    damage: Option<String>,
    #[serde(default)]
    redo: bool,
    #[serde(default)]
    asked_again: bool,
    #[serde(default)]
    anew: bool,
    #[serde(default)]
    order: Option<u64>,
}

impl Snapshot {
    /// The format of what was merged, if anything was.
    pub(crate) fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }
}

impl Job {
    /// The job as it is now.
    ///
    /// # Errors
    /// One sentence, where the merged partial cannot be written.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, String> {
        let tally = self.tally.tally.as_ref().map(|tally| tally.snapshot());
        Ok(Snapshot {
            format: self.tally.format.clone(),
            tally: tally.transpose().map_err(|error| error.to_string())?,
            merged: self.merged.iter().collect(),
            dead: self.deaths.dead.clone(),
            revived: self.deaths.requeued.clone(),
            seal: self.seal.stored(self.manifest.as_ref()),
            lease: self.lease.clone(),
            pages: self.annexes.clone(),
            manifest: self.manifest.clone(),
            without: self.without.clone(),
            figures: self.figures.clone(),
            damage: self.losses.damage.clone(),
            redo: self.losses.redo,
            asked_again: self.losses.asked_again,
            anew: self.losses.anew,
            order: self.order,
        })
    }

    /// The job as it was.
    ///
    /// # Errors
    /// One sentence, where its kind is unknown here or its merged partial cannot be read.
    pub(crate) fn restore(
        id: JobId,
        snapshot: Snapshot,
        registry: &Registry,
    ) -> Result<Self, String> {
        let mut job = Self::new(id);
        if let Some(format) = &snapshot.format {
            let mut tally = registry.known(&format.kind, format.schema)?.tally();
            if let Some(merged) = &snapshot.tally {
                match tally.add(merged) {
                    Ok(_) => {}
                    Err(AddError::TooHeavy(too_heavy)) => job.give_up(too_heavy.to_string()),
                    Err(error) => return Err(error.to_string()),
                }
            }
            job.tally.tally = Some(tally);
        }
        job.tally.format = snapshot.format;
        job.merged = snapshot.merged.into_iter().collect();
        job.deaths = Deaths {
            dead: snapshot.dead,
            requeued: snapshot.revived,
        };
        job.lease = snapshot.lease;
        job.seal = KnownSeal::restore(snapshot.seal, snapshot.manifest.as_ref())?;
        job.annexes = snapshot.pages;
        job.manifest = snapshot.manifest;
        job.without = snapshot.without.or(job.without);
        job.figures = snapshot.figures;
        job.losses = Losses {
            damage: snapshot.damage,
            redo: snapshot.redo,
            asked_again: snapshot.asked_again,
            anew: snapshot.anew,
        };
        job.order = snapshot.order;
        Ok(job)
    }
}
