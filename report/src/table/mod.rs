//! A table, described once: its columns, each with its name, its titles and how a row makes its cell.
//!
//! Every form of a report is written from the same description: [`html`] on the page, [`text`] in a terminal, [`csv`] in a file. A
//! column that looks otherwise in one of them, or is not in it, says so itself. Another form is one more file here: it takes a
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

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// On the page, in each of its languages.
    Page,
    /// As text in French, at most as wide as a terminal.
    Text,
    /// As data for spreadsheets and programs.
    Data,
}

impl Form {
    /// How many there are.
    const COUNT: usize = 3;
}

/// The description of a table whose rows are `R`s; what it refers to lives for `'r`.
pub struct Table<'r, R> {
    file: &'static str,
    columns: Vec<Column<'r, R>>,
}

impl<'r, R> Table<'r, R> {
    /// A table with these columns; `file`, in the folder `tables`, has all of it.
    pub fn new<const N: usize>(file: &'static str, columns: [Column<'r, R>; N]) -> Self {
        let columns = columns.into();
        Self { file, columns }
    }

    /// The table with more columns behind its last one.
    #[must_use]
    pub fn and(mut self, columns: impl IntoIterator<Item = Column<'r, R>>) -> Self {
        self.columns.extend(columns);
        self
    }

    /// The table without the column of that name, which is the same in all rows that are shown.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.columns.retain(|column| column.name_in_file() != name);
        self
    }

    /// The name of the file that has all of it.
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
