//! The rules for one row of transactions, on the reference path: [`check`] accepts a record or names the first rule it
//! breaks.
//!
//! # Rules, in this order
//!
//! The word *none* means an empty field, blanks only, or `NULL`, `null`, `NaN` (blanks around them do not matter).
//!
//! 1. As many fields as the header has columns: `colonnes_manquantes`, `colonnes_en_trop`.
//! 2. Every field is UTF-8 without NUL: `encodage_invalide`.
//! 3. It is not the header again: `entete_repetee`.
//! 4. `transaction_id` is not none: `id_vide`. Ids are compared byte for byte, without the blanks around them.
//! 5. `date` is a day of the calendar, years 0001 to 9999, written `YYYY-MM-DD` and nothing else: `date_invalide`.
//! 6. `ville` is not none, nor invisible (`ville_vide`) and, trimmed, has at most 255 bytes (`ville_trop_longue`).
//! 7. `type` is exactly `vente` or `location`: `type_inconnu`.
//! 8. `modele` is not none, nor invisible (`modele_vide`) and, trimmed, has at most 255 bytes (`modele_trop_long`).
//! 9. `prix` is an [`amount`]: `prix_manquant`, `prix_negatif`, `prix_invalide`, `prix_trop_precis`, `prix_excessif`.
//! 10. `duree_location_mois` of a rental is digits that make 1 to 120: `duree_manquante`, `duree_invalide`. A sale has none; any
//!     other value there is ignored, with a warning unless it is zero.
//! 11. An optional column holds an amount: a value that is no amount counts as absent, with a warning.

use autoconnect_common::text::{is_special, printable, trimmed};
use autoconnect_tables::fold::fold;
use autoconnect_tables::header::Header;
use autoconnect_tables::reject::{MAX_VALUE, Structure};
use csv::ByteRecord;

use super::columns::{
    Amounts, COLUMNS, Column, LONG_DUREE, MAX_CENTS, MAX_DUREE, MAX_NAME, NO_AMOUNT, NO_AMOUNTS,
    REQUIRED,
};
use super::reason::{Reason, Refusal, Rule, Warning, Warnings};

/// One transaction that broke no rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'r> {
    /// The transaction's id, trimmed.
    pub id: &'r [u8],
    /// Days since 1970-01-01.
    pub jour: i32,
    /// The city, trimmed.
    pub ville: &'r str,
    /// A rental rather than a sale.
    pub location: bool,
    /// The model, trimmed.
    pub modele: &'r str,
    /// In cents; of a rental, the monthly rent.
    pub prix: u32,
    /// In months; 0 for a sale.
    pub duree: u8,
    /// In cents, where the file knows them.
    pub amounts: Amounts,
    /// What is odd about it.
    pub warnings: Warnings,
}

/// Checks one record against the rules. `today` is in days since 1970-01-01.
///
/// # Errors
/// The first rule it breaks.
pub fn check<'r>(record: &'r ByteRecord, header: &Header, today: i32) -> Result<Row<'r>, Refusal> {
    header.check(record)?;
    let field = |column: Column| Field::new(record, header, column as usize);
    let mut warnings = Warnings::NONE;

    let id = field(Column::Id);
    let Some(trimmed_id) = id.trimmed() else {
        return id.refuse(Rule::IdVide);
    };
    let date = field(Column::Date);
    let Some(jour) = day(date.bytes) else {
        return date.refuse(Rule::DateInvalide);
    };
    let ville = field(Column::Ville).name(Rule::VilleVide, Rule::VilleTropLongue)?;
    let kind = field(Column::Type);
    let location = match kind.bytes {
        b"vente" => false,
        b"location" => true,
        _ => return kind.refuse(Rule::TypeInconnu),
    };
    let modele = field(Column::Modele).name(Rule::ModeleVide, Rule::ModeleTropLong)?;
    let comma = header.delimiter != b',';
    let prix = field(Column::Prix);
    let prix = match amount(prix.bytes, comma) {
        Ok(cents) => cents,
        Err(rule) => return prix.refuse(rule),
    };
    let duree = field(Column::Duree).duree(location, &mut warnings)?;
    let mut amounts = NO_AMOUNTS;
    for (number, amount) in amounts.iter_mut().enumerate() {
        let field = Field::new(record, header, REQUIRED + number);
        *amount = field.optional(comma, COLUMNS[REQUIRED + number].odd, &mut warnings);
    }

    let mut row = Row {
        id: trimmed_id.as_bytes(),
        jour,
        ville,
        location,
        modele,
        prix,
        duree,
        amounts,
        warnings,
    };
    row.warn(today);
    Ok(row)
}

impl Row<'_> {
    /// Records the warnings about accepted values.
    fn warn(&mut self, today: i32) {
        let odd = [
            (self.prix == 0, Warning::PrixNul),
            (self.duree > LONG_DUREE, Warning::LocationLongue),
            (self.jour > today, Warning::DateFuture),
            (self.jour < 0, Warning::DateAncienne),
            (
                self.ville
                    .chars()
                    .chain(self.modele.chars())
                    .any(is_special),
                Warning::CaracteresSpeciaux,
            ),
        ];
        for (_, warning) in odd.into_iter().filter(|(is_odd, _)| *is_odd) {
            self.warnings.insert(warning);
        }
    }
}

/// One field of a record that has the right shape.
#[derive(Clone, Copy)]
struct Field<'r> {
    name: &'static str,
    bytes: &'r [u8],
}

