//! Prepares tables for the page.

use super::column::Align;
use super::value::Value;
use super::{Form, Table};
use crate::lang::Lang;
use crate::name::clean;
use crate::number;

/// The most characters of a name in a table, so that the numbers beside it fit. A tooltip has the whole name.
const NAME: usize = 40;
/// The most rows of [`Shown::first`]: a screen of them. The file of the table has all.
pub const ROWS: usize = 40;

/// A table in one language, ready for the page; the first column names the rows.
#[derive(Debug)]
pub struct Shown {
    /// The text to click to unfold the table; empty for a table that is not folded.
    pub fold: String,
    /// Whether the table is shown on screen only: its sums are printed in another table.
    pub screen: bool,
    /// The number of rows that are not shown, as in `et 12 autres`; empty for none.
    pub more: String,
    pub(crate) columns: Vec<Column>,
    /// The rows, each with a cell for every column.
    pub(crate) rows: Vec<Vec<Cell>>,
    /// The name of the file with the whole table, in the folder `tables`.
    pub(crate) file: &'static str,
}

/// A column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) title: String,
    /// Whether it holds text, which is aligned left, not numbers.
    pub(crate) words: bool,
}

/// A cell.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) text: String,
    /// The whole text, where `text` is cut.
    pub(crate) full: Option<String>,
    /// The class in the style sheet that colours it; empty for none.
    pub(crate) class: &'static str,
}

impl Shown {
    /// A table with at most the first [`ROWS`] rows, and the number of others.
    pub fn first<R>(table: &Table<'_, R>, rows: impl IntoIterator<Item = R>, lang: Lang) -> Self {
        let mut rows = rows.into_iter();
        let mut shown = Self::all(table, rows.by_ref().take(ROWS), lang);
        shown.more = others(rows.count(), lang);
        shown
    }

    /// A table with every row.
    pub fn all<R>(table: &Table<'_, R>, rows: impl IntoIterator<Item = R>, lang: Lang) -> Self {
        let columns = table.columns(Form::Page);
        let rows = rows.into_iter().map(|row| {
            let cells = columns.iter().map(|column| {
                let value = column.value(Form::Page, &row);
                Cell::new(&value, column.shade(&row), lang)
            });
            cells.collect()
        });
        Self {
            fold: String::new(),
            screen: false,
            more: String::new(),
            rows: rows.collect(),
            columns: columns
                .iter()
                .map(|column| Column {
                    title: column.title(Form::Page, lang).to_owned(),
                    words: column.align(Form::Page) == Align::Left,
                })
                .collect(),
            file: table.file(),
        }
    }

    /// The table, folded behind this text.
    #[must_use]
    pub fn folded(mut self, fold: impl Into<String>) -> Self {
        self.fold = fold.into();
        self
    }
}

impl Cell {
    fn new(value: &Value<'_>, class: &'static str, lang: Lang) -> Self {
        let text = value.shown(lang, NAME);
        let full = match value {
            Value::Name(name) if text.ends_with('…') => Some(clean(name).into_owned()),
            _ => None,
        };
        Self { text, full, class }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::column;

    #[test]
    fn a_table_shows_its_first_rows_and_counts_the_others() {
        let long = "n".repeat(NAME + 1);
        let table = Table::new(
            "t.csv",
            [
                column::Column::name("nom", ["Nom", "Name"], |_: &u64| long.clone()),
                column::Column::count("n", ["Nombre", "Number"], |row: &u64| *row)
                    .shaded(|row| if *row == 0 { "h0" } else { "" }),
            ],
        );
        let shown = Shown::first(&table, 0..ROWS as u64 + 1, Lang::En).folded("Numbers");
        assert_eq!(
            (shown.fold.as_str(), shown.more.as_str()),
            ("Numbers", "and 1 other")
        );
        assert_eq!((shown.rows.len(), shown.file), (ROWS, "t.csv"));
        let titles: Vec<_> = shown
            .columns
            .iter()
            .map(|c| (c.title.as_str(), c.words))
            .collect();
        assert_eq!(titles, [("Name", true), ("Number", false)]);
        let [name, number] = &shown.rows[0][..] else {
            panic!("two cells");
        };
        assert_eq!(name.full.as_deref(), Some(long.as_str()));
        assert_eq!((number.text.as_str(), number.class), ("0", "h0"));
        assert_eq!(shown.rows[1][1].class, "");
    }
}
