//! The header of a table: which delimiter, which columns, in which order.
//!
//! Columns are found by name, in any order; names are compared [folded](crate::fold), and other columns are ignored.
//! A header that cannot be used refuses the whole job with one sentence that names the file, the line, what was found and
//! what was expected.

use autoconnect_common::CutError;
use autoconnect_common::text::printable;
use csv::ByteRecord;

use super::record::{self, Content, MAX_ROW, Record};
use super::reject::{MAX_VALUE, Refusal, Structure};
use crate::fold::fold;

/// The delimiters that are detected from a header, in order of preference.
pub const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];
/// The bytes in which a NUL marks a binary file: as many as are read ahead.
const PROBE: usize = 64 * 1024;
/// The byte order mark that some programs write before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A column a kind of job knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Whether a file without it is refused.
    pub required: bool,
}

/// The header of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// What separates fields.
    pub delimiter: u8,
    /// Bytes of the text used, with the line end and any blank lines before.
    pub len: usize,
    /// Physical lines used.
    pub lines: u32,
    /// How many columns there are.
    pub columns: usize,
    /// Which column each wanted one is, in the order they were wanted.
    pub positions: Vec<Option<usize>>,
    /// What was wanted.
    wanted: Vec<Wanted>,
    /// The name of each column, as [`plain`] makes it.
    names: Vec<Vec<u8>>,
}

/// The byte of a requested delimiter.
///
/// # Errors
/// [`CutError::Refused`]: it is none of [`DELIMITERS`].
pub fn delimiter(asked: char) -> Result<u8, CutError> {
    let known = DELIMITERS
        .into_iter()
        .find(|known| char::from(*known) == asked);
    known.ok_or_else(|| {
        CutError::Refused(format!(
            "delimiter: found {asked:?}, expected a comma, a semicolon or a tab"
        ))
    })
}

/// Reads the header at the start of `text`, which is the whole file `name` or its first [`MAX_ROW`] bytes and more. The
/// delimiter is detected from the header where it is not given: the one that separates the most of the wanted columns.
///
/// # Errors
/// [`CutError::Refused`]: there is no header, a required column is missing, a column occurs twice, the delimiter is another
/// one, lines end with CR alone, or the file is binary.
pub fn read(
    text: &[u8],
    name: &str,
    delimiter: Option<u8>,
    wanted: &[Wanted],
) -> Result<Header, CutError> {
    find(text, delimiter, wanted).map_err(|what| CutError::Refused(format!("{name}: {what}")))
}

/// As [`read`]; errors do not name the file.
fn find(text: &[u8], delimiter: Option<u8>, wanted: &[Wanted]) -> Result<Header, String> {
    let mark = if text.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len()
    } else {
        0
    };
    let (blank_bytes, blank_lines) = skip_blank(&text[mark..]);
    let skipped = mark + blank_bytes;
    let rest = &text[skipped..];
    let line = blank_lines + 1;
    check_lines(rest, line, wanted)?;

    let best = best_candidate(rest, line, delimiter, wanted)?;
    let fields = match &best.record.content {
        Content::Fields(fields) => fields,
        Content::Broken(structure) => return Err(broken(*structure, line, rest)),
        Content::Blank => return Err(format!("line {line}: no header")),
    };
    if best.found == 0 {
        return Err(no_column(rest, line, delimiter, wanted));
    }
    let names: Vec<Vec<u8>> = fields.iter().map(plain).collect();
    Ok(Header {
        delimiter: best.delimiter,
        len: skipped + best.record.len,
        lines: blank_lines + best.record.lines,
        columns: names.len(),
        positions: positions(&names, line, best.delimiter, wanted)?,
        wanted: wanted.to_vec(),
        names,
    })
}

/// Refuses what has no lines of text to find a header in.
fn check_lines(rest: &[u8], line: u32, wanted: &[Wanted]) -> Result<(), String> {
    if rest.is_empty() {
        return Err(format!(
            "no header: found no text, expected the columns {}",
            list_wanted(wanted)
        ));
    }
    if !record::has_lone_cr(rest) {
        return Ok(());
    }
    Err(if looks_binary(rest) {
        binary()
    } else {
        format!("line {line}: lines end with a carriage return alone, expected LF or CRLF")
    })
}

