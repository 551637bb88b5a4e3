//! The act `cut` of `sales`: files of transactions become chunks of one city each.
//!
//! ```text
//! blocks of lines --(threads: hot path, or reference path)--> rows and rejects of a block
//!       --(one at a time, in file order: duplicate ids, one list for each city)--> full lists
//!       --(threads: Arrow)--> chunks
//! ```
//!
//! Which rows make a chunk depends on the order of the rows alone, never on blocks, threads or time.

use std::collections::BTreeMap;
use std::sync::Arc;

use autoconnect_common::cut::Item;
use autoconnect_common::kind::Cut;
use autoconnect_common::{CutError, Digest, Outlet};
use autoconnect_tables::blocks::{Block, Blocks, Options};
use autoconnect_tables::header;
use autoconnect_tables::input::{self, Inputs};
use autoconnect_tables::pipeline::{self, Stage};
use autoconnect_tables::reject::put_pages;
use bytes::Bytes;

use super::block::{BlockReader, Rows, Spare, Vocabulary};
use super::chunk::{Encoder, Label};
use super::columns::WANTED;
use super::gather::{Draft, Gatherer, Limits, Output, Totals};
use super::report::Ignores;
use super::{Facts, Request};
use crate::sales::request::MaxRejects;

/// The side file of rejected rows.
pub const REJETS: &str = "rejets.csv";
/// Bytes of a block: as much as a core's own cache holds beside what is made of it.
const BLOCK: usize = 256 << 10;

/// See [`autoconnect_common::JobKind::fingerprint`].
///
/// # Errors
/// As there.
pub fn fingerprint(request: &Request) -> Result<Digest, CutError> {
    input::resolve(&request.inputs)?.fingerprint()
}

/// See [`autoconnect_common::JobKind::cut`].
///
/// # Errors
/// As there.
pub fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
    cut_with(request, outlet, BLOCK, true)
}

/// As [`cut`], with blocks of another size, and without the hot path; the outcome is the same.
///
/// # Errors
/// As there.
pub fn cut_with(
    request: &Request,
    outlet: &Outlet,
    block: usize,
    hot_path: bool,
) -> Result<Cut<Facts>, CutError> {
    if request.chunk_rows == 0 {
        return Err(CutError::Refused(
            "chunk rows: found 0, expected at least 1".to_owned(),
        ));
    }
    let Inputs { files, left_out } = input::resolve(&request.inputs)?;
    outlet.progress().set_total(input::total_bytes(&files));
    let source = Source {
        fichiers: files.iter().map(|file| file.name.clone()).collect(),
        ignores: Ignores {
            nombre: left_out.count,
            noms: left_out.names,
        },
    };
    let options = Options {
        block,
        delimiter: request.delimiter.map(header::delimiter).transpose()?,
        encoding: request.encoding,
        wanted: &WANTED,
    };
    let (vocabulary, spare) = (Vocabulary::default(), Spare::default());
    let limits = Limits {
        chunk_rows: request.chunk_rows as usize,
        dedup: request.dedup,
        encoding: request.encoding,
        periode: request.periode,
    };
    let today = request.today.to_epoch_days();
    let gatherer = pipeline::run(
        Blocks::new(files, options),
        Gatherer::new(limits, &vocabulary),
        outlet,
        || Reading {
            reader: BlockReader::new(&vocabulary, &spare, today, hot_path),
            sender: Sender::new(outlet, &vocabulary),
        },
    )?;
    let mut totals = gatherer.finish();
    let mut sender = Sender::new(outlet, &vocabulary);
    sender.send_all(
        std::mem::take(&mut totals.drafts),
        std::mem::take(&mut totals.pages),
    )?;
    Ok(sum_up(totals, request, source))
}

/// What was read.
struct Source {
    fichiers: Vec<String>,
    ignores: Ignores,
}

fn sum_up(totals: Totals, request: &Request, source: Source) -> Cut<Facts> {
    let (suites, premieres_lignes) = totals.days.sum_up();
    let rejetees = totals.par_motif.values().sum();
    let facts = Facts {
        fichiers: source.fichiers,
        ignores: source.ignores,
        encodages: totals.notes.encodages,
        lignes_windows_1252: totals.notes.lignes_windows_1252,
        lignes: totals.acceptees + rejetees,
        acceptees: totals.acceptees,
        rejetees,
        par_motif: totals.par_motif,
        avertissements: totals.avertissements,
        hors_periode: totals.hors_periode,
        periode: request.periode,
        premieres_lignes: match request.periode {
            // a requested period has no isolated months
            Some(_) => BTreeMap::new(),
            None => premieres_lignes,
        },
        suites,
        villes: totals.villes,
        orthographes: totals.orthographes,
        marge: request.margin,
    };
    Cut {
        chunks: vec![totals.chunks],
        annexes: BTreeMap::from([(REJETS.to_owned(), totals.page_count)]),
        refusal: too_many_rejects(request.max_rejects, &facts),
        facts,
    }
}

