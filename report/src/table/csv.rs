//! Tables as CSV files for spreadsheets and programs: comma, UTF-8, decimal point, one header line.

use std::io;

use super::{Form, Table};

/// Writes every row.
///
/// # Errors
/// What `out` said.
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
        // ends the row
        writer.write_record(None::<&[u8]>)?;
    }
    writer.flush()
}
