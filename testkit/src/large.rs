//! A kind whose request sets the size of its chunks. The bytes of a chunk follow from its number; a worker counts and sums
//! them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use autoconnect_common::cut::Item;
use autoconnect_common::kind::{ConcludeError, Cut, Overflow, ReportFile, Steps, WorkError};
use autoconnect_common::{Chunk, CutError, Digest, JobKind, Merge, Outlet, Registry, Seq};
use serde::{Deserialize, Serialize};

/// Counts and sums bytes.
pub struct Large;

/// The request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// How many chunks.
    pub chunks: u32,
    /// How many bytes each has.
    pub bytes: usize,
}

/// The count that no chunk carries.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    /// The total of chunks.
    pub chunks: u32,
}

/// The count and the sum of bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// How many bytes there are.
    pub bytes: u64,
    /// The sum of their values.
    pub sum: u64,
}

impl Merge for Sums {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.bytes.merge(other.bytes)?;
        self.sum.merge(other.sum)
    }
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The count and the sum of the bytes of all chunks.
    pub sums: Sums,
    /// The chunks that are not counted.
    pub missing: Vec<Seq>,
}

/// The bytes of the chunk with this number. They differ between chunks and between positions, so that a body that is swapped
/// or shifted changes the sum.
pub fn body(number: u32, bytes: usize) -> Vec<u8> {
    let words = (0..bytes.div_ceil(8) as u64).map(|at| {
        at.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(u64::from(number))
    });
    let mut body: Vec<u8> = words.flat_map(u64::to_le_bytes).collect();
    body.truncate(bytes);
    body
}

impl JobKind for Large {
    const NAME: &'static str = "large";
    const SCHEMA: u32 = 1;
    type Request = Request;
    type Facts = Facts;
    type Partial = Sums;
    type Report = Report;

    fn files(_: &Report) -> Vec<ReportFile<Report>> {
        Vec::new()
    }

    fn inputs(_: &Request) -> Vec<PathBuf> {
        Vec::new()
    }

    fn fingerprint(request: &Request) -> Result<Digest, CutError> {
        let Request { chunks, bytes } = request;
        Ok(Digest::of(format!("{chunks} {bytes}").as_bytes()))
    }

    fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
        for number in 0..request.chunks {
            outlet.put(Item::Chunk {
                seq: Seq::first_part(number),
                key: "bytes".to_owned(),
                rows: 1,
                body: body(number, request.bytes).into(),
            })?;
        }
        Ok(Cut {
            chunks: vec![request.chunks],
            annexes: BTreeMap::new(),
            facts: Facts {
                chunks: request.chunks,
            },
            refusal: None,
        })
    }

    fn work(chunk: &Chunk) -> Result<Sums, WorkError> {
        Ok(Sums {
            bytes: chunk.body.len() as u64,
            sum: chunk.body.iter().map(|byte| u64::from(*byte)).sum(),
        })
    }

    fn conclude(
        _: Facts,
        sums: Sums,
        missing: &[Seq],
        _steps: &mut Steps<'_>,
    ) -> Result<Report, ConcludeError> {
        let missing = missing.to_vec();
        Ok(Report { sums, missing })
    }

    fn weigh(_: &Sums) -> u64 {
        16
    }
}

/// A registry of this kind alone.
pub fn registry() -> Registry {
    Registry::default().with::<Large>()
}

/// Checks a report on `chunks` chunks of `bytes` bytes against the bytes themselves.
///
/// # Errors
/// The difference, if there is one.
pub fn check(report: &[u8], chunks: u32, bytes: usize, missing: &[Seq]) -> Result<()> {
    let found: Report = serde_json::from_slice(report)?;
    let mut expected = Report {
        sums: Sums::default(),
        missing: missing.to_vec(),
    };
    for number in (0..chunks).filter(|&number| !missing.contains(&Seq::first_part(number))) {
        let body = body(number, bytes);
        expected.sums.bytes += body.len() as u64;
        for eight in body.chunks(8) {
            let sum: u32 = eight.iter().map(|&byte| u32::from(byte)).sum();
            expected.sums.sum += u64::from(sum);
        }
    }
    ensure!(found == expected, "found {found:?}, expected {expected:?}");
    Ok(())
}
