//! The hot path of the reader: accepts a perfectly ordinary line, and leaves everything else to the reference path.
//!
//! It never rejects, warns or validates text: a line it does not understand at once (a quote, an unknown city, a zero
//! price, a date before 1970, a field too many) is read again by [`autoconnect_tables::record`] and [`super::row`], which
//! alone decide. So both paths agree on every line that this one accepts, which a property test checks on arbitrary bytes.

use std::ops::Range;
use std::sync::Arc;

use autoconnect_tables::header::Header;
use autoconnect_tables::words::{Lexicon, eight_bytes, some_bytes};
use chrono::{Datelike, Months, NaiveDate};

use super::chunk::Ligne;
use super::columns::{COLUMNS, Column, LONG_DUREE, MAX_CENTS, NO_AMOUNT, NO_AMOUNTS, REQUIRED};

/// The years the fast calendar knows.
const YEARS: Range<i32> = 1970..2100;

/// Where each column stands in a file, in the order of [`COLUMNS`]; [`ABSENT`] where it does not.
type Positions = [usize; COLUMNS.len()];

/// The position of a column that a file does not have.
const ABSENT: usize = usize::MAX;

/// Where the columns stand in most files: the required ones, in their order.
const USUAL: Positions = {
    let mut positions = [ABSENT; COLUMNS.len()];
    let mut column = 0;
    while column < REQUIRED {
        positions[column] = column;
        column += 1;
    }
    positions
};

/// A line as the hot path reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The transaction.
    pub ligne: Ligne,
    /// The number of its city's spelling.
    pub ville: u16,
    /// Its id.
    pub id: Id,
}

/// An id in eight bytes: its shape (4 bits) and number, or where its text stands (32 bits) and its length (28 bits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(u64);

/// A decoded [`Id`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// The index of its shape in [`IdShapes`], and its number.
    Number(usize, u64),
    /// So many bytes at a place in the block.
    InBlock(usize, usize),
    /// So many bytes at a place in the block's side list of texts.
    Aside(usize, usize),
}

impl Id {
    const KIND_SHIFT: u32 = 60;
    const TEXT_SHIFT: u32 = 28;
    const IN_BLOCK: u64 = 14;
    const ASIDE: u64 = 15;

    fn number(shape: usize, number: u64) -> Self {
        Self((shape as u64) << Self::KIND_SHIFT | number)
    }

    fn in_block(at: usize, len: usize) -> Self {
        Self(Self::IN_BLOCK << Self::KIND_SHIFT | (at as u64) << Self::TEXT_SHIFT | len as u64)
    }

    /// An id whose text is kept in a side list; at most 1 MiB long, as rows are.
    pub fn aside(at: usize, len: usize) -> Self {
        Self(Self::ASIDE << Self::KIND_SHIFT | (at as u64) << Self::TEXT_SHIFT | len as u64)
    }

    /// What it says.
    #[inline(always)]
    pub fn kind(self) -> IdKind {
        let place = || {
            let (at, len) = (
                self.0 >> Self::TEXT_SHIFT & 0xffff_ffff,
                self.0 & ((1 << Self::TEXT_SHIFT) - 1),
            );
            (at as usize, len as usize)
        };
        match self.0 >> Self::KIND_SHIFT {
            Self::IN_BLOCK => IdKind::InBlock(place().0, place().1),
            Self::ASIDE => IdKind::Aside(place().0, place().1),
            shape => IdKind::Number(shape as usize, self.0 & ((1 << Self::KIND_SHIFT) - 1)),
        }
    }
}

/// Shapes of ids: a prefix that ends in a non-digit (or none), and how many digits follow it.
#[derive(Debug, Clone, Default)]
pub struct IdShapes(Arc<Vec<IdShape>>);

#[derive(Debug, Clone)]
struct IdShape {
    prefix: Vec<u8>,
    word: u64,
    digits: usize,
}

impl IdShapes {
    /// The most shapes of one file: as many as fit beside the other marks of an [`Id`].
    const MAX: usize = Id::IN_BLOCK as usize;
    /// The longest prefix, in bytes.
    const MAX_PREFIX: usize = 8;
    /// The most digits: a number below 10^16.
    const MAX_DIGITS: usize = 16;

