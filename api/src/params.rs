//! Reads the parameters of a query with serde. Every error is a [`Problem`] that names its parameter.
//!
//! An empty value counts as absent. A parameter that is unknown or given twice is refused: with a misspelt filter ignored,
//! the answer would be about everything.

use std::borrow::Cow;
use std::fmt;

use autoconnect_common::text::printable;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer as _,
    MapAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use utoipa::IntoParams;

use crate::problem::Problem;

/// The most characters of a value that an error repeats: enough to recognize it.
const SHOWN: usize = 60;

/// The parameters of a query. `T` is a struct with `#[serde(deny_unknown_fields)]` whose fields are text, enums of words
/// and [`Whole`] numbers, each optional or with a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        read(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Reads a query.
fn read<T: DeserializeOwned>(query: &str) -> Result<T, Problem> {
    let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty());
    T::deserialize(Query { pairs, value: None }).map_err(|Wrong { champ, detail }| {
        let champ = champ.unwrap_or_else(|| "requête".to_owned());
        Problem::bad(champ, detail)
    })
}

/// The parameters of a route that takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A whole number within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Whole<const LEAST: u64, const MOST: u64>(u64);

impl<const LEAST: u64, const MOST: u64> Whole<LEAST, MOST> {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number `N`; it does not compile where `N` is out of the bounds.
    pub fn of<const N: u64>() -> Self {
        const { assert!(LEAST <= N && N <= MOST) };
        Self(N)
    }
}

impl<const LEAST: u64, const MOST: u64> TryFrom<String> for Whole<LEAST, MOST> {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.parse().ok();
        let within = number.filter(|number| (LEAST..=MOST).contains(number));
        within.map(Self).ok_or_else(|| {
            format!(
                "{}\u{a0}: un nombre entier de {LEAST} à {MOST} est attendu",
                quoted(&text)
            )
        })
    }
}

/// The number of a page, from 1.
pub type Page = Whole<1, 1_000_000_000>;
/// How many entries a page has.
pub type PerPage = Whole<1, 500>;

impl Default for Page {
    fn default() -> Self {
        Self(1)
    }
}

impl Default for PerPage {
    fn default() -> Self {
        Self(50)
    }
}

/// The parameters that choose a page of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// The number of the page.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 1_000_000_000, default = 1)]
    pub page: Page,
    /// How many entries a page has.
    #[serde(default)]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 500, default = 50)]
    pub par_page: PerPage,
}

impl Paging {
    /// How many entries come before this page.
    pub fn skipped(self) -> u64 {
        (self.page.get() - 1) * self.par_page.get()
    }

    /// The entries of this page.
    pub fn of<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        let skipped = usize::try_from(self.skipped()).unwrap_or(usize::MAX);
        let most = usize::try_from(self.par_page.get()).unwrap_or(usize::MAX);
        all.into_iter().skip(skipped).take(most).collect()
    }
}

/// A value as an error repeats it.
fn quoted(value: &str) -> String {
    format!("«\u{a0}{}\u{a0}»", printable(value.as_bytes(), SHOWN))
}

/// The error of a query.
#[derive(Debug)]
struct Wrong {
    champ: Option<String>,
    detail: String,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Wrong {}

impl Wrong {
    fn about(champ: &str, detail: impl Into<String>) -> Self {
        Self {
            champ: Some(printable(champ.as_bytes(), SHOWN)),
            detail: detail.into(),
        }
    }
}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self {
            champ: None,
            detail: message.to_string(),
        }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!(
            "valeur inattendue\u{a0}; attendu\u{a0}: {expected}"
        ))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let expected = expected.join(", ");
        Self::custom(format!(
            "{}\u{a0}; attendu\u{a0}: {expected}",
            quoted(variant)
        ))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let found = format!("paramètre {} inconnu", quoted(field));
        let expected = match expected {
            [] => "aucun n’est attendu".to_owned(),
            some => format!("attendu\u{a0}: {}", some.join(", ")),
        };
        Self::about(field, format!("{found}\u{a0}; {expected}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::about(field, "paramètre absent\u{a0}; il est obligatoire")
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::about(
            field,
            "paramètre donné plusieurs fois\u{a0}; une seule valeur est attendue",
        )
    }
}

