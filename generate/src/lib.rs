//! Generates files of transactions like a dealer's export, clean or with faults, and the tables that a correct reader finds.
//!
//! The same [`Options`] give the same bytes on every machine: only integers are drawn. Rows are drawn from one PCG stream
//! and faults from another, so a dirty file is the clean file of the same seed with a fault in some rows. The tables
//! ([`Options::truth`]) are counted from what was drawn, never by reading the file.
//!
//! * `world`: cities, models and calendar, with their probabilities by month and city.
//! * `draw`: weighted random choices in integers.
//! * `row`: one transaction, and its line of text.
//! * `fault`: every fault that a row can have.
//! * `odd`: models that only rows with a fault have.
//! * `truth`: the tables that a correct reader finds, as JSON.

mod draw;
mod fault;
mod odd;
mod row;
mod truth;
mod world;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng as _;

use fault::{Dirt, WrittenRow};
use row::{Draft, Id, Raw};
use truth::Truth;
use world::World;

/// The most cities of a file: three times the communes of France.
pub const MAX_CITIES: u32 = 100_000;

/// The first line of every file.
const HEADER: &[u8] = b"transaction_id,date,ville,type,modele,prix,duree_location_mois\n";
/// The bytes that are collected before they are written: a system call for each MiB costs next to nothing.
const FLUSH_AT: usize = 1 << 20;

/// The file to generate.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// How many rows, those with a fault included, without the header.
    pub rows: u64,
    /// How many cities, 1 to [`MAX_CITIES`]: Lyon, Paris, Marseille, then others.
    pub cities: u32,
    /// The share of rows with a fault, 0 to 1. Every fault is equally likely.
    pub dirty: f64,
    /// The seed of all random choices.
    pub seed: u64,
    /// Whether to write `FILE.truth.json` beside the file.
    pub truth: bool,
}

/// The counts of a generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Rows written; always `accepted + rejected`.
    pub rows: u64,
    /// Rows that a correct reader accepts.
    pub accepted: u64,
    /// Rows that a correct reader rejects.
    pub rejected: u64,
    /// The size of the file.
    pub bytes: u64,
    /// The path of `FILE.truth.json`, if it was requested.
    pub truth: Option<PathBuf>,
}

/// Why a file could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The number of cities is out of its bounds.
    #[error("{found} cities: expected 1 to {MAX_CITIES}")]
    Cities {
        /// The requested number.
        found: u32,
    },
    /// The share of rows with a fault is out of its bounds.
    #[error("{found} of the rows dirty: expected a share between 0 and 1")]
    Dirty {
        /// The requested share.
        found: f64,
    },
    /// The file or its truth could not be written.
    #[error("cannot write {path:?}")]
    Write {
        /// The path of the one that could not.
        path: PathBuf,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
}

/// Writes `file`, and `FILE.truth.json` if `options` request it.
///
/// # Errors
/// [`Error::Cities`] and [`Error::Dirty`] before anything is written; [`Error::Write`] later, with an incomplete file left
/// behind.
pub fn generate(options: &Options, file: &Path) -> Result<Summary, Error> {
    if !(1..=MAX_CITIES).contains(&options.cities) {
        return Err(Error::Cities {
            found: options.cities,
        });
    }
    if !(0.0..=1.0).contains(&options.dirty) {
        return Err(Error::Dirty {
            found: options.dirty,
        });
    }
    let world = World::new(options.cities, options.seed, options.rows);
    let truth = options.truth.then(|| Truth::new(&world));
    let failed = |source| Error::Write {
        path: file.to_owned(),
        source,
    };
    let mut writer = Writer::new(options, &world, truth, File::create(file).map_err(failed)?);
    writer.write_all().map_err(failed)?;
    let truth = match writer.truth.take() {
        Some(truth) => Some(write_truth(&truth, &world, options, file)?),
        None => None,
    };
    Ok(Summary {
        rows: options.rows,
        accepted: options.rows - writer.rejected,
        rejected: writer.rejected,
        bytes: writer.bytes,
        truth,
    })
}

/// Writes the tables that a correct reader finds in `file` to a file beside it, and returns its path.
fn write_truth(
    truth: &Truth,
    world: &World,
    options: &Options,
    file: &Path,
) -> Result<PathBuf, Error> {
    let mut path = OsString::from(file);
    path.push(".truth.json");
    let path = PathBuf::from(path);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let written = truth
        .to_json(world, options, &name)
        .and_then(|json| std::fs::write(&path, json));
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Write { path, source }),
    }
}

/// A file being written.
struct Writer<'a> {
    world: &'a World,
    rows: u64,
    rng: Pcg64Mcg,
    dirt: Option<Dirt>,
    truth: Option<Truth>,
    out: File,
    buffer: Vec<u8>,
    /// The number of the line that the next byte belongs to; the header is line 1.
    line: u64,
    bytes: u64,
    rejected: u64,
}

impl<'a> Writer<'a> {
    fn new(options: &Options, world: &'a World, truth: Option<Truth>, out: File) -> Self {
        Self {
            world,
            rows: options.rows,
            rng: draw::stream(options.seed, 1),
            dirt: (options.dirty > 0.0).then(|| Dirt::new(options)),
            truth,
            out,
            buffer: Vec::with_capacity(FLUSH_AT + 4096),
            line: 2,
            bytes: 0,
            rejected: 0,
        }
    }

    fn write_all(&mut self) -> io::Result<()> {
        if self.dirt.is_some() {
            self.buffer.extend_from_slice("\u{feff}".as_bytes());
        }
        self.buffer.extend_from_slice(HEADER);
        let mut id = Id::first();
        let mut row = 0;
        for day in 0..self.world.days.len() {
            let end = self.world.days[day].end_row;
            while row < end {
                self.row(row, day, &id)?;
                id.advance();
                row += 1;
            }
        }
        if self.dirt.is_some() && self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        }
        self.flush()
    }

    /// Writes row number `row` (from 0), with `day` or a day shortly before as its date.
    fn row(&mut self, row: u64, day: usize, id: &Id) -> io::Result<()> {
        let raw = Raw(std::array::from_fn(|_| self.rng.next_u64()));
        let at_the_edge = row == 0 || row + 1 == self.rows;
        let fault = self.dirt.as_mut().and_then(|dirt| dirt.next(row));
        let kind = fault.and_then(fault::Fault::wanted);
        let draft = Draft::new(self.world, &raw, day, kind, at_the_edge);
        match (fault, &mut self.dirt) {
            (Some(fault), Some(dirt)) => {
                let written = dirt.write(&mut self.buffer, self.world, fault, draft, row, id);
                self.count_fault(row, fault, &written);
            }
            (_, dirt) => {
                let start = self.buffer.len();
                draft.write(&mut self.buffer, self.world, id);
                if let Some(dirt) = dirt {
                    dirt.remember(row, &self.buffer[start..]);
                }
                if let Some(truth) = &mut self.truth {
                    truth.count(self.world, &draft);
                }
                self.line += 1;
            }
        }
        if self.buffer.len() >= FLUSH_AT {
            self.flush()?;
        }
        Ok(())
    }

    /// Counts a row with a fault.
    fn count_fault(&mut self, row: u64, fault: fault::Fault, written: &WrittenRow) {
        let start = self.line + written.lines_before;
        self.line = start + written.lines;
        if fault.rejects() {
            self.rejected += 1;
        }
        if let Some(dirt) = &mut self.dirt {
            dirt.free_id(row, fault);
        }
        if let Some(truth) = &mut self.truth {
            truth.count_fault(self.world, fault, written, start);
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
