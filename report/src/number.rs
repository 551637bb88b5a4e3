//! Numbers, months and days as people write them, in French and in English.
//!
//! ```
//! use autoconnect_report::fixed::{Euros, Percent};
//! use autoconnect_report::lang::Lang;
//! use autoconnect_report::number::{euros, or_none, percent};
//!
//! // money is in cents, and a quotient is rounded once, when the report is made
//! let prix = Euros::from_units(19_999);
//! assert_eq!(euros(prix, Lang::Fr), "19\u{202f}999,00\u{a0}€");
//! assert_eq!(euros(prix, Lang::En), "€19,999.00");
//! let share = |part: i128, all| or_none(Percent::ratio(100 * part, all), |share| percent(share, Lang::En));
//! assert_eq!(share(2, 3), "66.67%");
//! assert_eq!(share(0, 0), "–");
//! ```

use chrono::{Datelike, NaiveDate};

use crate::fixed::{Euros, Fixed, Percent};
use crate::lang::Lang;

/// The text for a missing value.
pub const NONE: &str = "–";

const NARROW: char = '\u{202f}';
const NO_BREAK: char = '\u{a0}';

const MOIS: [&str; 12] = [
    "janvier",
    "février",
    "mars",
    "avril",
    "mai",
    "juin",
    "juillet",
    "août",
    "septembre",
    "octobre",
    "novembre",
    "décembre",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MOIS_COURTS: [&str; 12] = [
    "janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.",
    "déc.",
];
const SHORT_MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// A number with all its decimals. A quotient was rounded when the report was made, and rounding it again could make its last
/// digit wrong. Only sums, which are exact, are rounded here: [`euros_entiers`], [`euros_compact`].
pub fn fixed<const D: u32>(value: Fixed<D>, lang: Lang) -> String {
    let one = 10_u64.pow(D);
    let (whole, rest) = (value.0.unsigned_abs() / one, value.0.unsigned_abs() % one);
    let mut text = String::new();
    if value.0 < 0 {
        text.push('−');
    }
    group(&whole.to_string(), lang, &mut text);
    if D > 0 {
        text.push(if lang == Lang::Fr { ',' } else { '.' });
        text.push_str(&format!("{rest:0width$}", width = D as usize));
    }
    text
}

fn group(digits: &str, lang: Lang, text: &mut String) {
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(if lang == Lang::Fr { NARROW } else { ',' });
        }
        text.push(digit);
    }
}

/// A count, with thousands separators.
pub fn count(n: u64, lang: Lang) -> String {
    let mut text = String::new();
    group(&n.to_string(), lang, &mut text);
    text
}

/// An amount, to the cent.
pub fn euros(value: Euros, lang: Lang) -> String {
    with_euro(&fixed(value, lang), lang)
}

/// A sum, rounded half up to whole euros.
pub fn euros_entiers(sum: Euros, lang: Lang) -> String {
    let whole = Fixed::<0>::ratio(sum.0.into(), 100).unwrap_or_default();
    with_euro(&fixed(whole, lang), lang)
}

fn with_euro(number: &str, lang: Lang) -> String {
    match lang {
        Lang::Fr => format!("{number}{NO_BREAK}€"),
        Lang::En => match number.strip_prefix('−') {
            Some(number) => format!("−€{number}"),
            None => format!("€{number}"),
        },
    }
}

/// A sum, abbreviated, or an amount on an axis: `250 k€`, `1,5 M€`.
pub fn euros_compact(value: Euros, lang: Lang) -> String {
    let cents = value.0.unsigned_abs();
    let scales = [
        (100_000_000_000, "Md€", "bn"),
        (100_000_000, "M€", "m"),
        (100_000, "k€", "k"),
    ];
    for (scale, fr, en) in scales {
        if cents >= scale {
            let scaled = Fixed::<1>::ratio(value.0.into(), i128::from(scale)).unwrap_or_default();
            let number = match scaled.0 % 10 {
                0 => fixed(Fixed::<0>(scaled.0 / 10), lang),
                _ => fixed(scaled, lang),
            };
            return match lang {
                Lang::Fr => format!("{number}{NO_BREAK}{fr}"),
                Lang::En => format!("{}{en}", with_euro(&number, lang)),
            };
        }
    }
    euros_entiers(value, lang)
}

/// A percentage, with two decimals.
pub fn percent(value: Percent, lang: Lang) -> String {
    with_percent(&fixed(value, lang), lang)
}

/// A percentage on an axis.
pub fn whole_percent(units: i64, lang: Lang) -> String {
    with_percent(&fixed(Fixed::<0>(units), lang), lang)
}

/// A percentage with two decimals and its sign.
pub fn signed_percent(value: Percent, lang: Lang) -> String {
    let sign = if value.0 > 0 { "+" } else { "" };
    with_percent(&format!("{sign}{}", fixed(value, lang)), lang)
}

