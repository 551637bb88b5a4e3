//! CA: of all transactions, of each city by month, of each model by city.

use std::collections::BTreeMap;

use autoconnect_report::fixed::Euros;

use super::base::{Base, Ville};
use super::euros;
use crate::sales::mois::Mois;
use crate::sales::partial::{ParType, Somme};
use crate::sales::report::{CaModele, CaMois};

/// `ca_total`: the sum of `prix` of all transactions; of a rental, `prix` is one month's rent, as recorded.
///
/// Source: the brief's "chiffre d'affaires", exact in cents.
pub(super) fn total(base: &Base) -> Euros {
    euros(base.total.ca())
}

/// `ca_mensuel`: the sum of `prix` by city, month and type; every month of the period, zeros included, and the city's own
/// isolated months: the months of all cities add up to `ca_total`.
///
/// Source: the brief's "chiffre d'affaires mensuel par ville".
pub(super) fn mensuel(base: &Base) -> BTreeMap<String, BTreeMap<Mois, CaMois>> {
    let months = |ville: &Ville| {
        let isoles = base.calendrier.isoles.iter().copied();
        let isoles = isoles.filter(|mois| ville.sommes.mois.contains_key(mois));
        let period = base.calendrier.mois_de(&ville.serie);
        period
            .into_iter()
            .chain(isoles)
            .filter_map(|mois| Some((Mois::of(mois)?, ca_mois(ville.sommes.mois.get(&mois)))))
            .collect()
    };
    base.par_ville(months)
}

fn ca_mois(somme: Option<&ParType<Somme>>) -> CaMois {
    let somme = somme.copied().unwrap_or_default();
    CaMois {
        vente: euros(somme.vente.ca.into()),
        location: euros(somme.location.ca.into()),
        total: euros(somme.ca()),
    }
}

/// `ca_par_modele`: the sum of `prix` by model and city; cities that never had the model are absent.
///
/// Source: the brief's "chiffre d'affaires par modèle".
pub(super) fn par_modele(base: &Base) -> BTreeMap<String, CaModele> {
    let mut modeles: BTreeMap<String, CaModele> = BTreeMap::new();
    for (nom, ville) in &base.villes {
        for (modele, somme) in &ville.sommes.modeles {
            let ca = euros(somme.ca());
            let entry = modeles.entry(modele.clone()).or_default();
            entry.total = euros(i128::from(entry.total.0) + i128::from(ca.0));
            entry.villes.insert(nom.clone(), ca);
        }
    }
    modeles
}
