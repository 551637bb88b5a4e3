//! Models that only rows with a fault have.

use super::world::MODELS;

/// A model that only rows with a fault have: its name, and its text in the file.
pub(super) struct OddModel {
    name: &'static str,
    pub(super) text: &'static str,
    /// The model that it is; an ordinary one, if the two names differ only in separators and invisible characters.
    of: &'static str,
}

const fn odd(name: &'static str, text: &'static str) -> OddModel {
    OddModel {
        name,
        text,
        of: name,
    }
}

const fn spelt(of: &'static str, name: &'static str, text: &'static str) -> OddModel {
    OddModel { name, text, of }
}

const QUOTED: [OddModel; 3] = [
    odd("BMW X5, \"M\" Sport", "\"BMW X5, \"\"M\"\" Sport\""),
    odd("Audi A4, série limitée", "\"Audi A4, série limitée\""),
    odd("\"GT\" Porsche", "\"\"\"GT\"\" Porsche\""),
];
const WITH_NEWLINE: [OddModel; 2] = [
    spelt(
        "Mercedes_Classe_C",
        "Mercedes\nClasse C",
        "\"Mercedes\nClasse C\"",
    ),
    odd("DS 7\n\n\"Rivoli\"", "\"DS 7\n\n\"\"Rivoli\"\"\""),
];
const SPECIAL: [OddModel; 3] = [
    spelt("Tesla_Model_3", "Tesla_\u{7}Model_3", "Tesla_\u{7}Model_3"),
    spelt("Audi_A4", "Audi_\u{202e}A4", "Audi_\u{202e}A4"),
    odd("Mini_\u{1b}[31mCooper", "Mini_\u{1b}[31mCooper"),
];
const FORMULAS: [OddModel; 4] = [
    odd("=cmd|'/C calc'!A0", "=cmd|'/C calc'!A0"),
    odd("@SUM(A1:A9)", "@SUM(A1:A9)"),
    odd("+33 4 72 00 00 00", "+33 4 72 00 00 00"),
    odd("-2+3", "-2+3"),
];
const MARKUP: [OddModel; 2] = [
    odd("<script>alert(1)</script>", "<script>alert(1)</script>"),
    odd("R&D <b>Clio</b>", "R&D <b>Clio</b>"),
];

/// The pools above. The number of an odd model is its position in them, counted on from the ordinary models.
pub(super) const ODD: [&[OddModel]; 5] = [&QUOTED, &WITH_NEWLINE, &SPECIAL, &FORMULAS, &MARKUP];

/// A spelling of a model. A [`Draft`](super::row::Draft) has the number of a spelling.
#[derive(Debug)]
pub(super) struct Spelling {
    pub(super) text: &'static str,
    /// The model that is spelt.
    pub(super) model: &'static str,
}

/// The spellings of all models, ordinary ones first.
pub(super) fn model_spellings() -> Vec<Spelling> {
    let spelling = |text, model| Spelling { text, model };
    let ordinary = MODELS.iter().map(|model| spelling(model.name, model.name));
    let odd = ODD.iter().copied().flatten();
    ordinary
        .chain(odd.map(|odd| spelling(odd.name, odd.of)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_odd_model_that_is_an_ordinary_one_names_it() {
        let spellings = model_spellings();
        let (ordinary, odd) = spellings.split_at(MODELS.len());
        for spelling in odd.iter().filter(|odd| odd.model != odd.text) {
            let model = ordinary.iter().find(|model| model.text == spelling.model);
            assert!(model.is_some(), "{spelling:?}");
        }
    }

    #[test]
    fn odd_models_are_written_as_a_csv_reader_expects() {
        for odd in ODD.iter().copied().flatten() {
            let unquoted = match odd.text.strip_prefix('"') {
                Some(rest) => rest
                    .strip_suffix('"')
                    .expect("closed")
                    .replace("\"\"", "\""),
                None => odd.text.to_owned(),
            };
            assert_eq!(unquoted, odd.name);
        }
    }
}