    /// Learns the shape of an accepted id.
    pub fn learn(&mut self, id: &[u8]) {
        let digits = id.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let prefix = &id[..id.len() - digits];
        let known = self
            .0
            .iter()
            .any(|shape| shape.digits == digits && shape.prefix == prefix);
        if known
            || self.0.len() >= Self::MAX
            || prefix.len() > Self::MAX_PREFIX
            || !(1..=Self::MAX_DIGITS).contains(&digits)
        {
            return;
        }
        let mut padded = prefix.to_vec();
        padded.resize(8, 0);
        Arc::make_mut(&mut self.0).push(IdShape {
            prefix: prefix.to_vec(),
            word: eight_bytes(&padded, 0),
            digits,
        });
    }

    /// Prefix and number of digits of each shape.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u8)> {
        self.0
            .iter()
            .map(|shape| (&shape.prefix[..], shape.digits as u8))
    }

    /// An id of shape number `shape` in full.
    pub fn text(&self, shape: usize, number: u64) -> String {
        self.0.get(shape).map_or_else(String::new, |shape| {
            let prefix = String::from_utf8_lossy(&shape.prefix);
            format!("{prefix}{number:0width$}", width = shape.digits)
        })
    }

    #[inline(always)]
    fn number(&self, buffer: &[u8], at: usize, len: usize) -> Option<Id> {
        for (index, shape) in self.0.iter().enumerate() {
            let prefix = shape.prefix.len();
            if len == prefix + shape.digits && some_bytes(buffer, at, prefix) == shape.word {
                return Some(Id::number(
                    index,
                    digits(buffer, at + prefix, shape.digits)?,
                ));
            }
        }
        None
    }
}

/// One thread's hot path.
pub struct Fast {
    delimiter: u8,
    decimal_comma: u8,
    columns: usize,
    positions: Positions,
    ignored: Vec<usize>,
    /// Whether the columns are those of [`USUAL`].
    usual: bool,
    today: i32,
    /// First day and length of each month: index `(year - 1970) * 16 + month`.
    months: Vec<(i32, u8)>,
    /// Spellings of cities that were accepted.
    pub villes: Lexicon,
    /// Spellings of models that were accepted.
    pub modeles: Lexicon,
    /// Shapes of ids that were accepted.
    pub shapes: IdShapes,
}

impl Fast {
    /// A hot path for jobs requested on day `today`; knows no word yet.
    pub fn new(today: i32) -> Self {
        let mut months = vec![(0, 0); YEARS.len() * 16];
        for (index, year) in YEARS.enumerate() {
            for month in 1..=12 {
                let first = NaiveDate::from_ymd_opt(year, month, 1);
                let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
                if let (Some(first), Some(next)) = (first, next) {
                    let day = first.to_epoch_days();
                    months[index * 16 + first.month() as usize] =
                        (day, (next.to_epoch_days() - day) as u8);
                }
            }
        }
        Self {
            delimiter: b',',
            decimal_comma: b'.',
            columns: 0,
            positions: [ABSENT; COLUMNS.len()],
            ignored: Vec::new(),
            usual: false,
            today,
            months,
            villes: Lexicon::default(),
            modeles: Lexicon::default(),
            shapes: IdShapes::default(),
        }
    }

    /// Reads files with that header from now on.
    pub fn set_header(&mut self, header: &Header) {
        self.delimiter = header.delimiter;
        self.decimal_comma = if header.delimiter == b',' { b'.' } else { b',' };
        self.columns = header.columns;
        self.positions = [ABSENT; COLUMNS.len()];
        for (held, position) in self.positions.iter_mut().zip(&header.positions) {
            *held = position.unwrap_or(ABSENT);
        }
        self.usual = header.columns == REQUIRED && self.positions == USUAL;
        let known = |column: &usize| header.positions.contains(&Some(*column));
        self.ignored = (0..header.columns)
            .filter(|column| !known(column))
            .collect();
    }

    /// How many separators a line has, its line feed included.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The line that begins at `start` and whose separators are `ends`; `None` leaves it to the reference path.
    #[inline]
    pub fn read(&self, buffer: &[u8], start: usize, ends: &[u32]) -> Option<Line> {
        // with the usual columns known, in the usual order, the compiler needs no loops and no table
        match <&[u32; REQUIRED]>::try_from(ends) {
            Ok(ends) if self.usual => self.read_fields(buffer, start, ends, USUAL, &[]),
            _ => self.read_fields(buffer, start, ends, self.positions, &self.ignored),
        }
    }

