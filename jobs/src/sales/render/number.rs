//! Numbers, months and days as people write them, in French and in English.

use chrono::{Datelike, NaiveDate};

use crate::fixed::{Euros, Fixed, Percent};

/// Which language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lang {
    /// `1 234,56 €`, with narrow no-break spaces.
    #[default]
    Fr,
    /// `€1,234.56`.
    En,
}

impl Lang {
    /// What the language is called in `lang` and `hreflang`.
    pub fn code(self) -> &'static str {
        self.say("fr", "en")
    }

    /// What the language calls itself.
    pub fn name(self) -> &'static str {
        self.say("Français", "English")
    }

    /// The words in this language.
    pub fn say<T>(self, fr: T, en: T) -> T {
        match self {
            Self::Fr => fr,
            Self::En => en,
        }
    }
}

/// What stands where there is no value.
pub(super) const NONE: &str = "–";

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

/// A number with exactly `decimals` decimals (at most `D`), rounded half up.
pub(super) fn fixed<const D: u32>(value: Fixed<D>, decimals: u32, lang: Lang) -> String {
    let unit = 10_i64.pow(D.saturating_sub(decimals));
    let half = unit / 2;
    let rounded = (i128::from(value.0) + i128::from(half)).div_euclid(i128::from(unit));
    let one = 10_u128.pow(decimals);
    let (whole, rest) = (rounded.unsigned_abs() / one, rounded.unsigned_abs() % one);
    let mut text = String::new();
    if rounded < 0 {
        text.push('−');
    }
    group(&whole.to_string(), lang, &mut text);
    if decimals > 0 {
        text.push(if lang == Lang::Fr { ',' } else { '.' });
        text.push_str(&format!("{rest:0width$}", width = decimals as usize));
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

/// A count.
pub fn count(n: u64, lang: Lang) -> String {
    let mut text = String::new();
    group(&n.to_string(), lang, &mut text);
    text
}

/// An amount, to the cent.
pub(super) fn euros(value: Euros, lang: Lang) -> String {
    with_euro(&fixed(value, 2, lang), lang)
}

/// An amount, to the euro.
pub(super) fn euros_entiers(value: Euros, lang: Lang) -> String {
    with_euro(&fixed(value, 0, lang), lang)
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

/// An amount on an axis: `250 k€`, `1,5 M€`.
pub(super) fn euros_compact(value: Euros, lang: Lang) -> String {
    let cents = value.0.unsigned_abs();
    let scales = [
        (100_000_000_000, "Md€", "bn"),
        (100_000_000, "M€", "m"),
        (100_000, "k€", "k"),
    ];
    for (scale, fr, en) in scales {
        if cents >= scale {
            let scaled = Fixed::<1>::ratio(value.0.into(), i128::from(scale)).unwrap_or_default();
            let number = fixed(scaled, u32::from(scaled.0 % 10 != 0), lang);
            return match lang {
                Lang::Fr => format!("{number}{NO_BREAK}{fr}"),
                Lang::En => format!("{}{en}", with_euro(&number, lang)),
            };
        }
    }
    euros_entiers(value, lang)
}

/// A percentage, with two decimals.
pub(super) fn percent(value: Percent, lang: Lang) -> String {
    with_percent(&fixed(value, 2, lang), lang)
}

/// A percentage, to the percent.
pub(super) fn whole_percent(value: Percent, lang: Lang) -> String {
    with_percent(&fixed(value, 0, lang), lang)
}

/// A percentage with one decimal and its sign.
pub(super) fn signed_percent(value: Percent, lang: Lang) -> String {
    let number = fixed(value, 1, lang);
    let sign = if value.0 > 0 { "+" } else { "" };
    with_percent(&format!("{sign}{number}"), lang)
}

fn with_percent(number: &str, lang: Lang) -> String {
    match lang {
        Lang::Fr => format!("{number}{NO_BREAK}%"),
        Lang::En => format!("{number}%"),
    }
}

/// The value, or [`NONE`].
pub(super) fn or_none<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), text)
}

/// The name of a calendar month, from 1.
pub(super) fn mois_nom(number: usize, lang: Lang) -> &'static str {
    let names = if lang == Lang::Fr { MOIS } else { MONTHS };
    names.get(number.wrapping_sub(1)).copied().unwrap_or(NONE)
}

/// The short name of a calendar month, from 1.
pub(super) fn mois_abrege(number: usize, lang: Lang) -> &'static str {
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
pub(super) fn mois_court(label: &str, lang: Lang) -> String {
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
pub(super) fn date(date: NaiveDate, lang: Lang) -> String {
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
    fn rounding_is_half_up_and_leaves_no_negative_zero() {
        assert_eq!(fixed(Fixed::<2>(150), 0, Lang::En), "2");
        assert_eq!(fixed(Fixed::<2>(-150), 0, Lang::En), "−1");
        assert_eq!(fixed(Fixed::<2>(-20), 0, Lang::En), "0");
        assert_eq!(
            fixed(Fixed::<2>(i64::MIN), 0, Lang::En),
            "−92,233,720,368,547,758"
        );
        assert_eq!(signed_percent(Fixed(1234), Lang::Fr), "+12,3\u{a0}%");
        assert_eq!(signed_percent(Fixed(-1235), Lang::En), "−12.3%");
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
