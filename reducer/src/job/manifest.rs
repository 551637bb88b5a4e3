//! What a manifest says of its job: which chunks there are, whether there is to be a report, whether it can be right, and
//! whether another one says the same.

use autoconnect_common::Seq;
use autoconnect_common::message::Manifest;
use autoconnect_common::seal::MAX_SEALED;

use super::annexes::{MAX_PAGES, check_name};

/// Whether the manifest counts this chunk.
pub(super) fn has_chunk(manifest: &Manifest, seq: Seq) -> bool {
    manifest
        .chunks
        .get(usize::from(seq.part))
        .is_some_and(|&chunks| seq.number < chunks)
}

/// How many chunks the manifest counts.
pub(super) fn total(manifest: &Manifest) -> u64 {
    manifest.chunks.iter().map(|&n| u64::from(n)).sum()
}

/// Why there is to be no report, if there is none.
pub(super) fn refusal(manifest: &Manifest) -> Option<String> {
    match (&manifest.refusal, &manifest.facts) {
        (Some(refusal), _) => Some(refusal.clone()),
        (None, None) => Some("the producer could not cut the job".to_owned()),
        (None, Some(_)) => None,
    }
}

/// Whether two manifests say the same; how long the cut took is not part of it.
pub(super) fn same_manifest(a: &Manifest, b: &Manifest) -> bool {
    let facts = |m: &Manifest| m.facts.as_ref().map(|facts| facts.get().to_owned());
    let said = |m: &Manifest| (m.kind.clone(), m.schema, m.refusal.clone());
    let sealed = |m: &Manifest| (m.chunks.clone(), m.annexes.clone(), m.seal.clone());
    said(a) == said(b) && sealed(a) == sealed(b) && facts(a) == facts(b)
}

/// Refuses a manifest of more than a job may have.
pub(super) fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    let pages = manifest
        .annexes
        .values()
        .map(|&n| u64::from(n))
        .sum::<u64>();
    let sealed = total(manifest) + pages;
    if manifest.chunks.len() > 1 << 16 || sealed > MAX_SEALED {
        return Err(format!(
            "manifest of {sealed} chunks and pages in {} parts, expected at most {MAX_SEALED} in 65536",
            manifest.chunks.len()
        ));
    }
    for (name, &pages) in &manifest.annexes {
        check_name(name)?;
        if pages > MAX_PAGES {
            return Err(format!(
                "{name} of {pages} pages, expected at most {MAX_PAGES}"
            ));
        }
    }
    Ok(())
}
