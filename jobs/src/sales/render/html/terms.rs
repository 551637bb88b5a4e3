//! The terms that a reader of the report may not know, and what they mean, in French and in English.

use super::view::View;

/// A term and what it means.
type Term = (&'static str, &'static str);

/// The terms, each in French and in English.
const TERMS: [(Term, Term); 7] = [
    (
        (
            "CA",
            "somme des prix\u{a0}; pour une location, le loyer mensuel tel qu’il est enregistré.",
        ),
        (
            "Revenue",
            "sum of the prices; for a rental, the monthly rent as recorded.",
        ),
    ),
    (
        (
            "Mois incomplet",
            "premier ou dernier mois que les données ne couvrent pas en entier, dimanches et jours fériés mis à part\u{a0}; il reste hors des variations, des indices et des tendances.",
        ),
        (
            "Partial month",
            "a first or last month that the data do not fully cover, Sundays and public holidays aside; it stays out of changes, indices and trends.",
        ),
    ),
    (
        (
            "Indice",
            "CA moyen d’un mois de l’année rapporté à celui d’un mois moyen\u{a0}; 100 est la moyenne.",
        ),
        (
            "Index",
            "mean revenue of a calendar month against that of an average month; 100 is the average.",
        ),
    ),
    (
        (
            "Croissance",
            "dernier mois complet contre celui d’avant\u{a0}; trois derniers mois complets contre les trois d’avant.",
        ),
        (
            "Growth",
            "the last complete month against the one before; the last three complete months against the three before.",
        ),
    ),
    (
        (
            "Rotations par an",
            "douze mois divisés par la durée moyenne d’une location.",
        ),
        (
            "Turns a year",
            "twelve months divided by the average length of a rental.",
        ),
    ),
    (
        (
            "Valeur des contrats",
            "somme des loyers mensuels multipliés par leur durée.",
        ),
        (
            "Contract value",
            "sum of the monthly rents times their length.",
        ),
    ),
    (
        (
            "Tendance",
            "droite des moindres carrés sur les trois derniers mois complets, prolongée d’un mois\u{a0}; R² dit comment elle leur va.",
        ),
        (
            "Trend",
            "least squares line through the last three complete months, extended by one; R² says how well it fits them.",
        ),
    ),
];

/// The terms in the language of the page.
pub(super) fn terms(view: &View<'_>) -> Vec<Term> {
    TERMS.map(|(fr, en)| view.say(fr, en)).into()
}
