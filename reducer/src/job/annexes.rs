//! Which pages of a job's side files came: a page counts once, under a name that is safe, and where the manifest and its
//! seal have it.

use std::collections::BTreeMap;

use autoconnect_common::Digest;
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::Manifest;
use autoconnect_common::results::EXECUTION;
use serde::{Deserialize, Serialize};

use super::{Absorbed, Job};
use crate::entry::PageEntry;

/// The most pages a side file may have.
pub(super) const MAX_PAGES: u32 = 1 << 20;

/// The pages that came, by side file and number.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Annexes(BTreeMap<String, BTreeMap<u32, Digest>>);

impl Annexes {
    /// Whether no page came.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The side files, and the pages that came of each.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &BTreeMap<u32, Digest>)> {
        self.0.iter()
    }

    /// The page that came under that name and number.
    fn get(&self, name: &str, page: u32) -> Option<&Digest> {
        self.0.get(name)?.get(&page)
    }

    /// How many of the first `expected` pages of a side file came.
    pub(super) fn came(&self, name: &str, expected: u32) -> u64 {
        let pages = self.0.get(name);
        pages.map_or(0, |pages| pages.range(..expected).count() as u64)
    }

    /// The first page that came and is not in `manifest`.
    pub(super) fn stray(&self, manifest: &Manifest) -> Option<String> {
        self.iter().find_map(|(name, pages)| {
            let expected = manifest.annexes.get(name).copied().unwrap_or(0);
            let last = *pages.last_key_value()?.0;
            (last >= expected).then(|| format!("page {last} of {name}"))
        })
    }

    /// The side files of `manifest` that are whole, with the digests of their pages.
    pub(super) fn whole(&self, manifest: &Manifest) -> BTreeMap<String, Vec<Digest>> {
        let mut whole = BTreeMap::new();
        for (name, &expected) in &manifest.annexes {
            if self.came(name, expected) == u64::from(expected) {
                let pages = self.0.get(name).into_iter();
                let digests = pages.flat_map(|pages| pages.range(..expected).map(|(_, d)| *d));
                whole.insert(name.clone(), digests.collect());
            }
        }
        whole
    }
}

impl Job {
    pub(super) fn absorb_page(&mut self, page: &PageEntry<'_>) -> Absorbed {
        let PageEntry { name, digest, .. } = page;
        let page = page.page;
        if let Err(reason) = check_name(name) {
            return Absorbed::Refused(reason);
        }
        if page >= MAX_PAGES {
            return Absorbed::Refused(format!(
                "page {page} of {name}, expected at most {MAX_PAGES} pages"
            ));
        }
        if !self.expects_page(name, page) {
            return Absorbed::Refused(format!("page {page} of {name} is not in the manifest"));
        }
        if self.seal.contradicts_page(name, page, digest) {
            return Absorbed::Stale(format!(
                "page {page} of {name} is of another cut than the one that the manifest seals"
            ));
        }
        match self.annexes.get(name, page) {
            Some(old) if old == digest => Absorbed::Duplicate,
            Some(_) => self.fail(format!(
                "inconsistent: page {page} of {name} came twice, with different contents"
            )),
            None => {
                let annex = self.annexes.0.entry(name.clone().into_owned());
                annex.or_default().insert(page, *digest);
                Absorbed::News
            }
        }
    }

    /// Whether the manifest, if it is known, names this page.
    pub(super) fn expects_page(&self, name: &str, page: u32) -> bool {
        self.manifest
            .as_ref()
            .is_none_or(|m| m.annexes.get(name).is_some_and(|&pages| page < pages))
    }

    /// Whether this page came, with these contents.
    pub(crate) fn has_page(&self, page: &PageEntry<'_>) -> bool {
        self.annexes.get(&page.name, page.page) == Some(&page.digest)
    }

    /// The pages that came of a job that can be asked for again.
    pub(crate) fn pages_to_redo(&self) -> Vec<(String, u32, Digest)> {
        if self.lease.is_none() || self.without.is_some() {
            return Vec::new();
        }
        let of = |(name, pages): (&String, &BTreeMap<u32, Digest>)| {
            let of = |(&page, &digest)| (name.clone(), page, digest);
            pages.iter().map(of).collect::<Vec<_>>()
        };
        self.annexes.iter().flat_map(of).collect()
    }

    /// Forgets a page whose file is damaged: it is waited for as if it never came, and the job is asked for again.
    pub(crate) fn lose_page(&mut self, name: &str, page: u32) {
        let Some(pages) = self.annexes.0.get_mut(name) else {
            return;
        };
        pages.remove(&page);
        let damage = format!("page {page} of {name} is damaged");
        tracing::error!(job_id = %self.id, damage, "page of a side file is damaged; it is waited for again");
        self.note_damage(&damage, true);
        // the job comes to its end another time
        self.order = None;
    }
}

/// Refuses a name that would leave the job's folder or take the place of one of our own files.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let allowed =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let safe = (1..=64).contains(&name.len()) && name.bytes().all(allowed);
    let ours = name == REPORT || name == EXECUTION || name.ends_with(".tmp");
    if safe && !ours && !name.starts_with('.') {
        Ok(())
    } else {
        Err(format!(
            "side file {:?}: expected a name of a-z, 0-9, '.', '_' and '-' that is not one of ours",
            name.chars().take(80).collect::<String>()
        ))
    }
}
