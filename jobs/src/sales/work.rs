//! The act `work` of `sales`: a chunk of one city becomes sums by month and by model.

use std::collections::BTreeMap;

use arrow_array::Array;
use autoconnect_common::Chunk;
use autoconnect_common::kind::WorkError;
use chrono::{Datelike, NaiveDate};

use super::chunk::{self, Colonnes};
use super::columns::Column;
use super::partial::{Jours, Marge, ParType, Partial, Somme, Ville};

/// Days that a table from day to month may span; chunks of a longer period look each date up in the calendar.
const TABLE_DAYS: i64 = 1 << 15;

/// See [`autoconnect_common::JobKind::work`].
///
/// # Errors
/// As there.
pub fn work(chunk: &Chunk) -> Result<Partial, WorkError> {
    let colonnes = chunk::decode(&chunk.body)
        .map_err(|what| WorkError(format!("chunk {} of job {}: {what}", chunk.seq, chunk.job)))?;
    if colonnes.prix.len() != chunk.rows as usize {
        let what = format!(
            "{} rows, its header says {}",
            colonnes.prix.len(),
            chunk.rows
        );
        return Err(WorkError(format!(
            "chunk {} of job {}: {what}",
            chunk.seq, chunk.job
        )));
    }
    let ville = sum_up(&colonnes).ok_or_else(|| {
        WorkError(format!(
            "chunk {} of job {}: a date outside years 1 to 9999",
            chunk.seq, chunk.job
        ))
    })?;
    Ok(Partial {
        villes: ville
            .map(|ville| (chunk.key.clone(), ville))
            .into_iter()
            .collect(),
    })
}

/// The sums of all rows; `Some(None)` without rows, `None` for a date outside the calendar.
fn sum_up(colonnes: &Colonnes) -> Option<Option<Ville>> {
    let (dates, durees, prix) = (
        colonnes.dates.values(),
        colonnes.durees.values(),
        colonnes.prix.values(),
    );
    let (Some(&premier), Some(&dernier)) = (dates.iter().min(), dates.iter().max()) else {
        return Some(None);
    };
    let calendar = Calendar::new(premier, dernier)?;
    let mut mois = vec![[Somme::default(); 2]; calendar.months()];
    let mut modeles = vec![[Somme::default(); 2]; colonnes.modeles.len()];
    let mut durations = vec![0_u64; colonnes.modeles.len()];
    let mut valeur_contrats = 0_i64;
    for (((&jour, &modele), &prix), &duree) in dates
        .iter()
        .zip(&colonnes.modele_keys)
        .zip(prix)
        .zip(durees)
    {
        let (kind, modele) = (usize::from(duree > 0), modele as usize);
        for sum in [
            &mut mois[calendar.month(jour)][kind],
            &mut modeles[modele][kind],
        ] {
            sum.nombre += 1;
            sum.ca += i64::from(prix);
        }
        durations[modele] += u64::from(duree);
        valeur_contrats += i64::from(prix) * i64::from(duree);
    }
    let by_type = |[vente, location]: [Somme; 2]| ParType { vente, location };
    let names = || {
        colonnes
            .modeles
            .iter()
            .map(|name| name.unwrap_or_default().to_owned())
    };
    Some(Some(Ville {
        jours: Some(Jours { premier, dernier }),
        mois: (calendar.first_month..)
            .zip(mois)
            .filter(|(_, sums)| sums.iter().any(|sum| sum.nombre > 0))
            .map(|(month, sums)| (month, by_type(sums)))
            .collect(),
        modeles: names()
            .zip(modeles.into_iter().map(by_type))
            .collect::<BTreeMap<_, _>>(),
        durees: names()
            .zip(durations)
            .filter(|&(_, months)| months > 0)
            .collect(),
        valeur_contrats,
        marges: margins(colonnes),
    }))
}

fn margins(colonnes: &Colonnes) -> ParType<Marge> {
    let mut marges = [Marge::default(); 2];
    let couts = colonnes.amounts(Column::Cout);
    for (row, cout) in couts.into_iter().flatten().enumerate() {
        if let Some(cout) = cout {
            let marge = &mut marges[usize::from(colonnes.durees.value(row) > 0)];
            marge.nombre += 1;
            marge.ca += i64::from(colonnes.prix.value(row));
            marge.cout += i64::from(cout);
        }
    }
    let [vente, location] = marges;
    ParType { vente, location }
}

/// The month of each day between two days.
struct Calendar {
    first_day: i32,
    first_month: i32,
    last_month: i32,
    /// By day since `first_day`, the month since `first_month`; empty where the period is too long for a table.
    table: Vec<u16>,
}

/// `12 * year + month - 1` of a day; `None` outside years 1 to 9999.
fn month_of(day: i32) -> Option<i32> {
    let date = NaiveDate::from_epoch_days(day)?;
    (1..=9999)
        .contains(&date.year())
        .then(|| 12 * date.year() + date.month0() as i32)
}

impl Calendar {
    fn new(first_day: i32, last_day: i32) -> Option<Self> {
        let (first_month, last_month) = (month_of(first_day)?, month_of(last_day)?);
        let mut table = Vec::new();
        if i64::from(last_day) - i64::from(first_day) < TABLE_DAYS {
            let first = NaiveDate::from_epoch_days(first_day)?;
            let mut month = 0;
            for date in first.iter_days().take((last_day - first_day) as usize + 1) {
                month += u16::from(date.day() == 1 && date != first);
                table.push(month);
            }
        }
        Some(Self {
            first_day,
            first_month,
            last_month,
            table,
        })
    }

    /// How many months there are.
    fn months(&self) -> usize {
        (self.last_month - self.first_month) as usize + 1
    }

    /// The month of a day of the period, from 0.
    #[inline]
    fn month(&self, day: i32) -> usize {
        match self.table.get((day - self.first_day) as usize) {
            Some(&month) => usize::from(month),
            None => (month_of(day).unwrap_or(self.first_month) - self.first_month) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_and_the_calendar_agree_on_every_day() {
        let (first, last) = (-400, 30_000);
        let table = Calendar::new(first, last).expect("in range");
        let calendar = Calendar {
            table: Vec::new(),
            ..Calendar::new(first, last).expect("in range")
        };
        assert!(!table.table.is_empty());
        assert!((first..=last).all(|day| table.month(day) == calendar.month(day)));
        assert_eq!(table.month(last) + 1, table.months());
    }

    #[test]
    fn a_day_outside_the_calendar_is_refused() {
        assert!(Calendar::new(i32::MIN, 0).is_none());
        assert!(Calendar::new(0, i32::MAX).is_none());
        assert!(Calendar::new(-719_162, 2_932_896).is_some());
    }
}
