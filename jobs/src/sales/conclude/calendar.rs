//! The months of a job: which exist, which are complete, which are isolated, which are last.

use std::collections::BTreeMap;

use autoconnect_common::kind::ConcludeError;
use chrono::{Datelike, NaiveDate};

use super::base::Serie;
use super::feries::is_closed;
use crate::sales::partial::Jours;
use crate::sales::periode::{Plage, Suite, month_of};

/// Longer periods than this, in months, would fill the report with zeros: 100 years.
const LONGEST: usize = 1200;
/// More zeros than this, in months times cities, would make the report unreadable.
const MOST_CELLS: usize = 600_000;
/// 1970-01-01, in days since the first day of year 1.
const EPOCH: i32 = 719_163;
/// The most days missing at an edge that may be days without a transaction like others: a week of them is a gap.
const LONGEST_PAUSE: u32 = 6;
/// A run of one row is isolated beside a main run of so many rows, although it may be more than 1 % of them.
const MANY: u64 = 10;

/// The months from the first transaction to the last, without isolated ones; a month is counted from January of year 0.
#[derive(Debug, Default)]
pub(super) struct Calendrier {
    /// The first and last day with a transaction.
    pub(super) jours: Option<(NaiveDate, NaiveDate)>,
    /// The months, in order.
    pub(super) mois: Vec<i32>,
    /// The months without the partial ones.
    pub(super) complets: Vec<i32>,
    /// The first and last month, where the data do not reach their first or last day.
    pub(super) partiels: Vec<i32>,
    /// The months of isolated runs, in order; also between two runs that are not.
    pub(super) isoles: Vec<i32>,
    /// The first and the last month of each gap between two runs of the period.
    pub(super) trous: Vec<(i32, i32)>,
    /// Whether `mois` is every month from the first to the last, isolated ones aside.
    pub(super) sans_trous: bool,
}

/// What determines the months of a job.
pub(super) struct Quand<'a> {
    /// The runs of months with transactions, in order.
    pub(super) suites: &'a [Suite],
    /// Transactions by month.
    pub(super) nombres: &'a BTreeMap<i32, u64>,
    /// The requested months.
    pub(super) demandee: Option<Plage>,
    /// How many cities there are.
    pub(super) villes: usize,
}

impl Calendrier {
    /// The calendar of a job.
    ///
    /// # Errors
    /// Where the runs are no runs: a day outside the years 0 to 9999, or days out of order.
    pub(super) fn new(quand: &Quand<'_>) -> Result<Self, ConcludeError> {
        let jours = dates_of(quand.suites)?;
        let Some((&(premier, _), &(_, dernier))) = jours.first().zip(jours.last()) else {
            return Ok(Self {
                sans_trous: true,
                ..Self::default()
            });
        };
        if let Some(Plage { debut, fin }) = quand.demandee {
            let mois = Self::listed((debut, fin), quand);
            return Ok(Self {
                jours: Some((premier, dernier)),
                complets: mois.1.clone(),
                sans_trous: mois.0,
                mois: mois.1,
                ..Self::default()
            });
        }
        let isolated = isolated(quand);
        let (far, kept): (Vec<_>, Vec<_>) = jours
            .iter()
            .zip(quand.suites)
            .zip(&isolated)
            .partition(|(_, isolated)| **isolated);
        let vide = match kept.as_slice() {
            [((_, suite), _)] => suite.vide,
            _ => LONGEST_PAUSE,
        };
        let (premier, dernier) = kept
            .iter()
            .map(|((jours, _), _)| **jours)
            .reduce(|a, b| (a.0, b.1))
            .unwrap_or((premier, dernier));
        let ends = (month_of(premier), month_of(dernier));
        let isoles: Vec<i32> = far
            .iter()
            .flat_map(|((jours, _), _)| month_of(jours.0)..=month_of(jours.1))
            .filter(|mois| quand.nombres.contains_key(mois))
            .collect();
        let (sans_trous, mut mois) = Self::listed(ends, quand);
        mois.retain(|mois| isoles.binary_search(mois).is_err());
        let partiels = partial(premier, dernier, vide);
        Ok(Self {
            jours: Some((premier, dernier)),
            complets: mois
                .iter()
                .copied()
                .filter(|m| !partiels.contains(m))
                .collect(),
            trous: gaps(&jours)
                .filter(|trou| ends.0 < trou.0 && trou.1 < ends.1)
                .collect(),
            isoles,
            mois,
            partiels,
            sans_trous,
        })
    }

