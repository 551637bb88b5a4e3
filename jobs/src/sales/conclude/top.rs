//! The best models of each city.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::base::{Base, Ville};
use super::euros;
use crate::sales::partial::{ParType, Somme};
use crate::sales::report::{Top, TopModele};

/// How many models a top holds.
const LONGUEUR: usize = 5;

/// `top_modeles`: the five models with most sales, most rentals, and most of both, in each city; ties by name. A model
/// that was never sold is not among the best sold, even where fewer than five were.
///
/// Source: the brief's "top 5 des modèles", of every row (not of each batch's own five).
pub(super) fn top_modeles(base: &Base) -> BTreeMap<String, Top> {
    base.par_ville(|ville| Top {
        vente: best(ville, |somme| (somme.vente.nombre, somme.vente.ca.into())),
        location: best(ville, |somme| {
            (somme.location.nombre, somme.location.ca.into())
        }),
        total: best(ville, |somme| {
            (
                somme.vente.nombre.saturating_add(somme.location.nombre),
                somme.ca(),
            )
        }),
    })
}

/// The best models by the number that `count` returns, with the CA it returns.
fn best(ville: &Ville, count: impl Fn(&ParType<Somme>) -> (u64, i128)) -> Vec<TopModele> {
    let mut modeles: Vec<(Reverse<u64>, &String, i128)> = ville
        .sommes
        .modeles
        .iter()
        .map(|(modele, somme)| (modele, count(somme)))
        .filter(|(_, (nombre, _))| *nombre > 0)
        .map(|(modele, (nombre, ca))| (Reverse(nombre), modele, ca))
        .collect();
    modeles.sort_unstable();
    modeles
        .into_iter()
        .take(LONGUEUR)
        .map(|(Reverse(nombre), modele, ca)| TopModele {
            modele: modele.clone(),
            nombre,
            ca: euros(ca),
        })
        .collect()
}
