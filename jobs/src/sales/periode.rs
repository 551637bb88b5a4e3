//! Periods: a requested period, the days with a transaction, and their runs of months.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

/// More empty months than this part two runs: a year without a single transaction is no season.
pub const MOST_EMPTY_MONTHS: i32 = 12;
/// The longest period that may be requested, in months: 100 years, longer than any dealer's file.
pub const LONGEST: i32 = 1200;
/// The days that [`Days`] keeps in a table: from 1900 on, as many as 256 years have.
const FIRST: i32 = -25_567;
const TABLE: usize = 93_502;

/// The month of a date, counted from January of year 0.
pub fn month_of(date: NaiveDate) -> i32 {
    12 * date.year() + date.month0().cast_signed()
}

/// The month of a day since 1970-01-01; `None` outside the calendar.
pub fn month_of_day(day: i32) -> Option<i32> {
    NaiveDate::from_epoch_days(day).map(month_of)
}

/// A month as `YYYY-MM`.
pub fn label(mois: i32) -> String {
    format!("{:04}-{:02}", mois.div_euclid(12), mois.rem_euclid(12) + 1)
}

/// Whole months, the first and the last included: written `2024-01..2024-03`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Plage {
    /// The first month, counted from January of year 0.
    pub debut: i32,
    /// The last.
    pub fin: i32,
}

impl Plage {
    /// Whether a day since 1970-01-01 is in it.
    pub fn contains(self, day: i32) -> bool {
        month_of_day(day).is_some_and(|mois| (self.debut..=self.fin).contains(&mois))
    }

    /// Its days, since 1970-01-01.
    pub fn days(self) -> Range<i32> {
        let first = |mois: i32| {
            NaiveDate::from_ymd_opt(
                mois.div_euclid(12),
                mois.rem_euclid(12).unsigned_abs() + 1,
                1,
            )
            .map_or(i32::MAX, |date| date.to_epoch_days())
        };
        first(self.debut)..first(self.fin + 1)
    }
}

/// Text that is no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlage {
    /// It is not two months with two points between them.
    #[error("{0:?}: expected two months as in 2024-01..2024-03")]
    Form(String),
    /// The last month is before the first, or more than a hundred years after it.
    #[error("{0:?}: expected a first month, and a last one at most 100 years after it")]
    Length(String),
}

impl FromStr for Plage {
    type Err = InvalidPlage;

    fn from_str(text: &str) -> Result<Self, InvalidPlage> {
        let found = || text.chars().take(40).collect::<String>();
        let months = || {
            let (debut, fin) = text.split_once("..")?;
            Some((month(debut.trim())?, month(fin.trim())?))
        };
        let (debut, fin) = months().ok_or_else(|| InvalidPlage::Form(found()))?;
        if fin < debut || fin - debut >= LONGEST {
            return Err(InvalidPlage::Length(found()));
        }
        Ok(Self { debut, fin })
    }
}

/// A month of the years 0001 to 9999 written `YYYY-MM`.
fn month(text: &str) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2] = text.as_bytes() else {
        return None;
    };
    let number = |digits: &[u8]| {
        let digits = std::str::from_utf8(digits).ok()?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<i32>().ok())?
    };
    let year = number(&[y1, y2, y3, y4]).filter(|year| *year > 0)?;
    let month = number(&[m1, m2]).filter(|month| (1..=12).contains(month))?;
    Some(12 * year + month - 1)
}

impl fmt::Display for Plage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", label(self.debut), label(self.fin))
    }
}

impl TryFrom<String> for Plage {
    type Error = InvalidPlage;

    fn try_from(text: String) -> Result<Self, InvalidPlage> {
        text.parse()
    }
}

impl From<Plage> for String {
    fn from(plage: Plage) -> Self {
        plage.to_string()
    }
}

