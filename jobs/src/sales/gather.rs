//! What must happen in file order: refusing duplicate ids, counting, and gathering each city's rows into chunks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use autoconnect_common::{CutError, Seq};
use autoconnect_tables::blocks::Block;
use autoconnect_tables::code::Code as _;
use autoconnect_tables::encoding::Encoding;
use autoconnect_tables::fold::{Counts, Spellings, naming};
use autoconnect_tables::ids::IdSet;
use autoconnect_tables::reject::{Reject, RejectLog, Structure};
use autoconnect_tables::separators::PADDING;
use bytes::Bytes;

use super::block::{Accepted, BlockReader, Rejected, RowId, Rows, Vocabulary};
use super::chunk::{Ligne, MAX_NAMES, MAX_ROWS};
use super::notes::Notes;
use super::periode::{Days, Lieu, Plage};
use super::reason::{Reason, Refusal, Rule, Warnings};
use super::ville;

/// The most cities of a job: no dealer's network has as many, so more of them are a wrong column.
const MAX_VILLES: usize = 10_000;
/// The most rows that wait for their chunk to fill, over all cities: above it, the longest lists become chunks before they
/// are full.
const MAX_WAITING: usize = 1 << 19;

/// The options of gathering.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most rows of a chunk; fewer where its body would exceed the maximum size.
    pub chunk_rows: usize,
    /// Whether a second row with the same id is refused.
    pub dedup: bool,
    /// The requested encoding of the files.
    pub encoding: Encoding,
    /// The months whose rows are gathered; all where absent.
    pub periode: Option<Plage>,
}

/// Rows of one city that make a chunk.
#[derive(Debug)]
pub struct Draft {
    /// The chunk's number.
    pub seq: Seq,
    /// The city's key.
    pub ville: Arc<str>,
    /// The rows.
    pub lignes: Vec<Ligne>,
}

/// The output of one block.
pub struct Output {
    /// Chunks that are full now.
    pub drafts: Vec<Draft>,
    /// Pages of rejects that are full now.
    pub pages: Vec<(u32, Bytes)>,
    /// How many rows were read.
    pub lignes: u64,
    /// The row buffers, to be reused by the next block.
    pub rows: Rows,
}

/// The totals after the last block.
pub struct Totals {
    /// The last chunks.
    pub drafts: Vec<Draft>,
    /// The last pages of rejects.
    pub pages: Vec<(u32, Bytes)>,
    /// How many chunks there are.
    pub chunks: u32,
    /// How many pages of rejects there are.
    pub page_count: u32,
    /// Accepted rows.
    pub acceptees: u64,
    /// Of these, the rows outside the requested period.
    pub hors_periode: u64,
    /// The days of all others.
    pub days: Days,
    /// Rejected rows, by reason.
    pub par_motif: BTreeMap<String, u64>,
    /// Accepted rows, by what is odd about them.
    pub avertissements: BTreeMap<String, u64>,
    /// The name of each city, by its key.
    pub villes: BTreeMap<String, String>,
    /// The cities in several spellings, by key.
    pub orthographes: Spellings,
    /// Notes on the encodings of the files, for the report.
    pub notes: Notes,
}

/// The state that moves through the input in file order.
pub struct Gatherer<'v> {
    vocabulary: &'v Vocabulary,
    limits: Limits,
    ids: IdSet,
    log: RejectLog<Rule>,
    /// Lists of rows that are to become chunks, one for each city.
    lists: Vec<List>,
    list_by_key: BTreeMap<Arc<str>, u16>,
    /// Indexed by the id of a city's spelling.
    spellings: Vec<Spelling>,
    /// Rows in all lists.
    waiting: usize,
    chunks: u32,
    acceptees: u64,
    /// The days whose rows are gathered.
    period: Range<i32>,
    hors_periode: u64,
    /// The days of the rows that were gathered.
    days: Days,
    warnings: BTreeMap<&'static str, u64>,
    notes: Notes,
    /// The number of the file that is being read, if any.
    file: Option<usize>,
    /// The number of that file's next line, from 1.
    line: u64,
    /// A record whose end is in the next block.
    unfinished: Vec<u8>,
    modeles: Vec<Arc<str>>,
}

