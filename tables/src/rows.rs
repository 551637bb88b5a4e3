//! Reads the rows of files by the reference path alone, for a kind without a hot path.
//!
//! A kind implements [`Rules`]: what a row must be and what is kept of it. [`read`] applies them on several threads,
//! passes the rows to the kind in file order, and writes refused ones to the side file of rejects.

use std::marker::PhantomData;
use std::sync::Arc;

use autoconnect_common::{CutError, Outlet};
use bytes::Bytes;
use csv::ByteRecord;

use crate::blocks::{Block, Blocks, File, Options};
use crate::code::Code;
use crate::header::Header;
use crate::input::Input;
use crate::partition::Place;
use crate::pipeline::{self, Stage};
use crate::record::{Content, Splitter};
use crate::reject::{Reason, Refusal, Reject, RejectLog, put_pages};
use crate::separators::PADDING;

/// What a row must be, and what is kept of it.
pub trait Rules: Sync {
    /// What a row can break beside its structure.
    type Rule: Code + Send + Sync;
    /// What is kept of the rows of a block.
    type Kept: Default + Send + 'static;

    /// Checks a record that has the shape of a row, and keeps what is to be kept of it. `line` is its first line, counted from
    /// the beginning of its block, 0.
    ///
    /// # Errors
    /// The first rule it breaks.
    fn keep(
        &self,
        kept: &mut Self::Kept,
        line: u32,
        record: &ByteRecord,
        header: &Header,
    ) -> Result<(), Refusal<Reason<Self::Rule>>>;
}

/// Reads the rows of `inputs`. What `rules` kept of each block goes to `gather`, in file order, with the place of the block's first
/// line; pages of `rejects` are put as the annex `annex`. Returns how many rows were accepted.
///
/// # Errors
/// [`CutError`] for a file that cannot be read to its end or has no usable header; what `gather` says.
pub fn read<R: Rules>(
    inputs: Vec<Input>,
    options: Options,
    rules: &R,
    rejects: &mut RejectLog<R::Rule>,
    annex: &'static str,
    outlet: &Outlet,
    gather: &mut (dyn FnMut(Place, R::Kept) -> Result<(), CutError> + Send),
) -> Result<u64, CutError> {
    let gatherer = Gatherer {
        rejects,
        gather,
        accepted: 0,
        file: None,
        line: 1,
        unfinished: Vec::new(),
    };
    let gatherer = pipeline::run(Blocks::new(inputs, options), gatherer, outlet, || Reader {
        rules,
        outlet,
        annex,
        splitter: Splitter::new(b','),
        file: None,
        of: PhantomData,
    })?;
    Ok(gatherer.accepted)
}

/// What a block holds.
struct Read<R: Rules> {
    block: Block,
    kept: R::Kept,
    accepted: u64,
    rejected: Vec<Rejected<R::Rule>>,
    lines: u32,
    /// Where a record begins whose end is in the next block.
    unfinished: Option<usize>,
}

struct Rejected<Rule> {
    /// Where its record begins in the block.
    at: usize,
    line: u32,
    refusal: Refusal<Reason<Rule>>,
}

/// One thread.
struct Reader<'r, 'g, R: Rules> {
    rules: &'r R,
    outlet: &'r Outlet,
    annex: &'static str,
    splitter: Splitter,
    file: Option<Arc<File>>,
    of: PhantomData<&'g ()>,
}

