//! Standard output: text that cannot move a terminal's cursor, and tables.

use std::io::{self, Write as _};

pub(crate) use autoconnect_common::text::printable;

use crate::Failure;

/// The most characters of a cell that are printed: a reason may quote a field of any length, and `show` prints more of it.
const CELL: usize = 200;

/// Prints `text`; a closed pipe is no error.
///
/// # Errors
/// [`Failure`] where standard output cannot be written.
pub(crate) fn out(text: &str) -> Result<(), Failure> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::failed(format!("standard output: {error}"))),
    }
}

/// Prints `value` as JSON.
///
/// # Errors
/// As [`out`].
pub(crate) fn json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::of(&error))?;
    out(&(text + "\n"))
}

/// A table with its titles, each column as wide as its longest cell; cells may hold hostile text.
pub(crate) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = std::iter::once(titles.map(str::to_owned))
        .chain(rows.iter().cloned())
        .map(|row| row.map(|cell| printable(cell.as_bytes(), CELL)))
        .collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        let widths = rows.iter().map(|row| row[column].chars().count());
        widths.max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_moves_no_cursor() {
        let rows = [
            ["lyon".to_owned(), "a\u{1b}[2J\nb".to_owned()],
            ["saint-étienne".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["KEY", "REASON"], &rows),
            "KEY            REASON\nlyon           a\\u{1b}[2J\\nb\nsaint-étienne\n"
        );
    }
}