/// The first record as the given delimiter splits it, or else the one that finds the most columns.
fn best_candidate(
    rest: &[u8],
    line: u32,
    delimiter: Option<u8>,
    wanted: &[Wanted],
) -> Result<Candidate, String> {
    let Some(given) = delimiter else {
        let candidates = DELIMITERS
            .iter()
            .map(|delimiter| Candidate::new(rest, *delimiter, wanted));
        // the first of the best: `max_by_key` would take the last
        let best =
            candidates.reduce(|best, next| if next.found > best.found { next } else { best });
        return best.ok_or_else(|| "no delimiter to try".to_owned());
    };
    let candidate = Candidate::new(rest, given, wanted);
    match better_delimiter(rest, &candidate, wanted) {
        Some(other) => Err(format!(
            "line {line}: the columns are separated by {}, expected {} as asked for",
            show_delimiter(other),
            show_delimiter(given)
        )),
        None => Ok(candidate),
    }
}

/// Which column each wanted one is.
fn positions(
    names: &[Vec<u8>],
    line: u32,
    delimiter: u8,
    wanted: &[Wanted],
) -> Result<Vec<Option<usize>>, String> {
    if let Some(twice) = first_repeated(names, wanted) {
        return Err(format!(
            "line {line}: the column {:?} occurs twice, expected each column once",
            printable(twice, 60)
        ));
    }
    let positions: Vec<Option<usize>> = wanted
        .iter()
        .map(|column| position(names, column))
        .collect();
    let missing: Vec<Wanted> = wanted
        .iter()
        .zip(&positions)
        .filter(|(column, at)| column.required && at.is_none())
        .map(|(column, _)| *column)
        .collect();
    if missing.is_empty() {
        return Ok(positions);
    }
    Err(missing_columns(&missing, names, line, delimiter, wanted))
}

impl Header {
    /// Whether a record has the shape of a row under this header: as many fields, all of them text, not the header again.
    ///
    /// # Errors
    /// What breaks it.
    pub fn check(&self, record: &ByteRecord) -> Result<(), Refusal<Structure>> {
        let count = || format!("{}/{}", record.len(), self.columns);
        if record.len() < self.columns {
            return Err(Refusal::whole(Structure::MissingColumns, count()));
        }
        if record.len() > self.columns {
            return Err(Refusal::whole(Structure::ExtraColumns, count()));
        }
        let unreadable = |field: &[u8]| {
            memchr::memchr(0, field).is_some() || std::str::from_utf8(field).is_err()
        };
        if let Some(at) = record.iter().position(unreadable) {
            let field = record.get(at).unwrap_or_default();
            return Err(Refusal {
                reason: Structure::InvalidEncoding,
                field: self.name_of(at),
                value: printable(field, MAX_VALUE),
            });
        }
        if self.is_repeated_by(record) {
            return Err(Refusal::whole(Structure::RepeatedHeader, String::new()));
        }
        Ok(())
    }

    /// What a record has in wanted column number `column`; empty where the file has no such column.
    pub fn field<'r>(&self, record: &'r ByteRecord, column: usize) -> &'r [u8] {
        let position = self.positions.get(column).copied().flatten();
        position.and_then(|at| record.get(at)).unwrap_or_default()
    }

    /// Whether a record has the very names of this header, as in files that were joined.
    pub fn is_repeated_by(&self, record: &ByteRecord) -> bool {
        record.len() == self.columns
            && record
                .iter()
                .zip(&self.names)
                .all(|(field, name)| plain(field) == *name)
    }

    /// The wanted name of column number `position`; empty for an unwanted column.
    pub fn name_of(&self, position: usize) -> &'static str {
        self.positions
            .iter()
            .zip(&self.wanted)
            .find(|(at, _)| **at == Some(position))
            .map_or("", |(_, column)| column.name)
    }
}

/// The first record as one delimiter splits it.
struct Candidate {
    delimiter: u8,
    record: Record,
    /// How many wanted columns it has.
    found: usize,
}

impl Candidate {
    fn new(rest: &[u8], delimiter: u8, wanted: &[Wanted]) -> Self {
        let record = record::split(rest, delimiter, true).unwrap_or(Record {
            len: rest.len(),
            lines: 1,
            continues: false,
            content: Content::Blank,
        });
        let found = match &record.content {
            Content::Fields(fields) => {
                let names: Vec<Vec<u8>> = fields.iter().map(plain).collect();
                wanted
                    .iter()
                    .filter(|column| position(&names, column).is_some())
                    .count()
            }
            _ => 0,
        };
        Self {
            delimiter,
            record,
            found,
        }
    }
}

/// A name without a byte order mark and surrounding blanks, ASCII letters in lower case.
fn plain(name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(BYTE_ORDER_MARK).unwrap_or(name);
    name.trim_ascii().to_ascii_lowercase()
}

fn position(names: &[Vec<u8>], column: &Wanted) -> Option<usize> {
    names.iter().position(|name| is_named(name, column))
}

