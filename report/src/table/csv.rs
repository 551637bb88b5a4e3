//! Writes tables as CSV files for spreadsheets and programs, with commas, UTF-8, decimal points and one header line.

use std::io;

use super::{Form, Table};

/// Writes every row.
///
/// # Errors
/// The error of `out`.
pub fn write<R>(
    table: &Table<'_, R>,
    rows: impl IntoIterator<Item = R>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    let columns = table.columns(Form::Data);
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record(columns.iter().map(|column| column.name_in_file()))?;
    for row in rows {
        for column in &columns {
            writer.write_field(column.value(Form::Data, &row).plain().as_bytes())?;
        }
        // an empty iterator ends the row
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}
