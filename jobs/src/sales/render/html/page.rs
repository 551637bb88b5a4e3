//! The parts of the page: sections of figures, each a chart and its numbers as tables.

use std::borrow::Cow;

use super::chart::Chart;
use crate::sales::render::figures::{clean, cut};
use crate::sales::render::number::{self, Lang};

/// The most characters of a name in a table; the whole name is shown to a pointer that rests on it.
const NAME: usize = 40;
/// The most rows of a table.
pub(super) const ROWS: usize = 40;

/// A part of the report.
#[derive(Debug)]
pub(super) struct Section {
    /// Its anchor, the same in both languages.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// What the reader needs to know to read the figures.
    pub(super) text: Vec<String>,
    pub(super) figures: Vec<Figure>,
}

impl Section {
    /// What the anchors of its chart with this number begin with.
    pub(super) fn chart_id(&self, language: &str, number: impl std::fmt::Display) -> String {
        format!("{language}-{}-{number}", self.id)
    }
}

/// A chart with its legend, and its numbers.
#[derive(Debug, Default)]
pub(super) struct Figure {
    pub(super) title: String,
    /// One sentence below the title.
    pub(super) note: String,
    pub(super) legend: Vec<Legend>,
    pub(super) chart: Option<Chart>,
    pub(super) tables: Vec<Table>,
    /// Whether figures of this kind stand beside one another where there is room.
    pub(super) narrow: bool,
}

/// What a colour stands for.
#[derive(Debug)]
pub(super) struct Legend {
    pub(super) class: &'static str,
    pub(super) label: String,
}

/// A table; the first column names the rows.
#[derive(Debug)]
pub(super) struct Table {
    /// What to click where the table is folded; empty where it is open.
    pub(super) fold: String,
    /// Whether it stays off paper: its sums are printed elsewhere.
    pub(super) screen: bool,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What is not shown: `et 12 autres`; empty where all is.
    pub(super) more: String,
    /// The file with all of it, in the folder `tables`.
    pub(super) csv: &'static str,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: String,
    /// Whether it holds words, not numbers.
    pub(super) words: bool,
}

/// A cell.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// The whole text, where `text` is cut.
    pub(super) full: Option<String>,
    pub(super) class: &'static str,
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
    pub(super) fn name(name: &str) -> Self {
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
    pub(super) fn new<const N: usize>(
        csv: &'static str,
        words: usize,
        columns: [&'static str; N],
    ) -> Self {
        Self::with_columns(csv, words, columns.map(Cow::Borrowed))
    }

    /// The same with columns named after the data.
    pub(super) fn with_columns<'a>(
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
    pub(super) fn folded(mut self, fold: impl Into<String>) -> Self {
        self.fold = fold.into();
        self
    }

    /// The first rows, [`ROWS`] at most, and how many more there are.
    pub(super) fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>, lang: Lang) -> Self {
        let mut rows = rows.into_iter();
        self.rows.extend(rows.by_ref().take(ROWS));
        self.more = others(rows.count(), lang);
        self
    }
}

/// A row of a table.
pub(super) fn row(name: &str, cells: impl IntoIterator<Item = String>) -> Vec<Cell> {
    let cells = cells.into_iter().map(Cell::from);
    std::iter::once(Cell::name(name)).chain(cells).collect()
}

/// `et 12 autres`; empty for none.
pub(super) fn others(n: usize, lang: Lang) -> String {
    let number = number::count(n as u64, lang);
    match (n, lang) {
        (0, _) => String::new(),
        (1, Lang::Fr) => "et 1 autre".to_owned(),
        (_, Lang::Fr) => format!("et {number} autres"),
        (1, Lang::En) => "and 1 other".to_owned(),
        (_, Lang::En) => format!("and {number} others"),
    }
}