/// Why there will be no report, where too many rows were rejected.
fn too_many_rejects(max: MaxRejects, facts: &Facts) -> Option<String> {
    let Facts {
        lignes, rejetees, ..
    } = *facts;
    let (over, limit) = match max {
        MaxRejects::Rows(rows) => (rejetees > rows, rows.to_string()),
        MaxRejects::Percent(percent) => {
            let allowed = u128::try_from(percent.0).unwrap_or(0) * u128::from(lignes);
            (
                u128::from(rejetees) * 10_000 > allowed,
                format!("{percent} %"),
            )
        }
    };
    let rejected = || {
        let cure = encoding_of_rejects(facts);
        format!(
            "{rejetees} of {lignes} rows rejected, expected at most {limit}: see rejets.csv for each of them{cure}"
        )
    };
    over.then(rejected)
}

/// A hint where rows were rejected that another encoding can read; empty where there are none.
fn encoding_of_rejects(facts: &Facts) -> String {
    let Some(first) = facts.lignes_windows_1252.first() else {
        return String::new();
    };
    let lignes = facts.lignes_windows_1252.iter().map(|file| file.nombre);
    format!(
        "; {} of them read as Windows-1252, the first on line {} of {}: save the file in one encoding, or try --encoding windows-1252",
        lignes.sum::<u64>(),
        first.premiere,
        first.fichier
    )
}

/// One thread: reads blocks, gathers their rows, encodes full chunks.
struct Reading<'a> {
    reader: BlockReader<'a>,
    sender: Sender<'a>,
}

impl<'a> Stage for Reading<'a> {
    type Rows = Rows;
    type Gatherer = Gatherer<'a>;
    type Output = Output;

    fn buffer(&mut self) -> Vec<u8> {
        self.reader.buffer()
    }

    fn read(&mut self, block: Block) -> Result<Rows, CutError> {
        self.reader.read(block)
    }

    fn gather(&mut self, gatherer: &mut Gatherer<'a>, rows: Rows) -> Result<Output, CutError> {
        gatherer.absorb(rows, &mut self.reader)
    }

    fn send(&mut self, output: Output) -> Result<(), CutError> {
        let Output {
            drafts,
            pages,
            rows,
            ..
        } = output;
        self.reader.recycle(rows);
        self.sender.send_all(drafts, pages)
    }

    fn rows(output: &Output) -> u64 {
        output.lignes
    }
}

/// Encodes drafts and puts them.
struct Sender<'a> {
    outlet: &'a Outlet,
    vocabulary: &'a Vocabulary,
    encoder: Encoder,
    modeles: Vec<Arc<str>>,
}

impl<'a> Sender<'a> {
    fn new(outlet: &'a Outlet, vocabulary: &'a Vocabulary) -> Self {
        Self {
            outlet,
            vocabulary,
            encoder: Encoder::default(),
            modeles: Vec::new(),
        }
    }

    fn send_all(&mut self, drafts: Vec<Draft>, pages: Vec<(u32, Bytes)>) -> Result<(), CutError> {
        for draft in drafts {
            self.send(draft)?;
        }
        put_pages(pages, REJETS, self.outlet)
    }

    fn send(&mut self, draft: Draft) -> Result<(), CutError> {
        self.vocabulary.modeles.update(&mut self.modeles);
        let label = Label {
            job: self.outlet.job().as_str(),
            seq: draft.seq,
            ville: &draft.ville,
        };
        let body = self
            .encoder
            .encode(&label, &draft.lignes, &self.modeles)
            .map_err(|error| CutError::Failed {
                what: format!("encoding chunk {}", draft.seq),
                source: std::io::Error::other(error),
            })?;
        let rows = draft.lignes.len() as u32;
        self.outlet.put(Item::Chunk {
            seq: draft.seq,
            key: draft.ville.to_string(),
            rows,
            body,
        })
    }
}
