//! The input of every calculation: the partial, checked against the facts, with cities and models under their shown names.

use std::collections::{BTreeMap, BTreeSet};

use autoconnect_common::Seq;
use autoconnect_common::kind::{ConcludeError, Merge, Overflow};
use autoconnect_tables::fold::Spellings;
use chrono::NaiveDate;

use super::calendar::{self, Calendrier, Quand};
use super::modeles::Modeles;
use crate::sales::partial::{ParType, Somme};
use crate::sales::periode::{Suite, month_of};
use crate::sales::report::GLOBAL;
use crate::sales::{Facts, Partial, partial};

/// The largest CA of all transactions, in cents: a quarter of what [`Euros`](autoconnect_report::fixed::Euros) holds, so that no
/// sum, slope or forecast leaves it.
const LARGEST: i128 = (i64::MAX / 4) as i128;

/// The checked input of all calculations.
#[derive(Debug)]
pub(super) struct Base {
    /// The months.
    pub(super) calendrier: Calendrier,
    /// The cities by name.
    pub(super) villes: BTreeMap<String, Ville>,
    /// The cities in several spellings, by name.
    pub(super) villes_regroupees: Spellings,
    /// The models in several spellings, by name.
    pub(super) modeles_regroupes: Spellings,
    /// Transactions and CA of all cities.
    pub(super) total: ParType<Somme>,
    /// CA of all cities by month.
    pub(super) global: Serie,
}

/// One city.
#[derive(Debug)]
pub(super) struct Ville {
    /// Its sums in the partial.
    pub(super) sommes: partial::Ville,
    /// Transactions and CA.
    pub(super) total: ParType<Somme>,
    /// CA by month.
    pub(super) serie: Serie,
}

/// CA by month, in cents; a month that is absent has none.
#[derive(Debug, Default)]
pub(super) struct Serie(BTreeMap<i32, i128>);

impl Serie {
    /// The CA of a month, in cents.
    pub(super) fn ca(&self, mois: i32) -> i128 {
        self.0.get(&mois).copied().unwrap_or(0)
    }

    /// The CA of some months, in cents.
    pub(super) fn somme(&self, mois: &[i32]) -> i128 {
        mois.iter().map(|&m| self.ca(m)).sum()
    }

    /// The months with transactions, in order.
    pub(super) fn mois(&self) -> impl Iterator<Item = i32> {
        self.0.keys().copied()
    }

    /// The months with transactions and their CA in cents, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, i128)> {
        self.0.iter().map(|(&mois, &ca)| (mois, ca))
    }
}

impl FromIterator<(i32, i128)> for Serie {
    /// A month that comes several times is summed.
    fn from_iter<I: IntoIterator<Item = (i32, i128)>>(iter: I) -> Self {
        let mut mois = BTreeMap::new();
        for (m, ca) in iter {
            *mois.entry(m).or_default() += ca;
        }
        Self(mois)
    }
}

impl ParType<Somme> {
    /// Transactions of both types.
    pub(super) fn transactions(&self) -> i128 {
        i128::from(self.vente.nombre) + i128::from(self.location.nombre)
    }

    /// CA of both types, in cents.
    pub(super) fn ca(&self) -> i128 {
        i128::from(self.vente.ca) + i128::from(self.location.ca)
    }
}

