//! The months of a job: which there are, which are complete, which come last.

use autoconnect_common::kind::ConcludeError;
use chrono::{Datelike, NaiveDate};

use super::base::Serie;
use crate::sales::partial::Jours;

/// Longer periods than this, in months, are typing errors in a year: 100 years.
const LONGEST: usize = 1200;
/// More zeros than this, in months times cities, would make the report unreadable.
const MOST_CELLS: usize = 600_000;
/// 1970-01-01, in days since the first day of year 1.
const EPOCH: i32 = 719_163;

/// The months from the first transaction to the last; a month is counted from January of year 0.
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
    /// Whether `mois` is every month from the first to the last.
    pub(super) sans_trous: bool,
}

impl Calendrier {
    /// The calendar of `villes` cities with transactions on `jours`, their CA by month being `global`.
    pub(super) fn new(
        jours: Option<(NaiveDate, NaiveDate)>,
        global: &Serie,
        villes: usize,
    ) -> Self {
        let Some((premier, dernier)) = jours else {
            return Self {
                sans_trous: true,
                ..Self::default()
            };
        };
        let (debut, fin) = (month_of(premier), month_of(dernier));
        let longueur = usize::try_from(fin - debut + 1).unwrap_or(usize::MAX);
        let sans_trous = longueur <= LONGEST && longueur.saturating_mul(villes) <= MOST_CELLS;
        let mois: Vec<i32> = if sans_trous {
            (debut..=fin).collect()
        } else {
            global.mois().collect()
        };
        let mut partiels = Vec::new();
        if premier.day() != 1 {
            partiels.push(debut);
        }
        let dernier_du_mois = dernier.succ_opt().is_none_or(|next| next.day() == 1);
        if !dernier_du_mois && partiels.last() != Some(&fin) {
            partiels.push(fin);
        }
        let complets = mois
            .iter()
            .copied()
            .filter(|m| !partiels.contains(m))
            .collect();
        Self {
            jours,
            mois,
            complets,
            partiels,
            sans_trous,
        }
    }

    /// The months to write for one city: all of them, or in a period of centuries its own.
    pub(super) fn mois_de(&self, serie: &Serie) -> Vec<i32> {
        if self.sans_trous {
            self.mois.clone()
        } else {
            serie.mois().collect()
        }
    }

    /// Whether `mois` belongs to the period and is not partial.
    pub(super) fn est_complet(&self, mois: i32) -> bool {
        !self.partiels.contains(&mois)
    }

    /// The last `n` complete months, in order; `None` where there are fewer, or a gap between them.
    pub(super) fn derniers(&self, n: usize) -> Option<&[i32]> {
        let derniers = &self.complets[self.complets.len().checked_sub(n)?..];
        let se_suivent = derniers.windows(2).all(|pair| pair[1] - pair[0] == 1);
        se_suivent.then_some(derniers)
    }
}

/// The first and last day of `jours` as dates.
///
/// # Errors
/// Where a day is outside the years 0 to 9999, or they are not in order.
pub(super) fn dates(ville: &str, jours: Jours) -> Result<(NaiveDate, NaiveDate), ConcludeError> {
    let date = |day: i32| {
        day.checked_add(EPOCH)
            .and_then(NaiveDate::from_num_days_from_ce_opt)
            .filter(|date| (0..=9999).contains(&date.year()))
            .ok_or_else(|| {
                ConcludeError(format!(
                    "partial of city {ville:?}: day {day} since 1970: expected a year from 0 to 9999"
                ))
            })
    };
    let (premier, dernier) = (date(jours.premier)?, date(jours.dernier)?);
    if premier > dernier {
        return Err(ConcludeError(format!(
            "partial of city {ville:?}: first day {premier} is after last day {dernier}"
        )));
    }
    Ok((premier, dernier))
}

/// The month of a date, counted from January of year 0.
pub(super) fn month_of(date: NaiveDate) -> i32 {
    12 * date.year() + date.month0().cast_signed()
}

/// A month as `YYYY-MM`.
pub(super) fn label(mois: i32) -> String {
    format!("{:04}-{:02}", mois.div_euclid(12), mois.rem_euclid(12) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    fn calendar(first: &str, last: &str, villes: usize) -> Calendrier {
        let (first, last) = (day(first), day(last));
        let global = Serie::from_iter([(month_of(first), 1), (month_of(last), 1)]);
        Calendrier::new(Some((first, last)), &global, villes)
    }

    #[test]
    fn a_month_is_partial_where_the_data_do_not_reach_its_ends() {
        for (first, last, expected) in [
            ("2023-01-01", "2023-03-31", vec![]),
            ("2023-01-02", "2023-03-31", vec!["2023-01"]),
            ("2023-01-01", "2023-03-30", vec!["2023-03"]),
            ("2023-01-15", "2023-03-15", vec!["2023-01", "2023-03"]),
            ("2023-01-02", "2023-01-15", vec!["2023-01"]),
            ("2024-02-01", "2024-02-29", vec![]),
            ("2024-02-01", "2024-02-28", vec!["2024-02"]),
            ("0000-01-01", "0000-01-31", vec![]),
            ("9999-12-01", "9999-12-31", vec![]),
        ] {
            let partiels: Vec<String> = calendar(first, last, 1)
                .partiels
                .into_iter()
                .map(label)
                .collect();
            assert_eq!(partiels, expected, "{first} to {last}");
        }
    }

    #[test]
    fn a_period_of_centuries_holds_only_months_with_transactions() {
        let ten_years = calendar("2015-01-01", "2024-12-31", 1000);
        assert!(ten_years.sans_trous);
        assert_eq!(ten_years.mois.len(), 120);
        for (first, last, villes) in [
            ("0202-05-01", "2024-12-31", 1),
            ("2024-01-01", "9999-12-31", 1),
            ("1930-01-01", "2024-12-31", 1000),
        ] {
            let calendrier = calendar(first, last, villes);
            assert!(!calendrier.sans_trous, "{first} to {last}");
            assert_eq!(calendrier.mois.len(), 2);
            assert_eq!(calendrier.derniers(2), None, "a gap is no growth");
        }
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
