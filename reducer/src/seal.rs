//! The known part of the seal of a job's cut (see [`autoconnect_common::seal`]): the pages that arrived and, once the
//! manifest and all pages have, the entry of every chunk and page.

use std::collections::BTreeMap;

use autoconnect_common::message::Manifest;
use autoconnect_common::seal::{self, Order, Prefix, Seal};
use autoconnect_common::{Digest, Seq};
use serde::{Deserialize, Serialize};

/// Cuts of one job whose pages are kept until the manifest names the one that it seals. Two are rare, and each costs
/// memory.
const CUTS: usize = 4;

/// The known part of the seal of a job's cut.
#[derive(Debug, Default)]
pub(crate) struct KnownSeal {
    /// Pages by the digest of their whole seal and their number.
    pages: BTreeMap<Digest, BTreeMap<u32, Vec<Prefix>>>,
    sealed: Option<Sealed>,
}

/// A whole seal.
#[derive(Debug)]
struct Sealed {
    order: Order,
    entries: Vec<Prefix>,
}

/// A page of a seal, as stored on disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct StoredPage {
    seal: Digest,
    page: u32,
    prefixes: String,
}

/// How a page of a seal was taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is kept.
    New,
    /// It was known.
    Known,
    /// It cannot be a page of the seal.
    Wrong(String),
}

impl KnownSeal {
    /// Takes a page of a seal.
    pub(crate) fn take(&mut self, of: Digest, page: u32, prefixes: Vec<Prefix>) -> Taken {
        let most = seal::pages_of(seal::MAX_SEALED);
        if prefixes.is_empty() || prefixes.len() > seal::PER_PAGE || u64::from(page) >= most {
            return Taken::Wrong(format!(
                "page {page} of a seal with {} entries, expected 1 to {} entries in each of at most {most} pages",
                prefixes.len(),
                seal::PER_PAGE
            ));
        }
        if self.pages.len() >= CUTS && !self.pages.contains_key(&of) {
            return Taken::Wrong(format!(
                "page {page} of a seal, of one more than {CUTS} cuts"
            ));
        }
        let pages = self.pages.entry(of).or_default();
        match pages.get(&page) {
            Some(old) if *old == prefixes => Taken::Known,
            Some(_) => Taken::Wrong(format!(
                "page {page} of a seal came twice, with different contents"
            )),
            None => {
                pages.insert(page, prefixes);
                Taken::New
            }
        }
    }

    /// Assembles the seal, if all of it is known; returns whether it is.
    ///
    /// # Errors
    /// One sentence, where it is not the seal that the manifest names.
    pub(crate) fn put_together(&mut self, manifest: &Manifest) -> Result<bool, String> {
        if self.sealed.is_some() {
            return Ok(true);
        }
        let order = Order::of(&manifest.chunks, &manifest.annexes);
        let entries = match &manifest.seal {
            None if order.entries() == 0 => Vec::new(),
            None => return Err("the manifest has no seal: the producer that cut the job is older than this reducer; ask for the job again once it was replaced".to_owned()),
            Some(seal) => match self.entries_of(seal, &order)? {
                Some(entries) => entries,
                None => return Ok(false),
            },
        };
        self.pages.clear();
        self.sealed = Some(Sealed { order, entries });
        Ok(true)
    }

    fn entries_of(&self, seal: &Seal, order: &Order) -> Result<Option<Vec<Prefix>>, String> {
        let entries = match &seal.prefixes {
            Some(text) => seal::from_text(text)
                .ok_or_else(|| "the seal in the manifest cannot be read".to_owned())?,
            None => {
                let pages = self.pages.get(&seal.digest);
                let pages = pages.map(|pages| pages.range(..expected(order)));
                let came = pages.clone().map_or(0, Iterator::count);
                if came as u64 != seal::pages_of(order.entries()) {
                    return Ok(None);
                }
                pages
                    .into_iter()
                    .flatten()
                    .flat_map(|(_, page)| page.iter().copied())
                    .collect()
            }
        };
        if entries.len() as u64 != order.entries() {
            return Err(format!(
                "the seal has {} entries, and the manifest {} chunks and pages",
                entries.len(),
                order.entries()
            ));
        }
        if seal::digest(&entries) != seal.digest {
            return Err("the seal does not have the digest that the manifest says".to_owned());
        }
        Ok(Some(entries))
    }