/// A run of months: between two of its transactions there are at most [`MOST_EMPTY_MONTHS`] empty months. Days are
/// counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The first day with a transaction.
    pub premier: i32,
    /// The last.
    pub dernier: i32,
    /// The most days in a row without a transaction, between the first and the last.
    pub vide: u32,
}

/// Where a row stands in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lieu {
    /// The index of its file.
    pub fichier: u32,
    /// Its first line, from 1.
    pub ligne: u64,
}

/// The days with a transaction, counted from 1970-01-01, and where the first rows of each month stand.
pub struct Days {
    /// From [`FIRST`] on.
    table: Vec<Known>,
    others: BTreeSet<i32>,
    first_lines: FirstLines,
}

/// What is known of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nothing: it has no transaction so far.
    Nothing,
    /// It has one, and its next row may be among the first of its month.
    Day,
    /// It has one, and the first rows of its month are known: no row of this day matters any more.
    All,
}

impl Default for Days {
    fn default() -> Self {
        Self {
            table: vec![Known::Nothing; TABLE],
            others: BTreeSet::new(),
            first_lines: FirstLines::default(),
        }
    }
}

impl Days {
    /// Whether [`Days::note`] learns nothing from a further row of this day, as from all but a few rows of a file.
    #[inline]
    pub fn knows(&self, day: i32) -> bool {
        self.table.get(index(day)) == Some(&Known::All)
    }

    /// Learns from a row of this day that stands at `lieu`; rows come in the order of their files.
    #[cold]
    pub fn note(&mut self, day: i32, lieu: Lieu) {
        let mois = month_of_day(day);
        if let Some(mois) = mois {
            self.first_lines.push(mois, lieu);
        }
        let is_full = mois.is_none_or(|mois| self.first_lines.is_full(mois));
        match self.table.get_mut(index(day)) {
            Some(known) if is_full => *known = Known::All,
            Some(known) => *known = Known::Day,
            None => {
                self.others.insert(day);
            }
        }
    }

    /// The days, in order.
    fn iter(&self) -> impl Iterator<Item = i32> {
        let table = (FIRST..).zip(&self.table);
        let table = table.filter(|(_, known)| **known != Known::Nothing);
        let before = self.others.range(..FIRST).copied();
        let after = self.others.range(FIRST..).copied();
        before.chain(table.map(|(day, _)| day)).chain(after)
    }

    /// The runs that the days make, in order, and where the first rows of each month of the shortest ones stand: nothing where
    /// there is one run.
    pub fn sum_up(self) -> (Vec<Suite>, BTreeMap<i32, Vec<Lieu>>) {
        let runs = self.runs();
        let first_lines = self.first_lines.of_short_runs(&runs);
        (runs.into_iter().map(|(run, _)| run).collect(), first_lines)
    }

    /// The runs, in order, each with its number of days.
    fn runs(&self) -> Vec<(Suite, u32)> {
        let mut runs: Vec<(Suite, u32)> = Vec::new();
        for day in self.iter() {
            match runs.last_mut().filter(|(run, _)| !parted(run.dernier, day)) {
                Some((run, days)) => {
                    run.vide = run.vide.max(run.dernier.abs_diff(day) - 1);
                    run.dernier = day;
                    *days += 1;
                }
                None => runs.push((
                    Suite {
                        premier: day,
                        dernier: day,
                        vide: 0,
                    },
                    1,
                )),
            }
        }
        runs
    }
}

/// The most first rows of a month that are named.
pub const FIRST_LINES: usize = 10;
/// The most months whose first rows are named; a file of wrong dates has any number of them.
const MOST_MONTHS: usize = 100;
/// The most months whose first rows are remembered while reading: every month of 800 years.
const MOST_REMEMBERED: usize = 10_000;

/// Where the first rows of each month stand, in the order of the rows.
#[derive(Debug, Default)]
struct FirstLines(BTreeMap<i32, Vec<Lieu>>);

impl FirstLines {
    /// Whether a row of this month need not be named any more.
    fn is_full(&self, mois: i32) -> bool {
        match self.0.get(&mois) {
            Some(lines) => lines.len() >= FIRST_LINES,
            None => self.0.len() >= MOST_REMEMBERED,
        }
    }

