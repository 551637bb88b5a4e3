//! What the page and the text show beyond the tables: totals over cities, best months, key sentences.

use std::collections::BTreeMap;

use crate::sales::Report;
use crate::sales::partial::{ParType, Somme};
use crate::sales::report::{CaMois, GLOBAL, Periode, Saison};
use autoconnect_report::fixed::{Euros, Fixed, Percent};
use autoconnect_report::lang::Lang;
use autoconnect_report::name::cut;
use autoconnect_report::number;

/// Why there is no trend.
pub(super) fn no_trend(lang: Lang) -> &'static str {
    match lang {
        Lang::Fr => "Il faut trois mois complets qui se suivent\u{a0}: pas de tendance.",
        Lang::En => "It takes three complete months in a row: no trend.",
    }
}

/// `a + b`, saturating.
pub(super) fn add<const D: u32>(a: Fixed<D>, b: Fixed<D>) -> Fixed<D> {
    Fixed(a.0.saturating_add(b.0))
}

/// `100 x part / whole`.
pub(super) fn share(part: i64, whole: i64) -> Option<Percent> {
    Percent::ratio(i128::from(part) * 100, whole.into())
}

/// Transactions and CA of all cities, by type.
pub(super) fn totals(report: &Report) -> ParType<Somme> {
    let mut totals = ParType::<Somme>::default();
    for parts in report.repartition.values() {
        for (total, part) in [
            (&mut totals.vente, parts.vente),
            (&mut totals.location, parts.location),
        ] {
            total.nombre = total.nombre.saturating_add(part.nombre);
            total.ca = total.ca.saturating_add(part.ca.0);
        }
    }
    totals
}

/// CA of all cities by month.
pub(super) fn monthly(report: &Report) -> BTreeMap<&str, CaMois> {
    let mut months: BTreeMap<&str, CaMois> = BTreeMap::new();
    for (mois, ca) in report.ca_mensuel.values().flatten() {
        let total = months.entry(mois).or_default();
        total.vente = add(total.vente, ca.vente);
        total.location = add(total.location, ca.location);
        total.total = add(total.total, ca.total);
    }
    months
}

/// The key that stands for the whole report: [`GLOBAL`], or the only city of a part that was made by [`Report::filtered`].
pub(super) fn whole(report: &Report) -> &str {
    match report.villes.as_slice() {
        [ville] if !report.saisonnalite.contains_key(GLOBAL) => ville,
        _ => GLOBAL,
    }
}

/// The [`whole`], then each city, best first.
pub(super) fn whole_and_each(report: &Report) -> impl Iterator<Item = &str> {
    let whole = whole(report);
    let villes = report.comparatif.iter().map(|city| city.ville.as_str());
    std::iter::once(whole).chain(villes.filter(move |ville| *ville != whole))
}

/// The growth of the last complete month over the one before, of all cities.
pub(super) fn last_variation(report: &Report) -> Option<(&str, Percent)> {
    let (mois, variation) = report
        .saisonnalite
        .get(whole(report))?
        .variations
        .last_key_value()?;
    Some((mois, (*variation)?))
}

/// The calendar months with the largest and the smallest index, from 1.
pub(super) fn extremes(saison: &Saison) -> Option<((usize, Fixed<2>), (usize, Fixed<2>))> {
    let known = || {
        (1..)
            .zip(saison.indices.values())
            .filter_map(|(month, index)| Some((month, (*index)?)))
    };
    let high = known().max_by_key(|&(month, index)| (index, std::cmp::Reverse(month)))?;
    let low = known().min_by_key(|&(month, index)| (index, month))?;
    (high.1 > low.1).then_some((high, low))
}

/// The period in words.
pub(super) fn period(report: &Report, lang: Lang) -> String {
    let periode = &report.periode;
    let (Some(debut), Some(fin)) = (periode.debut, periode.fin) else {
        return match lang {
            Lang::Fr => "aucune transaction".to_owned(),
            Lang::En => "no transaction".to_owned(),
        };
    };
    let (debut, fin) = (number::date(debut, lang), number::date(fin, lang));
    let n = number::count(periode.mois.len() as u64, lang);
    match lang {
        Lang::Fr => format!("du {debut} au {fin} ({n} mois)"),
        Lang::En if periode.mois.len() == 1 => format!("{debut} to {fin} (1 month)"),
        Lang::En => format!("{debut} to {fin} ({n} months)"),
    }
}

/// What a reader in a hurry should know, in a few sentences.
pub(super) fn highlights(report: &Report, lang: Lang) -> Vec<String> {
    let sentences = [leader, best_month, mix, season, outlook, partial_months];
    sentences
        .iter()
        .filter_map(|sentence| sentence(report, lang))
        .collect()
}