    /// Whether every month between two is listed, and the months: in a period of centuries those with transactions.
    fn listed((debut, fin): (i32, i32), quand: &Quand<'_>) -> (bool, Vec<i32>) {
        let longueur = usize::try_from(fin - debut + 1).unwrap_or(usize::MAX);
        let all = longueur <= LONGEST && longueur.saturating_mul(quand.villes) <= MOST_CELLS;
        let mois = if all {
            (debut..=fin).collect()
        } else {
            quand
                .nombres
                .range(debut..=fin)
                .map(|(mois, _)| *mois)
                .collect()
        };
        (all, mois)
    }

    /// The months of the period to write for one city: all of them, or in a period of centuries its own.
    pub(super) fn mois_de(&self, serie: &Serie) -> Vec<i32> {
        if self.sans_trous {
            self.mois.clone()
        } else {
            serie.mois().filter(|mois| self.contient(*mois)).collect()
        }
    }

    /// Whether `mois` is a month of the period.
    fn contient(&self, mois: i32) -> bool {
        self.mois.first().is_some_and(|first| *first <= mois)
            && self.mois.last().is_some_and(|last| mois <= *last)
            && self.isoles.binary_search(&mois).is_err()
    }

    /// Whether `mois` is a month of the period and not partial.
    pub(super) fn est_complet(&self, mois: i32) -> bool {
        self.contient(mois) && !self.partiels.contains(&mois)
    }

    /// Whether `mois` is a month of the period and partial.
    pub(super) fn est_partiel(&self, mois: i32) -> bool {
        self.partiels.contains(&mois)
    }

    /// The last `n` complete months, in order; `None` where there are fewer, or a gap between them.
    pub(super) fn derniers(&self, n: usize) -> Option<&[i32]> {
        let derniers = &self.complets[self.complets.len().checked_sub(n)?..];
        let se_suivent = derniers.windows(2).all(|pair| pair[1] - pair[0] == 1);
        se_suivent.then_some(derniers)
    }
}

/// The runs as dates.
fn dates_of(suites: &[Suite]) -> Result<Vec<(NaiveDate, NaiveDate)>, ConcludeError> {
    let in_order = suites
        .windows(2)
        .all(|pair| pair[0].dernier < pair[1].premier);
    if !in_order {
        return Err(ConcludeError(
            "facts: the runs of months are not in order".to_owned(),
        ));
    }
    suites
        .iter()
        .map(
            |&Suite {
                 premier, dernier, ..
             }| dates("facts", Jours { premier, dernier }),
        )
        .collect()
}

/// The first and the last month between each two runs.
fn gaps(jours: &[(NaiveDate, NaiveDate)]) -> impl Iterator<Item = (i32, i32)> {
    jours
        .windows(2)
        .map(|pair| (month_of(pair[0].1) + 1, month_of(pair[1].0) - 1))
        .filter(|(debut, fin)| debut <= fin)
}

/// Which runs are isolated: all but the one of most transactions that hold under 1 % of all, or a single one beside
/// at least [`MANY`]. A wrong digit in a year makes such a run, and a season of its own.
fn isolated(quand: &Quand<'_>) -> Vec<bool> {
    let month = |day: i32| NaiveDate::from_epoch_days(day).map_or(0, month_of);
    let rows: Vec<u64> = quand
        .suites
        .iter()
        .map(|suite| {
            quand
                .nombres
                .range(month(suite.premier)..=month(suite.dernier))
                .map(|(_, n)| n)
                .sum()
        })
        .collect();
    let all: u64 = rows.iter().sum();
    let main = (0..rows.len()).max_by_key(|&run| rows[run]);
    (0..rows.len())
        .map(|run| {
            let few = u128::from(rows[run]) * 100 < u128::from(all);
            let single = rows[run] <= 1 && main.is_some_and(|main| rows[main] >= MANY);
            Some(run) != main && (few || single)
        })
        .collect()
}