impl Base {
    /// Checks `partial` against `facts`. A city that `facts` knows and `partial` does not is kept, at zero, where
    /// chunks are missing: they may have been all it had.
    ///
    /// # Errors
    /// Where the two cannot both be right.
    pub(super) fn new(
        facts: &Facts,
        mut partial: Partial,
        missing: &[Seq],
    ) -> Result<Self, ConcludeError> {
        if let Some(key) = partial
            .villes
            .keys()
            .find(|key| !facts.villes.contains_key(*key))
        {
            return Err(ConcludeError(format!(
                "partial of city {key:?}: the facts name no such city"
            )));
        }
        let modeles = Modeles::new(partial.villes.values());
        let mut regroupees = BTreeMap::new();
        let mut villes = BTreeMap::new();
        let mut total = ParType::default();
        let mut jours: Option<(NaiveDate, NaiveDate)> = None;
        for (key, nom) in noms(&facts.villes) {
            let sommes = partial.villes.remove(key).unwrap_or_default();
            if sommes.mois.is_empty() && missing.is_empty() {
                continue;
            }
            if let Some(counts) = facts.orthographes.listed.get(key) {
                regroupees.insert(nom.clone(), counts.clone());
            }
            let ville = Ville::new(key, modeles.regroup(sommes).map_err(too_large)?)?;
            total.merge(ville.total).map_err(too_large)?;
            jours = hull(jours, ville.jours(key)?);
            villes.insert(nom, ville);
        }
        check_rows(facts, &total, missing)?;
        if total.ca() > LARGEST {
            return Err(too_large(Overflow));
        }
        let global: Serie = villes
            .values()
            .flat_map(|ville: &Ville| ville.serie.iter())
            .collect();
        let suites = suites(facts, jours, missing)?;
        let calendrier = Calendrier::new(&Quand {
            suites: &suites,
            nombres: &nombres(&villes),
            demandee: facts.periode,
            villes: villes.len(),
        })?;
        Ok(Self {
            calendrier,
            villes,
            villes_regroupees: Spellings {
                listed: regroupees,
                others: facts.orthographes.others,
            },
            modeles_regroupes: modeles.spellings(),
            total,
            global,
        })
    }

    /// Transactions of all cities in a month.
    pub(super) fn nombre(&self, mois: i32) -> u64 {
        let sommes = self
            .villes
            .values()
            .filter_map(|ville| ville.sommes.mois.get(&mois));
        sommes
            .map(|somme| somme.vente.nombre + somme.location.nombre)
            .sum()
    }

    /// Transactions in isolated months.
    pub(super) fn isolated(&self) -> u64 {
        self.calendrier
            .isoles
            .iter()
            .map(|mois| self.nombre(*mois))
            .sum()
    }

    /// One value a city, by its name.
    pub(super) fn par_ville<T>(&self, value: impl Fn(&Ville) -> T) -> BTreeMap<String, T> {
        self.villes
            .iter()
            .map(|(nom, ville)| (nom.clone(), value(ville)))
            .collect()
    }

    /// One value for all cities together, under [`GLOBAL`], and one a city.
    pub(super) fn global_et_par_ville<T>(
        &self,
        value: impl Fn(&Serie) -> T,
    ) -> BTreeMap<String, T> {
        let mut values = self.par_ville(|ville| value(&ville.serie));
        values.insert(GLOBAL.to_owned(), value(&self.global));
        values
    }
}

impl Ville {
    fn new(key: &str, sommes: partial::Ville) -> Result<Self, ConcludeError> {
        let total = sum(sommes.mois.values())?;
        if sum(sommes.modeles.values())? != total {
            return Err(ConcludeError(format!(
                "partial of city {key:?}: its months and its models do not add up to the same sums"
            )));
        }
        let serie = sommes
            .mois
            .iter()
            .map(|(&mois, somme)| (mois, somme.ca()))
            .collect();
        Ok(Self {
            sommes,
            total,
            serie,
        })
    }

    fn jours(&self, key: &str) -> Result<Option<(NaiveDate, NaiveDate)>, ConcludeError> {
        let jours = self
            .sommes
            .jours
            .map(|jours| calendar::dates(&format!("partial of city {key:?}"), jours))
            .transpose()?;
        let ends = jours.map(|(a, b)| (month_of(a), month_of(b)));
        let mois = &self.sommes.mois;
        let months = mois
            .first_key_value()
            .zip(mois.last_key_value())
            .map(|(a, b)| (*a.0, *b.0));
        if ends != months {
            return Err(ConcludeError(format!(
                "partial of city {key:?}: its first and last day are not in its first and last month"
            )));
        }
        Ok(jours)
    }
}

