//! Why a row was refused ([`Reason`]), what is odd about an accepted one ([`Warning`]), and the pages of `rejets.csv`
//! ([`RejectLog`]).
//!
//! The words of reasons and warnings are French, like the data, and never change: people filter spreadsheets by them.
//! Whatever comes from a file is made [safe to show](autoconnect_common::text) before it is written.

use std::collections::BTreeMap;
use std::fmt;

use autoconnect_common::text::{harmless, printable};
use bytes::Bytes;

/// The most characters of an offending value that are kept.
pub const MAX_VALUE: usize = 100;
/// The most characters of an offending line that are kept.
pub const MAX_EXCERPT: usize = 200;
/// A page of `rejets.csv` is closed before it grows over so many bytes.
const PAGE_BYTES: usize = 256 * 1024;
/// The columns of `rejets.csv`.
pub const COLUMNS: [&str; 6] = ["ligne", "motif", "champ", "valeur", "extrait", "fichier"];

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one of them, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// Why a row was refused.
    Reason {
        /// Fewer fields than the header has columns.
        ColonnesManquantes = "colonnes_manquantes",
        /// More fields than the header has columns.
        ColonnesEnTrop = "colonnes_en_trop",
        /// No id.
        IdVide = "id_vide",
        /// An earlier, otherwise valid row has the same id.
        IdDuplique = "id_duplique",
        /// Not a day of the calendar written `YYYY-MM-DD`.
        DateInvalide = "date_invalide",
        /// No city.
        VilleVide = "ville_vide",
        /// Neither `vente` nor `location`.
        TypeInconnu = "type_inconnu",
        /// No model.
        ModeleVide = "modele_vide",
        /// No price.
        PrixManquant = "prix_manquant",
        /// A price that is no plain number.
        PrixInvalide = "prix_invalide",
        /// A price with a minus sign.
        PrixNegatif = "prix_negatif",
        /// A price with more than two decimals, which are never rounded silently.
        PrixTropPrecis = "prix_trop_precis",
        /// A price over 10 million euros.
        PrixExcessif = "prix_excessif",
        /// A rental without a duration.
        DureeManquante = "duree_manquante",
        /// A rental whose duration is no whole number of months from 1 to 120.
        DureeInvalide = "duree_invalide",
        /// Bytes that are no text in the file's encoding, or a NUL.
        EncodageInvalide = "encodage_invalide",
        /// A quote that is not closed within 1 MiB, or never.
        GuillemetNonFerme = "guillemet_non_ferme",
        /// A quote inside an unquoted field, or text after a closing quote.
        GuillemetMalPlace = "guillemet_mal_place",
        /// A row over 1 MiB.
        LigneTropLongue = "ligne_trop_longue",
        /// The header again, as in files that were joined.
        EnteteRepetee = "entete_repetee",
        /// A city over 255 bytes.
        VilleTropLongue = "ville_trop_longue",
        /// A model over 255 bytes.
        ModeleTropLong = "modele_trop_long",
    }
}

words! {
    /// What is odd about a row that is accepted all the same.
    Warning {
        /// A sale with a duration, which is ignored.
        VenteAvecDuree = "vente_avec_duree",
        /// A price of zero.
        PrixNul = "prix_nul",
        /// A rental over 48 months.
        LocationLongue = "location_longue",
        /// A day after the day of the job.
        DateFuture = "date_future",
        /// A day before 1970.
        DateAncienne = "date_ancienne",
        /// Control or bidirectional characters in the city or the model.
        CaracteresSpeciaux = "caracteres_speciaux",
        /// A cost that is no amount, which is ignored.
        CoutInvalide = "cout_invalide",
    }
}

/// A set of [`Warning`]s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warnings(u8);

impl Warnings {
    /// No warning.
    pub const NONE: Self = Self(0);

    /// Adds one.
    pub fn insert(&mut self, warning: Warning) {
        self.0 |= 1 << warning as u8;
    }