fn with_percent(number: &str, lang: Lang) -> String {
    match lang {
        Lang::Fr => format!("{number}{NO_BREAK}%"),
        Lang::En => format!("{number}%"),
    }
}

/// The value as text, or [`NONE`].
pub fn or_none<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), text)
}

/// The name of a calendar month, from 1.
pub fn mois_nom(number: usize, lang: Lang) -> &'static str {
    let names = if lang == Lang::Fr { MOIS } else { MONTHS };
    names.get(number.wrapping_sub(1)).copied().unwrap_or(NONE)
}

/// The short name of a calendar month, from 1.
pub fn mois_abrege(number: usize, lang: Lang) -> &'static str {
    let names = if lang == Lang::Fr {
        MOIS_COURTS
    } else {
        SHORT_MONTHS
    };
    names.get(number.wrapping_sub(1)).copied().unwrap_or(NONE)
}

/// `2024-03` as `mars 2024`; text that is no month stays as it is.
pub fn mois(label: &str, lang: Lang) -> String {
    month(label, |number| mois_nom(number, lang))
}

/// `2024-01` as `janv. 2024`.
pub fn mois_court(label: &str, lang: Lang) -> String {
    month(label, |number| mois_abrege(number, lang))
}

fn month(label: &str, name: impl Fn(usize) -> &'static str) -> String {
    let parts = label.split_once('-').and_then(|(year, number)| {
        let number = number.parse().ok().filter(|n| (1..=12).contains(n))?;
        Some((year, number))
    });
    parts.map_or_else(
        || label.to_owned(),
        |(year, number)| format!("{}{NO_BREAK}{year}", name(number)),
    )
}

/// A day: `1er mars 2024`, `1 March 2024`.
pub fn date(date: NaiveDate, lang: Lang) -> String {
    let day = match (date.day(), lang) {
        (1, Lang::Fr) => "1er".to_owned(),
        (day, _) => day.to_string(),
    };
    let month = mois_nom(date.month() as usize, lang);
    format!("{day} {month} {:04}", date.year())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_each_language_does() {
        for (cents, fr, en) in [
            (0, "0,00\u{a0}€", "€0.00"),
            (123_456, "1\u{202f}234,56\u{a0}€", "€1,234.56"),
            (-5, "−0,05\u{a0}€", "−€0.05"),
            (
                100_000_000,
                "1\u{202f}000\u{202f}000,00\u{a0}€",
                "€1,000,000.00",
            ),
        ] {
            assert_eq!(euros(Fixed(cents), Lang::Fr), fr);
            assert_eq!(euros(Fixed(cents), Lang::En), en);
        }
    }

    #[test]
    fn quotients_keep_their_decimals_and_sums_are_rounded_half_up_once() {
        for (cents, fr, en) in [
            (150, "2\u{a0}€", "€2"),
            (149, "1\u{a0}€", "€1"),
            (-150, "−1\u{a0}€", "−€1"),
            (-20, "0\u{a0}€", "€0"),
        ] {
            assert_eq!(euros_entiers(Fixed(cents), Lang::Fr), fr);
            assert_eq!(euros_entiers(Fixed(cents), Lang::En), en);
        }
        assert_eq!(
            fixed(Fixed::<2>(i64::MIN), Lang::En),
            "−92,233,720,368,547,758.08"
        );
        assert_eq!(fixed(Fixed::<4>(9_666), Lang::Fr), "0,9666");
        // -13.2533 % is -13.25 % in the report; rounding that to one decimal gives -13.2 %, but the right value is -13.3 %
        let growth = Percent::ratio(-132_533, 10_000).expect("fits");
        assert_eq!(signed_percent(growth, Lang::Fr), "−13,25\u{a0}%");
        assert_eq!(signed_percent(Fixed(1234), Lang::Fr), "+12,34\u{a0}%");
        assert_eq!(signed_percent(Fixed(-4), Lang::En), "−0.04%");
        assert_eq!(whole_percent(-20, Lang::En), "−20%");
    }

    #[test]
    fn axes_are_short() {
        for (cents, fr, en) in [
            (0, "0\u{a0}€", "€0"),
            (25_000_000, "250\u{a0}k€", "€250k"),
            (150_000_000, "1,5\u{a0}M€", "€1.5m"),
            (-200_000_000_000, "−2\u{a0}Md€", "−€2bn"),
        ] {
            assert_eq!(euros_compact(Fixed(cents), Lang::Fr), fr);
            assert_eq!(euros_compact(Fixed(cents), Lang::En), en);
        }
    }

    #[test]
    fn months_and_days_have_names() {
        assert_eq!(mois("2024-02", Lang::Fr), "février\u{a0}2024");
        assert_eq!(mois_court("0202-12", Lang::En), "Dec\u{a0}0202");
        assert_eq!(mois("2024-13", Lang::Fr), "2024-13");
        let day = "2024-03-01".parse().expect("a date");
        assert_eq!(date(day, Lang::Fr), "1er mars 2024");
        assert_eq!(date(day, Lang::En), "1 March 2024");
    }
}
