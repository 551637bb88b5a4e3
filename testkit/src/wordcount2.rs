//! [`WordCount`] in a second version: the same request and the same report, from other chunks. Each line of a chunk begins with
//! a mark, which a worker of the first version would count as a word, so that the report would show the mistake.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use autoconnect_common::cut::Item;
use autoconnect_common::kind::{ConcludeError, Cut, ReportFile, Steps, WorkError};
use autoconnect_common::{Chunk, CutError, Digest, JobKind, Outlet, Seq};

use crate::wordcount::{Facts, Report, Request, WordCount, Words};

/// How often each word occurs, in the second version.
pub struct WordCountTwo;

/// The mark at the beginning of each line of a chunk.
const MARK: &str = "two ";

impl JobKind for WordCountTwo {
    const NAME: &'static str = WordCount::NAME;
    const SCHEMA: u32 = 2;
    type Request = Request;
    type Facts = Facts;
    type Partial = Words;
    type Report = Report;

    fn files(report: &Report) -> Vec<ReportFile<Report>> {
        WordCount::files(report)
    }

    fn inputs(request: &Request) -> Vec<PathBuf> {
        WordCount::inputs(request)
    }

    fn fingerprint(request: &Request) -> Result<Digest, CutError> {
        WordCount::fingerprint(request)
    }

    fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
        let (mut chunks, mut read) = (0, 0);
        for file in &request.files {
            let refused = |error| CutError::Refused(format!("{}: {error}", file.display()));
            let text = fs::read_to_string(file).map_err(refused)?;
            let lines: Vec<&str> = text.lines().collect();
            read += lines.len() as u64;
            for lines in lines.chunks((request.chunk_lines as usize).max(1)) {
                let marked: Vec<String> =
                    lines.iter().map(|line| format!("{MARK}{line}\n")).collect();
                outlet.put(Item::Chunk {
                    seq: Seq::first_part(chunks),
                    key: "text".to_owned(),
                    rows: u32::try_from(lines.len()).unwrap_or(u32::MAX),
                    body: marked.concat().into(),
                })?;
                chunks += 1;
            }
        }
        Ok(Cut {
            chunks: vec![chunks],
            annexes: BTreeMap::new(),
            facts: Facts { lines: read },
            refusal: None,
        })
    }

    fn work(chunk: &Chunk) -> Result<Words, WorkError> {
        let text = std::str::from_utf8(&chunk.body).map_err(|e| WorkError(e.to_string()))?;
        let lines = text.lines().map(|line| line.strip_prefix(MARK));
        let lines: Option<Vec<&str>> = lines.collect();
        let lines = lines.ok_or_else(|| WorkError(format!("a line without the mark {MARK:?}")))?;
        let body = lines.join("\n").into();
        WordCount::work(&Chunk {
            body,
            ..chunk.clone()
        })
    }

    fn conclude(
        facts: Facts,
        words: Words,
        missing: &[Seq],
        steps: &mut Steps<'_>,
    ) -> Result<Report, ConcludeError> {
        WordCount::conclude(facts, words, missing, steps)
    }

    fn weigh(words: &Words) -> u64 {
        WordCount::weigh(words)
    }
}
