//! The smallest useful kind: counts the words of text files. It rides the producer, worker and reducer untouched.
//!
//! `docs/new-kind.md` walks through this file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use autoconnect_common::chunk::MAX_BODY;
use autoconnect_common::cut::Item;
use autoconnect_common::kind::{ConcludeError, Cut, ReportFile, Steps, WorkError};
use autoconnect_common::{Chunk, CutError, Digest, JobKind, Outlet, Seq};
use serde::{Deserialize, Serialize};

/// How often each word occurs.
pub struct WordCount;

/// What is asked: everything that can change a byte of the report.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Text files, in UTF-8.
    pub files: Vec<PathBuf>,
    /// How many lines a chunk has at most.
    pub chunk_lines: u32,
}

/// What `cut` learns that no chunk carries.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Lines read.
    pub lines: u64,
}

/// How often each word occurs: a map of integers merges by itself.
pub type Words = BTreeMap<String, u64>;

/// The report; as JSON, `report.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Lines read.
    pub lines: u64,
    /// How often each word occurs.
    pub words: Words,
    /// The chunks whose words are not counted, normally none.
    pub missing: Vec<Seq>,
}

impl JobKind for WordCount {
    const NAME: &'static str = "wordcount";
    const SCHEMA: u32 = 1;
    type Request = Request;
    type Facts = Facts;
    type Partial = Words;
    type Report = Report;

    fn files(_: &Report) -> Vec<ReportFile<Report>> {
        vec![ReportFile::new("words.txt", |report: &Report, out| {
            let mut words = report.words.iter();
            words.try_for_each(|(word, count)| writeln!(out, "{count:8} {word}"))
        })]
    }

    fn inputs(request: &Request) -> Vec<PathBuf> {
        request.files.clone()
    }

    fn fingerprint(request: &Request) -> Result<Digest, CutError> {
        let mut told = String::new();
        for file in &request.files {
            let about = fs::metadata(file).map_err(|error| refused(file, &error))?;
            let _never_fails = write!(told, "{file:?} {} {:?};", about.len(), about.modified());
        }
        Ok(Digest::of(told.as_bytes()))
    }

    fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
        let mut batch = Batch::default();
        for file in &request.files {
            let opened = File::open(file).map_err(|error| refused(file, &error))?;
            for line in BufReader::new(opened).lines() {
                let line = line.map_err(|error| refused(file, &error))?;
                if line.len() >= MAX_BODY {
                    return Err(refused(file, &"a line over 1 MiB"));
                }
                if batch.rows >= request.chunk_lines || batch.text.len() + line.len() >= MAX_BODY {
                    batch.put(outlet)?;
                }
                batch.text.push_str(&line);
                batch.text.push('\n');
                batch.rows += 1;
                batch.lines += 1;
            }
        }
        batch.put(outlet)?;
        Ok(Cut {
            chunks: vec![batch.chunks],
            annexes: BTreeMap::new(),
            facts: Facts { lines: batch.lines },
            refusal: None,
        })
    }

    fn work(chunk: &Chunk) -> Result<Words, WorkError> {
        let text = std::str::from_utf8(&chunk.body).map_err(|e| WorkError(e.to_string()))?;
        let mut words = Words::new();
        for word in text.split(|c: char| !c.is_alphanumeric()) {
            if !word.is_empty() {
                *words.entry(word.to_lowercase()).or_default() += 1;
            }
        }
        Ok(words)
    }

    fn conclude(
        facts: Facts,
        words: Words,
        missing: &[Seq],
        _steps: &mut Steps<'_>,
    ) -> Result<Report, ConcludeError> {
        Ok(Report {
            lines: facts.lines,
            words,
            missing: missing.to_vec(),
        })
    }

    fn weigh(words: &Words) -> u64 {
        words.keys().map(|word| 64 + word.len() as u64).sum()
    }
}

/// Lines that wait for their chunk.
#[derive(Default)]
struct Batch {
    text: String,
    rows: u32,
    lines: u64,
    chunks: u32,
}

impl Batch {
    /// Puts the lines as a chunk, unless there are none.
    fn put(&mut self, outlet: &Outlet) -> Result<(), CutError> {
        if self.rows == 0 {
            return Ok(());
        }
        outlet.put(Item::Chunk {
            seq: Seq::first_part(self.chunks),
            key: "text".to_owned(),
            rows: std::mem::take(&mut self.rows),
            body: std::mem::take(&mut self.text).into(),
        })?;
        self.chunks += 1;
        Ok(())
    }
}

fn refused(file: &Path, why: &dyn std::fmt::Display) -> CutError {
    CutError::Refused(format!("{}: {why}", file.display()))
}

/// Writes a text of `lines` lines to `path`, always the same for the same number, with rare and frequent words in it.
///
/// # Errors
/// The error of the system.
pub fn write_text(path: &Path, lines: u32) -> io::Result<()> {
    let line = |n: u32| format!("la {} de {} vend {n} voitures", n % 7, n % 97);
    let text: Vec<String> = (0..lines).map(line).collect();
    fs::write(path, text.join("\n"))
}
