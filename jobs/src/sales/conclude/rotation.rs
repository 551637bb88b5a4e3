//! How long cars are rented, and what the contracts are worth.

use std::collections::BTreeMap;

use autoconnect_report::fixed::{Euros, Fixed};

use super::base::{Base, Ville};
use super::euros;
use crate::sales::report::Rotation;

/// `rotation`: the rentals of each city.
///
/// * `duree_moyenne_mois` = sum of `duree_location_mois` / rentals, in all and for each model that was rented.
/// * `rotations_par_an` = `12 / duree_moyenne_mois`, of the exact mean: how often a car rented without a pause would
///   change hands in a year (inventory turnover: a period / the mean time in use).
///
/// Source: the brief's "durée moyenne de location" and "rotation".
pub(super) fn rotation(base: &Base) -> BTreeMap<String, Rotation> {
    base.par_ville(|ville| {
        let contrats = ville.total.location.nombre;
        let mois: i128 = ville
            .sommes
            .durees
            .values()
            .map(|&mois| i128::from(mois))
            .sum();
        Rotation {
            contrats,
            duree_moyenne_mois: Fixed::ratio(mois, contrats.into()),
            rotations_par_an: Fixed::ratio(12 * i128::from(contrats), mois),
            par_modele: par_modele(ville),
        }
    })
}

fn par_modele(ville: &Ville) -> BTreeMap<String, Fixed<2>> {
    let mean = |(modele, &mois): (&String, &u64)| {
        let contrats = ville.sommes.modeles.get(modele)?.location.nombre;
        let duree = Fixed::ratio(mois.into(), contrats.into())?;
        Some((modele.clone(), duree))
    };
    ville.sommes.durees.iter().filter_map(mean).collect()
}

/// `valeur_contrats`: the sum of `prix x duree_location_mois` of each city's rentals: what they are worth when every
/// contract runs to its end.
///
/// Source: the brief's "valeur des contrats de location".
pub(super) fn valeur_contrats(base: &Base) -> BTreeMap<String, Euros> {
    base.par_ville(|ville| euros(ville.sommes.valeur_contrats.into()))
}
