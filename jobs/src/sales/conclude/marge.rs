//! Margins: computed where costs are known, assumed where they are not.

use std::collections::BTreeMap;

use autoconnect_report::fixed::{Euros, Fixed, Percent};

use super::base::Base;
use super::{euros, mean, percent};
use crate::sales::partial::{self, ParType, Somme};
use crate::sales::report::Marge;
use crate::sales::request::Margin;

/// `marge`, of each city and type.
///
/// Where rows of the city and type have a `cout`, over these rows: `marge_totale` = CA - cost, `marge_moyenne` = that /
/// rows, `taux_moyen` = `100 x marge_totale / CA`. Where none has, over all its rows: `marge_totale` = CA x the rate of the
/// settings, and `hypothese` is true.
///
/// Source: the brief's "marge moyenne"; the margin rate is in percent of the selling price ("taux de marque").
pub(super) fn marge(base: &Base, rates: &Margin) -> BTreeMap<String, ParType<Marge>> {
    base.par_ville(|ville| {
        let (costs, total) = (&ville.sommes.marges, &ville.total);
        ParType {
            vente: measured(&costs.vente).unwrap_or_else(|| assumed(&total.vente, rates.vente)),
            location: measured(&costs.location)
                .unwrap_or_else(|| assumed(&total.location, rates.location)),
        }
    })
}

/// From costs; `None` where no row has one.
fn measured(costs: &partial::Marge) -> Option<Marge> {
    let marge = i128::from(costs.ca) - i128::from(costs.cout);
    (costs.nombre > 0).then(|| Marge {
        taux_moyen: percent(marge, costs.ca.into()),
        marge_moyenne: mean(marge, costs.nombre),
        marge_totale: euros(marge),
        hypothese: false,
        nombre: costs.nombre,
    })
}

/// From a rate.
fn assumed(somme: &Somme, taux: Percent) -> Marge {
    // a rate of 12 % is Fixed(1200): cents x 1200 / 10_000 are cents, / 100 more are euros
    let scaled = i128::from(somme.ca) * i128::from(taux.0);
    let unit = 10_000 * 100;
    let per = |count: i128| -> Option<Euros> { Fixed::ratio(scaled, count * unit) };
    Marge {
        taux_moyen: Some(taux),
        marge_moyenne: per(somme.nombre.into()),
        marge_totale: per(1).unwrap_or_default(),
        hypothese: true,
        nombre: somme.nombre,
    }
}
