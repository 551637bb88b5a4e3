//! Splits one record off a text: the reference path of the reader, which accepts any input.
//!
//! A strict scan of the structure comes first (where does the record end, are its quotes in order), then the `csv` crate
//! splits and unescapes the fields of exactly that span.
//!
//! # What a record is
//!
//! * A line ends with LF; a CR directly before the LF, or before the end of the input, belongs to the line end. Any other
//!   CR is text.
//! * A line without anything is [`Content::Blank`]: no row.
//! * A field that begins with a quote ends with the next quote that is not doubled. In between, delimiters and line ends
//!   are text: such a record spans several physical lines.
//! * A record is [`Content::Broken`] where a quote stands inside an unquoted field or text follows a closing quote
//!   (`guillemet_mal_place`), where a quote is not closed within [`MAX_ROW`] bytes or to the end of the input
//!   (`guillemet_non_ferme`), and where the record is longer than [`MAX_ROW`] (`ligne_trop_longue`). It then consumes only its
//!   first physical line, and reading resumes on the next one: a single stray quote never swallows a file.
//!
//! # Promises
//!
//! What is found depends on the bytes of the input only, never on how much of it is in `text`. Time is linear: a record
//! that consumes one line after a long search has seen an even number of quotes on every line it looked ahead, so that none
//! of these starts such a search of its own. Nothing is ever read beyond [`MAX_ROW`] bytes but to find the end of a line.

use std::io::{self, Read};

use csv::ByteRecord;
use memchr::{memchr, memchr3};

use super::reject::Structure;

/// The longest record that is a row, in bytes with its line end.
pub const MAX_ROW: usize = 1 << 20;

/// One record of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// How many bytes of the text it takes, with the line end.
    pub len: usize,
    /// How many physical lines it takes.
    pub lines: u32,
    /// The physical line does not end in this text: drop the input up to and including the next LF (or the end) before
    /// reading on; those bytes belong to the same physical line. Only ever true of `ligne_trop_longue`, with `len` the whole
    /// text, so that a line of any length needs no memory.
    pub continues: bool,
    /// What is in it.
    pub content: Content,
}

/// What is in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An empty line: no row.
    Blank,
    /// The fields, unescaped.
    Fields(ByteRecord),
    /// Its fields cannot be separated.
    Broken(Structure),
}

/// Splits records off texts with one delimiter; keeps the `csv` crate's tables between records.
#[derive(Debug)]
pub struct Splitter {
    delimiter: u8,
    reader: csv::Reader<Feed>,
}

/// Splits one record off `text`, which begins at the start of a line. `last`: nothing follows the text. `None`: more text is
/// needed (never once `text` is longer than [`MAX_ROW`] or `last` is true).
///
/// For one record; for many, a [`Splitter`] is several times faster.
pub fn split(text: &[u8], delimiter: u8, last: bool) -> Option<Record> {
    Splitter::new(delimiter).split(text, last)
}

impl Splitter {
    /// A splitter for this delimiter (not a quote, CR or LF).
    pub fn new(delimiter: u8) -> Self {
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .terminator(csv::Terminator::Any(b'\n'))
            .buffer_capacity(4096)
            .from_reader(Feed::default());
        let mut splitter = Self { delimiter, reader };
        // the csv crate drops a byte order mark from the first bytes it sees: let these be other ones
        splitter.reader.get_mut().fill(b"-");
        let _ = splitter.reader.read_byte_record(&mut ByteRecord::new());
        splitter
    }

    /// As [`split`].
    pub fn split(&mut self, text: &[u8], last: bool) -> Option<Record> {
        let window = &text[..text.len().min(MAX_ROW)];
        let whole = Whole {
            over: text.len() > MAX_ROW,
            last: last && text.len() <= MAX_ROW,
        };
        let first = match memchr(b'\n', window) {
            Some(at) => at + 1,
            None if whole.over => return Some(too_long(text, last)),
            None if whole.last => window.len(),
            None => return None,
        };
        let scanned = match scan(window, self.delimiter, whole) {
            Scan::More => return None,
            Scan::Ends(end) => end,
            Scan::Broken(structure) => {
                return Some(Record::one_line(first, Content::Broken(structure)));
            }
        };
        let span = without_line_end(&window[..scanned]);
        if span.is_empty() {
            return Some(Record::one_line(scanned, Content::Blank));
        }
        let inner_lines = if first == scanned {
            0
        } else {
            memchr::memchr_iter(b'\n', span).count()
        };
        let content = match self.fields(span) {
            Some(fields) => Content::Fields(fields),
            None => {
                return Some(Record::one_line(
                    first,
                    Content::Broken(Structure::MisplacedQuote),
                ));
            }
        };
        Some(Record {
            len: scanned,
            lines: u32::try_from(inner_lines).unwrap_or(u32::MAX - 1) + 1,
            continues: false,
            content,
        })
    }

