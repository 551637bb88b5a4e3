//! The answers to reads, as pure functions of a report and a query.

use std::collections::BTreeMap;

use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::partial::ParType;
use autoconnect_jobs::sales::report::{Comparatif, Part, Saison};
use autoconnect_report::fixed::Euros;
use serde::{Serialize, Serializer};

/// A value for each city.
type ByCity<'r, T> = BTreeMap<&'r str, T>;

/// The report's spelling of the city `name`; `name` itself where there is no such city.
pub(super) fn named<'a>(report: &'a Report, name: &'a str) -> &'a str {
    report.ville(name).unwrap_or(name)
}

/// The values of one city, or of every city.
pub(super) fn by_city<'r, T>(
    report: &'r Report,
    all: &'r BTreeMap<String, T>,
    ville: Option<&'r str>,
) -> ByCity<'r, &'r T> {
    match ville.map(|name| named(report, name)) {
        Some(name) => all
            .get_key_value(name)
            .map(|(city, value)| (city.as_str(), value))
            .into_iter()
            .collect(),
        None => all
            .iter()
            .map(|(city, value)| (city.as_str(), value))
            .collect(),
    }
}

/// The CA by city and month; a city without the requested month is left out.
pub(super) fn ca_mensuel<'r>(
    report: &'r Report,
    ville: Option<&'r str>,
    mois: Option<&str>,
) -> ByCity<'r, BTreeMap<&'r str, Euros>> {
    let cities = by_city(report, &report.ca_mensuel, ville).into_iter();
    cities
        .map(|(city, months)| {
            let months = months
                .iter()
                .filter(|(month, _)| mois.is_none_or(|mois| mois == month.as_str()));
            (
                city,
                months
                    .map(|(month, ca)| (month.as_str(), ca.total))
                    .collect(),
            )
        })
        .filter(|(_, months): &(_, BTreeMap<_, _>)| mois.is_none() || !months.is_empty())
        .collect()
}

/// The value that `number` takes of sales and of rentals, for each city.
pub(super) fn each<'r, T>(
    parts: ByCity<'r, &'r ParType<Part>>,
    number: impl Fn(&Part) -> T,
) -> ByCity<'r, ParType<T>> {
    let both = |parts: &ParType<Part>| ParType {
        vente: number(&parts.vente),
        location: number(&parts.location),
    };
    parts
        .into_iter()
        .map(|(city, parts)| (city, both(parts)))
        .collect()
}

/// The best models of each city with their transactions, best first.
pub(super) fn top_modeles<'r>(
    report: &'r Report,
    ville: Option<&'r str>,
) -> ByCity<'r, InOrder<&'r str, u64>> {
    let cities = by_city(report, &report.top_modeles, ville).into_iter();
    cities
        .map(|(city, top)| {
            let models = top
                .total
                .iter()
                .map(|top| (top.modele.as_str(), top.nombre));
            (city, InOrder(models.collect()))
        })
        .collect()
}

/// The ranking, or a city's place in it.
pub(super) fn comparatif<'r>(report: &'r Report, ville: Option<&'r str>) -> Vec<&'r Comparatif> {
    let name = ville.map(|name| named(report, name));
    let places = report.comparatif.iter();
    places
        .filter(|place| name.is_none_or(|name| name == place.ville))
        .collect()
}

/// The seasonality by city. With a month: its change from the month before, and the index of its calendar month; a city
/// without either is left out.
pub(super) fn saisonnalite<'r>(
    report: &'r Report,
    ville: Option<&'r str>,
    mois: Option<&str>,
) -> ByCity<'r, Saison> {
    let cities = by_city(report, &report.saisonnalite, ville).into_iter();
    let of_month = |saison: &Saison| {
        let mut saison = saison.clone();
        if let Some(mois) = mois {
            saison.variations.retain(|month, _| month == mois);
            let known = report.periode.mois.iter().any(|month| month == mois);
            saison
                .indices
                .retain(|month, _| known && mois.ends_with(&format!("-{month}")));
        }
        saison
    };
    cities
        .map(|(city, saison)| (city, of_month(saison)))
        .filter(|(_, saison)| {
            mois.is_none() || !(saison.variations.is_empty() && saison.indices.is_empty())
        })
        .collect()
}

/// Pairs that are serialized as a JSON object in their own order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InOrder<K, V>(Vec<(K, V)>);

impl<K: Serialize, V: Serialize> Serialize for InOrder<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}
