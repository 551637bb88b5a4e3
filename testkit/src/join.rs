//! A kind that joins two inputs: files with a key and an amount on either side, matched by key. It tests
//! [`autoconnect_tables::partition`] in a whole cluster.
//!
//! Keys are cleaned before they are matched, like the plates of cars: only letters and digits count, and case does not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use autoconnect_common::chunk::MAX_BODY;
use autoconnect_common::cut::Item;
use autoconnect_common::kind::{ConcludeError, Cut, Overflow, ReportFile, Steps, WorkError};
use autoconnect_common::text::printable;
use autoconnect_common::{Chunk, CutError, Digest, JobKind, Merge, Outlet, Seq};
use autoconnect_tables::blocks;
use autoconnect_tables::codes;
use autoconnect_tables::header::{Header, Wanted};
use autoconnect_tables::input::{self, Encoding, Inputs};
use autoconnect_tables::partition::{Batch, Bucket, Options, Partitioner, Row, Side, groups};
use autoconnect_tables::reject::{MAX_VALUE, Reason, Refusal, RejectLog, put_pages};
use autoconnect_tables::rows::{self, Rules};
use csv::ByteRecord;
use serde::{Deserialize, Serialize};

/// Counts the rows of each input that have a match in the other, and sums their amounts.
pub struct Join;

/// The side file of rejected rows.
pub const REJECTS: &str = "rejets.csv";
/// The columns of either side.
const WANTED: [Wanted; 2] = [
    Wanted {
        name: "key",
        required: true,
    },
    Wanted {
        name: "amount",
        required: true,
    },
];
/// The bytes of a block: with the rows made of it, it fits the cache of a core.
const BLOCK: usize = 256 << 10;

/// The request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Files of the left side.
    pub left: Vec<PathBuf>,
    /// Files of the right side.
    pub right: Vec<PathBuf>,
    /// The most bytes of a chunk.
    pub chunk_bytes: usize,
    /// The bytes of memory for rows; beyond them rows go to disk. It changes no byte of the report.
    pub memory: usize,
}

/// The counts of `cut` for one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// Accepted rows, which are then matched.
    pub accepted: u64,
    /// Rejected rows, each listed in [`REJECTS`].
    pub rejected: u64,
}

/// The counts of `cut` that no chunk carries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Of the left side.
    pub left: Read,
    /// Of the right side.
    pub right: Read,
}

/// The counts of one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matched {
    /// Rows whose key is also on the other side.
    pub matched: u64,
    /// Rows whose key is not on the other side.
    pub unmatched: u64,
    /// The sum of the amounts of matched rows.
    pub amount: i64,
}

/// The partial of a chunk, and the sum of all chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sums {
    /// Of the left side.
    pub left: Matched,
    /// Of the right side.
    pub right: Matched,
}

impl Merge for Matched {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.matched.merge(other.matched)?;
        self.unmatched.merge(other.unmatched)?;
        self.amount.merge(other.amount)
    }
}

impl Merge for Sums {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.left.merge(other.left)?;
        self.right.merge(other.right)
    }
}

/// The report; as JSON, `report.json`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The rows that were read.
    pub read: Facts,
    /// The rows that were matched.
    pub sums: Sums,
    /// The chunks whose rows are not counted, normally none.
    pub missing: Vec<Seq>,
}

codes! {
    /// The reasons to reject a row.
    pub enum Rule {
        /// The key has no letter or digit.
        KeyEmpty = "cle_vide",
        /// The amount is no whole number.
        AmountInvalid = "montant_invalide",
    }
}

impl JobKind for Join {
    const NAME: &'static str = "join";
    const SCHEMA: u32 = 1;
    type Request = Request;
    type Facts = Facts;
    type Partial = Sums;
    type Report = Report;

    fn files(_: &Report) -> Vec<ReportFile<Report>> {
        Vec::new()
    }

    fn inputs(request: &Request) -> Vec<PathBuf> {
        [&request.left[..], &request.right].concat()
    }

    fn fingerprint(request: &Request) -> Result<Digest, CutError> {
        input::resolve(&Self::inputs(request))?.fingerprint()
    }

    fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
        let (left, right) = (
            input::resolve(&request.left)?,
            input::resolve(&request.right)?,
        );
        let total = input::total_bytes(&left.files) + input::total_bytes(&right.files);
        outlet.progress().set_total(total);
        let mut rows = Partitioner::new(Options {
            memory: request.memory,
            ..Options::new(request.chunk_bytes.min(MAX_BODY))
        });
        let mut rejects = RejectLog::new();
        let facts = Facts {
            left: read(left, Side::Left, &mut rows, &mut rejects, outlet)?,
            right: read(right, Side::Right, &mut rows, &mut rejects, outlet)?,
        };
        let mut chunks = 0;
        rows.into_buckets(&mut |Bucket { rows, body }| {
            outlet.put(Item::Chunk {
                seq: Seq::first_part(chunks),
                key: "keys".to_owned(),
                rows,
                body,
            })?;
            chunks += 1;
            Ok(())
        })?;
        let (pages, page_count, _) = rejects.finish();
        put_pages(pages, REJECTS, outlet)?;
        Ok(Cut {
            chunks: vec![chunks],
            annexes: BTreeMap::from([(REJECTS.to_owned(), page_count)]),
            facts,
            refusal: None,
        })
    }

    fn work(chunk: &Chunk) -> Result<Sums, WorkError> {
        let unreadable =
            |what: &str| WorkError(format!("chunk {} of job {}: {what}", chunk.seq, chunk.job));
        let mut sums = Sums::default();
        for group in groups(&chunk.body) {
            let group = group.map_err(|damaged| unreadable(&damaged.to_string()))?;
            let both = !group.left.is_empty() && !group.right.is_empty();
            for (rows, side) in [
                (&group.left, &mut sums.left),
                (&group.right, &mut sums.right),
            ] {
                side.count(rows, both)
                    .ok_or_else(|| unreadable("a row without an amount, or amounts too large"))?;
            }
        }
        Ok(sums)
    }

    fn conclude(
        facts: Facts,
        sums: Sums,
        missing: &[Seq],
        _steps: &mut Steps<'_>,
    ) -> Result<Report, ConcludeError> {
        Ok(Report {
            read: facts,
            sums,
            missing: missing.to_vec(),
        })
    }

    fn weigh(_: &Sums) -> u64 {
        size_of::<Sums>() as u64
    }
}

impl Matched {
    /// Counts the rows of a key; `None` if a row has no amount, or the sum overflows.
    fn count(&mut self, rows: &[Row<'_>], matched: bool) -> Option<()> {
        if !matched {
            self.unmatched += rows.len() as u64;
            return Some(());
        }
        self.matched += rows.len() as u64;
        for row in rows {
            let amount = i64::from_le_bytes(row.bytes.try_into().ok()?);
            self.amount = self.amount.checked_add(amount)?;
        }
        Some(())
    }
}

/// Passes the rows of one side to `rows`.
fn read(
    inputs: Inputs,
    side: Side,
    rows: &mut Partitioner,
    rejects: &mut RejectLog<Rule>,
    outlet: &Outlet,
) -> Result<Read, CutError> {
    let options = blocks::Options {
        block: BLOCK,
        delimiter: None,
        encoding: Encoding::default(),
        wanted: &WANTED,
    };
    let before = rejects.count();
    let accepted = rows::read(
        inputs.files,
        options,
        &Plates,
        rejects,
        REJECTS,
        outlet,
        &mut |place, batch: Batch| rows.append(side, place, &batch),
    )?;
    Ok(Read {
        accepted,
        rejected: rejects.count() - before,
    })
}

/// Cleans keys, and writes an amount as eight bytes.
struct Plates;

impl Rules for Plates {
    type Rule = Rule;
    type Kept = Batch;

    fn keep(
        &self,
        kept: &mut Batch,
        line: u32,
        record: &ByteRecord,
        header: &Header,
    ) -> Result<(), Refusal<Reason<Rule>>> {
        let field = |column| header.field(record, column);
        let refuse = |rule, column: usize| Refusal {
            reason: Reason::Rule(rule),
            field: WANTED[column].name,
            value: printable(field(column), MAX_VALUE),
        };
        let key: Vec<u8> = field(0)
            .iter()
            .filter(|byte| byte.is_ascii_alphanumeric())
            .map(u8::to_ascii_uppercase)
            .collect();
        if key.is_empty() {
            return Err(refuse(Rule::KeyEmpty, 0));
        }
        let amount = std::str::from_utf8(field(1)).ok();
        let amount = amount.and_then(|amount| amount.parse::<i64>().ok());
        let Some(amount) = amount else {
            return Err(refuse(Rule::AmountInvalid, 1));
        };
        kept.put(line, &key, &amount.to_le_bytes());
        Ok(())
    }
}

/// A request with default sizes.
pub fn request(left: &Path, right: &Path) -> Request {
    Request {
        left: vec![left.to_owned()],
        right: vec![right.to_owned()],
        chunk_bytes: MAX_BODY,
        memory: Options::new(MAX_BODY).memory,
    }
}