    /// The fields of a span whose structure was found sound; `None` only if the csv crate disagreed.
    fn fields(&mut self, span: &[u8]) -> Option<ByteRecord> {
        self.reader.get_mut().fill(span);
        let begin = self.reader.position().byte();
        let mut fields = ByteRecord::with_capacity(span.len(), 8);
        let read = self.reader.read_byte_record(&mut fields);
        let used = self.reader.position().byte() - begin;
        if matches!(read, Ok(true)) && used == span.len() as u64 + 1 {
            return Some(fields);
        }
        *self = Self::new(self.delimiter);
        None
    }
}

impl Record {
    fn one_line(len: usize, content: Content) -> Self {
        Self {
            len,
            lines: 1,
            continues: false,
            content,
        }
    }
}

/// A physical line over [`MAX_ROW`]: to its end, or all there is of it.
fn too_long(text: &[u8], last: bool) -> Record {
    let end = memchr(b'\n', &text[MAX_ROW..]).map(|at| MAX_ROW + at + 1);
    Record {
        len: end.unwrap_or(text.len()),
        lines: 1,
        continues: end.is_none() && !last,
        content: Content::Broken(Structure::LineTooLong),
    }
}

/// What follows the window of a record.
#[derive(Clone, Copy)]
struct Whole {
    /// More bytes, which are too many for a row.
    over: bool,
    /// Nothing follows it: the text ends there.
    last: bool,
}

/// What a scan found.
enum Scan {
    /// The record ends before this byte of the window.
    Ends(usize),
    /// It is broken.
    Broken(Structure),
    /// The window ends first.
    More,
}

/// Finds the end of the record at the start of `window`.
fn scan(window: &[u8], delimiter: u8, whole: Whole) -> Scan {
    let mut at = 0;
    loop {
        // `at` is the start of a field
        let separator = if window.get(at) == Some(&b'"') {
            match closing_quote(window, at + 1) {
                Some(after) => after,
                None if whole.last || whole.over => {
                    return Scan::Broken(Structure::OpenQuote);
                }
                None => return Scan::More,
            }
        } else {
            match memchr3(delimiter, b'\n', b'"', &window[at..]) {
                Some(found) => at + found,
                None => window.len(),
            }
        };
        match window.get(separator) {
            Some(b'\n') => return Scan::Ends(separator + 1),
            Some(b'\r') if window.get(separator + 1) == Some(&b'\n') => {
                return Scan::Ends(separator + 2);
            }
            Some(b'\r') if separator + 1 == window.len() => return at_window_end(window, whole),
            Some(&byte) if byte == delimiter => at = separator + 1,
            Some(_) => return Scan::Broken(Structure::MisplacedQuote),
            None => return at_window_end(window, whole),
        }
    }
}

/// What a record is that, all its quotes closed, reaches the end of the window.
fn at_window_end(window: &[u8], whole: Whole) -> Scan {
    if whole.over {
        Scan::Broken(Structure::LineTooLong)
    } else if whole.last {
        Scan::Ends(window.len())
    } else {
        Scan::More
    }
}

/// The byte after the quote that closes the field whose text begins at `from`. A quote that is the window's last byte
/// closes the field: if another followed beyond the window, the record would be too long in any case, or more is read.
fn closing_quote(window: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let quote = from + memchr(b'"', &window[from..])?;
        if window.get(quote + 1) != Some(&b'"') {
            return Some(quote + 1);
        }
        from = quote + 2;
    }
}

/// A record without its line end.
fn without_line_end(record: &[u8]) -> &[u8] {
    let line = record.strip_suffix(b"\n").unwrap_or(record);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether the first line of `text` holds a CR that is neither before an LF nor at the end nor in quotes: the mark of a
/// file whose lines end with CR alone.
pub(super) fn has_lone_cr(text: &[u8]) -> bool {
    let window = &text[..text.len().min(MAX_ROW)];
    let mut quoted = false;
    let mut at = 0;
    while let Some(found) = memchr3(b'\r', b'"', b'\n', &window[at..]) {
        let byte = window[at + found];
        at += found + 1;
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'\n' => return false,
            _ => match window.get(at) {
                Some(b'\n') | None => return false,
                Some(_) => return true,
            },
        }
    }
    false
}

