//! Reads one block of lines: the hot path where it can, the reference path for every other record.

use std::sync::{Arc, Mutex, PoisonError};

use autoconnect_common::CutError;
use autoconnect_tables::blocks::{Block, File};
use autoconnect_tables::record::{Content, Splitter};
use autoconnect_tables::separators::Separators;
use autoconnect_tables::words::{MAX_WORDS, Words};

use super::chunk::Ligne;
use super::fast::{Fast, Id, IdKind, IdShapes, Line};
use super::reason::{Reason, Refusal, Warning, Warnings};
use super::row::{self, Row};

/// Shared by all threads of a job: every spelling of a city and of a model, by number.
#[derive(Default)]
pub struct Vocabulary {
    /// Spellings of cities, without surrounding blanks.
    pub villes: Words,
    /// Spellings of models.
    pub modeles: Words,
}

/// An accepted row; whether its id is new is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The transaction.
    pub ligne: Ligne,
    /// The number of its city's spelling.
    pub ville: u16,
    /// Its [`Warnings`].
    pub warnings: Warnings,
    /// Where its record begins in the block.
    pub start: u32,
    id: Id,
}

/// A rejected row.
#[derive(Debug)]
pub struct Rejected {
    /// Where its record begins in the block.
    pub start: u32,
    /// Its first line, counted from the block's first, 0.
    pub line: u32,
    /// The reason of its refusal.
    pub refusal: Refusal,
}

/// The rows of a block; reused, for its memory.
#[derive(Debug)]
pub struct Rows {
    /// The block.
    pub block: Block,
    /// Accepted rows, in file order.
    pub accepted: Vec<Accepted>,
    /// Rejected rows, in file order.
    pub rejected: Vec<Rejected>,
    /// Line ends in what was read.
    pub lines: u32,
    /// Where a record begins whose end is in the next block.
    pub unfinished: Option<usize>,
    texts: Vec<u8>,
    shapes: IdShapes,
}

/// An id of an accepted row.
pub enum RowId<'a> {
    /// The shape (by its index in [`Rows::shapes`]) and the number.
    Number(usize, u64),
    /// All of it.
    Text(&'a [u8]),
}

impl Rows {
    /// The id of one of its accepted rows.
    #[inline]
    pub fn id(&self, accepted: &Accepted) -> RowId<'_> {
        match accepted.id.kind() {
            IdKind::Number(shape, number) => RowId::Number(shape, number),
            IdKind::InBlock(at, len) => RowId::Text(place(&self.block.buffer, at, len)),
            IdKind::Aside(at, len) => RowId::Text(place(&self.texts, at, len)),
        }
    }

    /// The shapes of its ids.
    pub fn shapes(&self) -> &IdShapes {
        &self.shapes
    }

    /// The same as text, for people.
    pub fn id_text(&self, accepted: &Accepted) -> String {
        match self.id(accepted) {
            RowId::Number(shape, number) => self.shapes.text(shape, number),
            RowId::Text(text) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}

fn place(text: &[u8], at: usize, len: usize) -> &[u8] {
    text.get(at..at + len).unwrap_or_default()
}

/// Buffers of finished blocks, for reuse. All readers share them: otherwise the thread that absorbs the blocks of others
/// would hoard buffers while those allocate new ones.
#[derive(Default)]
pub struct Spare(Mutex<Vec<Rows>>);

impl Spare {
    fn give(&self, rows: Rows) {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.push(rows);
    }

    fn take(&self) -> Option<Rows> {
        let mut spare = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop()
    }
}

/// One thread's reader of blocks.
pub struct BlockReader<'v> {
    vocabulary: &'v Vocabulary,
    spare: &'v Spare,
    /// Rows whose buffer was taken for the next block.
    held: Option<Rows>,
    fast: Fast,
    hot_path: bool,
    today: i32,
    separators: Separators,
    splitter: Splitter,
    file: Option<Arc<File>>,
}

impl<'v> BlockReader<'v> {
    /// A reader for jobs requested on day `today`.
    pub fn new(vocabulary: &'v Vocabulary, spare: &'v Spare, today: i32, hot_path: bool) -> Self {
        Self {
            vocabulary,
            spare,
            held: None,
            fast: Fast::new(today),
            hot_path,
            today,
            separators: Separators::default(),
            splitter: Splitter::new(b','),
            file: None,
        }
    }

    /// Returns the memory of finished rows.
    pub fn recycle(&self, rows: Rows) {
        self.spare.give(rows);
    }

    /// A buffer for the next block.
    pub fn buffer(&mut self) -> Vec<u8> {
        self.held = self.spare.take();
        self.held
            .as_mut()
            .map(|rows| std::mem::take(&mut rows.block.buffer))
            .unwrap_or_default()
    }

