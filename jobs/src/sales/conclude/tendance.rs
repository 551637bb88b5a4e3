//! Trends: a line through the last three complete months, and where it leads.

use std::collections::BTreeMap;

use autoconnect_report::fixed::Fixed;

use super::base::{Base, Serie};
use super::euros;
use crate::sales::periode::label;
use crate::sales::report::{Prevision, Tendance};

/// `tendance`, of all cities together and of each: the least squares line through the CA `y0, y1, y2` of the last three
/// complete months at x = 0, 1, 2. With three such points the textbook formulas become
///
/// * `pente` = `(y2 - y0) / 2`
/// * `ordonnee` = mean - `pente` = `(5 y0 + 2 y1 - y2) / 6`
/// * `prevision` = the line at x = 3 = `(4 y2 + y1 - 2 y0) / 3`; below zero where the line is
/// * `r2` = `1 - residual / total sum of squares` = `3 b^2 / 4 (a^2 - a b + b^2)` with `a = y1 - y0`, `b = y2 - y0`;
///   `null` where the three are equal: there is nothing to explain
///
/// each an exact quotient, rounded once. The month at x = 3 is after the period, or it is its last month, of which the
/// data show only a part (`en_cours`): no complete month has a forecast beside its figure. Empty where there are no three complete months that follow one another.
///
/// Source: ordinary least squares (Legendre, 1805), on the brief's "tendance sur trois mois".
pub(super) fn tendance(base: &Base) -> BTreeMap<String, Tendance> {
    let Some(&[m0, m1, m2]) = base.calendrier.derniers(3) else {
        return BTreeMap::new();
    };
    let en_cours = base.calendrier.est_partiel(m2 + 1);
    base.global_et_par_ville(|serie| line(serie, [m0, m1, m2], en_cours))
}

fn line(serie: &Serie, mois: [i32; 3], en_cours: bool) -> Tendance {
    let [y0, y1, y2] = mois.map(|m| serie.ca(m));
    let (a, b) = (y1 - y0, y2 - y0);
    let amount = |sixths: i128| Fixed::ratio(sixths, 6 * 100).unwrap_or_default();
    Tendance {
        mois: mois.map(label),
        ca: [y0, y1, y2].map(euros),
        pente: amount(3 * b),
        ordonnee: amount(5 * y0 + 2 * y1 - y2),
        r2: Fixed::ratio(3 * b * b, 4 * (a * a - a * b + b * b)),
        prevision: Prevision {
            mois: label(mois[2] + 1),
            ca: amount(2 * (4 * y2 + y1 - 2 * y0)),
            en_cours,
        },
    }
}