    // Long, but one straight line of steps, which the compiler specialises for `USUAL`: pieces of it would take the same
    // arguments again.
    #[inline(always)]
    fn read_fields(
        &self,
        buffer: &[u8],
        start: usize,
        ends: &[u32],
        positions: Positions,
        ignored: &[usize],
    ) -> Option<Line> {
        let (&line_end, delimiters) = ends.split_last()?;
        let line_end = line_end as usize;
        let odd = delimiters.iter().fold(0, |odd, &at| {
            odd | buffer.get(at as usize).map_or(!0, |b| b ^ self.delimiter)
        });
        if odd != 0 || buffer.get(line_end) != Some(&b'\n') {
            return None;
        }
        let line_end = if line_end > start && buffer[line_end - 1] == b'\r' {
            line_end - 1
        } else {
            line_end
        };
        let field_at = |column: usize| -> Option<(usize, usize)> {
            let begin = if column == 0 {
                start
            } else {
                *delimiters.get(column - 1)? as usize + 1
            };
            let end = delimiters.get(column).map_or(line_end, |&end| end as usize);
            // separators ascend; if they did not, the length would fit no field
            Some((begin, end.wrapping_sub(begin)))
        };
        let field = |column: Column| field_at(positions[column as usize]);
        let (at, len) = field(Column::Date)?;
        let jour = self.day(buffer, at, len)?;
        let (at, len) = field(Column::Ville)?;
        let ville = self.villes.find(buffer, at, len)?;
        let (at, len) = field(Column::Modele)?;
        let modele = self.modeles.find(buffer, at, len)?;
        let (at, len) = field(Column::Prix)?;
        let prix = self.amount(buffer, at, len).filter(|&prix| prix > 0)?;
        let (at, len) = field(Column::Type)?;
        let location = is_location(buffer, at, len)?;
        let (at, len) = field(Column::Duree)?;
        let duree = months(buffer, at, len, location)?;
        let mut amounts = NO_AMOUNTS;
        for (amount, &column) in amounts.iter_mut().zip(&positions[REQUIRED..]) {
            if column != ABSENT {
                let (at, len) = field_at(column)?;
                *amount = match len {
                    0 => NO_AMOUNT,
                    _ => self.amount(buffer, at, len)?,
                };
            }
        }
        for &column in ignored {
            let (at, len) = field_at(column)?;
            if !buffer
                .get(at..at + len)?
                .iter()
                .all(|b| (0x20..0x7f).contains(b))
            {
                return None;
            }
        }
        let (at, len) = field(Column::Id)?;
        let id = match self.shapes.number(buffer, at, len) {
            Some(id) => id,
            None => text_id(buffer, at, len)?,
        };
        Some(Line {
            ligne: Ligne {
                jour,
                prix,
                amounts,
                modele,
                duree,
            },
            ville,
            id,
        })
    }

    /// `YYYY-MM-DD`, not after today.
    #[inline(always)]
    fn day(&self, buffer: &[u8], at: usize, len: usize) -> Option<i32> {
        let ten = buffer.get(at..at + 10)?;
        let text = eight_bytes(ten, 0) ^ u64::from_le_bytes(*b"0000-00-");
        // a digit is 0..=9 now, a dash is 0: adding these sets a byte's top bit where it is anything else
        let odd = (text.wrapping_add(0x7f76_767f_7676_7676) | text) & 0x8080_8080_8080_8080;
        let (tens, units) = (ten[8].wrapping_sub(b'0'), ten[9].wrapping_sub(b'0'));
        if len != 10 || odd != 0 || tens > 9 || units > 9 {
            return None;
        }
        let digit = |i: u32| (text >> (8 * i)) as i32 & 0xff;
        let year = digit(0) * 1000 + digit(1) * 100 + digit(2) * 10 + digit(3);
        let month = digit(5) * 10 + digit(6);
        if !YEARS.contains(&year) || month > 12 {
            return None;
        }
        let (first, days) = self.months[((year - YEARS.start) * 16 + month) as usize];
        let day = tens * 10 + units;
        let jour = first + i32::from(day) - 1;
        (day >= 1 && day <= days && jour <= self.today).then_some(jour)
    }