struct List {
    key: Arc<str>,
    lignes: Vec<Ligne>,
}

/// A spelling of a city: the list of its rows (`None` until the first one), and their number.
#[derive(Clone, Copy, Default)]
struct Spelling {
    list: Option<u16>,
    count: u64,
}

impl<'v> Gatherer<'v> {
    /// The state before the first block.
    pub fn new(limits: Limits, vocabulary: &'v Vocabulary) -> Self {
        let limits = Limits {
            chunk_rows: limits.chunk_rows.clamp(1, MAX_ROWS),
            ..limits
        };
        Self {
            vocabulary,
            limits,
            ids: IdSet::new(),
            log: RejectLog::new(),
            lists: Vec::new(),
            list_by_key: BTreeMap::new(),
            spellings: Vec::new(),
            waiting: 0,
            chunks: 0,
            acceptees: 0,
            period: limits.periode.map_or(i32::MIN..i32::MAX, Plage::days),
            hors_periode: 0,
            days: Days::default(),
            warnings: BTreeMap::new(),
            notes: Notes::new(limits.encoding),
            file: None,
            line: 1,
            unfinished: Vec::new(),
            modeles: Vec::new(),
        }
    }

    /// Takes the rows of the next block. `reader` parses a block again whose first record began in the previous block.
    ///
    /// # Errors
    /// [`CutError`] where the job has more cities than it may, or the disk for ids fails.
    pub fn absorb(&mut self, rows: Rows, reader: &mut BlockReader<'_>) -> Result<Output, CutError> {
        let mut rows = if self.unfinished.is_empty() {
            rows
        } else {
            self.rejoin(rows, reader)?
        };
        let file = Arc::clone(&rows.block.file);
        if let Some(encoding) = rows.block.recognised {
            self.notes.recognised(&file, encoding);
        }
        if self.file.replace(file.number) != Some(file.number) {
            self.line = 1;
        }
        let mut drafts = Vec::new();
        let before = (self.acceptees, self.log.count());
        let duplicates = self.gather(&rows, &mut drafts)?;
        rows.rejected.extend(duplicates);
        rows.rejected.sort_by_key(|rejected| rejected.start);
        for Rejected {
            start,
            line,
            refusal,
        } in rows.rejected.drain(..)
        {
            let line = self.line + u64::from(line);
            let text = &rows.block.buffer[start as usize..rows.block.end];
            if refusal.reason == Reason::Structure(Structure::InvalidEncoding) {
                self.notes.unreadable(&file, line, text);
            }
            let reject = Reject::new(line, refusal, text);
            self.log.push(&file.name, &reject);
        }
        self.line += u64::from(rows.lines);
        if let Some(at) = rows.unfinished {
            self.unfinished
                .extend_from_slice(&rows.block.buffer[at..rows.block.end]);
        }
        if self.waiting > MAX_WAITING {
            self.close_long_lists(&mut drafts);
        }
        let lignes = self.acceptees + self.log.count() - before.0 - before.1;
        Ok(Output {
            drafts,
            pages: self.log.full_pages(),
            lignes,
            rows,
        })
    }

    /// Prepends the unfinished record of the previous block, and parses the block again.
    fn rejoin(&mut self, rows: Rows, reader: &mut BlockReader<'_>) -> Result<Rows, CutError> {
        let mut buffer = std::mem::take(&mut self.unfinished);
        let Block {
            begin,
            end,
            buffer: text,
            ..
        } = &rows.block;
        buffer.extend_from_slice(&text[*begin..*end]);
        let end = buffer.len();
        buffer.resize(end + PADDING, 0);
        let Block {
            index,
            file,
            last,
            bytes,
            recognised,
            ..
        } = rows.block;
        reader.read(Block {
            index,
            file,
            buffer,
            begin: 0,
            end,
            header_lines: 0,
            last,
            bytes,
            recognised,
        })
    }

