//! The tables of a page.

use std::borrow::Cow;

use crate::lang::Lang;
use crate::name::{clean, cut};
use crate::number;

/// The most characters of a name in a table; the whole name is shown to a pointer that rests on it.
const NAME: usize = 40;
/// The most rows of a table.
pub const ROWS: usize = 40;

/// A table; the first column names the rows.
///
/// ```
/// use autoconnect_report::lang::Lang;
/// use autoconnect_report::number::count;
/// use autoconnect_report::table::{ROWS, Table, row};
///
/// let words = (1..=100).map(|n| (format!("mot{n}"), n));
/// let rows = words.map(|(word, n)| row(&word, [count(n, Lang::Fr)]));
/// // the first column holds words, the other one numbers
/// let table = Table::new("mots.csv", 1, ["Mot", "Nombre"]).rows(rows, Lang::Fr);
/// // a page shows the beginning and links the file that holds all
/// assert_eq!((table.rows.len(), ROWS), (40, 40));
/// assert_eq!(table.more, "et 60 autres");
/// ```
#[derive(Debug)]
pub struct Table {
    /// What to click where the table is folded; empty where it is open.
    pub fold: String,
    /// Whether it stays off paper: its sums are printed elsewhere.
    pub screen: bool,
    /// The columns, from left to right.
    pub columns: Vec<Column>,
    /// The rows, each with a cell for every column.
    pub rows: Vec<Vec<Cell>>,
    /// What is not shown: `et 12 autres`; empty where all is.
    pub more: String,
    /// The file with all of it, in the folder `tables`.
    pub csv: &'static str,
}

/// A column.
#[derive(Debug)]
pub struct Column {
    /// What stands at its head.
    pub title: String,
    /// Whether it holds words, not numbers.
    pub words: bool,
}

/// A cell.
#[derive(Debug, Default)]
pub struct Cell {
    /// What is shown.
    pub text: String,
    /// The whole text, where `text` is cut.
    pub full: Option<String>,
    /// The class of the style sheet that colours it; empty where it has no colour.
    pub class: &'static str,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }
}

impl Cell {
    /// A name from the data.
    pub fn name(name: &str) -> Self {
        let text = cut(name, NAME);
        let full = (text.ends_with('…')).then(|| clean(name).into_owned());
        Self {
            text,
            full,
            class: "",
        }
    }
}

impl Table {
    /// A table without rows; the first `words` columns hold words, the others numbers.
    pub fn new<const N: usize>(
        csv: &'static str,
        words: usize,
        columns: [&'static str; N],
    ) -> Self {
        Self::with_columns(csv, words, columns.map(Cow::Borrowed))
    }

    /// The same with columns named after the data.
    pub fn with_columns<'a>(
        csv: &'static str,
        words: usize,
        columns: impl IntoIterator<Item = Cow<'a, str>>,
    ) -> Self {
        let columns = (0..)
            .zip(columns)
            .map(|(i, title)| Column {
                title: title.into_owned(),
                words: i < words,
            })
            .collect();
        Self {
            fold: String::new(),
            screen: false,
            columns,
            rows: Vec::new(),
            more: String::new(),
            csv,
        }
    }

    /// The table behind these words.
    pub fn folded(mut self, fold: impl Into<String>) -> Self {
        self.fold = fold.into();
        self
    }

    /// The first rows, [`ROWS`] at most, and how many more there are.
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>, lang: Lang) -> Self {
        let mut rows = rows.into_iter();
        self.rows.extend(rows.by_ref().take(ROWS));
        self.more = others(rows.count(), lang);
        self
    }
}

/// A row of a table.
pub fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<Cell> {
    let cells = cells.into_iter().map(Cell::from);
    std::iter::once(Cell::name(name)).chain(cells).collect()
}

/// `et 12 autres`; empty for none.
pub fn others(n: usize, lang: Lang) -> String {
    let number = number::count(n as u64, lang);
    match (n, lang) {
        (0, _) => String::new(),
        (1, Lang::Fr) => "et 1 autre".to_owned(),
        (_, Lang::Fr) => format!("et {number} autres"),
        (1, Lang::En) => "and 1 other".to_owned(),
        (_, Lang::En) => format!("and {number} others"),
    }
}