/// The names cities are shown by, from their keys: a name that is taken (two keys of one name, or [`GLOBAL`]) is
/// followed by its key.
fn noms(villes: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    let mut taken: BTreeSet<String> = [GLOBAL.to_owned()].into();
    let mut noms = BTreeMap::new();
    for (key, nom) in villes {
        let mut nom = nom.clone();
        while !taken.insert(nom.clone()) {
            nom = format!("{nom} ({key})");
        }
        noms.insert(key.as_str(), nom);
    }
    noms
}

fn sum<'a>(
    sommes: impl Iterator<Item = &'a ParType<Somme>>,
) -> Result<ParType<Somme>, ConcludeError> {
    let mut total = ParType::default();
    for &somme in sommes {
        if somme.vente.ca < 0 || somme.location.ca < 0 {
            return Err(ConcludeError(
                "a partial has a CA below zero: expected none".to_owned(),
            ));
        }
        Merge::merge(&mut total, somme).map_err(too_large)?;
    }
    Ok(total)
}

fn too_large(_: Overflow) -> ConcludeError {
    ConcludeError("the CA of all transactions is larger than 23 million billion euros".to_owned())
}

/// The smallest period that holds both.
fn hull<T: Ord + Copy>(a: Option<(T, T)>, b: Option<(T, T)>) -> Option<(T, T)> {
    match (a, b) {
        (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
        (a, b) => a.or(b),
    }
}

/// Transactions of all cities by month.
fn nombres(villes: &BTreeMap<String, Ville>) -> BTreeMap<i32, u64> {
    let mut nombres: BTreeMap<i32, u64> = BTreeMap::new();
    for (mois, somme) in villes.values().flat_map(|ville| &ville.sommes.mois) {
        // the sum of all was checked
        *nombres.entry(*mois).or_default() += somme.vente.nombre + somme.location.nombre;
    }
    nombres
}

/// The runs of months in the facts; for facts without them (of an older producer), those of the days in the partial.
fn suites(
    facts: &Facts,
    jours: Option<(NaiveDate, NaiveDate)>,
    missing: &[Seq],
) -> Result<Vec<Suite>, ConcludeError> {
    let counted =
        jours.map(|(premier, dernier)| (premier.to_epoch_days(), dernier.to_epoch_days()));
    let (Some(first), Some(last)) = (facts.suites.first(), facts.suites.last()) else {
        let suite = |(premier, dernier)| Suite {
            premier,
            dernier,
            vide: 0,
        };
        return Ok(counted.map(suite).into_iter().collect());
    };
    if missing.is_empty() && counted != Some((first.premier, last.dernier)) {
        return Err(ConcludeError(
            "the first and last day of the partials are not those of the facts".to_owned(),
        ));
    }
    Ok(facts.suites.clone())
}

fn check_rows(facts: &Facts, total: &ParType<Somme>, missing: &[Seq]) -> Result<(), ConcludeError> {
    let counted = total.transactions();
    let accepted = i128::from(facts.acceptees) - i128::from(facts.hors_periode);
    if counted == accepted || (counted < accepted && !missing.is_empty()) {
        return Ok(());
    }
    Err(ConcludeError(format!(
        "{counted} transactions in the partials: expected the {accepted} rows that were accepted and belong to the period"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(villes: &[(&str, &str)]) -> Vec<String> {
        let villes = villes
            .iter()
            .map(|&(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        noms(&villes).into_values().collect()
    }

    #[test]
    fn a_name_that_is_taken_is_followed_by_its_key() {
        assert_eq!(
            names(&[("lyon", "Lyon"), ("paris", "Paris")]),
            ["Lyon", "Paris"]
        );
        assert_eq!(
            names(&[("lyon", "Lyon"), ("lyon-2", "Lyon")]),
            ["Lyon", "Lyon (lyon-2)"]
        );
        assert_eq!(names(&[("global", "global")]), ["global (global)"]);
        assert_eq!(
            names(&[("a", "A (b)"), ("b", "A"), ("c", "A (b)"), ("d", "A")]),
            ["A (b)", "A", "A (b) (c)", "A (d)"]
        );
    }
}
