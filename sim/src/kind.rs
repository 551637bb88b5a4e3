//! The simulated kind of job: counts and sums by key, with a side file of rejected lines. [`truth`] computes the right report
//! from the text alone, so that the judge needs no role.
//!
//! The kind has two versions with different chunks, partials and reports: a cluster is upgraded from one to the other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use autoconnect_common::cut::Item;
use autoconnect_common::kind::{ConcludeError, Cut, ReportFile, Steps, WorkError};
use autoconnect_common::{Chunk, CutError, Digest, Format, JobKind, Outlet, Seq};
use serde::{Deserialize, Serialize};

use crate::life;

/// The name of the kind.
pub const NAME: &str = "count";
/// The side file.
pub const REJECTS: &str = "rejets.csv";
/// How many rejected lines a page of it has: few, so that most jobs have several pages.
const PAGE_LINES: usize = 2;

thread_local! {
    static INPUTS: RefCell<BTreeMap<String, Vec<Line>>> = const { RefCell::new(BTreeMap::new()) };
    static MENDED: Cell<bool> = const { Cell::new(false) };
}

/// A line of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The key.
    pub key: u8,
    /// The value, which is summed by key.
    pub value: u64,
    /// The effect on the process that reads it.
    pub does: Does,
}

/// The effect of a line on the process that reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Does {
    /// The line is counted.
    Count,
    /// The cut rejects the line.
    Reject,
    /// The worker panics.
    Panic,
    /// The worker's process ends.
    Kill,
    /// The producer's process ends.
    KillProducer,
    /// The cut fails at the line or, if its value is odd, refuses the whole input at its end.
    Refuse,
}

/// Sets the content of an input, which cuts read from then on.
pub fn put_input(file: &str, lines: Vec<Line>) {
    INPUTS.with(|inputs| inputs.borrow_mut().insert(file.to_owned(), lines));
}

/// With `true`, harmful lines no longer harm workers, as if the workers had got more memory.
pub fn mend(mended: bool) {
    MENDED.with(|known| known.set(mended));
}

fn input(file: &str) -> Result<Vec<Line>, CutError> {
    let lines = INPUTS.with(|inputs| inputs.borrow().get(file).cloned());
    lines.ok_or_else(|| CutError::Refused(format!("{file}: no such file")))
}

/// The request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The input.
    pub file: String,
    /// How many lines a chunk has at most.
    pub chunk_lines: usize,
}

/// The facts of a cut that no chunk carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The digest of all lines.
    pub input: String,
    /// Lines that were rejected.
    pub rejected: u64,
}

/// The count and sum of each key.
pub type Sums = BTreeMap<u8, Sum>;

/// A count of lines, and the sum of their values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// How many lines there are.
    pub lines: u64,
    /// The sum of their values.
    pub sum: u64,
}

impl autoconnect_common::Merge for Sum {
    fn merge(&mut self, other: Self) -> Result<(), autoconnect_common::kind::Overflow> {
        self.lines.merge(other.lines)?;
        self.sum.merge(other.sum)
    }
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The version of the kind.
    pub schema: u32,
    /// The facts of the cut.
    pub facts: Facts,
    /// Count and sum of each key.
    pub sums: Sums,
    /// The chunks that the report lacks.
    pub missing: Vec<Seq>,
}

/// Both versions of the kind.
pub fn formats() -> [Format; 2] {
    [1, 2].map(|schema| Format::new(NAME, schema))
}

/// The kind, in version `V`.
pub struct Count<const V: u32>;

/// The chunks of a text: lines of one key, in order, at most `chunk_lines` each.
pub fn chunks(lines: &[Line], chunk_lines: usize) -> Vec<(u8, Vec<Line>)> {
    let good: Vec<Line> = lines
        .iter()
        .copied()
        .filter(|l| l.does != Does::Reject)
        .collect();
    let keys: BTreeSet<u8> = good.iter().map(|line| line.key).collect();
    let of = |key: u8| -> Vec<Line> { good.iter().copied().filter(|l| l.key == key).collect() };
    let all = keys.into_iter().map(|key| (key, of(key)));
    all.flat_map(|(key, lines)| {
        let chunks = lines.chunks(chunk_lines.max(1));
        chunks
            .map(|lines| (key, lines.to_vec()))
            .collect::<Vec<_>>()
    })
    .collect()
}

/// The pages of the side file of a text.
pub fn pages(lines: &[Line]) -> Vec<Vec<u8>> {
    let rejected: Vec<&Line> = lines.iter().filter(|l| l.does == Does::Reject).collect();
    let pages = rejected.chunks(PAGE_LINES);
    pages
        .map(|lines| {
            let lines = lines
                .iter()
                .map(|line| format!("{};{}\n", line.key, line.value));
            lines.collect::<String>().into_bytes()
        })
        .collect()
}

