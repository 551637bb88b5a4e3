//! Why a row of transactions is refused, and what is odd about one that is not.
//!
//! The words are French, like the data.

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
}
