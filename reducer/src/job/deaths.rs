//! Which chunks of a job are dead and which were requeued: a notice of an earlier attempt changes nothing, and a requeued
//! chunk that never comes is dead again.

use std::collections::BTreeMap;

use autoconnect_common::Seq;
use autoconnect_common::message::Manifest;
use autoconnect_common::seal::Prefix;
use serde::{Deserialize, Serialize};

use super::manifest::{has_chunk, total};
use super::{Absorbed, Job};

/// A chunk that is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Dead {
    pub(super) reason: String,
    /// Which one it is, where its message says so.
    pub(super) chunk: Option<Prefix>,
    /// How often it had been requeued before it died.
    #[serde(default)]
    pub(super) revived: u32,
}

/// A chunk that was requeued after its death.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Requeued {
    times: u32,
    /// Which one it is, where its message says so.
    chunk: Option<Prefix>,
    /// Why it died before, where that is known.
    #[serde(default)]
    reason: Option<String>,
}

/// The chunks that died.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    pub(super) dead: BTreeMap<Seq, Dead>,
    /// Those that were requeued since; a chunk that is merged or dies again stays here.
    pub(super) requeued: BTreeMap<Seq, Requeued>,
}

impl Deaths {
    /// Whether no notice of any chunk came.
    pub(super) fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.requeued.is_empty()
    }

    /// How often this chunk was requeued; another one of the same number, of another cut, does not count.
    pub(super) fn times_requeued(&self, seq: Seq, chunk: Option<Prefix>) -> u32 {
        let requeued = self.requeued.get(&seq);
        let is_it =
            |sent: &&Requeued| sent.chunk.is_none() || chunk.is_none() || sent.chunk == chunk;
        requeued.filter(is_it).map_or(0, |sent| sent.times)
    }

    /// Forgets every chunk that is not a sealed one.
    pub(super) fn keep_sealed(&mut self, is_sealed: impl Fn(Seq, Option<Prefix>) -> bool) {
        self.dead.retain(|&seq, dead| is_sealed(seq, dead.chunk));
        self.requeued
            .retain(|&seq, sent| is_sealed(seq, sent.chunk));
    }

    /// Takes a requeued chunk for dead again.
    fn give_up(&mut self, seq: Seq) {
        let Some(sent) = self.requeued.remove(&seq) else {
            return;
        };
        let before = sent.reason.as_deref().unwrap_or("unknown");
        let dead = Dead {
            reason: format!("it was to be requeued, and never came; why it died before: {before}"),
            chunk: sent.chunk,
            // the same notice of a requeue counts again, should it come again
            revived: sent.times.saturating_sub(1),
        };
        self.dead.insert(seq, dead);
    }
}

impl Job {
    pub(super) fn absorb_dead(
        &mut self,
        seq: Seq,
        reason: &str,
        revived: u32,
        chunk: Option<Prefix>,
    ) -> Absorbed {
        if let Some(stale) = self.stale_chunk(seq, chunk) {
            return stale;
        }
        // the notice of a later death overtakes a late notice of the requeue between the two
        let dead = self.deaths.dead.get(&seq);
        let known = dead.is_some_and(|dead| revived <= dead.revived);
        let earlier = revived < self.deaths.times_requeued(seq, chunk);
        if self.merged.contains(seq) || known || earlier {
            return Absorbed::Duplicate;
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        let dead = Dead {
            reason: reason.to_owned(),
            chunk,
            revived,
        };
        self.deaths.dead.insert(seq, dead);
        Absorbed::News
    }

    pub(super) fn absorb_requeued(
        &mut self,
        seq: Seq,
        times: u32,
        chunk: Option<Prefix>,
    ) -> Absorbed {
        if let Some(stale) = self.stale_chunk(seq, chunk) {
            return stale;
        }
        if self.merged.contains(seq) || times <= self.deaths.times_requeued(seq, chunk) {
            return Absorbed::Duplicate;
        }
        if self.manifest.as_ref().is_some_and(|m| !has_chunk(m, seq)) {
            return Absorbed::Refused(format!("chunk {seq} is not in the job's manifest"));
        }
        // the notice of a requeue may come after that of the death that followed
        let dead = self.deaths.dead.get(&seq);
        if dead.is_some_and(|dead| times <= dead.revived) {
            return Absorbed::Duplicate;
        }
        let sent = Requeued {
            times,
            chunk,
            reason: self.deaths.dead.remove(&seq).map(|dead| dead.reason),
        };
        self.deaths.requeued.insert(seq, sent);
        // it is waited for: the job comes to its end another time
        self.order = None;
        Absorbed::News
    }

    /// The chunks that were requeued and of which nothing came since.
    fn awaited_again(&self) -> impl Iterator<Item = Seq> {
        let sent = self.deaths.requeued.keys().copied();
        sent.filter(|&seq| !self.merged.contains(seq) && !self.deaths.dead.contains_key(&seq))
    }

    /// Whether the job waits for nothing but requeued chunks.
    pub(crate) fn awaits_only_requeued(&self) -> bool {
        let whole = |m: &Manifest| self.seal.is_whole() && self.lacking_annexes(m).is_empty();
        if self.deaths.requeued.is_empty() {
            return false;
        }
        let Some(manifest) = self.manifest.as_ref().filter(|m| whole(m)) else {
            return false;
        };
        let awaited = self.awaited_again().count() as u64;
        self.without.is_none() && awaited > 0 && self.seen() + awaited == total(manifest)
    }

    /// Takes the requeued chunks that never came for dead again: the requeue stopped between its notice and its publish,
    /// and the dead queue has them still. A reducer that starts again waits for them again, so no journal needs to know.
    pub(crate) fn give_requeued_up(&mut self) {
        for seq in self.awaited_again().collect::<Vec<_>>() {
            self.deaths.give_up(seq);
        }
    }
}