/// The pairs of a query, as a map.
struct Query<'q, P> {
    pairs: P,
    /// The pair whose name was read last, and whose value is read next.
    value: Option<(Cow<'q, str>, Cow<'q, str>)>,
}

impl<'de, 'q, P: Iterator<Item = (Cow<'q, str>, Cow<'q, str>)>> Deserializer<'de> for Query<'q, P> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, 'q, P: Iterator<Item = (Cow<'q, str>, Cow<'q, str>)>> MapAccess<'de> for Query<'q, P> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.value = self.pairs.next();
        let Some((name, _)) = &self.value else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Wrong> = name.as_ref().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Wrong> {
        let (name, value) = self.value.take().unwrap_or_default();
        seed.deserialize(Text(&value)).map_err(|wrong| Wrong {
            champ: wrong.champ.or(Some(name.into_owned())),
            ..wrong
        })
    }
}

/// A value, as text that is parsed into the type that it is read as.
struct Text<'t>(&'t str);

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let word: StrDeserializer<'_, Wrong> = self.0.into_deserializer();
        visitor.visit_enum(word)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        ville: Option<String>,
        format: Option<Format>,
        #[serde(default)]
        page: Page,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Format {
        Percentage,
    }

    fn problem(query: &str) -> (String, String) {
        let problem = read::<Asked>(query).expect_err(query);
        let json = serde_json::to_value(&problem).expect("JSON");
        let text = |key: &str| json[key].as_str().expect(key).replace('\u{a0}', " ");
        assert_eq!(text("error"), "Requête invalide");
        (text("champ"), text("detail"))
    }

    #[test]
    fn given_values_are_read() {
        let asked = read::<Asked>("ville=Saint-%C3%89tienne&format=percentage&page=7");
        let expected = Asked {
            ville: Some("Saint-Étienne".to_owned()),
            format: Some(Format::Percentage),
            page: Whole(7),
        };
        assert_eq!(asked, Ok(expected));
    }

    #[test]
    fn an_empty_value_is_none() {
        for query in ["", "ville=", "ville&format=&page=", "&&", "autre="] {
            assert_eq!(read::<Asked>(query), Ok(Asked::default()), "{query}");
        }
    }

    #[test]
    fn every_fault_names_its_parameter_and_says_what_was_expected() {
        for (query, champ, detail) in [
            (
                "vile=Lyon",
                "vile",
                "paramètre « vile » inconnu ; attendu : ville, format, page",
            ),
            (
                "format=pourcent",
                "format",
                "« pourcent » ; attendu : percentage",
            ),
            (
                "page=0",
                "page",
                "« 0 » : un nombre entier de 1 à 1000000000 est attendu",
            ),
            (
                "page=-1",
                "page",
                "« -1 » : un nombre entier de 1 à 1000000000 est attendu",
            ),
            (
                "page=99999999999999999999",
                "page",
                "« 99999999999999999999 » : un nombre entier de 1 à 1000000000 est attendu",
            ),
            (
                "ville=a&ville=b",
                "ville",
                "paramètre donné plusieurs fois ; une seule valeur est attendue",
            ),
            (
                "a%1b%00=1",
                "a\\u{1b}\\u{0}",
                "paramètre « a\\u{1b}\\u{0} » inconnu ; attendu : ville, format, page",
            ),
        ] {
            assert_eq!(problem(query), (champ.to_owned(), detail.to_owned()));
        }
        let problem = read::<Nothing>("x=1").expect_err("refused");
        let json = serde_json::to_string(&problem).expect("JSON");
        assert!(json.contains("aucun n’est attendu"), "{json}");
    }

    #[test]
    fn a_page_is_so_many_entries_after_those_before_it() {
        let paging: Paging = read("page=3&par_page=4").expect("read");
        assert_eq!(paging.of(0..10), [8, 9]);
        assert_eq!(Paging::default().of(0..100), (0..50).collect::<Vec<_>>());
        let far: Paging = read("page=1000000000&par_page=500").expect("read");
        assert_eq!(far.of(0..10), [0; 0]);
    }
}