    /// Puts the rows whose id is new into the lists of their cities; returns the duplicates.
    fn gather(&mut self, rows: &Rows, drafts: &mut Vec<Draft>) -> Result<Vec<Rejected>, CutError> {
        let shapes: Vec<Option<u32>> = rows
            .shapes()
            .iter()
            .map(|(prefix, digits)| self.ids.shape(prefix, digits))
            .collect();
        let mut duplicates = Vec::new();
        let mut lines = LineCounter::new(rows);
        let mut outside = 0;
        // counted here, and what is left out below: the loop runs once a row
        self.waiting += rows.accepted.len();
        for accepted in &rows.accepted {
            if self.limits.dedup && !self.is_new(rows, accepted, &shapes)? {
                let line = lines.line_of(accepted.start);
                let refusal = Refusal {
                    reason: Reason::Rule(Rule::IdDuplique),
                    field: "transaction_id",
                    value: rows.id_text(accepted),
                };
                duplicates.push(Rejected {
                    start: accepted.start,
                    line,
                    refusal,
                });
                continue;
            }
            if !accepted.warnings.is_empty() {
                self.count(accepted.warnings);
            }
            let jour = accepted.ligne.jour;
            if !self.period.contains(&jour) {
                outside += 1;
                continue;
            }
            if !self.days.knows(jour) {
                let lieu = Lieu {
                    fichier: rows.block.file.number as u32,
                    ligne: self.line + u64::from(lines.line_of(accepted.start)),
                };
                self.days.note(jour, lieu);
            }
            let list = self.list_of(accepted.ville)?;
            let lignes = &mut self.lists[list].lignes;
            lignes.push(accepted.ligne);
            if lignes.len() == self.limits.chunk_rows {
                self.close(list, drafts);
            }
        }
        self.waiting -= duplicates.len() + outside;
        self.acceptees += (rows.accepted.len() - duplicates.len()) as u64;
        self.hors_periode += outside as u64;
        Ok(duplicates)
    }

    #[cold]
    fn count(&mut self, warnings: Warnings) {
        for warning in warnings.iter() {
            *self.warnings.entry(warning.word()).or_default() += 1;
        }
    }

    #[inline]
    fn is_new(
        &mut self,
        rows: &Rows,
        accepted: &Accepted,
        shapes: &[Option<u32>],
    ) -> Result<bool, CutError> {
        match rows.id(accepted) {
            RowId::Number(shape, number) => match shapes[shape] {
                Some(shape) => self.ids.insert_number(shape, number),
                None => self.ids.insert(rows.id_text(accepted).as_bytes()),
            },
            RowId::Text(text) => self.ids.insert(text),
        }
    }

    /// The list of a city's spelling, which is counted.
    #[inline]
    fn list_of(&mut self, spelling: u16) -> Result<usize, CutError> {
        match self.spellings.get_mut(usize::from(spelling)) {
            Some(Spelling {
                list: Some(list),
                count,
            }) => {
                *count += 1;
                Ok(usize::from(*list))
            }
            _ => self.first_seen(spelling),
        }
    }

    /// The list of a spelling that was not seen before.
    #[cold]
    fn first_seen(&mut self, spelling: u16) -> Result<usize, CutError> {
        let word = self.vocabulary.villes.word(spelling).unwrap_or_default();
        let key: Arc<str> = ville::key(&word).into();
        let list = match self.list_by_key.get(&key) {
            Some(&list) => list,
            None => {
                let full = || {
                    CutError::Refused(format!(
                        "more than {MAX_VILLES} cities, expected a dealer's network"
                    ))
                };
                let list = u16::try_from(self.lists.len())
                    .ok()
                    .filter(|&n| usize::from(n) < MAX_VILLES)
                    .ok_or_else(full)?;
                self.lists.push(List {
                    key: Arc::clone(&key),
                    lignes: Vec::new(),
                });
                self.list_by_key.insert(key, list);
                list
            }
        };
        let number = usize::from(spelling);
        self.spellings
            .resize(self.spellings.len().max(number + 1), Spelling::default());
        self.spellings[number] = Spelling {
            list: Some(list),
            count: 1,
        };
        Ok(usize::from(list))
    }

    /// Makes a list's rows a chunk, or several where the names of their models take too much room.
    fn close(&mut self, list: usize, drafts: &mut Vec<Draft>) {
        let List { key, lignes } = &mut self.lists[list];
        let room = if lignes.len() == self.limits.chunk_rows {
            lignes.len()
        } else {
            0
        };
        let (ville, lignes) = (
            Arc::clone(key),
            std::mem::replace(lignes, Vec::with_capacity(room)),
        );
        self.waiting -= lignes.len();
        self.draft(ville, lignes, drafts);
    }