impl<R: Rules> Reader<'_, '_, R> {
    fn read_block(&mut self, block: Block) -> Read<R> {
        let same = |file: &Arc<File>| Arc::ptr_eq(file, &block.file);
        if !self.file.as_ref().is_some_and(same) {
            self.splitter = Splitter::new(block.file.header.delimiter);
            self.file = Some(Arc::clone(&block.file));
        }
        let mut read = Read {
            kept: R::Kept::default(),
            accepted: 0,
            rejected: Vec::new(),
            lines: block.header_lines,
            unfinished: None,
            block,
        };
        let mut at = read.block.begin;
        while at < read.block.end {
            let text = &read.block.buffer[at..read.block.end];
            let Some(record) = self.splitter.split(text, read.block.last) else {
                read.unfinished = Some(at);
                break;
            };
            let checked = match &record.content {
                Content::Blank => None,
                Content::Broken(structure) => {
                    let reason = Reason::Structure(*structure);
                    Some(Err(Refusal::whole(reason, String::new())))
                }
                Content::Fields(fields) => Some(self.keep(&mut read, fields)),
            };
            match checked {
                None => {}
                Some(Ok(())) => read.accepted += 1,
                Some(Err(refusal)) => read.rejected.push(Rejected {
                    at,
                    line: read.lines,
                    refusal,
                }),
            }
            read.lines += record.lines;
            at += record.len;
        }
        read
    }

    fn keep(
        &self,
        read: &mut Read<R>,
        fields: &ByteRecord,
    ) -> Result<(), Refusal<Reason<R::Rule>>> {
        let header = &read.block.file.header;
        header.check(fields)?;
        self.rules.keep(&mut read.kept, read.lines, fields, header)
    }
}

/// What moves through the files in order.
struct Gatherer<'g, R: Rules> {
    rejects: &'g mut RejectLog<R::Rule>,
    gather: &'g mut (dyn FnMut(Place, R::Kept) -> Result<(), CutError> + Send),
    accepted: u64,
    /// The number of the file that is being read, if any.
    file: Option<usize>,
    /// The number of its next line, from 1.
    line: u64,
    /// A record whose end is in the next block.
    unfinished: Vec<u8>,
}

/// What a block gave.
struct Gathered {
    rows: u64,
    pages: Vec<(u32, Bytes)>,
}

impl<'g, R: Rules> Stage for Reader<'_, 'g, R> {
    type Rows = Read<R>;
    type Gatherer = Gatherer<'g, R>;
    type Output = Gathered;

    fn buffer(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn read(&mut self, block: Block) -> Result<Read<R>, CutError> {
        Ok(self.read_block(block))
    }

    fn gather(
        &mut self,
        gatherer: &mut Gatherer<'g, R>,
        mut read: Read<R>,
    ) -> Result<Gathered, CutError> {
        if !gatherer.unfinished.is_empty() {
            let begun = std::mem::take(&mut gatherer.unfinished);
            read = self.read_block(joined(begun, read.block));
        }
        gatherer.absorb(read)
    }

    fn rows(output: &Gathered) -> u64 {
        output.rows
    }

    fn send(&mut self, output: Gathered) -> Result<(), CutError> {
        put_pages(output.pages, self.annex, self.outlet)
    }
}

impl<R: Rules> Gatherer<'_, R> {
    fn absorb(&mut self, read: Read<R>) -> Result<Gathered, CutError> {
        let Block {
            file, buffer, end, ..
        } = &read.block;
        if self.file.replace(file.number) != Some(file.number) {
            self.line = 1;
        }
        let place = Place {
            // a command line names fewer files than 2^32
            file: file.number as u32,
            line: self.line,
        };
        let rows = read.accepted + read.rejected.len() as u64;
        for Rejected { at, line, refusal } in read.rejected {
            let line = self.line + u64::from(line);
            let reject = Reject::new(line, refusal, &buffer[at..*end]);
            self.rejects.push(&file.name, &reject);
        }
        if let Some(at) = read.unfinished {
            self.unfinished.extend_from_slice(&buffer[at..*end]);
        }
        self.accepted += read.accepted;
        self.line += u64::from(read.lines);
        (self.gather)(place, read.kept)?;
        Ok(Gathered {
            rows,
            pages: self.rejects.full_pages(),
        })
    }
}

/// A block with the record before it that it ends.
fn joined(begun: Vec<u8>, block: Block) -> Block {
    let mut buffer = begun;
    buffer.extend_from_slice(&block.buffer[block.begin..block.end]);
    let end = buffer.len();
    buffer.resize(end + PADDING, 0);
    Block {
        buffer,
        begin: 0,
        end,
        header_lines: 0,
        ..block
    }
}
