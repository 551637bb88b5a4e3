//! How each city's transactions divide into sales and rentals.

use std::collections::BTreeMap;

use super::base::{Base, Ville};
use super::{euros, percent};
use crate::sales::partial::{ParType, Somme};
use crate::sales::report::Part;

/// `repartition`: transactions of a type, their share `100 x nombre / transactions of the city`, and their CA.
///
/// Source: the brief's "répartition vente / location", a share of the number of transactions, not of the CA.
pub(super) fn repartition(base: &Base) -> BTreeMap<String, ParType<Part>> {
    base.par_ville(|ville| ParType {
        vente: part(&ville.total.vente, ville),
        location: part(&ville.total.location, ville),
    })
}

fn part(somme: &Somme, ville: &Ville) -> Part {
    Part {
        nombre: somme.nombre,
        pourcentage: percent(somme.nombre.into(), ville.total.transactions()).unwrap_or_default(),
        ca: euros(somme.ca.into()),
    }
}