    /// Whether it is among them.
    pub fn contains(self, warning: Warning) -> bool {
        self.0 & (1 << warning as u8) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of declaration.
    pub fn iter(self) -> impl Iterator<Item = Warning> {
        Warning::ALL
            .iter()
            .copied()
            .filter(move |warning| self.contains(*warning))
    }
}

/// One row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The physical line of the file on which the row begins, from 1.
    pub line: u64,
    /// Why.
    pub reason: Reason,
    /// The column at fault; empty where it is the whole row.
    pub field: &'static str,
    /// What stood there, as [`printable`] gives it.
    pub value: String,
    /// The first physical line of the row, as [`printable`] gives it.
    pub excerpt: String,
}

impl Reject {
    /// A reject of the row that begins with `text` on physical line `line`; only the first line of `text` is shown.
    pub fn new(line: u64, reason: Reason, field: &'static str, value: String, text: &[u8]) -> Self {
        let window = &text[..text.len().min(4 * MAX_EXCERPT + 4)];
        let end = memchr::memchr(b'\n', window).unwrap_or(window.len());
        let first_line = window[..end].strip_suffix(b"\r").unwrap_or(&window[..end]);
        Self {
            line,
            reason,
            field,
            value,
            excerpt: printable(first_line, MAX_EXCERPT),
        }
    }
}

/// Collects rejects in the order they are pushed, as pages of CSV of at most 256 KiB, and counts them by reason.
///
/// It holds one open page and the closed pages nobody has taken yet: take them now and then by
/// [`full_pages`](Self::full_pages), and memory stays bounded whatever the number of rejects.
#[derive(Debug)]
pub struct RejectLog {
    open: Vec<u8>,
    full: Vec<(u32, Bytes)>,
    pages: u32,
    counts: [u64; Reason::ALL.len()],
}

impl Default for RejectLog {
    fn default() -> Self {
        Self::new()
    }
}

impl RejectLog {
    /// A log whose first page begins with the header row.
    pub fn new() -> Self {
        let mut open = Vec::new();
        write_row(&mut open, COLUMNS);
        Self {
            open,
            full: Vec::new(),
            pages: 0,
            counts: [0; Reason::ALL.len()],
        }
    }

    /// Adds one reject of the file `file`.
    pub fn push(&mut self, file: &str, reject: &Reject) {
        self.counts[reject.reason as usize] += 1;
        let before = self.open.len();
        let line = reject.line.to_string();
        let cells = [
            line.as_str(),
            reject.reason.as_str(),
            reject.field,
            &reject.value,
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
        let by_reason = Reason::ALL
            .iter()
            .map(|reason| (reason.as_str().to_owned(), self.counts[*reason as usize]))
            .filter(|(_, count)| *count > 0)
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

    fn reject(line: u64, text: &str) -> Reject {
        Reject::new(
            line,
            Reason::PrixInvalide,
            "prix",
            "abc".to_owned(),
            text.as_bytes(),
        )
    }

    fn joined(pages: &[(u32, Bytes)]) -> String {
        let bytes: Vec<u8> = pages.iter().flat_map(|(_, page)| page.to_vec()).collect();
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn words_are_snake_case_and_unique() {
        let words = Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .chain(Warning::ALL.iter().map(|warning| warning.as_str()));
        let mut seen = std::collections::HashSet::new();
        for word in words {
            assert!(
                word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{word}"
            );
            assert!(seen.insert(word), "{word}");
        }
    }

    #[test]
    fn a_log_without_rejects_is_its_header() {
        let (pages, count, by_reason) = RejectLog::new().finish();
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
            BTreeMap::from([("prix_invalide".to_owned(), 20_000)])
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

    #[test]
    fn warnings_are_a_set() {
        let mut warnings = Warnings::NONE;
        assert!(warnings.is_empty());
        warnings.insert(Warning::CoutInvalide);
        warnings.insert(Warning::PrixNul);
        warnings.insert(Warning::PrixNul);
        let found: Vec<Warning> = warnings.iter().collect();
        assert_eq!(found, [Warning::PrixNul, Warning::CoutInvalide]);
        assert!(!warnings.contains(Warning::DateFuture));
    }
}
