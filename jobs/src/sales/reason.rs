//! Why a row of transactions is refused, and what is odd about one that is not; each explained to people.
//!
//! The words are French, like the data.

use autoconnect_report::lang::Lang;
use autoconnect_tables::code::CodeSet;
use autoconnect_tables::{codes, reject};

codes! {
    /// The rules that a row may break, beside what breaks a row of any table.
    pub enum Rule {
        /// No id.
        IdVide = "id_vide",
        /// An earlier, otherwise valid row has the same id.
        IdDuplique = "id_duplique",
        /// Not a day of the calendar written `YYYY-MM-DD`.
        DateInvalide = "date_invalide",
        /// No city.
        VilleVide = "ville_vide",
        /// Neither `vente` nor `location`.
        TypeInconnu = "type_inconnu",
        /// No model.
        ModeleVide = "modele_vide",
        /// No price.
        PrixManquant = "prix_manquant",
        /// A price that is no plain number.
        PrixInvalide = "prix_invalide",
        /// A price with a minus sign.
        PrixNegatif = "prix_negatif",
        /// A price with more than two decimals, which are never rounded silently.
        PrixTropPrecis = "prix_trop_precis",
        /// A price over 10 million euros.
        PrixExcessif = "prix_excessif",
        /// A rental without a duration.
        DureeManquante = "duree_manquante",
        /// A rental whose duration is no whole number of months from 1 to 120.
        DureeInvalide = "duree_invalide",
        /// A city over 255 bytes.
        VilleTropLongue = "ville_trop_longue",
        /// A model over 255 bytes.
        ModeleTropLong = "modele_trop_long",
    }
}

codes! {
    /// What is odd about a row that is accepted all the same.
    pub enum Warning {
        /// A sale with a duration, which is ignored.
        VenteAvecDuree = "vente_avec_duree",
        /// A price of zero.
        PrixNul = "prix_nul",
        /// A rental over 48 months.
        LocationLongue = "location_longue",
        /// A day after the day of the job.
        DateFuture = "date_future",
        /// A day before 1970.
        DateAncienne = "date_ancienne",
        /// Control or bidirectional characters in the city or the model.
        CaracteresSpeciaux = "caracteres_speciaux",
        /// A cost that is no amount, which is ignored.
        CoutInvalide = "cout_invalide",
    }
}

/// Why a row is refused.
pub type Reason = reject::Reason<Rule>;

/// The first reason to refuse a row, and where it is.
pub type Refusal = reject::Refusal<Reason>;

/// What is odd about a row.
pub type Warnings = CodeSet<Warning>;

/// What a reason or warning means, in a few plain words; `None` for a word that is not known here.
pub fn explain(word: &str, lang: Lang) -> Option<&'static str> {
    let (fr, en) = both(word)?;
    Some(if lang == Lang::Fr { fr } else { en })
}

fn both(word: &str) -> Option<(&'static str, &'static str)> {
    Some(match word {
        "colonnes_manquantes" => (
            "moins de champs que de colonnes",
            "fewer fields than columns",
        ),
        "colonnes_en_trop" => ("plus de champs que de colonnes", "more fields than columns"),
        "id_vide" => ("pas d’identifiant", "no id"),
        "id_duplique" => ("identifiant déjà vu plus haut", "an id already seen above"),
        "date_invalide" => (
            "date absente du calendrier, ou pas au format AAAA-MM-JJ",
            "no such day, or not written YYYY-MM-DD",
        ),
        "ville_vide" => ("pas de ville", "no city"),
        "type_inconnu" => (
            "ni une vente ni une location",
            "neither a sale nor a rental",
        ),
        "modele_vide" => ("pas de modèle", "no model"),
        "prix_manquant" => ("pas de prix", "no price"),
        "prix_invalide" => ("prix qui n’est pas un nombre", "a price that is no number"),
        "prix_negatif" => ("prix négatif", "a price below zero"),
        "prix_trop_precis" => (
            "prix avec plus de deux décimales",
            "a price with more than two decimals",
        ),
        "prix_excessif" => (
            "prix de plus de 10 millions d’euros",
            "a price over 10 million euros",
        ),
        "duree_manquante" => ("location sans durée", "a rental without a duration"),
        "duree_invalide" => (
            "durée hors de 1 à 120 mois",
            "a duration outside 1 to 120 months",
        ),
        "encodage_invalide" => (
            "caractères illisibles dans l’encodage du fichier",
            "bytes that are no text in the file’s encoding",
        ),
        "guillemet_non_ferme" => (
            "guillemet ouvert et jamais fermé",
            "a quote that is never closed",
        ),
        "guillemet_mal_place" => (
            "guillemet au milieu d’un champ",
            "a quote in the middle of a field",
        ),
        "ligne_trop_longue" => ("ligne de plus de 1 Mio", "a row over 1 MiB"),
        "entete_repetee" => (
            "en-tête répété au milieu du fichier",
            "the header again, in the middle of the file",
        ),
        "ville_trop_longue" => (
            "nom de ville de plus de 255 octets",
            "a city name over 255 bytes",
        ),
        "modele_trop_long" => (
            "nom de modèle de plus de 255 octets",
            "a model name over 255 bytes",
        ),
        "vente_avec_duree" => (
            "vente avec une durée, ignorée",
            "a sale with a duration, which is ignored",
        ),
        "prix_nul" => ("prix de zéro euro", "a price of zero"),
        "location_longue" => ("location de plus de 48 mois", "a rental over 48 months"),
        "date_future" => (
            "date postérieure au jour du calcul",
            "a date after the day of the job",
        ),
        "mois_isole" => (
            "mois à plus d’un an de tous les autres, avec très peu de lignes\u{a0}: une année fausse",
            "a month over a year from all others, with hardly a row: a wrong year",
        ),
        "date_ancienne" => ("date antérieure à 1970", "a date before 1970"),
        "caracteres_speciaux" => (
            "caractères de contrôle dans la ville ou le modèle",
            "control characters in the city or the model",
        ),
        "cout_invalide" => (
            "coût illisible, ignoré",
            "a cost that is no amount, which is ignored",
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use autoconnect_tables::code::Code as _;

    use super::*;

    #[test]
    fn words_are_snake_case_and_unique() {
        let warnings = Warning::ALL.iter().map(|warning| warning.word());
        let mut seen = HashSet::new();
        for word in Reason::all().map(Reason::word).chain(warnings) {
            let snake = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
            assert!(word.bytes().all(snake), "{word}");
            assert!(seen.insert(word), "{word}");
        }
        assert_eq!(seen.len(), 22 + 7);
    }

    #[test]
    fn every_reason_and_warning_is_explained_in_both_languages() {
        let warnings = Warning::ALL.iter().map(|warning| warning.word());
        for word in Reason::all().map(Reason::word).chain(warnings) {
            for lang in [Lang::Fr, Lang::En] {
                assert!(
                    explain(word, lang).is_some_and(|said| !said.is_empty()),
                    "{word}"
                );
            }
        }
    }
}