impl<'r> Field<'r> {
    /// The field of wanted column number `column`; empty where the file has no such column.
    fn new(record: &'r ByteRecord, header: &Header, column: usize) -> Self {
        Self {
            name: COLUMNS[column].name,
            bytes: header.field(record, column),
        }
    }

    fn is_none(self) -> bool {
        is_none(self.bytes)
    }

    fn refuse<T>(self, rule: Rule) -> Result<T, Refusal> {
        Err(self.refusal(Reason::Rule(rule)))
    }

    fn refusal(self, reason: Reason) -> Refusal {
        Refusal {
            reason,
            field: self.name,
            value: printable(self.bytes, MAX_VALUE),
        }
    }

    /// The text without blanks of any kind around it; `None` where that says that there is nothing.
    fn trimmed(self) -> Option<&'r str> {
        let text = trimmed(std::str::from_utf8(self.bytes).ok()?);
        (!is_none(text.as_bytes())).then_some(text)
    }

    /// A name of at most [`MAX_NAME`] bytes, trimmed.
    fn name(self, empty: Rule, too_long: Rule) -> Result<&'r str, Refusal> {
        let Ok(text) = std::str::from_utf8(self.bytes) else {
            let reason = Reason::Structure(Structure::InvalidEncoding);
            return Err(self.refusal(reason));
        };
        let text = text.trim();
        if is_none(text.as_bytes()) || is_blank(text) {
            return self.refuse(empty);
        }
        if text.len() > MAX_NAME {
            return self.refuse(too_long);
        }
        Ok(text)
    }

    fn duree(self, location: bool, warnings: &mut Warnings) -> Result<u8, Refusal> {
        if !location {
            if !self.is_none() && whole_number(self.bytes) != Some(0) {
                warnings.insert(Warning::VenteAvecDuree);
            }
            return Ok(0);
        }
        if self.is_none() {
            return self.refuse(Rule::DureeManquante);
        }
        match whole_number(self.bytes) {
            Some(months @ 1..=MAX_DUREE) => Ok(months),
            _ => self.refuse(Rule::DureeInvalide),
        }
    }

    /// The amount of an optional column.
    fn optional(self, comma: bool, odd: Option<Warning>, warnings: &mut Warnings) -> u32 {
        if self.is_none() {
            return NO_AMOUNT;
        }
        amount(self.bytes, comma).unwrap_or_else(|_| {
            if let Some(odd) = odd {
                warnings.insert(odd);
            }
            NO_AMOUNT
        })
    }
}

/// Whether a name has nothing to distinguish it: invisible characters or separators alone.
fn is_blank(name: &str) -> bool {
    !name.contains(char::is_alphanumeric) && fold(name).is_empty()
}

/// Whether a field says that there is nothing.
pub fn is_none(field: &[u8]) -> bool {
    match field.trim_ascii() {
        b"" | b"NULL" | b"null" | b"NaN" => true,
        // blanks beyond ASCII, such as the no-break space of office programs
        text if !text.is_ascii() => std::str::from_utf8(text)
            .is_ok_and(|text| matches!(text.trim(), "" | "NULL" | "null" | "NaN")),
        _ => false,
    }
}

/// An amount of euros, in cents: digits, or digits, a point (a comma too, where `comma`) and one or two digits; at most 10
/// million euros.
///
/// # Errors
/// `prix_manquant` for none; `prix_negatif` for a minus sign before digits, zero included; `prix_trop_precis` for more than two
/// decimals, zeros included, since nothing is rounded silently; `prix_excessif` over 10 million euros; `prix_invalide` for all
/// else: a plus sign, an exponent, a currency, blanks, separators of thousands, `12.`, `.5`, `inf`.
pub fn amount(field: &[u8], comma: bool) -> Result<u32, Rule> {
    if is_none(field) {
        return Err(Rule::PrixManquant);
    }
    let (negative, digits) = match field {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let point = digits
        .iter()
        .position(|byte| *byte == b'.' || (comma && *byte == b','));
    let (whole, decimals) = match point {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let all_digits = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    if !all_digits(whole) || !decimals.is_none_or(all_digits) {
        return Err(Rule::PrixInvalide);
    }
    if negative {
        return Err(Rule::PrixNegatif);
    }
    let cents = match decimals {
        None => 0,
        Some([tenths]) => u64::from(tenths - b'0') * 10,
        Some([tenths, hundredths]) => u64::from(tenths - b'0') * 10 + u64::from(hundredths - b'0'),
        Some(_) => return Err(Rule::PrixTropPrecis),
    };
    let euros = whole.iter().fold(0_u64, |euros, digit| {
        euros
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    match u32::try_from(euros.saturating_mul(100).saturating_add(cents)) {
        Ok(cents) if cents <= MAX_CENTS => Ok(cents),
        _ => Err(Rule::PrixExcessif),
    }
}

/// Digits that make a number up to 255.
fn whole_number(field: &[u8]) -> Option<u8> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u8, |number, digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(digit - b'0')
    })
}

/// A day written `YYYY-MM-DD`, as days since 1970-01-01; `None` where it is not a day of the calendar, years 0001 to 9999.
pub fn day(field: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = field else {
        return None;
    };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0_i32, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + i32::from(digit - b'0'))
        })
    };
    let year = number(&[y1, y2, y3, y4])?;
    let month = number(&[m1, m2])?;
    let day = number(&[d1, d2])?;
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_of_month(year, month) {
        return None;
    }
    Some(days_since_1970(year, month, day))
}

fn days_of_month(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar; years are counted from March, so that the leap day comes last.
fn days_since_1970(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468
}

#[cfg(test)]
mod tests;
