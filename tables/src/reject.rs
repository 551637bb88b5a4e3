//! Why a row was refused ([`Reason`]), and the pages of `rejets.csv` ([`RejectLog`]).
//!
//! What breaks a row of any table is [`Structure`]; what else a row must be, its kind says by a list of rules.
//!
//! Whatever comes from a file is made [safe to show](autoconnect_common::text) before it is written.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use autoconnect_common::cut::Item;
use autoconnect_common::text::{harmless, printable};
use autoconnect_common::{CutError, Outlet};
use bytes::Bytes;

use super::code::Code;
use crate::codes;

/// The most characters of an offending value that are kept.
pub const MAX_VALUE: usize = 100;
/// The most characters of an offending line that are kept.
pub const MAX_EXCERPT: usize = 200;
/// The most bytes of a page of `rejets.csv`: as many as a usual chunk.
const PAGE_BYTES: usize = 256 * 1024;
/// The columns of `rejets.csv`.
pub const COLUMNS: [&str; 6] = ["ligne", "motif", "champ", "valeur", "extrait", "fichier"];

codes! {
    /// What breaks a row of any table.
    pub enum Structure {
        /// Fewer fields than the header has columns.
        MissingColumns = "colonnes_manquantes",
        /// More fields than the header has columns.
        ExtraColumns = "colonnes_en_trop",
        /// Bytes that are no text in the file's encoding, or a NUL.
        InvalidEncoding = "encodage_invalide",
        /// A quote that is not closed within 1 MiB, or never.
        OpenQuote = "guillemet_non_ferme",
        /// A quote inside an unquoted field, or text after a closing quote.
        MisplacedQuote = "guillemet_mal_place",
        /// A row over 1 MiB.
        LineTooLong = "ligne_trop_longue",
        /// The header again, as in files that were joined.
        RepeatedHeader = "entete_repetee",
    }
}

/// Why a row was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason<Rule> {
    /// It is broken as a row of any table may be.
    Structure(Structure),
    /// It breaks this rule of its kind.
    Rule(Rule),
}

impl<Rule: Code> Reason<Rule> {
    /// Every reason, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        let structure = Structure::ALL.iter().copied().map(Self::Structure);
        structure.chain(Rule::ALL.iter().copied().map(Self::Rule))
    }

    /// Its word, which never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Structure(structure) => structure.word(),
            Self::Rule(rule) => rule.word(),
        }
    }

    /// Its place among [all](Self::all).
    fn number(self) -> usize {
        match self {
            Self::Structure(structure) => structure.number(),
            Self::Rule(rule) => Structure::ALL.len() + rule.number(),
        }
    }
}

/// What a row broke first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal<Reason> {
    /// Why it is refused.
    pub reason: Reason,
    /// The column at fault; empty where it is the whole row.
    pub field: &'static str,
    /// What stood there, as [`printable`] gives it.
    pub value: String,
}

impl<Reason> Refusal<Reason> {
    /// Of a whole row.
    pub fn whole(reason: Reason, value: String) -> Self {
        Self {
            reason,
            field: "",
            value,
        }
    }
}

impl<Rule> From<Refusal<Structure>> for Refusal<Reason<Rule>> {
    fn from(refusal: Refusal<Structure>) -> Self {
        let Refusal {
            reason,
            field,
            value,
        } = refusal;
        Self {
            reason: Reason::Structure(reason),
            field,
            value,
        }
    }
}

/// One row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject<Rule> {
    /// The physical line of the file on which the row begins, from 1.
    pub line: u64,
    /// Why, and where.
    pub refusal: Refusal<Reason<Rule>>,
    /// The first physical line of the row, as [`printable`] gives it.
    pub excerpt: String,
}

impl<Rule> Reject<Rule> {
    /// A reject of the row that begins with `text` on physical line `line`; only the first line of `text` is shown.
    pub fn new(line: u64, refusal: Refusal<Reason<Rule>>, text: &[u8]) -> Self {
        let window = &text[..text.len().min(4 * MAX_EXCERPT + 4)];
        let end = memchr::memchr(b'\n', window).unwrap_or(window.len());
        let first_line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
        Self {
            line,
            refusal,
            excerpt: printable(first_line, MAX_EXCERPT),
        }
    }
}

/// Collects rejects in the order they are pushed, as pages of CSV of at most 256 KiB, and counts them by reason.
///
/// It holds one open page and the closed pages that were not taken yet: take them now and then by
/// [`full_pages`](Self::full_pages), and memory stays bounded whatever the number of rejects.
#[derive(Debug)]
pub struct RejectLog<Rule> {
    open: Vec<u8>,
    full: Vec<(u32, Bytes)>,
    pages: u32,
    /// How many rejects have each reason, by its number.
    counts: Vec<u64>,
    of: PhantomData<Rule>,
}

impl<Rule: Code> Default for RejectLog<Rule> {
    fn default() -> Self {
        Self::new()
    }
}

impl<Rule: Code> RejectLog<Rule> {
    /// A log whose first page begins with the header row.
    pub fn new() -> Self {
        let mut open = Vec::new();
        write_row(&mut open, COLUMNS);
        Self {
            open,
            full: Vec::new(),
            pages: 0,
            counts: vec![0; Reason::<Rule>::all().count()],
            of: PhantomData,
        }
    }

    /// Adds one reject of the file `file`.
    pub fn push(&mut self, file: &str, reject: &Reject<Rule>) {
        let Refusal {
            reason,
            field,
            value,
        } = &reject.refusal;
        self.counts[reason.number()] += 1;
        let before = self.open.len();
        let line = reject.line.to_string();
        let cells = [
            line.as_str(),
            reason.word(),
            field,
            value,
            &reject.excerpt,
            file,
        ];
        write_row(&mut self.open, cells);
        if self.open.len() > PAGE_BYTES && before > 0 {
            let row = self.open.split_off(before);
            self.close(row);
        }
    }

