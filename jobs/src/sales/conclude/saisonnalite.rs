//! Seasonality: how each month compares with the one before, and each calendar month with an average one.

use std::collections::BTreeMap;

use autoconnect_report::fixed::{Fixed, Percent};

use super::base::{Base, Serie};
use super::calendar::Calendrier;
use super::growth;
use crate::sales::mois::Mois;
use crate::sales::report::Saison;

/// `saisonnalite`, of all cities together and of each.
///
/// * `variations` = `100 x (ca - before) / before`, of each complete month and the month before it; `null` where that
///   one is partial, outside the period, or without CA. Partial months are left out.
/// * `indices` = `100 x (mean CA of a calendar month / mean CA of a month)`, over the complete months: the seasonal
///   index by simple averages; `null` for a calendar month that never is complete.
///
/// Source: the brief's "saisonnalité"; the method of simple averages, as in statistics textbooks.
pub(super) fn saisonnalite(base: &Base) -> BTreeMap<String, Saison> {
    let counts = calendar_months(&base.calendrier);
    base.global_et_par_ville(|serie| Saison {
        variations: variations(serie, &base.calendrier),
        indices: indices(serie, &base.calendrier, &counts),
    })
}

fn variations(serie: &Serie, calendrier: &Calendrier) -> BTreeMap<Mois, Option<Percent>> {
    let before = |mois: i32| calendrier.est_complet(mois - 1).then(|| serie.ca(mois - 1));
    calendrier
        .mois_de(serie)
        .into_iter()
        .filter(|&mois| calendrier.est_complet(mois))
        .filter_map(|mois| {
            let variation = before(mois).and_then(|before| growth(serie.ca(mois), before));
            Some((Mois::of(mois)?, variation))
        })
        .collect()
}

/// How many complete months there are of each calendar month.
fn calendar_months(calendrier: &Calendrier) -> [i128; 12] {
    let mut counts = [0; 12];
    for &mois in &calendrier.complets {
        counts[index(mois)] += 1;
    }
    counts
}

fn indices(
    serie: &Serie,
    calendrier: &Calendrier,
    counts: &[i128; 12],
) -> BTreeMap<Mois, Option<Fixed<2>>> {
    let mut sums = [0; 12];
    for (mois, ca) in serie
        .iter()
        .filter(|(mois, _)| calendrier.est_complet(*mois))
    {
        sums[index(mois)] += ca;
    }
    let (total, months): (i128, i128) = (sums.iter().sum(), counts.iter().sum());
    (1..)
        .zip(sums.into_iter().zip(counts))
        .filter_map(|(number, (sum, count))| {
            // (sum / count) / (total / months) x 100
            let index = Fixed::ratio(100 * sum * months, count * total);
            Some((Mois::of_year(number)?, index))
        })
        .collect()
}

/// The calendar month, from 0.
fn index(mois: i32) -> usize {
    usize::try_from(mois.rem_euclid(12)).unwrap_or(0)
}
