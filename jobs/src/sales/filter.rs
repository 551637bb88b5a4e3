//! Part of a report: one city, one month.

use std::collections::BTreeMap;

use super::Report;
use super::report::CaModele;
use super::ville;

impl Report {
    /// The city of that name: spelled as in the report, or else differing by case, accents or surrounding blanks only.
    pub fn ville(&self, name: &str) -> Option<&str> {
        let exactly = self.villes.iter().find(|ville| *ville == name);
        let folded = || {
            let key = ville::key(name);
            self.villes.iter().find(|ville| ville::key(ville) == key)
        };
        exactly.or_else(folded).map(String::as_str)
    }

    /// The part about this city, spelled as in the report, and this month; about all of them where absent.
    ///
    /// Of a city there is everything that the report says of it; `ca_total` and `ca_par_modele` are its own, its place
    /// among all cities (`rang`, `part`, `ecart_a_la_moyenne`) stays what it was, and nothing stands under
    /// [`GLOBAL`](super::report::GLOBAL). Of a month there are its CA (`ca_mensuel`), its change against the month before
    /// (`variations`) and its place in `periode.mois`. All else cannot be derived from a report and stays: of a city, what
    /// was read and rejected; of a month, everything that is a sum or a mean over the period.
    ///
    /// A city or month that is not in the report leaves nothing of the parts by city or month.
    #[must_use]
    pub fn filtered(&self, ville: Option<&str>, mois: Option<&str>) -> Self {
        let mut part = self.clone();
        if let Some(ville) = ville {
            part.keep_city(ville);
        }
        if let Some(mois) = mois {
            part.keep_month(mois);
        }
        part
    }

    fn keep_city(&mut self, ville: &str) {
        fn keep<T>(by_city: &mut BTreeMap<String, T>, ville: &str) {
            by_city.retain(|city, _| city == ville);
        }
        // every key by name: a key of the report that is forgotten here would show other cities
        let Self {
            schema: _,
            source: _,
            qualite: _,
            periode: _,
            ca_total,
            villes,
            modeles,
            ca_mensuel,
            repartition,
            comparatif,
            top_modeles,
            ca_par_modele,
            saisonnalite,
            rotation,
            valeur_contrats,
            marge,
            tendance,
        } = self;
        villes.retain(|city| city == ville);
        comparatif.retain(|city| city.ville == ville);
        *ca_total = comparatif
            .first()
            .map_or_else(Default::default, |city| city.ca);
        keep(ca_mensuel, ville);
        keep(repartition, ville);
        keep(top_modeles, ville);
        keep(saisonnalite, ville);
        keep(rotation, ville);
        keep(valeur_contrats, ville);
        keep(marge, ville);
        keep(tendance, ville);
        *ca_par_modele = std::mem::take(ca_par_modele)
            .into_iter()
            .filter_map(|(modele, ca)| {
                let total = *ca.villes.get(ville)?;
                let villes = BTreeMap::from([(ville.to_owned(), total)]);
                Some((modele, CaModele { total, villes }))
            })
            .collect();
        modeles.retain(|modele| ca_par_modele.contains_key(modele));
    }

    fn keep_month(&mut self, mois: &str) {
        for months in self.ca_mensuel.values_mut() {
            months.retain(|month, _| **month == *mois);
        }
        for saison in self.saisonnalite.values_mut() {
            saison.variations.retain(|month, _| **month == *mois);
        }
        self.periode.mois.retain(|month| month == mois);
        self.periode.mois_partiels.retain(|month| month == mois);
        self.periode.isoles.retain(|isole| isole.mois == mois);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sales::conclude;
    use crate::sales::report::GLOBAL;
    use crate::sales::sample;
    use autoconnect_report::fixed::Fixed;

    fn report() -> Report {
        let (facts, partial) = sample::sample(sample::Size {
            villes: 4,
            mois: 14,
            modeles: 6,
        });
        conclude::conclude(facts, partial, &[], &mut |_| {}).expect("a report")
    }

    #[test]
    fn nothing_asked_is_the_whole_report() {
        let report = report();
        assert_eq!(report.filtered(None, None), report);
    }

    #[test]
    fn a_city_keeps_all_that_is_said_of_it_and_nothing_of_others() {
        let report = report();
        for ville in &report.villes {
            let part = report.filtered(Some(ville), None);
            assert_eq!(part.villes, std::slice::from_ref(ville));
            let whole = report.comparatif.iter().find(|city| city.ville == *ville);
            assert_eq!(part.comparatif.first(), whole);
            assert_eq!(part.comparatif.len(), 1);
            assert_eq!(part.ca_mensuel[ville], report.ca_mensuel[ville]);
            assert_eq!(part.saisonnalite[ville], report.saisonnalite[ville]);
            assert_eq!(part.marge[ville], report.marge[ville]);
            let months = part.ca_mensuel[ville].values().map(|ca| ca.total.0);
            assert_eq!(part.ca_total.0, months.sum::<i64>());
            let models = part.ca_par_modele.values().map(|ca| ca.total.0);
            assert_eq!(part.ca_total.0, models.sum::<i64>());
            let json = serde_json::to_value(&part).expect("JSON");
            for other in report.villes.iter().map(String::as_str).chain([GLOBAL]) {
                let named = format!("{:?}", other);
                let said = json.to_string().contains(&named);
                assert_eq!(said, other == ville, "{other} in the part about {ville}");
            }
        }
    }

    #[test]
    fn a_month_keeps_its_ca_and_change_and_the_sums_of_the_period() {
        let report = report();
        let mois = &report.periode.mois[4];
        let part = report.filtered(None, Some(mois));
        assert_eq!(part.periode.mois, std::slice::from_ref(mois));
        for (ville, months) in &part.ca_mensuel {
            assert_eq!(months.len(), 1);
            assert_eq!(
                months[mois.as_str()],
                report.ca_mensuel[ville][mois.as_str()]
            );
        }
        let global = &part.saisonnalite[GLOBAL];
        assert_eq!(global.variations.len(), 1);
        assert_eq!(global.indices, report.saisonnalite[GLOBAL].indices);
        assert_eq!(part.comparatif, report.comparatif);
        assert_eq!(part.ca_total, report.ca_total);
        assert_eq!(part.tendance, report.tendance);
    }

    #[test]
    fn what_the_report_does_not_know_leaves_nothing() {
        let part = report().filtered(Some("Atlantis"), Some("1066-10"));
        assert!(part.villes.is_empty() && part.comparatif.is_empty() && part.modeles.is_empty());
        assert!(part.ca_mensuel.is_empty() && part.tendance.is_empty());
        assert_eq!(part.ca_total, Fixed(0));
    }

    #[test]
    fn a_city_is_found_by_any_of_its_spellings() {
        let report = Report {
            villes: vec!["Lyon".to_owned(), "Saint-Étienne".to_owned()],
            ..Report::default()
        };
        assert_eq!(report.ville("Lyon"), Some("Lyon"));
        assert_eq!(report.ville(" saint-etienne "), Some("Saint-Étienne"));
        assert_eq!(report.ville("Nice"), None);
        assert_eq!(report.ville(""), None);
    }
}
