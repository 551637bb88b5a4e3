//! Cuts inputs into blocks of whole lines, in file order, for threads to read in parallel.

use std::collections::VecDeque;
use std::sync::Arc;

use autoconnect_common::CutError;

use super::header::{self, Header, Wanted};
use super::input::{Encoding, Input, Opened};
use super::record::MAX_ROW;
use super::separators::PADDING;

/// How blocks are made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Bytes of a block, more or less: a block and what is made of it stay in a core's own cache.
    pub block: usize,
    /// The delimiter, where it is not to be detected from the header.
    pub delimiter: Option<u8>,
    /// How the files' bytes spell text.
    pub encoding: Encoding,
    /// The columns to look for.
    pub wanted: &'static [Wanted],
}

/// Some lines of a file.
#[derive(Debug)]
pub struct Block {
    /// Its number among all blocks of the job.
    pub index: u64,
    /// The file it is from.
    pub file: Arc<File>,
    /// The text, [`PADDING`] bytes longer than it is.
    pub buffer: Vec<u8>,
    /// Where the first record begins: after the header, in a file's first block.
    pub begin: usize,
    /// Where the text ends: after a line end, but for `last`.
    pub end: usize,
    /// Lines of the header, in a file's first block.
    pub header_lines: u32,
    /// Nothing follows in this file, or nothing that belongs to the last line: an unfinished record stays unfinished.
    pub last: bool,
    /// Bytes of the file on disk that this block took.
    pub bytes: u64,
    /// See [`Opened::recognised`], as of this block.
    pub recognised: Option<Encoding>,
}

/// What is known of a file before its first record.
#[derive(Debug)]
pub struct File {
    /// Its number among the inputs.
    pub number: usize,
    /// Its base name.
    pub name: String,
    /// Its header.
    pub header: Header,
}

/// The blocks of some inputs.
pub struct Blocks {
    options: Options,
    inputs: VecDeque<Input>,
    files: usize,
    open: Option<Reading>,
    next: u64,
}

struct Reading {
    opened: Opened,
    name: String,
    /// Known once the first block was read.
    file: Option<Arc<File>>,
    /// The beginning of a line whose end was not read yet.
    rest: Vec<u8>,
    /// The line that `rest` begins is too long: drop input up to its end.
    skipping: bool,
    told: u64,
}

impl Blocks {
    /// The blocks of `inputs`, in this order.
    pub fn new(inputs: Vec<Input>, options: Options) -> Self {
        Self {
            options,
            inputs: inputs.into(),
            files: 0,
            open: None,
            next: 0,
        }
    }

    /// The next block, in a buffer that was used before (or an empty one); `None` after the last.
    ///
    /// # Errors
    /// [`CutError`] for a file that cannot be read to its end, or has no usable header.
    pub fn next(&mut self, mut buffer: Vec<u8>) -> Result<Option<Block>, CutError> {
        loop {
            let Some(reading) = &mut self.open else {
                let Some(input) = self.inputs.pop_front() else {
                    return Ok(None);
                };
                self.open = Some(Reading::new(input, self.options.encoding)?);
                continue;
            };
            let (end, last) = reading.fill(&mut buffer, self.options.block)?;
            let mut block = (0, 0);
            if reading.file.is_none() {
                let options = &self.options;
                let header = header::read(
                    &buffer[..end],
                    &reading.name,
                    options.delimiter,
                    options.wanted,
                )?;
                block = (header.len, header.lines);
                let file = File {
                    number: self.files,
                    name: reading.name.clone(),
                    header,
                };
                reading.file = Some(Arc::new(file));
                self.files += 1;
            }
            let Some(file) = reading.file.clone() else {
                continue;
            };
            let consumed = reading.opened.consumed();
            let bytes = consumed - std::mem::replace(&mut reading.told, consumed);
            let recognised = reading.opened.recognised();
            let ended = last && !reading.skipping && reading.rest.is_empty();
            if let Some(reading) = self.open.take_if(|_| ended) {
                reading.opened.finish()?;
            }
            let (begin, header_lines) = block;
            let index = self.next;
            self.next += 1;
            return Ok(Some(Block {
                index,
                file,
                buffer,
                begin,
                end,
                header_lines,
                last,
                bytes,
                recognised,
            }));
        }
    }
}

impl Reading {
    fn new(input: Input, encoding: Encoding) -> Result<Self, CutError> {
        Ok(Self {
            opened: input.open(encoding)?,
            name: input.name,
            file: None,
            rest: Vec::new(),
            skipping: false,
            told: 0,
        })
    }

    /// Fills `buffer` with whole lines; returns where they end, and whether nothing belongs to the last of them.
    fn fill(&mut self, buffer: &mut Vec<u8>, block: usize) -> Result<(usize, bool), CutError> {
        let mut len = self.rest.len();
        grow(buffer, len + block);
        buffer[..len].copy_from_slice(&self.rest);
        self.rest.clear();
        loop {
            grow(buffer, len + block);
            let read = self.opened.read(&mut buffer[len..len + block])?;
            let fresh = len..len + read;
            if read == 0 {
                self.skipping = false;
                return Ok((len, true));
            }
            if self.skipping {
                let Some(line_end) = memchr::memchr(b'\n', &buffer[fresh.clone()]) else {
                    continue;
                };
                self.skipping = false;
                buffer.copy_within(fresh.start + line_end + 1..fresh.end, len);
                len += read - line_end - 1;
                continue;
            }
            len += read;
            if let Some(line_end) = memchr::memrchr(b'\n', &buffer[fresh.clone()]) {
                let end = fresh.start + line_end + 1;
                self.rest.extend_from_slice(&buffer[end..len]);
                return Ok((end, false));
            }
            if len > MAX_ROW {
                self.skipping = true;
                return Ok((len, true));
            }
        }
    }
}

/// Makes room for `len` bytes and the padding; never shrinks, so that a buffer is cleared once only.
fn grow(buffer: &mut Vec<u8>, len: usize) {
    if buffer.len() < len + PADDING {
        buffer.resize(len + PADDING, 0);
    }
}