fn leader(report: &Report, lang: Lang) -> Option<String> {
    let first = report.comparatif.first().filter(|first| first.ca.0 > 0)?;
    let (ville, ca) = (cut(&first.ville, 60), number::euros_entiers(first.ca, lang));
    let part = number::percent(first.part, lang);
    let rang = first.rang;
    if rang > 1 {
        return Some(match lang {
            Lang::Fr => format!(
                "{ville} est au rang {rang}\u{a0}: {ca} de CA, soit {part} de celui de toutes les villes."
            ),
            Lang::En => {
                format!(
                    "{ville} is number {rang} with {ca} of revenue, {part} of that of all cities."
                )
            }
        });
    }
    Some(match lang {
        Lang::Fr => format!("{ville} est en tête\u{a0}: {ca} de CA, soit {part} du total."),
        Lang::En => format!("{ville} leads with {ca} of revenue, {part} of the total."),
    })
}

fn best_month(report: &Report, lang: Lang) -> Option<String> {
    let months = monthly(report);
    let (mois, ca) = months
        .iter()
        .filter(|(mois, _)| !is_isolated(&report.periode, mois))
        .max_by_key(|(mois, ca)| (ca.total, std::cmp::Reverse(*mois)))
        .filter(|(_, ca)| ca.total.0 > 0)?;
    let (mois, ca) = (
        number::mois(mois, lang),
        number::euros_entiers(ca.total, lang),
    );
    Some(match lang {
        Lang::Fr => format!("Le meilleur mois est {mois}, avec {ca}."),
        Lang::En => format!("The best month is {mois}, with {ca}."),
    })
}

fn mix(report: &Report, lang: Lang) -> Option<String> {
    let totals = totals(report);
    let all = totals.vente.nombre.saturating_add(totals.location.nombre);
    let nombre = Percent::ratio(100 * i128::from(totals.vente.nombre), all.into())?;
    let ca = share(
        totals.vente.ca,
        totals.vente.ca.saturating_add(totals.location.ca),
    )?;
    let (nombre, ca) = (number::percent(nombre, lang), number::percent(ca, lang));
    Some(match lang {
        Lang::Fr => format!("Les ventes font {nombre} des transactions et {ca} du CA."),
        Lang::En => format!("Sales make {nombre} of the transactions and {ca} of the revenue."),
    })
}

fn season(report: &Report, lang: Lang) -> Option<String> {
    let (high, low) = extremes(report.saisonnalite.get(whole(report))?)?;
    let name = |month| number::mois_nom(month, lang);
    let index = |index| number::fixed(index, lang);
    let (a, b, x, y) = (name(high.0), name(low.0), index(high.1), index(low.1));
    Some(match lang {
        Lang::Fr => {
            format!("La saison culmine en {a} (indice {x}) et le creux est en {b} (indice {y}).")
        }
        Lang::En => {
            format!("The season peaks in {a} (index {x}) and is lowest in {b} (index {y}).")
        }
    })
}

fn outlook(report: &Report, lang: Lang) -> Option<String> {
    let tendance = report.tendance.get(whole(report))?;
    let pente = signed_euros(tendance.pente, lang);
    let mois = number::mois(&tendance.prevision.mois, lang);
    let mois = running(&mois, tendance.prevision.en_cours, lang);
    let ca = number::euros(tendance.prevision.ca, lang);
    Some(match lang {
        Lang::Fr => format!(
            "Tendance des trois derniers mois complets\u{a0}: {pente} par mois\u{a0}; prévision pour {mois}\u{a0}: {ca}."
        ),
        Lang::En => format!(
            "Trend of the last three complete months: {pente} a month; forecast for {mois}: {ca}."
        ),
    })
}

fn partial_months(report: &Report, lang: Lang) -> Option<String> {
    let partiels = &report.periode.mois_partiels;
    let names: Vec<String> = partiels.iter().map(|m| number::mois(m, lang)).collect();
    let names = names.join(if lang == Lang::Fr { " et " } else { " and " });
    Some(match (partiels.len(), lang) {
        (0, _) => return None,
        (1, Lang::Fr) => {
            format!("Mois incomplet, tenu hors des tendances et des indices\u{a0}: {names}.")
        }
        (_, Lang::Fr) => {
            format!("Mois incomplets, tenus hors des tendances et des indices\u{a0}: {names}.")
        }
        (1, Lang::En) => format!("Partial month, left out of trends and indices: {names}."),
        (_, Lang::En) => format!("Partial months, left out of trends and indices: {names}."),
    })
}

/// A month, marked where it has only begun.
pub(super) fn running(mois: &str, en_cours: bool, lang: Lang) -> String {
    match (en_cours, lang) {
        (false, _) => mois.to_owned(),
        (true, Lang::Fr) => format!("{mois} (mois en cours)"),
        (true, Lang::En) => format!("{mois} (the month that runs)"),
    }
}

/// An amount with its sign.
fn signed_euros(value: Euros, lang: Lang) -> String {
    let sign = if value.0 > 0 { "+" } else { "" };
    format!("{sign}{}", number::euros(value, lang))
}

/// Whether the data do not cover the whole month.
pub(super) fn is_partial(periode: &Periode, mois: &str) -> bool {
    periode.mois_partiels.iter().any(|partial| partial == mois)
}

/// Whether a month is far from all others, with hardly a row.
pub(super) fn is_isolated(periode: &Periode, mois: &str) -> bool {
    periode.isoles.iter().any(|isole| isole.mois == mois)
}