    /// Whether the seal is whole.
    pub(crate) fn is_whole(&self) -> bool {
        self.sealed.is_some()
    }

    /// Whether nothing is known of it.
    pub(crate) fn is_blank(&self) -> bool {
        self.pages.is_empty() && self.sealed.is_none()
    }

    /// Whether this chunk is another one than the seal says; false while the seal is not whole.
    pub(crate) fn contradicts_chunk(&self, seq: Seq, chunk: Prefix) -> bool {
        let sealed = self.sealed.as_ref();
        sealed.is_some_and(|sealed| sealed.entry(sealed.order.of_chunk(seq)) != Some(chunk))
    }

    /// Whether this page is another one than the seal says; false while the seal is not whole.
    pub(crate) fn contradicts_page(&self, name: &str, page: u32, digest: &Digest) -> bool {
        let sealed = self.sealed.as_ref();
        sealed.is_some_and(|sealed| {
            sealed.entry(sealed.order.of_page(name, page)) != Some(Prefix::of(digest))
        })
    }

    /// How many pages of the seal arrived, and how many it has; for a manifest whose seal is not whole.
    pub(crate) fn pages_came(&self, manifest: &Manifest) -> (u64, u64) {
        let order = Order::of(&manifest.chunks, &manifest.annexes);
        let pages = manifest
            .seal
            .as_ref()
            .and_then(|seal| self.pages.get(&seal.digest));
        let came = pages.map_or(0, |pages| pages.range(..expected(&order)).count());
        (came as u64, seal::pages_of(order.entries()))
    }

    /// The pages to store on disk; all of them, of a whole seal that is not in the manifest itself.
    pub(crate) fn stored(&self, manifest: Option<&Manifest>) -> Vec<StoredPage> {
        let stored = |seal: Digest, page: u32, prefixes: &[Prefix]| StoredPage {
            seal,
            page,
            prefixes: seal::to_text(prefixes),
        };
        match (
            &self.sealed,
            manifest.and_then(|manifest| manifest.seal.as_ref()),
        ) {
            (Some(sealed), Some(seal)) if seal.prefixes.is_none() => (0..)
                .zip(sealed.entries.chunks(seal::PER_PAGE))
                .map(|(page, prefixes)| stored(seal.digest, page, prefixes))
                .collect(),
            (Some(_), _) => Vec::new(),
            (None, _) => {
                let pages = self.pages.iter();
                pages
                    .flat_map(|(&seal, pages)| {
                        pages
                            .iter()
                            .map(move |(&page, prefixes)| stored(seal, page, prefixes))
                    })
                    .collect()
            }
        }
    }

    /// Restores a stored seal.
    ///
    /// # Errors
    /// One sentence, where a page or the whole is invalid.
    pub(crate) fn restore(
        pages: Vec<StoredPage>,
        manifest: Option<&Manifest>,
    ) -> Result<Self, String> {
        let mut known = Self::default();
        for StoredPage {
            seal,
            page,
            prefixes,
        } in pages
        {
            let prefixes = seal::from_text(&prefixes).unwrap_or_default();
            if let Taken::Wrong(what) = known.take(seal, page, prefixes) {
                return Err(what);
            }
        }
        if let Some(manifest) = manifest {
            known.put_together(manifest)?;
        }
        Ok(known)
    }
}

impl Sealed {
    fn entry(&self, at: Option<u64>) -> Option<Prefix> {
        self.entries.get(usize::try_from(at?).ok()?).copied()
    }
}

/// The number after the last page of a seal; at most [`seal::pages_of`] of [`seal::MAX_SEALED`].
fn expected(order: &Order) -> u32 {
    u32::try_from(seal::pages_of(order.entries())).unwrap_or(u32::MAX)
}
