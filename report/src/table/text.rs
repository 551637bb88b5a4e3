//! Writes tables as text in French, for a terminal or an e-mail.

use std::fmt::Write as _;

use super::column::{Align, Column};
use super::{Form, Table};
use crate::lang::Lang;

const FR: Lang = Lang::Fr;
/// The most rows of a table: a screen of them. The file of the table has all.
pub const ROWS: usize = 40;
/// The most characters of a name: a table with several columns then fits a terminal.
pub const NAME: usize = 24;

/// Writes at most the first [`ROWS`] rows, and the number of others. The parts of a wide table are one below the other.
pub fn write<R>(table: &Table<'_, R>, rows: impl IntoIterator<Item = R>, out: &mut String) {
    let mut rows = rows.into_iter();
    let first: Vec<R> = rows.by_ref().take(ROWS).collect();
    let more = rows.count();
    let columns = table.columns(Form::Text);
    let last = columns.iter().map(|column| column.last_part()).max();
    for part in 0..=last.unwrap_or_default() {
        if part > 0 {
            out.push('\n');
        }
        if first.is_empty() {
            out.push_str("aucune donnée\n");
            continue;
        }
        let columns = columns.iter().filter(|column| column.is_in_part(part));
        lines(columns.map(|column| cells(column, &first)).collect(), out);
        if more > 0 {
            let _ = writeln!(out, "… et {more} autres lignes : tables/{}", table.file());
        }
    }
}

/// The title and the cells of a column, all of the same width.
fn cells<R>(column: &Column<'_, R>, rows: &[R]) -> Vec<String> {
    let mut cells = vec![column.title(Form::Text, FR).to_owned()];
    let values = rows.iter().map(|row| column.value(Form::Text, row));
    cells.extend(values.map(|value| value.shown(FR, NAME)));
    let widths = cells.iter().map(|cell| cell.chars().count());
    let width = widths.max().unwrap_or_default();
    let align = column.align(Form::Text);
    for cell in &mut cells {
        *cell = match align {
            Align::Left => format!("{cell:<width$}"),
            Align::Right => format!("{cell:>width$}"),
        };
    }
    cells
}

/// Writes columns with equally many rows side by side.
fn lines(columns: Vec<Vec<String>>, out: &mut String) {
    let rows = columns.first().map_or(0, Vec::len);
    for row in 0..rows {
        let cells: Vec<&str> = columns.iter().map(|column| column[row].as_str()).collect();
        out.push_str(cells.join("  ").trim_end_matches(' '));
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table<'static, u64> {
        Table::new(
            "t.csv",
            [
                Column::name("nom", ["Nom", "Name"], |row: &u64| format!("n{row}")).in_every_part(),
                Column::count("carre", ["Carré", "Square"], |row: &u64| row * row),
                Column::count("double", ["Double", "Double"], |row: &u64| 2 * row).part(1),
            ],
        )
    }

    #[test]
    fn a_wide_table_is_written_in_parts_that_repeat_its_names() {
        let mut out = String::new();
        write(&table(), [4, 100], &mut out);
        let squares = "Nom    Carré\nn4        16\nn100  10\u{202f}000\n";
        let doubles = "Nom   Double\nn4         8\nn100     200\n";
        assert_eq!(out, format!("{squares}\n{doubles}"));
    }

    #[test]
    fn rows_that_are_not_written_are_counted() {
        let mut out = String::new();
        write(&table(), 0..ROWS as u64 + 3, &mut out);
        assert_eq!(
            out.matches("… et 3 autres lignes : tables/t.csv\n").count(),
            2
        );
        out.clear();
        write(&table(), [], &mut out);
        assert_eq!(out, "aucune donnée\n\naucune donnée\n");
    }
}