fn facts(lines: &[Line]) -> Facts {
    let rejected = lines.iter().filter(|l| l.does == Does::Reject).count();
    Facts {
        input: digest(lines).short(16),
        rejected: rejected as u64,
    }
}

/// The fingerprint of a text.
pub fn digest(lines: &[Line]) -> Digest {
    Digest::of(format!("{lines:?}").as_bytes())
}

fn sums(schema: u32, lines: &[Line]) -> Sums {
    let mut sums = Sums::new();
    for line in lines {
        let sum = sums.entry(line.key).or_default();
        sum.lines += 1;
        sum.sum += line.value * u64::from(schema);
    }
    sums
}

/// The right report of a text without the chunks `missing`.
pub fn truth(schema: u32, lines: &[Line], chunk_lines: usize, missing: &[Seq]) -> Report {
    let chunks = chunks(lines, chunk_lines);
    let is_there = |number: usize| !missing.iter().any(|seq| seq.number as usize == number);
    let there = chunks
        .iter()
        .enumerate()
        .filter(|(number, _)| is_there(*number));
    let there: Vec<Line> = there.flat_map(|(_, (_, lines))| lines.clone()).collect();
    Report {
        schema,
        facts: facts(lines),
        sums: sums(schema, &there),
        missing: missing.to_vec(),
    }
}

impl<const V: u32> JobKind for Count<V> {
    const NAME: &'static str = NAME;
    const SCHEMA: u32 = V;
    const AT_ROOT: bool = true;
    type Request = Request;
    type Facts = Facts;
    type Partial = Sums;
    type Report = Report;

    fn files(_: &Report) -> Vec<ReportFile<Report>> {
        vec![
            ReportFile::new("input.txt", |report: &Report, out| {
                write!(out, "{}", report.facts.input)
            }),
            ReportFile::new("tables/sums.txt", |report: &Report, out| {
                let mut sums = report.sums.iter();
                sums.try_for_each(|(key, sum)| writeln!(out, "{key} {} {}", sum.lines, sum.sum))
            }),
        ]
    }

    fn inputs(request: &Request) -> Vec<PathBuf> {
        vec![PathBuf::from(&request.file)]
    }

    fn fingerprint(request: &Request) -> Result<Digest, CutError> {
        input(&request.file).map(|lines| digest(&lines))
    }

    fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
        let lines = input(&request.file)?;
        let deadly = lines.iter().any(|line| line.does == Does::KillProducer);
        if let Some(life) = life::current().filter(|_| deadly) {
            life.crash();
        }
        let mut number = 0;
        for (key, lines) in chunks(&lines, request.chunk_lines) {
            let fails = |line: &Line| line.does == Does::Refuse && line.value.is_multiple_of(2);
            if lines.iter().any(fails) {
                return Err(CutError::Refused("a line cannot be read".to_owned()));
            }
            let body = serde_json::to_vec(&(V, &lines)).unwrap_or_default();
            outlet.put(Item::Chunk {
                seq: Seq::first_part(number),
                key: format!("k{key}"),
                rows: u32::try_from(lines.len()).unwrap_or(u32::MAX),
                body: body.into(),
            })?;
            number += 1;
        }
        let mut count = 0;
        for page in pages(&lines) {
            outlet.put(Item::Annex {
                name: REJECTS,
                page: count,
                body: page.into(),
            })?;
            count += 1;
        }
        let mut annexes = BTreeMap::new();
        if count > 0 {
            annexes.insert(REJECTS.to_owned(), count);
        }
        let refused = lines.iter().any(|line| line.does == Does::Refuse);
        Ok(Cut {
            chunks: vec![number],
            annexes,
            facts: facts(&lines),
            refusal: refused.then(|| "a line is refused".to_owned()),
        })
    }

    fn work(chunk: &Chunk) -> Result<Sums, WorkError> {
        let (schema, lines): (u32, Vec<Line>) =
            serde_json::from_slice(&chunk.body).map_err(|error| WorkError(error.to_string()))?;
        if schema != V {
            return Err(WorkError(format!("version {schema}, expected {V}")));
        }
        for line in lines.iter().filter(|_| !MENDED.with(Cell::get)) {
            match line.does {
                Does::Panic => std::panic::panic_any("a line that panics"),
                Does::Kill => life::current().into_iter().for_each(|life| life.crash()),
                _ => {}
            }
        }
        Ok(sums(V, &lines))
    }

    fn conclude(
        facts: Facts,
        sums: Sums,
        missing: &[Seq],
        _steps: &mut Steps<'_>,
    ) -> Result<Report, ConcludeError> {
        Ok(Report {
            schema: V,
            facts,
            sums,
            missing: missing.to_vec(),
        })
    }

    fn weigh(sums: &Sums) -> u64 {
        sums.len() as u64 * 64
    }
}
