//! A table, described once: its columns, each with its name, its titles and the function that makes a cell of a row.
//!
//! Every form of a report is written from the same description: [`html`] on the page, [`text`] in a terminal, [`csv`] in a
//! file. The description of a column also has its differences in one form. A new form is one more file here: it takes a
//! [`Table`] and rows, and writes the [`Value`](value::Value) of each cell.
//!
//! ```
//! use autoconnect_report::fixed::{Euros, Fixed};
//! use autoconnect_report::table::Form::{Data, Text};
//! use autoconnect_report::table::column::Column;
//! use autoconnect_report::table::{Table, csv, text};
//!
//! type Row = (&'static str, Euros, u64);
//! let table = Table::new(
//!     "ca.csv",
//!     [
//!         Column::name("ville", ["Ville", "City"], |row: &Row| row.0),
//!         Column::euros("ca", ["CA", "Revenue"], |row: &Row| row.1),
//!         Column::count("ventes", ["Ventes", "Sales"], |row: &Row| row.2).except(Text),
//!     ],
//! );
//! let rows = [("Lyon", Fixed(1_250), 7)];
//! let mut shown = String::new();
//! text::write(&table, rows, &mut shown);
//! assert_eq!(shown, "Ville       CA\nLyon   12,50\u{a0}€\n");
//! let mut file = Vec::new();
//! csv::write(&table, rows, &mut file)?;
//! assert_eq!(file, b"ville,ca,ventes\nLyon,12.5,7\n");
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod column;
pub mod csv;
pub mod html;
pub mod text;
pub mod value;

use self::column::Column;

/// A form of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// HTML on the page, in each of its languages.
    Page,
    /// Text in French, at most as wide as a terminal.
    Text,
    /// Data for spreadsheets and programs.
    Data,
}

impl Form {
    /// The number of forms.
    const COUNT: usize = 3;
}

/// The description of a table with rows of type `R`; its columns may borrow data for `'r`.
pub struct Table<'r, R> {
    file: &'static str,
    columns: Vec<Column<'r, R>>,
}

impl<'r, R> Table<'r, R> {
    /// A table with these columns; `file` is the name of its file in the folder `tables`.
    pub fn new<const N: usize>(file: &'static str, columns: [Column<'r, R>; N]) -> Self {
        let columns = columns.into();
        Self { file, columns }
    }

    /// The table with more columns after its last one.
    #[must_use]
    pub fn and(mut self, columns: impl IntoIterator<Item = Column<'r, R>>) -> Self {
        self.columns.extend(columns);
        self
    }

    /// The table without the column `name`, for rows that all have the same value in it.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.columns.retain(|column| column.name_in_file() != name);
        self
    }

    /// The name of the file with the whole table.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The columns of a form, from left to right.
    pub fn columns(&self, form: Form) -> Vec<&Column<'r, R>> {
        let shown = || self.columns.iter().filter(|column| column.is_in(form));
        let (placed, mut columns): (Vec<_>, Vec<_>) =
            shown().partition(|column| column.place(form).is_some());
        for column in placed {
            let place = column.place(form).unwrap_or_default();
            columns.insert(place.min(columns.len()), column);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the columns of a form.
    fn names<R>(table: &Table<'_, R>, form: Form) -> Vec<&'static str> {
        table
            .columns(form)
            .iter()
            .map(|c| c.name_in_file())
            .collect()
    }

    #[test]
    fn each_form_has_its_columns_in_its_order() {
        let column = |name| Column::count(name, name, |row: &u64| *row);
        let table = Table::new(
            "t.csv",
            [
                column("a").at(Form::Page, 1),
                column("b"),
                column("c").only(Form::Data),
                column("d").except(Form::Text).at(Form::Data, 0),
            ],
        );
        assert_eq!(names(&table, Form::Page), ["b", "a", "d"]);
        assert_eq!(names(&table, Form::Text), ["a", "b"]);
        assert_eq!(names(&table, Form::Data), ["d", "a", "b", "c"]);
        let table = table.without("b").and([column("e").at(Form::Text, 9)]);
        assert_eq!(names(&table, Form::Text), ["a", "e"]);
    }
}
