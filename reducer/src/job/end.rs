//! When a job is at its end, and how it ends: with a report, whose reason names what it lacks, or without one.

use std::collections::BTreeMap;
use std::time::Duration;

use autoconnect_common::kind::Tally;
use autoconnect_common::message::{Manifest, Status};
use autoconnect_common::{Digest, JobId, Seq};
use serde::{Deserialize, Serialize};

use super::Job;
use super::manifest::{refusal, total};
use crate::execution::Figures;

/// What is said of a missing chunk of which nothing is known.
const NO_PARTIAL: &str = "no partial came";
/// Why something never came, where the reducer lost nothing that would explain it: a job is given up only once the
/// broker's queues were seen empty (see [`silence`](crate::silence)), and the manifest came after all that it counts.
pub(super) const GONE: &str = "nothing of it is at the broker any more: purged, expired or dropped";

/// How a job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// With a report that lacks these chunks (normally none); why it is incomplete, if it is.
    Report {
        missing: Vec<Seq>,
        lacking: Option<String>,
    },
    /// Without a report.
    Without(Without),
}

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Without {
    /// [`Status::Failed`] or [`Status::Cancelled`].
    pub(crate) status: Status,
    /// In one sentence.
    pub(crate) reason: String,
}

impl Without {
    /// The job went wrong.
    pub(crate) fn failed(reason: impl Into<String>) -> Self {
        Self {
            status: Status::Failed,
            reason: reason.into(),
        }
    }

    /// The job was cancelled.
    pub(super) fn cancelled(reason: &str) -> Self {
        Self {
            status: Status::Cancelled,
            reason: match reason {
                "" => "cancelled".to_owned(),
                reason => format!("cancelled: {reason}"),
            },
        }
    }
}

/// A job that ends: all that its conclusion needs.
pub(crate) struct Ended {
    pub(crate) id: JobId,
    pub(crate) end: End,
    pub(crate) tally: Option<Box<dyn Tally>>,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) kind: Option<String>,
    pub(crate) merged: u64,
    pub(crate) dead: BTreeMap<Seq, String>,
    /// The side files that are whole, with the digests of their pages.
    pub(crate) annexes: BTreeMap<String, Vec<Digest>>,
    pub(crate) figures: Figures,
    /// What is said of a missing chunk of which nothing is known.
    pub(crate) unknown: String,
    /// When it came to its end, among all jobs.
    pub(crate) order: u64,
}

impl Job {
    /// How the job ends, once nothing more is to come.
    pub(crate) fn end(&self) -> Option<End> {
        if let Some(without) = &self.without {
            return Some(End::Without(without.clone()));
        }
        let manifest = self.manifest.as_ref()?;
        if !self.seal.is_whole() || !self.lacking_annexes(manifest).is_empty() {
            return None;
        }
        if let Some(refusal) = refusal(manifest) {
            return Some(End::Without(Without::failed(refusal)));
        }
        (self.seen() == total(manifest)).then(|| self.report(manifest))
    }

    /// How the job ends if nothing more comes; `waited` is how long nothing came.
    pub(crate) fn abandon(&self, waited: Duration) -> End {
        if let Some(end) = self.end() {
            return end;
        }
        match &self.manifest {
            None => End::Without(Without::failed(self.losses.unless_lost(&format!(
                "abandoned: nothing came for {waited:?}, and the producer never said its last word"
            )))),
            Some(manifest) => match refusal(manifest) {
                Some(refusal) => End::Without(Without::failed(refusal)),
                None if !self.seal.is_whole() => {
                    let (came, pages) = self.seal.pages_came(manifest);
                    End::Without(Without::failed(self.losses.unless_lost(&format!(
                        "abandoned: nothing came for {waited:?}, and only {came} of {pages} pages of the seal, which proves that all chunks are of one cut"
                    ))))
                }
                None => self.report(manifest),
            },
        }
    }

    /// The end with a report, complete or not.
    fn report(&self, manifest: &Manifest) -> End {
        let missing: Vec<Seq> = manifest
            .seqs()
            .filter(|&seq| !self.merged.contains(seq))
            .collect();
        let mut lacking = self.lacking_annexes(manifest);
        let never_came = missing
            .iter()
            .any(|seq| !self.deaths.dead.contains_key(seq));
        let is_gone = (never_came || !lacking.is_empty()) && self.losses.damage.is_none();
        if !missing.is_empty() {
            lacking.insert(0, self.name_missing(&missing, total(manifest)));
        }
        if is_gone {
            lacking.push(GONE.to_owned());
        }
        let lacking = (!lacking.is_empty()).then(|| lacking.join("; "));
        End::Report { missing, lacking }
    }

    /// One phrase that counts the missing chunks and names the first of them, with what is known of each.
    fn name_missing(&self, missing: &[Seq], total: u64) -> String {
        const NAMED: usize = 5;
        let named: Vec<String> = missing
            .iter()
            .take(NAMED)
            .map(|seq| match self.deaths.dead.get(seq) {
                Some(dead) => format!("{seq} ({})", dead.reason),
                None => format!("{seq} ({})", self.losses.unless_lost(NO_PARTIAL)),
            })
            .collect();
        let more = if missing.len() > NAMED { ", …" } else { "" };
        format!(
            "{} of {total} chunks are missing: {}{more}",
            missing.len(),
            named.join(", ")
        )
    }

    /// One phrase for each side file that is not whole.
    pub(super) fn lacking_annexes(&self, manifest: &Manifest) -> Vec<String> {
        let lacking = |(name, &expected): (&String, &u32)| {
            let came = self.annexes.came(name, expected);
            (came != u64::from(expected)).then(|| {
                self.losses
                    .unless_lost(&format!("{came} of {expected} pages of {name} came"))
            })
        };
        manifest.annexes.iter().filter_map(lacking).collect()
    }

    /// Takes the job apart for its end, which came at `order` among all jobs.
    pub(crate) fn into_ended(self, end: End, order: u64) -> Ended {
        let manifest = self.manifest.as_ref();
        let annexes = manifest.map(|manifest| self.annexes.whole(manifest));
        let unknown = self.losses.unless_lost(NO_PARTIAL);
        Ended {
            id: self.id,
            end,
            tally: self.tally.tally,
            kind: self.tally.format.map(|format| format.kind),
            manifest: self.manifest,
            merged: self.merged.len(),
            dead: self
                .deaths
                .dead
                .into_iter()
                .map(|(seq, dead)| (seq, dead.reason))
                .collect(),
            annexes: annexes.unwrap_or_default(),
            figures: self.figures,
            unknown,
            order,
        }
    }
}