    /// The pages that are full and were not taken before, each with its number from 0.
    pub fn full_pages(&mut self) -> Vec<(u32, Bytes)> {
        std::mem::take(&mut self.full)
    }

    /// How many rejects there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The pages that were not taken, how many pages there are in all (one at least, for the header row), and how many
    /// rejects have each reason (reasons that did not occur are absent).
    pub fn finish(mut self) -> (Vec<(u32, Bytes)>, u32, BTreeMap<String, u64>) {
        self.close(Vec::new());
        let by_reason = Reason::<Rule>::all()
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0)
            .map(|(reason, count)| (reason.word().to_owned(), *count))
            .collect();
        (self.full, self.pages, by_reason)
    }

    /// Closes the open page and opens the next, which begins with `next`.
    fn close(&mut self, next: Vec<u8>) {
        let page = std::mem::replace(&mut self.open, next);
        self.full.push((self.pages, Bytes::from(page)));
        self.pages += 1;
    }
}

/// Puts pages of a log of rejects as the annex `annex`.
///
/// # Errors
/// As [`Outlet::put`].
pub fn put_pages(
    pages: Vec<(u32, Bytes)>,
    annex: &'static str,
    outlet: &Outlet,
) -> Result<(), CutError> {
    pages.into_iter().try_for_each(|(page, body)| {
        outlet.put(Item::Annex {
            name: annex,
            page,
            body,
        })
    })
}

/// One row of CSV, its cells made harmless.
fn write_row<const N: usize>(page: &mut Vec<u8>, cells: [&str; N]) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            page.push(b',');
        }
        write_cell(page, cell);
    }
    page.push(b'\n');
}

/// One cell of CSV: quoted where it must be, and with a leading apostrophe where a spreadsheet would compute it.
pub fn write_cell(page: &mut Vec<u8>, cell: &str) {
    let quoted = cell.contains(['"', ',', '\n', '\r']);
    if quoted {
        page.push(b'"');
    }
    for byte in harmless(cell).bytes() {
        if byte == b'"' {
            page.push(b'"');
        }
        page.push(byte);
    }
    if quoted {
        page.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    codes! {
        /// The rules of a kind.
        enum Rule { Odd = "bizarre", Heavy = "trop_lourd", }
    }

    fn reject(line: u64, text: &str) -> Reject<Rule> {
        let refusal = Refusal {
            reason: Reason::Rule(Rule::Heavy),
            field: "poids",
            value: "abc".to_owned(),
        };
        Reject::new(line, refusal, text.as_bytes())
    }

    fn joined(pages: &[(u32, Bytes)]) -> String {
        let bytes: Vec<u8> = pages.iter().flat_map(|(_, page)| page.to_vec()).collect();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn reasons_are_numbered_as_they_come() {
        let numbers: Vec<usize> = Reason::<Rule>::all().map(Reason::number).collect();
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>());
        assert_eq!(numbers.len(), Structure::ALL.len() + 2);
    }

    #[test]
    fn a_log_without_rejects_is_its_header() {
        let (pages, count, by_reason) = RejectLog::<Rule>::new().finish();
        assert_eq!(count, 1);
        assert!(by_reason.is_empty());
        assert_eq!(joined(&pages), "ligne,motif,champ,valeur,extrait,fichier\n");
    }

    #[test]
    fn pages_are_small_numbered_without_gaps_and_hold_every_reject() {
        let mut log = RejectLog::new();
        let mut pages = Vec::new();
        for line in 0..20_000 {
            log.push("a.csv", &reject(line, &"x,".repeat(50)));
            pages.extend(log.full_pages());
        }
        assert_eq!(log.count(), 20_000);
        let (rest, count, by_reason) = log.finish();
        pages.extend(rest);
        assert_eq!(pages.len(), count as usize);
        assert!(count > 2, "{count}");
        for (index, (number, page)) in pages.iter().enumerate() {
            assert_eq!(*number as usize, index);
            assert!(page.len() <= PAGE_BYTES && page.ends_with(b"\n"));
        }
        assert_eq!(
            by_reason,
            BTreeMap::from([("trop_lourd".to_owned(), 20_000)])
        );
        let text = joined(&pages);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let lines: Vec<u64> = reader
            .records()
            .map(|row| row.expect("CSV")[0].parse().expect("a line"))
            .collect();
        assert_eq!(lines, (0..20_000).collect::<Vec<_>>());
    }

    #[test]
    fn cells_that_a_spreadsheet_would_compute_are_made_harmless() {
        for (cell, written) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+1", "'+1"),
            ("-5", "'-5"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "\"'\rx\""),
            ("\nx", "\"'\nx\""),
            ("＝1+1", "'＝1+1"),
            ("＋1", "'＋1"),
            ("－1", "'－1"),
            ("＠SUM(A1)", "'＠SUM(A1)"),
            ("=a,b", "\"'=a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a=b", "a=b"),
        ] {
            let mut page = Vec::new();
            write_cell(&mut page, cell);
            assert_eq!(String::from_utf8(page).expect("UTF-8"), written);
        }
    }

    #[test]
    fn an_excerpt_is_one_physical_line() {
        assert_eq!(reject(1, "a,b\r\nc,d\n").excerpt, "a,b");
        assert_eq!(reject(1, "a,b").excerpt, "a,b");
    }
}
