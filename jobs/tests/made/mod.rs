//! All that a cut of `sales` makes of a text, to be compared: shared by the property tests and the fuzz target.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::kind::Cut;
use autoconnect_common::{CutError, Outlet, Seq, Shutdown};
use autoconnect_jobs::sales::request::{Encoding, Margin, MaxRejects};
use autoconnect_jobs::sales::{Facts, Request, cut};
use autoconnect_report::fixed::Percent;

/// The columns of every table here.
pub(crate) const HEADER: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois";

/// Everything a cut made: facts, chunks and side files, or its refusal.
#[derive(Debug, PartialEq)]
pub(crate) enum Made {
    Cut {
        facts: Box<Facts>,
        chunks: BTreeMap<Seq, (String, u32, Vec<u8>)>,
        rejets: String,
    },
    Refused(String),
}

/// How to cut; none of it may show.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) block: usize,
    pub(crate) hot_path: bool,
    pub(crate) threads: usize,
}

/// One thread, one block, no hot path: what every other way must agree with.
pub(crate) const REFERENCE: How = How {
    block: 1 << 22,
    hot_path: false,
    threads: 1,
};

/// A job on one file in which nothing but a refusal fails.
pub(crate) fn request(file: &Path) -> Request {
    Request {
        inputs: vec![file.to_owned()],
        chunk_rows: 7,
        delimiter: None,
        encoding: Encoding::Auto,
        dedup: true,
        max_rejects: MaxRejects::Percent(Percent::from_units(100)),
        today: chrono::NaiveDate::from_ymd_opt(2026, 1, 1).expect("a date"),
        margin: Margin::default(),
        periode: None,
    }
}

/// Cuts `text` so, and collects all of it; chunks and pages must be numbered without gaps.
pub(crate) fn made(text: &[u8], how: How) -> Made {
    made_by(text, how, |_| {})
}

/// The same for a request that differs from [`request`].
pub(crate) fn made_by(text: &[u8], how: How, differ: impl FnOnce(&mut Request)) -> Made {
    let mut file = tempfile::Builder::new()
        .suffix(".csv")
        .tempfile()
        .expect("a temporary file");
    file.write_all(text).expect("written");
    let job = "sales-test".parse().expect("a job id");
    let (outlet, mut items) = Outlet::new(
        job,
        1 << 16,
        how.threads,
        Arc::new(Progress::default()),
        Shutdown::new(),
    );
    let mut request = request(file.path());
    differ(&mut request);
    let cut = cut::cut_with(&request, &outlet, how.block, how.hot_path);
    drop(outlet);
    let Cut {
        chunks: counts,
        annexes,
        mut facts,
        refusal,
    } = match cut {
        Ok(cut) => cut,
        Err(CutError::Refused(sentence)) => {
            let name = file
                .path()
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            return Made::Refused(
                sentence
                    .replace(&*file.path().to_string_lossy(), "F")
                    .replace(&name, "F"),
            );
        }
        Err(other) => panic!("{other}"),
    };
    assert_eq!(refusal, None);
    facts.fichiers.clear();
    let recognised = facts.encodages.iter_mut().map(|file| &mut file.fichier);
    let unreadable = facts.lignes_windows_1252.iter_mut();
    for name in recognised.chain(unreadable.map(|file| &mut file.fichier)) {
        *name = "F".to_owned();
    }
    let (mut chunks, mut pages) = (BTreeMap::new(), BTreeMap::new());
    while let Ok(item) = items.try_recv() {
        match item {
            Item::Chunk {
                seq,
                key,
                rows,
                body,
            } => {
                assert!(
                    chunks.insert(seq, (key, rows, body.to_vec())).is_none(),
                    "chunk {seq} twice"
                );
            }
            Item::Annex { page, body, .. } => {
                assert!(pages.insert(page, body).is_none(), "page {page} twice");
            }
        }
    }
    assert_eq!(counts, [chunks.len() as u32]);
    assert!(
        chunks
            .keys()
            .copied()
            .eq((0..counts[0]).map(Seq::first_part))
    );
    assert_eq!(annexes["rejets.csv"], pages.len() as u32);
    let rejets = String::from_utf8(pages.into_values().flatten().collect()).expect("UTF-8");
    let name = file
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    Made::Cut {
        facts: Box::new(facts),
        chunks,
        rejets: rejets.replace(&name, "F"),
    }
}

/// The lines below a right header.
pub(crate) fn with_header(lines: &[u8]) -> Vec<u8> {
    [HEADER.as_bytes(), b"\n", lines].concat()
}
