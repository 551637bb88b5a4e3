// The toy kind of docs/new-kind.md in short, for examples in the documentation: its request is the text, its report the words.

use std::collections::BTreeMap;
use std::path::PathBuf;

use autoconnect_common::cut::{CutError, Item, Outlet};
use autoconnect_common::kind::{ConcludeError, Cut, JobKind, ReportFile, Steps, WorkError};
use autoconnect_common::{Chunk, Digest, Seq};

/// How often each word occurs.
type Words = BTreeMap<String, u64>;

struct WordCount;

impl JobKind for WordCount {
    const NAME: &'static str = "wordcount";
    const SCHEMA: u32 = 1;
    type Request = String;
    type Facts = ();
    type Partial = Words;
    type Report = Words;

    fn files(_: &Words) -> Vec<ReportFile<Words>> {
        vec![ReportFile::new("words.txt", |words: &Words, out| {
            let mut words = words.iter();
            words.try_for_each(|(word, count)| writeln!(out, "{count} {word}"))
        })]
    }

    fn inputs(_: &String) -> Vec<PathBuf> {
        Vec::new()
    }

    fn fingerprint(text: &String) -> Result<Digest, CutError> {
        Ok(Digest::of(text.as_bytes()))
    }

    fn cut(text: &String, outlet: &Outlet) -> Result<Cut<()>, CutError> {
        let mut chunks = 0;
        for line in text.lines() {
            outlet.put(Item::Chunk {
                seq: Seq::first_part(chunks),
                key: "text".to_owned(),
                rows: 1,
                body: line.to_owned().into(),
            })?;
            chunks += 1;
        }
        Ok(Cut {
            chunks: vec![chunks],
            annexes: BTreeMap::new(),
            facts: (),
            refusal: None,
        })
    }

    fn work(chunk: &Chunk) -> Result<Words, WorkError> {
        let text = std::str::from_utf8(&chunk.body).map_err(|e| WorkError(e.to_string()))?;
        let mut words = Words::new();
        for word in text.split_whitespace() {
            *words.entry(word.to_owned()).or_default() += 1;
        }
        Ok(words)
    }

    fn conclude(_: (), words: Words, _: &[Seq], _: &mut Steps<'_>) -> Result<Words, ConcludeError> {
        Ok(words)
    }

    fn weigh(words: &Words) -> u64 {
        words.keys().map(|word| 64 + word.len() as u64).sum()
    }
}
