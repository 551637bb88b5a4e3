//! The cities, ranked.

use std::cmp::Reverse;

use autoconnect_report::fixed::Percent;

use super::base::{Base, Serie, Ville};
use super::calendar::Calendrier;
use super::{euros, growth, mean, percent};
use crate::sales::report::Comparatif;

/// `comparatif`: the cities by CA, largest first, ties by name.
///
/// * `part` = `100 x ca / ca_total`; the usual share of a total.
/// * `panier_moyen_vente`, `loyer_moyen` = CA of the type / its transactions: arithmetic means.
/// * `croissance_mensuelle` = `100 x (last - before) / before`, of the last two complete months: the usual rate of
///   change; `croissance_trimestrielle` likewise, of the last three complete months and the three before them. `null`
///   with too few complete months, or where the months before have no CA.
/// * `ecart_a_la_moyenne` = `100 x (ca - m) / m`, where `m` is the mean CA of a city.
///
/// Source: the brief's "comparaison des performances entre villes".
pub(super) fn comparatif(base: &Base) -> Vec<Comparatif> {
    let mut villes: Vec<(&String, &Ville)> = base.villes.iter().collect();
    villes.sort_by_key(|(nom, ville)| (Reverse(ville.total.ca()), *nom));
    (1..)
        .zip(villes)
        .map(|(rang, (nom, ville))| entry(rang, nom, ville, base))
        .collect()
}

fn entry(rang: u32, nom: &str, ville: &Ville, base: &Base) -> Comparatif {
    let (vente, location) = (ville.total.vente, ville.total.location);
    let (ca, total) = (ville.total.ca(), base.total.ca());
    let villes = i128::try_from(base.villes.len()).unwrap_or(i128::MAX);
    Comparatif {
        rang,
        ville: nom.to_owned(),
        ca: euros(ca),
        part: percent(ca, total).unwrap_or_default(),
        transactions: vente.nombre.saturating_add(location.nombre),
        panier_moyen_vente: mean(vente.ca.into(), vente.nombre),
        loyer_moyen: mean(location.ca.into(), location.nombre),
        croissance_mensuelle: croissance(&ville.serie, &base.calendrier, 1),
        croissance_trimestrielle: croissance(&ville.serie, &base.calendrier, 3),
        // (ca - total/n) / (total/n) = (n x ca - total) / total
        ecart_a_la_moyenne: growth(ca * villes, total),
    }
}

/// The growth of the last `n` complete months over the `n` before them.
fn croissance(serie: &Serie, calendrier: &Calendrier, n: usize) -> Option<Percent> {
    let (avant, derniers) = calendrier.derniers(2 * n)?.split_at(n);
    growth(serie.somme(derniers), serie.somme(avant))
}