/// Passes one record to the csv crate, which reads bytes only while a record is not finished.
#[derive(Debug, Default)]
struct Feed {
    bytes: Vec<u8>,
    taken: usize,
}

impl Feed {
    fn fill(&mut self, span: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(span);
        self.bytes.push(b'\n');
        self.taken = 0;
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.bytes[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every record of `text`, passed to the splitter in windows that grow by `step` bytes while it needs more.
    fn records(text: &[u8], step: usize) -> Vec<Record> {
        let mut splitter = Splitter::new(b',');
        let (mut at, mut found) = (0, Vec::new());
        while at < text.len() {
            let mut end = at;
            let record = loop {
                end = (end + step).min(text.len());
                let last = end == text.len();
                if let Some(record) = splitter.split(&text[at..end], last) {
                    break record;
                }
                assert!(!last && end - at <= MAX_ROW, "more was asked for in vain");
            };
            assert!(record.len > 0 && record.len <= end - at);
            at += record.len;
            if record.continues {
                assert_eq!(at, end);
                at += memchr(b'\n', &text[at..]).map_or(text.len() - at, |lf| lf + 1);
            }
            found.push(record);
        }
        found
    }

    fn all(text: &str) -> Vec<Record> {
        records(text.as_bytes(), usize::MAX >> 1)
    }

    fn contents(text: &str) -> Vec<Content> {
        all(text).into_iter().map(|record| record.content).collect()
    }

    fn fields(of: &[&str]) -> Content {
        Content::Fields(ByteRecord::from(of.to_vec()))
    }

    fn broken(structure: Structure) -> Content {
        Content::Broken(structure)
    }

    #[test]
    fn lines_end_with_lf_or_crlf_mixed_and_the_last_may_not_end() {
        let three = [
            fields(&["a", "b"]),
            fields(&["c", "d"]),
            fields(&["e", "f"]),
        ];
        for text in [
            "a,b\nc,d\ne,f\n",
            "a,b\r\nc,d\r\ne,f\r\n",
            "a,b\r\nc,d\ne,f",
            "a,b\nc,d\r\ne,f\r",
        ] {
            assert_eq!(contents(text), three, "{text:?}");
        }
    }

    #[test]
    fn a_blank_line_is_no_row() {
        assert_eq!(
            contents("\n\r\na\n\n"),
            [
                Content::Blank,
                Content::Blank,
                fields(&["a"]),
                Content::Blank
            ]
        );
        assert_eq!(contents("\r"), [Content::Blank]);
        assert_eq!(contents(" \n\"\"\n"), [fields(&[" "]), fields(&[""])]);
    }

    #[test]
    fn quoted_fields_hold_delimiters_quotes_and_line_ends() {
        let found = all("\"a,\"\"b\"\"\",\"c\nd\r\ne\",\"\"\nx\n");
        assert_eq!(found[0].content, fields(&["a,\"b\"", "c\nd\r\ne", ""]));
        assert_eq!((found[0].lines, found[1].lines), (3, 1));
        assert_eq!(found[1].content, fields(&["x"]));
    }

    #[test]
    fn a_quote_inside_an_unquoted_field_breaks_its_line_only() {
        for line in [
            "a\"b",
            "a,b\"",
            "5\" pipe,\"x",
            "\"a\"b,c",
            "\"a\" ,b",
            "\"a\"\rb",
        ] {
            let found = contents(&format!("{line}\nok\n"));
            assert_eq!(
                found,
                [broken(Structure::MisplacedQuote), fields(&["ok"])],
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_quote_never_closed_breaks_its_line_only() {
        assert_eq!(
            contents("a,\"b\nc,d\ne"),
            [
                broken(Structure::OpenQuote),
                fields(&["c", "d"]),
                fields(&["e"])
            ]
        );
        assert_eq!(contents("\""), [broken(Structure::OpenQuote)]);
    }

    #[test]
    fn a_quote_closed_after_more_than_a_mebibyte_breaks_its_line_only() {
        let line = "x,y\n";
        let near = format!("\"{}\"\n", line.repeat(MAX_ROW / line.len() - 1));
        assert!(near.len() <= MAX_ROW);
        assert!(matches!(all(&near)[..], [Record { lines: 262_144, .. }]));
        let far = format!("\"{}\"\n", line.repeat(MAX_ROW / line.len()));
        let found = all(&far);
        assert_eq!(found.len(), MAX_ROW / line.len() + 1);
        assert_eq!(found[0].content, broken(Structure::OpenQuote));
        assert_eq!(found[0].len, 5);
        assert_eq!(found[1].content, fields(&["x", "y"]));
    }

    #[test]
    fn a_row_is_at_most_a_mebibyte_with_its_line_end() {
        for (end, step) in [
            ("", 1 << 16),
            ("\n", 1 << 16),
            ("\r\n", 1 << 16),
            ("\n", 1 << 30),
        ] {
            let fits = format!("{}{end}", "a".repeat(MAX_ROW - end.len()));
            assert!(matches!(
                &records(fits.as_bytes(), step)[..],
                [Record {
                    content: Content::Fields(_),
                    ..
                }]
            ));
            let over = format!("a{fits}");
            let found = records(over.as_bytes(), step);
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].content, broken(Structure::LineTooLong));
        }
    }

    #[test]
    fn a_line_of_any_length_needs_no_more_than_a_mebibyte() {
        let mut text = vec![b'a'; 5 * MAX_ROW];
        text.extend_from_slice(b"\nok\n");
        let found = records(&text, 1 << 16);
        assert!(found[0].continues && found[0].len <= MAX_ROW + (1 << 16));
        assert_eq!(found[0].content, broken(Structure::LineTooLong));
        assert_eq!(found[1].content, fields(&["ok"]));
        let at_once = split(&text, b',', true).expect("a record");
        assert_eq!((at_once.len, at_once.continues), (5 * MAX_ROW + 1, false));
    }

    #[test]
    fn a_byte_order_mark_after_the_first_line_is_text() {
        assert_eq!(
            contents("a\n\u{feff}b\n"),
            [fields(&["a"]), fields(&["\u{feff}b"])]
        );
        assert_eq!(contents("\u{feff}b\n"), [fields(&["\u{feff}b"])]);
    }

    #[test]
    fn adversarial_quotes_take_linear_time() {
        for line in [
            "\"\n",
            "a,\"\n",
            "\"\"\"\n",
            "\"a\"\"\n",
            "\"\",\"\n",
            "a\"\n",
            "\"\"\n",
            "\"a\n\"\"\n",
        ] {
            let text = line.repeat((2 << 20) / line.len());
            let begin = std::time::Instant::now();
            let found = records(text.as_bytes(), usize::MAX >> 1);
            assert!(!found.is_empty());
            // seconds even without optimisation; a quadratic search would take hours
            assert!(begin.elapsed().as_secs() < 20, "{line:?}");
        }
        let mut text = b"\"\n".to_vec();
        text.extend(b"a,b\n".repeat(1 << 19));
        text.extend(b"\"\n".repeat(1 << 18));
        assert!(records(&text, usize::MAX >> 1).len() > 1 << 19);
    }

    /// Texts that look like tables gone wrong.
    fn messy() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            &b"a"[..],
            b"1.5",
            b",",
            b",",
            b";",
            b"\"",
            b"\"",
            b"\"\"",
            b"\n",
            b"\n",
            b"\r\n",
            b"\r",
            b"\t",
            b" ",
            b"\0",
            b"\xff",
            b"\xc3\xa9",
            b"\xef\xbb\xbf",
            b"NULL",
        ]);
        prop_oneof![
            prop::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat()),
            prop::collection::vec(any::<u8>(), 0..200),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_and_every_line_is_consumed_once(text in messy()) {
            let found = records(&text, usize::MAX >> 1);
            prop_assert_eq!(found.iter().map(|record| record.len).sum::<usize>(), text.len());
            let lines = memchr::memchr_iter(b'\n', &text).count() + usize::from(!text.ends_with(b"\n") && !text.is_empty());
            prop_assert_eq!(found.iter().map(|record| record.lines as usize).sum::<usize>(), lines);
        }

        #[test]
        fn records_do_not_depend_on_how_much_text_is_given(text in messy(), step in 1_usize..40) {
            prop_assert_eq!(records(&text, step), records(&text, usize::MAX >> 1));
        }

        #[test]
        fn the_csv_crate_alone_splits_sound_texts_alike(text in messy()) {
            let found = records(&text, usize::MAX >> 1);
            let sound = found.iter().all(|record| !matches!(record.content, Content::Broken(_)));
            // a lone CR ends a line for the csv crate, a byte order mark is dropped
            prop_assume!(sound && !text.contains(&b'\r') && !text.starts_with(b"\xef\xbb\xbf"));
            let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&text[..]);
            let expected: Vec<ByteRecord> = reader.byte_records().collect::<Result<_, _>>().expect("in memory");
            let rows: Vec<ByteRecord> = found.into_iter().filter_map(|record| match record.content {
                Content::Fields(fields) => Some(fields),
                _ => None,
            }).collect();
            prop_assert_eq!(rows, expected);
        }
    }
}
