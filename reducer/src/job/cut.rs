//! Which cut of a job counts: the one that its manifest seals. What contradicts the seal fails the job where it was merged
//! before, and is dropped as stale where it comes afterwards.

use autoconnect_common::message::Manifest;
use autoconnect_common::seal::{self, Prefix};
use autoconnect_common::{Digest, Registry, Seq};

use super::manifest::{check_manifest, has_chunk, refusal, same_manifest};
use super::{Absorbed, Job};
use crate::seal::Taken;

impl Job {
    /// Takes the manifest, and the cut that it seals.
    pub(super) fn absorb_manifest(&mut self, manifest: &Manifest, registry: &Registry) -> Absorbed {
        if let Some(old) = &self.manifest {
            return if same_manifest(old, manifest) {
                Absorbed::Duplicate
            } else if refusal(old).is_none() && refusal(manifest).is_some() {
                Absorbed::Stale("the job was cut to its end before: that cut counts".to_owned())
            } else {
                self.fail("inconsistent: the producer sent two different manifests".to_owned())
            };
        }
        if let Err(reason) = check_manifest(manifest) {
            return Absorbed::Refused(reason);
        }
        // a producer that gave up does not say what it had sent
        if refusal(manifest).is_none()
            && let Some(stray) = self.stray(manifest)
        {
            return self.fail(format!(
                "inconsistent: {stray} came, and is not in the manifest"
            ));
        }
        if let Err(reason) = self
            .tally
            .accept_format(&manifest.kind, manifest.schema, registry)
        {
            return self.fail(format!("the job cannot be reduced here: {reason}"));
        }
        self.figures.cut(manifest.cut_ms);
        self.manifest = Some(manifest.clone());
        self.look_at_seal()
    }

    /// Takes a page of the seal.
    pub(super) fn absorb_seal(&mut self, seal: Digest, page: u32, prefixes: &str) -> Absorbed {
        let sealed = self.manifest.as_ref().map(|manifest| &manifest.seal);
        let is_sealed =
            |sealed: &Option<seal::Seal>| sealed.as_ref().is_some_and(|s| s.digest == seal);
        match sealed.map(is_sealed) {
            Some(false) => {
                return Absorbed::Stale(format!(
                    "page {page} of a seal that is not the manifest's"
                ));
            }
            Some(true) if self.seal.is_whole() => return Absorbed::Duplicate,
            Some(true) | None => {}
        }
        let Some(prefixes) = seal::from_text(prefixes) else {
            return Absorbed::Refused(format!("page {page} of a seal cannot be read"));
        };
        match self.seal.take(seal, page, prefixes) {
            Taken::New => self.look_at_seal(),
            Taken::Known => Absorbed::Duplicate,
            Taken::Wrong(reason) => Absorbed::Refused(reason),
        }
    }

    /// Puts the seal together once all of it is there, and compares everything that came with it.
    fn look_at_seal(&mut self) -> Absorbed {
        let Some(manifest) = &self.manifest else {
            return Absorbed::News;
        };
        match self.seal.put_together(manifest) {
            Ok(false) => return Absorbed::News,
            Ok(true) => {}
            Err(reason) => return self.fail(reason),
        }
        if let Some(what) = self.unsealed() {
            return self.fail(format!(
                "inconsistent: {what} came, and is not the one of the manifest: the job was cut twice, from an input that had changed; ask for it again"
            ));
        }
        // nothing of these was merged
        let seal = &self.seal;
        let is_sealed = |seq: Seq, chunk: Option<Prefix>| {
            chunk.is_none_or(|chunk| !seal.contradicts_chunk(seq, chunk))
                && has_chunk(manifest, seq)
        };
        self.deaths.keep_sealed(is_sealed);
        Absorbed::News
    }

    /// The first thing that came and is not what the seal says. The seal of a refused job has no chunk, and perhaps no side
    /// file: what came of those before is in no report.
    fn unsealed(&self) -> Option<String> {
        let refused = self.manifest.as_ref().and_then(refusal).is_some();
        let mut merged = self.merged.iter().filter(|_| !refused);
        let chunk = merged.find(|(seq, merged)| self.seal.contradicts_chunk(*seq, merged.chunk));
        let page = self.annexes.iter().find_map(|(name, pages)| {
            let counts = |page| !refused || self.expects_page(name, page);
            let mut pages = pages.iter().filter(|(page, _)| counts(**page));
            let (page, _) = pages.find(|(page, d)| self.seal.contradicts_page(name, **page, d))?;
            Some(format!("page {page} of {name}"))
        });
        chunk.map(|(seq, _)| format!("chunk {seq}")).or(page)
    }

    /// The verdict on an entry of a chunk that is not the sealed one.
    pub(super) fn stale_chunk(&self, seq: Seq, chunk: Option<Prefix>) -> Option<Absorbed> {
        let is_stale = chunk.is_some_and(|chunk| self.seal.contradicts_chunk(seq, chunk));
        is_stale.then(|| {
            Absorbed::Stale(format!(
                "chunk {seq} is of another cut than the one that the manifest seals"
            ))
        })
    }

    /// The first thing that came and is not in `manifest`. A dead chunk does not count: nothing of it was merged.
    fn stray(&self, manifest: &Manifest) -> Option<String> {
        let mut merged = self.merged.iter().map(|(seq, _)| seq);
        let chunk = merged.find(|&seq| !has_chunk(manifest, seq));
        let chunk = chunk.map(|seq| format!("chunk {seq}"));
        chunk.or_else(|| self.annexes.stray(manifest))
    }
}