    /// Adds a row of this month.
    fn push(&mut self, mois: i32, lieu: Lieu) {
        if !self.is_full(mois) {
            self.0.entry(mois).or_default().push(lieu);
        }
    }

    /// What to report beside these runs: nothing where there is one, else the months of the shortest ones.
    fn of_short_runs(mut self, runs: &[(Suite, u32)]) -> BTreeMap<i32, Vec<Lieu>> {
        if runs.len() < 2 {
            return BTreeMap::new();
        }
        let mut shortest: Vec<&(Suite, u32)> = runs.iter().collect();
        shortest.sort_by_key(|(_, days)| *days);
        let ends = |suite: &Suite| month_of_day(suite.premier).zip(month_of_day(suite.dernier));
        let months = shortest.into_iter().filter_map(|(suite, _)| ends(suite));
        months
            .flat_map(|(first, last)| first..=last)
            .filter_map(|mois| self.0.remove_entry(&mois))
            .take(MOST_MONTHS)
            .collect()
    }
}

/// Where a day stands in the table of [`Days`]; beyond its end, or before its beginning, outside it.
#[inline]
fn index(day: i32) -> usize {
    day.wrapping_sub(FIRST).cast_unsigned() as usize
}

/// Whether two days belong to two runs.
fn parted(day: i32, next: i32) -> bool {
    // so near, no year of empty months fits between
    if next.abs_diff(day) < 365 {
        return false;
    }
    match (month_of_day(day), month_of_day(next)) {
        (Some(month), Some(next)) => next - month - 1 > MOST_EMPTY_MONTHS,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Lieu = Lieu {
        fichier: 0,
        ligne: 1,
    };

    fn day(text: &str) -> i32 {
        text.parse::<NaiveDate>().expect("a date").to_epoch_days()
    }

    fn runs(days: &[&str]) -> Vec<(String, String, u32)> {
        let mut set = Days::default();
        for text in days {
            set.note(day(text), AT);
        }
        let date = |day| NaiveDate::from_epoch_days(day).expect("a date").to_string();
        let runs = set.runs().into_iter();
        runs.map(|(run, _)| (date(run.premier), date(run.dernier), run.vide))
            .collect()
    }

    fn run(premier: &str, dernier: &str, vide: u32) -> (String, String, u32) {
        (premier.to_owned(), dernier.to_owned(), vide)
    }

    #[test]
    fn more_than_twelve_empty_months_part_two_runs() {
        assert_eq!(
            runs(&["2024-01-31", "2024-01-01", "2024-01-28", "2025-02-01"]),
            [run("2024-01-01", "2025-02-01", 366)],
            "twelve empty months"
        );
        assert_eq!(
            runs(&["2024-01-01", "2024-01-31", "2025-03-01"]),
            [
                run("2024-01-01", "2024-01-31", 29),
                run("2025-03-01", "2025-03-01", 0)
            ],
            "thirteen"
        );
        assert_eq!(
            runs(&["9999-12-31", "2024-01-01", "0001-01-01", "1899-12-31"]),
            ["0001-01-01", "1899-12-31", "2024-01-01", "9999-12-31"].map(|day| run(day, day, 0))
        );
        assert_eq!(runs(&[]), []);
    }

    #[test]
    fn days_come_in_order_and_each_once() {
        let end = FIRST + TABLE as i32;
        let (before, after) = ([i32::MIN, FIRST - 1], [end, i32::MAX]);
        let within = [FIRST, 3, 4, 5, end - 1];
        let mut days = Days::default();
        for day in [5, 5].into_iter().chain(after).chain(within).chain(before) {
            days.note(day, AT);
        }
        assert!(
            days.iter()
                .eq(before.into_iter().chain(within).chain(after))
        );
        assert_eq!(day("1900-01-01"), FIRST);
    }

    #[test]
    fn the_first_lines_of_short_runs_are_told() {
        let lieu = |ligne| Lieu { fichier: 0, ligne };
        let mut days = Days::default();
        for (text, rows) in [
            ("2024-01-05", 30),
            ("2024-02-05", 3),
            ("2042-05-01", 12),
            ("2014-02-01", 1),
        ] {
            for ligne in 1..=rows {
                days.note(day(text), lieu(ligne));
            }
        }
        let (runs, told) = days.sum_up();
        assert_eq!(runs.len(), 3);
        assert_eq!(told[&(12 * 2014 + 1)], [lieu(1)]);
        assert_eq!(
            told[&(12 * 2042 + 4)],
            (1..=10).map(lieu).collect::<Vec<_>>()
        );
    }

    #[test]
    fn one_run_alone_names_no_line() {
        let mut days = Days::default();
        days.note(day("1970-01-01"), AT);
        days.note(day("1970-01-10"), AT);
        let (runs, told) = days.sum_up();
        assert_eq!((runs.len(), told.len()), (1, 0));
    }

    #[test]
    fn the_months_told_are_those_of_the_shortest_runs_and_bounded() {
        let first_of = |year: i32| {
            let (debut, fin) = (24 * year, 24 * year);
            Plage { debut, fin }.days().start
        };
        let mut days = Days::default();
        for year in 100..400 {
            days.note(first_of(year), AT);
        }
        for more in 0..50 {
            days.note(first_of(100) + more, AT);
        }
        let (_, told) = days.sum_up();
        assert_eq!(told.len(), MOST_MONTHS);
        assert!(!told.contains_key(&(24 * 100)), "the longest run");
    }

    #[test]
    fn a_day_is_known_once_its_months_first_rows_are() {
        let mut days = Days::default();
        let february = |n: usize| day("2024-02-01") + (n % 3) as i32;
        for n in 0..FIRST_LINES {
            assert!(!days.knows(february(n)), "row {n}");
            days.note(february(n), AT);
        }
        days.note(february(0), AT);
        assert!(days.knows(february(0)));
        let later = day("2024-02-29");
        assert!(!days.knows(later), "a day without a row");
        days.note(later, AT);
        assert!(days.knows(later));
        assert!(!days.knows(day("2024-03-01")));
        for outside in ["1800-01-05", "9999-12-31"] {
            for _ in 0..2 * FIRST_LINES {
                days.note(day(outside), AT);
            }
            assert!(!days.knows(day(outside)), "{outside}");
        }
        let lines = &days.first_lines.0;
        assert!(lines.values().all(|lines| lines.len() == FIRST_LINES));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_period_is_two_months_in_order_and_nothing_else() {
        let plage: Plage = "2024-01..2024-03".parse().expect("a period");
        assert_eq!((plage.debut, plage.fin), (12 * 2024, 12 * 2024 + 2));
        assert_eq!(plage.to_string(), "2024-01..2024-03");
        assert_eq!(plage.days(), day("2024-01-01")..day("2024-04-01"));
        assert!(plage.contains(day("2024-03-31")) && !plage.contains(day("2024-04-01")));
        assert!(plage.contains(day("2024-01-01")) && !plage.contains(day("2023-12-31")));
        let end: Plage = "9999-12..9999-12".parse().expect("a period");
        assert!(end.days().end > day("9999-12-31"));
        for bad in [
            "",
            "2024-01",
            "2024-01..",
            "2024-1..2024-03",
            "2024-00..2024-03",
            "2024-01..2024-13",
            "2024-03..2024-01",
            "2024-01-2024-03",
            "0000-01..2024-01",
            "1900-01..2000-01",
            "+024-01..2024-03",
            "2024-01..2024-03..2024-04",
        ] {
            assert!(bad.parse::<Plage>().is_err(), "{bad:?}");
        }
        assert!("1900-01..1999-12".parse::<Plage>().is_ok());
    }
}
