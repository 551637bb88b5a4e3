//! Seasonality: an index for each month of the year. As data also the changes from month to month.

use std::io;

use autoconnect_report::fixed::Fixed;
use autoconnect_report::lang::Lang;
use autoconnect_report::number;
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::ville_or_global;
use crate::sales::Report;
use crate::sales::render::figures::whole_and_each;
use crate::sales::report::Saison;

pub(in crate::sales::render) const FILE: &str = "saisonnalite.csv";

/// A city, or all of them, and its seasonality.
type Row<'r> = (&'r str, &'r Saison);

/// An index or a change.
#[derive(Debug, Clone, Copy)]
struct Line<'r> {
    ville: &'r str,
    mesure: &'static str,
    mois: &'r str,
    valeur: Option<Fixed<2>>,
}

/// The indices. Twelve columns of two decimals are wider than the text, which has six months in each of two parts.
pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    let months = (1..=12).map(|month| {
        let title = [Lang::Fr, Lang::En].map(|lang| number::mois_abrege(month, lang));
        let index = move |(_, saison): &Row<'r>| {
            let index = saison.indices.values().nth(month - 1);
            index.copied().flatten()
        };
        Column::number("indice", title, index)
            .shaded(move |row| index(row).map_or("h0", shade))
            .part((month - 1) / 6)
    });
    let ville = ville_or_global(|(ville, _): &Row<'r>| ville).in_every_part();
    Table::new(FILE, [ville]).and(months)
}

/// The farther from 100, the stronger the colour.
fn shade(index: Fixed<2>) -> &'static str {
    match index.0 {
        ..7_000 => "l3",
        7_000..8_500 => "l2",
        8_500..9_500 => "l1",
        9_500..=10_500 => "h0",
        10_501..=11_500 => "h1",
        11_501..=13_000 => "h2",
        13_001.. => "h3",
    }
}

/// The whole, then each city, best first.
pub(in crate::sales::render) fn rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    whole_and_each(report).filter_map(|ville| Some((ville, report.saisonnalite.get(ville)?)))
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let table = Table::new(
        FILE,
        [
            ville_or_global(|line: &Line<'_>| line.ville),
            Column::name("mesure", ["Mesure", "Measure"], |line: &Line<'_>| {
                line.mesure
            }),
            Column::month("mois", ["Mois", "Month"], |line: &Line<'_>| line.mois),
            Column::number("valeur", ["Valeur", "Value"], |line: &Line<'_>| line.valeur),
        ],
    );
    let lines = report.saisonnalite.iter().flat_map(|(ville, saison)| {
        let measures = [
            ("variation", &saison.variations),
            ("indice", &saison.indices),
        ];
        measures.into_iter().flat_map(move |(mesure, months)| {
            months.iter().map(move |(mois, valeur)| Line {
                ville,
                mesure,
                mois,
                valeur: *valeur,
            })
        })
    });
    csv::write(&table, lines, out)
}