    fn draft(&mut self, ville: Arc<str>, mut lignes: Vec<Ligne>, drafts: &mut Vec<Draft>) {
        self.vocabulary.modeles.update(&mut self.modeles);
        if lignes.len() > 1 && self.names_len(&lignes) > MAX_NAMES {
            let second = lignes.split_off(lignes.len() / 2);
            self.draft(Arc::clone(&ville), lignes, drafts);
            self.draft(ville, second, drafts);
        } else if !lignes.is_empty() {
            drafts.push(Draft {
                seq: Seq::first_part(self.chunks),
                ville,
                lignes,
            });
            self.chunks += 1;
        }
    }

    /// Bytes of the names of the models in `lignes`, or of all names (an upper bound) where those fit already.
    fn names_len(&self, lignes: &[Ligne]) -> usize {
        let size = |name: &Arc<str>| name.len() + size_of::<u32>();
        let all = self.modeles.iter().map(size).sum();
        if all <= MAX_NAMES {
            return all;
        }
        let used: std::collections::BTreeSet<u16> =
            lignes.iter().map(|ligne| ligne.modele).collect();
        used.into_iter()
            .filter_map(|modele| self.modeles.get(usize::from(modele)))
            .map(size)
            .sum()
    }

    /// Makes chunks of every list of at least the mean length.
    fn close_long_lists(&mut self, drafts: &mut Vec<Draft>) {
        let mean = self.waiting / self.lists.len().max(1);
        for list in 0..self.lists.len() {
            if self.lists[list].lignes.len() >= mean.max(1) {
                self.close(list, drafts);
            }
        }
    }

    /// Closes every list, by city key, and sums up.
    #[must_use]
    pub fn finish(mut self) -> Totals {
        let mut drafts = Vec::new();
        let lists: Vec<u16> = self.list_by_key.values().copied().collect();
        for list in lists {
            self.close(usize::from(list), &mut drafts);
        }
        let cities = self.cities();
        let (pages, page_count, par_motif) = self.log.finish();
        Totals {
            drafts,
            pages,
            chunks: self.chunks,
            page_count,
            acceptees: self.acceptees,
            hors_periode: self.hors_periode,
            days: self.days,
            par_motif,
            avertissements: self
                .warnings
                .into_iter()
                .map(|(word, count)| (word.to_owned(), count))
                .collect(),
            villes: names(&cities),
            orthographes: Spellings::of(cities),
            notes: self.notes,
        }
    }

    /// How often each city was written in each way, by its key.
    fn cities(&self) -> BTreeMap<String, Counts> {
        let mut cities: BTreeMap<String, Counts> = BTreeMap::new();
        for (number, spelling) in (0..=u16::MAX).zip(&self.spellings) {
            let (Some(list), Some(word)) = (spelling.list, self.vocabulary.villes.word(number))
            else {
                continue;
            };
            let key = self.lists[usize::from(list)].key.to_string();
            let counts = cities.entry(key).or_default();
            counts.insert(word.to_string(), spelling.count);
        }
        cities
    }
}

/// The name of each city, by its key.
fn names(cities: &BTreeMap<String, Counts>) -> BTreeMap<String, String> {
    cities
        .iter()
        .filter_map(|(key, counts)| {
            let spellings = counts.iter().map(|(spelling, n)| (spelling.as_str(), *n));
            Some((key.clone(), naming(spellings)?.to_owned()))
        })
        .collect()
}

/// Counts the lines of a block incrementally: offsets must not decrease.
struct LineCounter<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> LineCounter<'a> {
    fn new(rows: &'a Rows) -> Self {
        Self {
            text: &rows.block.buffer,
            at: rows.block.begin,
            line: rows.block.header_lines,
        }
    }

    /// The line that holds offset `start`; the block's first line is 0.
    fn line_of(&mut self, start: u32) -> u32 {
        let skipped = self.text.get(self.at..start as usize).unwrap_or_default();
        self.line += memchr::memchr_iter(b'\n', skipped).count() as u32;
        self.at = start as usize;
        self.line
    }
}