    /// Reads every record of a block.
    ///
    /// # Errors
    /// [`CutError::Refused`] where the job has more cities or models than it may.
    pub fn read(&mut self, block: Block) -> Result<Rows, CutError> {
        if self
            .file
            .as_ref()
            .is_none_or(|file| !Arc::ptr_eq(file, &block.file))
        {
            self.fast.set_header(&block.file.header);
            self.splitter = Splitter::new(block.file.header.delimiter);
            self.file = Some(Arc::clone(&block.file));
        }
        let mut rows = self.empty(block);
        if self.hot_path {
            self.separators.find(
                &rows.block.buffer,
                rows.block.end,
                rows.block.file.header.delimiter,
            );
        }
        // taken, so that learning can borrow the rest of the reader
        let separators = std::mem::take(&mut self.separators);
        let read = self.read_records(&mut rows, separators.positions());
        self.separators = separators;
        rows.shapes = self.fast.shapes.clone();
        read.map(|()| rows)
    }

    fn empty(&mut self, block: Block) -> Rows {
        let lines = block.header_lines;
        let (mut accepted, mut rejected, mut texts) = self
            .held
            .take()
            .or_else(|| self.spare.take())
            .map(|rows| (rows.accepted, rows.rejected, rows.texts))
            .unwrap_or_default();
        accepted.clear();
        rejected.clear();
        texts.clear();
        Rows {
            block,
            accepted,
            rejected,
            lines,
            unfinished: None,
            texts,
            shapes: IdShapes::default(),
        }
    }

    fn read_records(&mut self, rows: &mut Rows, separators: &[u32]) -> Result<(), CutError> {
        let columns = self.fast.columns();
        let mut at = rows.block.begin;
        let mut next = 0;
        while at < rows.block.end {
            while separators
                .get(next)
                .is_some_and(|&separator| (separator as usize) < at)
            {
                next += 1;
            }
            while let Some(ends) = separators.get(next..next + columns) {
                let Some(line) = self.fast.read(&rows.block.buffer, at, ends) else {
                    break;
                };
                rows.accept_line(line, at);
                at = ends[columns - 1] as usize + 1;
                next += columns;
            }
            if at >= rows.block.end {
                break;
            }
            match self.read_record(rows, at)? {
                Some(len) => at += len,
                None => {
                    rows.unfinished = Some(at);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads the record at `at` by the reference path; returns its length, or `None` where its end is in the next block.
    fn read_record(&mut self, rows: &mut Rows, at: usize) -> Result<Option<usize>, CutError> {
        let Block {
            buffer,
            end,
            last,
            file,
            ..
        } = &rows.block;
        let Some(record) = self.splitter.split(&buffer[at..*end], *last) else {
            return Ok(None);
        };
        let (start, line) = (at as u32, rows.lines);
        match record.content {
            Content::Blank => {}
            Content::Broken(structure) => {
                let refusal = Refusal::whole(Reason::Structure(structure), String::new());
                rows.rejected.push(Rejected {
                    start,
                    line,
                    refusal,
                });
            }
            Content::Fields(fields) => match row::check(&fields, &file.header, self.today) {
                Ok(row) => {
                    self.learn(&row)?;
                    let accepted = self.accepted(&row)?;
                    rows.accept(accepted, start, row.id);
                }
                Err(refusal) => rows.rejected.push(Rejected {
                    start,
                    line,
                    refusal,
                }),
            },
        }
        rows.lines += record.lines;
        Ok(Some(record.len))
    }

    /// The numbers of a row's words.
    fn words(&self, row: &Row<'_>) -> Result<(u16, u16), CutError> {
        let too_many = |what: &str| {
            CutError::Refused(format!(
                "more than {MAX_WORDS} different {what}, expected a file of transactions"
            ))
        };
        let ville = self
            .vocabulary
            .villes
            .number(row.ville)
            .ok_or_else(|| too_many("spellings of cities"))?;
        let modele = self
            .vocabulary
            .modeles
            .number(row.modele)
            .ok_or_else(|| too_many("models"))?;
        Ok((ville, modele))
    }

    fn accepted(&self, row: &Row<'_>) -> Result<Accepted, CutError> {
        let (ville, modele) = self.words(row)?;
        let Row {
            jour,
            prix,
            duree,
            amounts,
            warnings,
            ..
        } = *row;
        let ligne = Ligne {
            jour,
            prix,
            amounts,
            modele,
            duree,
        };
        Ok(Accepted {
            ligne,
            ville,
            warnings,
            start: 0,
            id: Id::aside(0, 0),
        })
    }

    /// Teaches the hot path the words of an accepted row, unless each use of them must be counted as odd.
    fn learn(&mut self, row: &Row<'_>) -> Result<(), CutError> {
        self.fast.shapes.learn(row.id);
        if !row.warnings.contains(Warning::CaracteresSpeciaux) {
            let (ville, modele) = self.words(row)?;
            self.fast.villes.learn(row.ville.as_bytes(), ville);
            self.fast.modeles.learn(row.modele.as_bytes(), modele);
        }
        Ok(())
    }
}

impl Rows {
    #[inline]
    fn accept_line(&mut self, line: Line, at: usize) {
        let Line { ligne, ville, id } = line;
        let warnings = Warnings::NONE;
        self.accepted.push(Accepted {
            ligne,
            ville,
            warnings,
            start: at as u32,
            id,
        });
        self.lines += 1;
    }

    fn accept(&mut self, accepted: Accepted, start: u32, id: &[u8]) {
        let begin = self.texts.len();
        self.texts.extend_from_slice(id);
        self.accepted.push(Accepted {
            start,
            id: Id::aside(begin, id.len()),
            ..accepted
        });
    }
}