    /// Up to 8 digits, then at most two decimals; in cents, at most [`MAX_CENTS`]. Branch-free: the form of a price is
    /// unpredictable.
    #[inline(always)]
    fn amount(&self, buffer: &[u8], at: usize, len: usize) -> Option<u32> {
        let end = at.wrapping_add(len);
        let point = |back: usize| {
            let byte = buffer.get(end.wrapping_sub(back)).copied().unwrap_or(0);
            (len >= back) & ((byte == b'.') | (byte == self.decimal_comma))
        };
        let decimals = if point(3) { 2 } else { usize::from(point(2)) };
        let whole = len - decimals - usize::from(decimals > 0);
        if !(1..=8).contains(&whole) {
            return None;
        }
        let (euros, is_whole) = eight_digits(buffer, at, whole);
        let (rest, is_rest) = eight_digits(buffer, end - decimals, decimals);
        let cents = euros * 100 + rest * [0, 10, 1][decimals];
        let fits = cents <= u64::from(MAX_CENTS);
        (is_whole & is_rest & fits).then_some(cents as u32)
    }
}

/// 1 to 16 decimal digits.
#[inline(always)]
fn digits(buffer: &[u8], at: usize, count: usize) -> Option<u64> {
    let (high, low) = match count {
        1..=8 => ((0, true), eight_digits(buffer, at, count)),
        9..=16 => (
            eight_digits(buffer, at, count - 8),
            eight_digits(buffer, at + count - 8, 8),
        ),
        _ => return None,
    };
    (high.1 & low.1).then_some(high.0 * 100_000_000 + low.0)
}

/// The number of up to 8 decimal digits, all at once, and whether that is what they are: see Daniel Lemire, "Quickly parsing
/// eight digits" (2018).
#[inline(always)]
fn eight_digits(buffer: &[u8], at: usize, count: usize) -> (u64, bool) {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    let missing = 8 * (8 - count as u32);
    let padded = eight_bytes(buffer, at).unbounded_shl(missing) | ZEROS.unbounded_shr(64 - missing);
    let values = padded ^ ZEROS;
    let odd = (values.wrapping_add(0x7676_7676_7676_7676) | values) & 0x8080_8080_8080_8080;
    let pairs = values.wrapping_mul(10).wrapping_add(values >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = ((pairs >> 16) & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    (low.wrapping_add(high) >> 32, odd == 0)
}

#[inline(always)]
fn is_location(buffer: &[u8], at: usize, len: usize) -> Option<bool> {
    let word = some_bytes(buffer, at, len);
    let vente = (len == 5) & (word == u64::from_le_bytes(*b"vente\0\0\0"));
    let location = (len == 8) & (word == u64::from_le_bytes(*b"location"));
    (vente | location).then_some(location)
}

/// Months of rental, 1 to [`LONG_DUREE`] in one or two digits; 0 of a sale, an empty field or `NULL`. Branch-free: whether it is a sale
/// is unpredictable.
#[inline(always)]
fn months(buffer: &[u8], at: usize, len: usize, location: bool) -> Option<u8> {
    let none = (len == 0)
        | ((len == 4) & (some_bytes(buffer, at, 4) == u64::from(u32::from_le_bytes(*b"NULL"))));
    let (months, is_number) = eight_digits(buffer, at, len.min(2));
    let some = is_number & (1..=2).contains(&len) & (1..=u64::from(LONG_DUREE)).contains(&months);
    let valid = (location & some) | (!location & none);
    valid.then_some(months as u8 * u8::from(location))
}

/// Any visible ASCII, long enough not to be one of the words that mean "none".
#[cold]
fn text_id(buffer: &[u8], at: usize, len: usize) -> Option<Id> {
    let text = buffer.get(at..at + len)?;
    let visible = len > 4 && text.iter().all(u8::is_ascii_graphic);
    visible.then_some(Id::in_block(at, len))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn digits_are_read_as_the_standard_library_reads_them(text in "[0-9:/a+]{1,17}") {
            let mut buffer = text.clone().into_bytes();
            buffer.extend_from_slice(&[b'7'; 16]);
            let plain = text.len() <= 16 && text.bytes().all(|b| b.is_ascii_digit());
            prop_assert_eq!(digits(&buffer, 0, text.len()), plain.then(|| text.parse::<u64>().expect("digits")));
        }

        #[test]
        fn days_are_those_of_the_calendar(text in "(19[67]|20[0-9]|2[01]0)[0-9][-/][01][0-9]-[0-3][0-9:]") {
            let fast = Fast::new(i32::MAX);
            let mut buffer = text.clone().into_bytes();
            buffer.extend_from_slice(&[b'0'; 16]);
            let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
            let expected = date.filter(|date| YEARS.contains(&date.year())).map(|date| date.to_epoch_days());
            prop_assert_eq!(fast.day(&buffer, 0, 10), expected);
            prop_assert_eq!(fast.day(&buffer, 0, 9), None);
        }
    }
}
