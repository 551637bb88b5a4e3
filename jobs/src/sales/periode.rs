//! Periods: a requested period, the days with a transaction, and their runs of months.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

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

    /// Its first day, and the first day after it, since 1970-01-01.
    pub fn days(self) -> (i32, i32) {
        let first = |mois: i32| {
            NaiveDate::from_ymd_opt(
                mois.div_euclid(12),
                mois.rem_euclid(12).unsigned_abs() + 1,
                1,
            )
            .map_or(i32::MAX, |date| date.to_epoch_days())
        };
        (first(self.debut), first(self.fin + 1))
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

/// A set of days, counted from 1970-01-01.
pub struct Days {
    /// From [`FIRST`] on, a byte a day: marking one is a plain store, whether or not it was marked before.
    table: Vec<bool>,
    others: BTreeSet<i32>,
}

impl Default for Days {
    fn default() -> Self {
        Self {
            table: vec![false; TABLE],
            others: BTreeSet::new(),
        }
    }
}

impl Days {
    /// Adds a day.
    #[inline]
    pub fn insert(&mut self, day: i32) {
        match self
            .table
            .get_mut(day.wrapping_sub(FIRST).cast_unsigned() as usize)
        {
            Some(marked) => *marked = true,
            None => {
                self.others.insert(day);
            }
        }
    }

    /// Adds the days of another set.
    pub fn absorb(&mut self, other: &Self) {
        for day in other.iter() {
            self.insert(day);
        }
    }

    /// The days, in order.
    pub fn iter(&self) -> impl Iterator<Item = i32> {
        let table = (FIRST..).zip(&self.table).filter(|(_, marked)| **marked);
        let before = self.others.range(..FIRST).copied();
        let after = self.others.range(FIRST..).copied();
        before.chain(table.map(|(day, _)| day)).chain(after)
    }

    /// The runs they make, in order, each with its number of days.
    pub fn runs(&self) -> Vec<(Suite, u32)> {
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
pub struct FirstLines(BTreeMap<i32, Vec<Lieu>>);

impl FirstLines {
    /// Whether a row of this month need not be named any more.
    pub fn is_full(&self, mois: i32) -> bool {
        match self.0.get(&mois) {
            Some(lines) => lines.len() >= FIRST_LINES,
            None => self.0.len() >= MOST_REMEMBERED,
        }
    }

    /// Adds a row of this month.
    pub fn push(&mut self, mois: i32, lieu: Lieu) {
        if !self.is_full(mois) {
            self.0.entry(mois).or_default().push(lieu);
        }
    }

    /// What to report beside these runs: nothing where there is one, else the months of the shortest ones.
    pub fn of_short_runs(mut self, runs: &[(Suite, u32)]) -> BTreeMap<i32, Vec<Lieu>> {
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

/// The months of which [`FIRST_LINES`] rows are known, for every thread that reads. A month is closed by the thread that
/// takes rows in their order, so a row of a block that is read later can be none of the first.
#[derive(Default)]
pub struct ClosedMonths(Mutex<Vec<i32>>);

impl ClosedMonths {
    /// Closes a month.
    pub fn close(&self, mois: i32) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(mois);
    }
}

/// One thread's own memory of the [`ClosedMonths`], by day.
pub struct OpenDays {
    /// From [`FIRST`] on; days outside stay open.
    table: Vec<bool>,
    known: usize,
}

impl Default for OpenDays {
    fn default() -> Self {
        Self {
            table: vec![true; TABLE],
            known: 0,
        }
    }
}

impl OpenDays {
    /// Learns which months were closed since.
    pub fn update(&mut self, closed: &ClosedMonths) {
        let closed = closed.0.lock().unwrap_or_else(PoisonError::into_inner);
        for &mois in &closed[self.known..] {
            let (first, next) = Plage {
                debut: mois,
                fin: mois,
            }
            .days();
            for day in first.max(FIRST)..next.min(FIRST + TABLE as i32) {
                self.table[(day - FIRST) as usize] = false;
            }
        }
        self.known = closed.len();
    }

    /// Whether a row of this day may be among the first of its month.
    #[inline(always)]
    pub fn is_open(&self, day: i32) -> bool {
        let at = day.wrapping_sub(FIRST).cast_unsigned() as usize;
        self.table.get(at).copied().unwrap_or(true)
    }
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

    fn day(text: &str) -> i32 {
        text.parse::<NaiveDate>().expect("a date").to_epoch_days()
    }

    fn runs(days: &[&str]) -> Vec<(String, String, u32)> {
        let mut set = Days::default();
        for text in days {
            set.insert(day(text));
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
    fn sets_of_days_are_joined_and_come_in_order() {
        let (mut a, mut b) = (Days::default(), Days::default());
        for d in [5, 3, FIRST, FIRST - 1] {
            a.insert(d);
        }
        for d in [
            4,
            5,
            FIRST + TABLE as i32,
            FIRST + TABLE as i32 - 1,
            i32::MIN,
            i32::MAX,
        ] {
            b.insert(d);
        }
        a.absorb(&b);
        let end = FIRST + TABLE as i32;
        let expected = [i32::MIN, FIRST - 1, FIRST, 3, 4, 5, end - 1, end, i32::MAX];
        assert!(a.iter().eq(expected));
        assert_eq!(day("1900-01-01"), FIRST);
    }

    #[test]
    fn the_first_lines_of_short_runs_are_told() {
        let lieu = |ligne| Lieu { fichier: 0, ligne };
        let (mut days, mut lines) = (Days::default(), FirstLines::default());
        for (text, rows) in [
            ("2024-01-05", 30),
            ("2024-02-05", 3),
            ("2042-05-01", 12),
            ("2014-02-01", 1),
        ] {
            days.insert(day(text));
            for ligne in 1..=rows {
                lines.push(month_of_day(day(text)).expect("a month"), lieu(ligne));
            }
        }
        assert!(lines.is_full(12 * 2042 + 4) && !lines.is_full(12 * 2014 + 1));
        let told = lines.of_short_runs(&days.runs());
        assert_eq!(told[&(12 * 2014 + 1)], [lieu(1)]);
        assert_eq!(
            told[&(12 * 2042 + 4)],
            (1..=10).map(lieu).collect::<Vec<_>>()
        );
        let one_run = |lines: FirstLines| {
            lines.of_short_runs(&[(
                Suite {
                    premier: 0,
                    dernier: 9,
                    vide: 0,
                },
                9,
            )])
        };
        let mut lines = FirstLines::default();
        lines.push(12 * 1970, lieu(1));
        assert!(one_run(lines).is_empty());
    }

    #[test]
    fn the_months_told_are_those_of_the_shortest_runs_and_bounded() {
        let (mut days, mut lines) = (Days::default(), FirstLines::default());
        for year in 100..400 {
            days.insert(
                Plage {
                    debut: 24 * year,
                    fin: 24 * year,
                }
                .days()
                .0,
            );
            lines.push(
                24 * year,
                Lieu {
                    fichier: 0,
                    ligne: 1,
                },
            );
        }
        for more in 0..50 {
            days.insert(
                Plage {
                    debut: 24 * 100,
                    fin: 24 * 100,
                }
                .days()
                .0 + more,
            );
        }
        let told = lines.of_short_runs(&days.runs());
        assert_eq!(told.len(), MOST_MONTHS);
        assert!(!told.contains_key(&(24 * 100)), "the longest run");
    }

    #[test]
    fn a_closed_month_has_no_open_day() {
        let (closed, mut open) = (ClosedMonths::default(), OpenDays::default());
        closed.close(12 * 2024 + 1);
        assert!(open.is_open(day("2024-02-10")));
        open.update(&closed);
        closed.close(12 * 1800);
        closed.close(12 * 1900);
        open.update(&closed);
        for (text, expected) in [
            ("2024-01-31", true),
            ("2024-02-01", false),
            ("2024-02-29", false),
            ("2024-03-01", true),
            ("1800-01-05", true),
            ("1900-01-01", false),
            ("1900-02-01", true),
            ("9999-12-31", true),
        ] {
            assert_eq!(open.is_open(day(text)), expected, "{text}");
        }
    }

    #[test]
    fn a_period_is_two_months_in_order_and_nothing_else() {
        let plage: Plage = "2024-01..2024-03".parse().expect("a period");
        assert_eq!((plage.debut, plage.fin), (12 * 2024, 12 * 2024 + 2));
        assert_eq!(plage.to_string(), "2024-01..2024-03");
        assert_eq!(plage.days(), (day("2024-01-01"), day("2024-04-01")));
        assert!(plage.contains(day("2024-03-31")) && !plage.contains(day("2024-04-01")));
        assert!(plage.contains(day("2024-01-01")) && !plage.contains(day("2023-12-31")));
        let end: Plage = "9999-12..9999-12".parse().expect("a period");
        assert!(end.days().1 > day("9999-12-31"));
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
