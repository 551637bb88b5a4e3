//! The value of a cell before it is written: a name, a month, an amount.

use std::borrow::Cow;

use autoconnect_common::text::harmless;

use crate::fixed::{Euros, Fixed, Percent};
use crate::lang::Lang;
use crate::name::{clean, cut};
use crate::number::{self, or_none};

/// The value of a cell. A number that could not be computed is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value<'r> {
    /// No value, because the column does not apply to the row.
    Blank,
    /// A name from the data, of any length and with any characters.
    Name(Cow<'r, str>),
    /// Text of the program, not of the data.
    Words(Words<'r>),
    /// A month, `2024-03`.
    Month(Cow<'r, str>),
    /// A count.
    Count(u64),
    /// A small whole number, such as a rank.
    Integer(u64),
    /// An amount in euros.
    Euros(Option<Euros>),
    /// A share in percent.
    Percent(Option<Percent>),
    /// A change in percent, shown with its sign.
    Change(Option<Percent>),
    /// A number with two decimals.
    Number(Option<Fixed<2>>),
    /// A number with four decimals.
    Coefficient(Option<Fixed<4>>),
    /// Yes or no.
    Flag(bool),
}

/// Text of the program, in each language and as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words<'r> {
    data: Cow<'r, str>,
    fr: Cow<'r, str>,
    en: Cow<'r, str>,
}

impl<'r> Words<'r> {
    /// Text in French and in English, and as programs read it.
    pub fn new(
        data: impl Into<Cow<'r, str>>,
        fr: impl Into<Cow<'r, str>>,
        en: impl Into<Cow<'r, str>>,
    ) -> Self {
        Self {
            data: data.into(),
            fr: fr.into(),
            en: en.into(),
        }
    }
}

impl<'r> Value<'r> {
    /// Text in French, which programs read too, and in English.
    pub fn words(fr: impl Into<Cow<'r, str>>, en: impl Into<Cow<'r, str>>) -> Self {
        let fr = fr.into();
        Self::Words(Words::new(fr.clone(), fr, en))
    }

    /// The value as people read it. A name has at most `longest` characters; a number that could not be computed is
    /// [`NONE`](number::NONE).
    pub fn shown(&self, lang: Lang, longest: usize) -> String {
        match self {
            Self::Blank => String::new(),
            Self::Name(name) => cut(name, longest),
            Self::Words(words) => lang.say(&words.fr, &words.en).to_string(),
            Self::Month(label) => clean(&number::mois(label, lang)).into_owned(),
            Self::Count(n) => number::count(*n, lang),
            Self::Integer(n) => n.to_string(),
            Self::Euros(value) => or_none(*value, |value| number::euros(value, lang)),
            Self::Percent(value) => or_none(*value, |value| number::percent(value, lang)),
            Self::Change(value) => or_none(*value, |value| number::signed_percent(value, lang)),
            Self::Number(value) => or_none(*value, |value| number::fixed(value, lang)),
            Self::Coefficient(value) => or_none(*value, |value| number::fixed(value, lang)),
            Self::Flag(flag) => {
                let said = if *flag { ("oui", "yes") } else { ("non", "no") };
                lang.say(said.0, said.1).to_owned()
            }
        }
    }

    /// The value as a program reads it. A number has digits and a decimal point, and is empty if it could not be computed. Text
    /// is [`harmless`]: no spreadsheet evaluates it.
    pub fn plain(&self) -> Cow<'_, str> {
        match self {
            Self::Blank => Cow::Borrowed(""),
            Self::Name(text) | Self::Month(text) => harmless(text),
            Self::Words(words) => harmless(&words.data),
            Self::Count(n) | Self::Integer(n) => n.to_string().into(),
            Self::Euros(value)
            | Self::Percent(value)
            | Self::Change(value)
            | Self::Number(value) => digits(*value),
            Self::Coefficient(value) => digits(*value),
            Self::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        }
    }
}

fn digits<const D: u32>(value: Option<Fixed<D>>) -> Cow<'static, str> {
    value.map_or(Cow::Borrowed(""), |value| value.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_to_people_and_plain_for_programs() {
        let name = |text: &'static str| Value::Name(text.into());
        for (value, fr, en, plain) in [
            (Value::Blank, "", "", ""),
            (
                name("=Saint-Étienne"),
                "=Sain…",
                "=Sain…",
                "'=Saint-Étienne",
            ),
            (
                Value::Month("2024-02".into()),
                "février\u{a0}2024",
                "February\u{a0}2024",
                "2024-02",
            ),
            (
                Value::words("isolé", "isolated"),
                "isolé",
                "isolated",
                "isolé",
            ),
            (Value::Count(12_345), "12\u{202f}345", "12,345", "12345"),
            (Value::Integer(12_345), "12345", "12345", "12345"),
            (
                Value::Euros(Some(Fixed(-5))),
                "−0,05\u{a0}€",
                "−€0.05",
                "-0.05",
            ),
            (
                Value::Change(Some(Fixed(1_250))),
                "+12,50\u{a0}%",
                "+12.50%",
                "12.5",
            ),
            (Value::Percent(None), "–", "–", ""),
            (
                Value::Coefficient(Some(Fixed(9_600))),
                "0,9600",
                "0.9600",
                "0.96",
            ),
            (Value::Flag(true), "oui", "yes", "true"),
        ] {
            assert_eq!(value.shown(Lang::Fr, 6), fr);
            assert_eq!(value.shown(Lang::En, 6), en);
            assert_eq!(value.plain(), plain);
        }
    }
}