/// The first and the last month, where they are partial: the days missing at the edge are not all days on which a dealer
/// is closed, and are more than the longest pause, of at most [`LONGEST_PAUSE`] days, between two days with a transaction.
fn partial(premier: NaiveDate, dernier: NaiveDate, vide: u32) -> Vec<i32> {
    let pause = vide.min(LONGEST_PAUSE) as usize;
    let missing = |days: Vec<NaiveDate>| days.len() > pause && !days.into_iter().all(is_closed);
    let before = (1..premier.day()).filter_map(|day| premier.with_day(day));
    let after = dernier
        .iter_days()
        .skip(1)
        .take_while(|day| day.month() == dernier.month());
    let mut partiels = Vec::new();
    if missing(before.collect()) {
        partiels.push(month_of(premier));
    }
    if missing(after.collect()) && partiels.last() != Some(&month_of(dernier)) {
        partiels.push(month_of(dernier));
    }
    partiels
}

/// The first and last day of `jours` as dates.
///
/// # Errors
/// Where a day is outside the years 0 to 9999, or they are not in order.
pub(super) fn dates(of: &str, jours: Jours) -> Result<(NaiveDate, NaiveDate), ConcludeError> {
    let date = |day: i32| {
        day.checked_add(EPOCH)
            .and_then(NaiveDate::from_num_days_from_ce_opt)
            .filter(|date| (0..=9999).contains(&date.year()))
            .ok_or_else(|| {
                ConcludeError(format!(
                    "{of}: day {day} since 1970: expected a year from 0 to 9999"
                ))
            })
    };
    let (premier, dernier) = (date(jours.premier)?, date(jours.dernier)?);
    if premier > dernier {
        return Err(ConcludeError(format!(
            "{of}: first day {premier} is after last day {dernier}"
        )));
    }
    Ok((premier, dernier))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sales::periode::label;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    /// Runs of so many rows, all in the run's first month but one in its last.
    fn calendar(
        runs: &[(&str, &str, u32, u64)],
        demandee: Option<&str>,
        villes: usize,
    ) -> Calendrier {
        let mut nombres = BTreeMap::new();
        let suites: Vec<Suite> = runs
            .iter()
            .map(|&(premier, dernier, vide, rows)| {
                let (first, last) = (day(premier), day(dernier));
                *nombres.entry(month_of(first)).or_default() += rows - u64::from(first != last);
                *nombres.entry(month_of(last)).or_default() += u64::from(first != last);
                Suite {
                    premier: first.to_epoch_days(),
                    dernier: last.to_epoch_days(),
                    vide,
                }
            })
            .collect();
        Calendrier::new(&Quand {
            suites: &suites,
            nombres: &nombres,
            demandee: demandee.map(|text| text.parse().expect("a period")),
            villes,
        })
        .expect("a calendar")
    }

    fn labels(mois: &[i32]) -> Vec<String> {
        mois.iter().copied().map(label).collect()
    }

    fn partiels(first: &str, last: &str, vide: u32) -> Vec<String> {
        labels(&calendar(&[(first, last, vide, 100)], None, 1).partiels)
    }

    #[test]
    fn a_month_is_partial_where_the_data_do_not_reach_its_ends() {
        for (first, last, expected) in [
            ("2023-01-01", "2023-03-31", vec![]),
            ("2023-01-03", "2023-03-31", vec!["2023-01"]),
            ("2023-01-01", "2023-03-30", vec!["2023-03"]),
            ("2023-01-15", "2023-03-15", vec!["2023-01", "2023-03"]),
            ("2023-01-03", "2023-01-15", vec!["2023-01"]),
            ("2024-02-01", "2024-02-29", vec![]),
            ("2024-02-01", "2024-02-28", vec!["2024-02"]),
            ("0000-01-01", "0000-01-31", vec![]),
            ("9999-12-01", "9999-12-31", vec![]),
        ] {
            assert_eq!(partiels(first, last, 0), expected, "{first} to {last}");
        }
    }

    #[test]
    fn days_on_which_a_dealer_is_closed_make_no_month_partial() {
        // 2024-01-01 is a holiday; 2024-03-31 is Easter Sunday; from 2023-04-30 to 05-01 a Sunday and a holiday
        for (first, last) in [
            ("2024-01-02", "2024-03-30"),
            ("2023-05-02", "2023-04-29"),
            ("2022-05-02", "2022-12-31"),
            ("2023-10-02", "2023-12-30"),
            ("2024-01-02", "2024-01-31"),
        ] {
            let (first, last) = if first < last {
                (first, last)
            } else {
                ("2023-05-02", "2023-06-30")
            };
            assert_eq!(
                partiels(first, last, 1),
                Vec::<String>::new(),
                "{first} to {last}"
            );
        }
        // a Saturday is missing as well
        assert_eq!(partiels("2024-01-02", "2024-03-29", 0), ["2024-03"]);
        // Easter Monday, the first of April 2024
        assert_eq!(
            partiels("2024-04-02", "2024-04-30", 0),
            Vec::<String>::new()
        );
        // Good Friday is a holiday of Alsace and Moselle alone
        assert_eq!(partiels("2024-03-01", "2024-03-28", 0), ["2024-03"]);
    }

    #[test]
    fn a_pause_like_those_inside_the_period_makes_no_month_partial() {
        assert_eq!(partiels("2024-01-04", "2024-02-29", 2), ["2024-01"]);
        assert_eq!(
            partiels("2024-01-04", "2024-02-29", 3),
            Vec::<String>::new()
        );
        assert_eq!(
            partiels("2024-01-07", "2024-02-23", 60),
            Vec::<String>::new(),
            "six days"
        );
        assert_eq!(
            partiels("2024-01-08", "2024-02-22", 60),
            ["2024-01", "2024-02"],
            "seven days"
        );
    }

    #[test]
    fn a_period_that_was_asked_for_is_complete_and_has_all_its_months() {
        let calendrier = calendar(
            &[("2024-01-15", "2024-02-10", 3, 9)],
            Some("2023-12..2024-03"),
            1,
        );
        assert_eq!(
            labels(&calendrier.mois),
            ["2023-12", "2024-01", "2024-02", "2024-03"]
        );
        assert_eq!(calendrier.complets, calendrier.mois);
        assert!(
            calendrier.partiels.is_empty() && calendrier.isoles.is_empty() && calendrier.sans_trous
        );
        assert_eq!(
            calendrier.jours,
            Some((day("2024-01-15"), day("2024-02-10")))
        );
        let nothing = calendar(&[], Some("2023-12..2024-03"), 0);
        assert!(nothing.mois.is_empty() && nothing.sans_trous);
    }

    #[test]
    fn a_few_rows_far_from_all_others_are_isolated() {
        let isoles = |runs: &[(&str, &str, u32, u64)]| labels(&calendar(runs, None, 1).isoles);
        let year = |rows| ("2024-01-01", "2024-12-31", 1, rows);
        assert_eq!(
            isoles(&[year(36), ("2042-05-01", "2042-05-01", 0, 1)]),
            ["2042-05"]
        );
        assert_eq!(
            isoles(&[("2014-02-03", "2014-02-03", 0, 1), year(36)]),
            ["2014-02"]
        );
        assert_eq!(
            isoles(&[year(399_883), ("2999-01-01", "2999-11-30", 9, 117)]),
            ["2999-01", "2999-11"]
        );
        let both = [
            ("2014-02-03", "2014-02-03", 0, 1),
            year(500),
            ("2042-05-01", "2042-06-01", 30, 4),
        ];
        assert_eq!(isoles(&both), ["2014-02", "2042-05", "2042-06"]);
        // not few: 1 % is a part of the business, and 1 of 5 rows is no error either
        assert_eq!(
            isoles(&[year(396), ("2042-05-01", "2042-05-02", 0, 4)]),
            Vec::<String>::new()
        );
        assert_eq!(
            isoles(&[year(397), ("2042-05-01", "2042-05-02", 0, 4)]),
            ["2042-05"]
        );
        assert_eq!(
            isoles(&[year(4), ("2042-05-01", "2042-05-01", 0, 1)]),
            Vec::<String>::new()
        );
        assert_eq!(
            isoles(&[year(9), ("2042-05-01", "2042-05-01", 0, 1)]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn isolated_months_do_not_stretch_the_period() {
        let runs = [
            ("2014-02-03", "2014-02-03", 0, 1),
            ("2022-01-01", "2024-12-31", 1, 900),
            ("2042-05-07", "2042-05-07", 0, 1),
        ];
        let calendrier = calendar(&runs, None, 1);
        assert_eq!(
            calendrier.jours,
            Some((day("2022-01-01"), day("2024-12-31")))
        );
        assert_eq!(calendrier.mois.len(), 36);
        assert!(calendrier.trous.is_empty(), "none inside the period");
        assert_eq!(calendrier.complets, calendrier.mois);
        let asked = calendar(&runs, Some("2014-01..2024-12"), 1);
        assert_eq!((asked.mois.len(), asked.isoles.len()), (132, 0));
    }

    #[test]
    fn a_few_rows_between_two_runs_are_isolated_too() {
        let runs = [
            ("2020-01-01", "2020-12-31", 1, 366),
            ("2022-06-10", "2022-06-10", 0, 1),
            ("2024-01-01", "2024-12-31", 1, 366),
        ];
        let calendrier = calendar(&runs, None, 1);
        assert_eq!(labels(&calendrier.isoles), ["2022-06"]);
        assert_eq!(calendrier.mois.len(), 59);
        assert_eq!(calendrier.complets, calendrier.mois);
        let isole = calendrier.isoles[0];
        assert!(!calendrier.est_complet(isole) && calendrier.est_complet(isole + 1));
        let trous: Vec<_> = calendrier
            .trous
            .iter()
            .map(|t| labels(&[t.0, t.1]))
            .collect();
        assert_eq!(trous, [["2021-01", "2022-05"], ["2022-07", "2023-12"]]);
    }

    #[test]
    fn two_runs_that_both_count_are_one_period() {
        let calendrier = calendar(
            &[
                ("2020-01-04", "2020-12-31", 1, 50),
                ("2023-01-01", "2023-12-27", 1, 50),
            ],
            None,
            1,
        );
        assert_eq!(calendrier.mois.len(), 48);
        assert_eq!(calendrier.trous.len(), 1, "it is said");
        assert!(
            calendrier.partiels.is_empty(),
            "the gap between them is longer than any edge"
        );
    }

    #[test]
    fn a_period_of_centuries_holds_only_months_with_transactions() {
        let ten_years = calendar(&[("2015-01-01", "2024-12-31", 1, 100)], None, 1000);
        assert!(ten_years.sans_trous);
        assert_eq!(ten_years.mois.len(), 120);
        for (first, last, villes) in [
            ("0202-05-01", "2024-12-31", 1),
            ("2024-01-01", "9999-12-31", 1),
            ("1930-01-01", "2024-12-31", 1000),
        ] {
            let calendrier = calendar(&[(first, first, 0, 50), (last, last, 0, 50)], None, villes);
            assert!(!calendrier.sans_trous, "{first} to {last}");
            assert_eq!(calendrier.mois.len(), 2);
            assert_eq!(calendrier.derniers(2), None, "a gap is no growth");
        }
    }

    #[test]
    fn runs_that_are_none_are_refused() {
        let refused = |runs: &[(i32, i32)]| {
            let suites: Vec<Suite> = runs
                .iter()
                .map(|&(premier, dernier)| Suite {
                    premier,
                    dernier,
                    vide: 0,
                })
                .collect();
            Calendrier::new(&Quand {
                suites: &suites,
                nombres: &BTreeMap::new(),
                demandee: None,
                villes: 1,
            })
            .is_err()
        };
        assert!(refused(&[(10, 9)]));
        assert!(refused(&[(10, 20), (20, 30)]));
        assert!(refused(&[(i32::MIN, 0)]));
        assert!(refused(&[(0, i32::MAX)]));
        assert!(!refused(&[(10, 20), (21, 30)]));
    }

    #[test]
    fn days_that_no_calendar_has_are_refused() {
        for (premier, dernier) in [
            (i32::MIN, 0),
            (0, i32::MAX),
            (0, 2_932_897),
            (-719_529, 0),
            (1, 0),
        ] {
            assert!(
                dates("x", Jours { premier, dernier }).is_err(),
                "{premier} {dernier}"
            );
        }
        let all = Jours {
            premier: -719_528,
            dernier: 2_932_896,
        };
        let (first, last) = dates("x", all).expect("years 0 to 9999");
        assert_eq!(
            (label(month_of(first)), label(month_of(last))),
            ("0000-01".into(), "9999-12".into())
        );
    }
}