/// Whether a name is that of a wanted column, as names are compared: `Modèle`, `Transaction ID`.
fn is_named(name: &[u8], column: &Wanted) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| fold(name) == fold(column.name))
}

/// Bytes and lines of the blank lines at the start.
fn skip_blank(text: &[u8]) -> (usize, u32) {
    let (mut bytes, mut lines) = (0, 0);
    loop {
        let rest = &text[bytes..];
        let end = match rest {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            [b'\r'] => 1,
            _ => return (bytes, lines),
        };
        bytes += end;
        lines += 1;
    }
}

/// The first name that occurs a second time, or that names a wanted column a second time; columns without a name may.
fn first_repeated<'n>(names: &'n [Vec<u8>], wanted: &'n [Wanted]) -> Option<&'n [u8]> {
    let mut seen = std::collections::HashSet::new();
    let known = |name: &'n [u8]| {
        let column = wanted.iter().find(|column| is_named(name, column));
        column.map_or(name, |column| column.name.as_bytes())
    };
    names
        .iter()
        .map(Vec::as_slice)
        .find(|name| !name.is_empty() && !seen.insert(known(name)))
}

fn broken(structure: Structure, line: u32, rest: &[u8]) -> String {
    match structure {
        Structure::OpenQuote => format!("line {line}: a quote of the header is never closed"),
        Structure::LineTooLong if looks_binary(rest) => binary(),
        Structure::LineTooLong => format!(
            "line {line}: the first line is longer than {} MiB, expected a header",
            MAX_ROW >> 20
        ),
        _ if looks_binary(rest) => binary(),
        _ => {
            format!("line {line}: a quote inside a column name, expected quotes around names only")
        }
    }
}

/// None of the wanted columns was found.
fn no_column(rest: &[u8], line: u32, delimiter: Option<u8>, wanted: &[Wanted]) -> String {
    if looks_binary(rest) {
        return binary();
    }
    let found = printable(first_line(rest), 80);
    let expected = list_wanted(wanted);
    match delimiter {
        Some(given) => format!(
            "line {line}: no header: found {found:?}, expected the columns {expected} with {} between them",
            show_delimiter(given)
        ),
        None => format!(
            "line {line}: no header: found {found:?}, expected the columns {expected} with a comma, semicolon or tab between them"
        ),
    }
}

/// The delimiter that finds every required column where this one does not.
fn better_delimiter(rest: &[u8], candidate: &Candidate, wanted: &[Wanted]) -> Option<u8> {
    let required = wanted.iter().filter(|column| column.required).count();
    if candidate.found >= required {
        return None;
    }
    DELIMITERS
        .into_iter()
        .find(|other| Candidate::new(rest, *other, wanted).found >= required)
}

fn missing_columns(
    missing: &[Wanted],
    names: &[Vec<u8>],
    line: u32,
    delimiter: u8,
    wanted: &[Wanted],
) -> String {
    let found: Vec<String> = names
        .iter()
        .take(20)
        .map(|name| printable(name, 40))
        .collect();
    let more = if names.len() > found.len() {
        ", …"
    } else {
        ""
    };
    let plural = if missing.len() == 1 { "" } else { "s" };
    format!(
        "line {line}: missing column{plural} {}: found {}{more} (separated by {}), expected {}",
        list(missing.iter()),
        found.join(", "),
        show_delimiter(delimiter),
        list_wanted(wanted)
    )
}

fn list_wanted(wanted: &[Wanted]) -> String {
    list(wanted.iter().filter(|column| column.required))
}

fn list<'w>(columns: impl Iterator<Item = &'w Wanted>) -> String {
    columns
        .map(|column| column.name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn show_delimiter(delimiter: u8) -> String {
    match delimiter {
        b',' => "a comma".to_owned(),
        b';' => "a semicolon".to_owned(),
        b'\t' => "a tab".to_owned(),
        other => format!("{:?}", char::from(other)),
    }
}

fn first_line(text: &[u8]) -> &[u8] {
    let window = &text[..text.len().min(1024)];
    let end = memchr::memchr(b'\n', window).unwrap_or(window.len());
    window[..end].strip_suffix(b"\r").unwrap_or(&window[..end])
}

/// Of a text whose header makes no sense: whether it is no text.
fn looks_binary(text: &[u8]) -> bool {
    memchr::memchr(0, &text[..text.len().min(PROBE)]).is_some()
}

fn binary() -> String {
    "a binary file, expected a table as text (CSV)".to_owned()
}

#[cfg(test)]
mod tests;
