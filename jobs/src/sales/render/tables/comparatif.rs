//! The cities side by side, best first.

use std::io;

use autoconnect_report::table::Form::{Page, Text};
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::ville;
use crate::sales::Report;
use crate::sales::report::Comparatif;

pub(in crate::sales::render) const FILE: &str = "comparatif.csv";

/// A city.
type Row<'r> = &'r Comparatif;

/// Written as text in two parts.
pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    Table::new(
        FILE,
        [
            Column::integer("rang", ["Rang", "Rank"], |row: &Row<'r>| row.rang.into())
                .titled(Text, "#")
                .left(Text),
            ville(|row: &Row<'r>| &row.ville)
                .at(Page, 0)
                .in_every_part(),
            Column::euros("ca", ["CA", "Revenue"], |row: &Row<'r>| row.ca),
            Column::percent("part", ["Part", "Share"], |row: &Row<'r>| row.part),
            Column::count("transactions", "Transactions", |row: &Row<'r>| {
                row.transactions
            }),
            Column::euros(
                "panier_moyen_vente",
                ["Panier moyen", "Average sale"],
                |row: &Row<'r>| row.panier_moyen_vente,
            )
            .part(1),
            Column::euros(
                "loyer_moyen",
                ["Loyer moyen", "Average rent"],
                |row: &Row<'r>| row.loyer_moyen,
            )
            .part(1),
            Column::change(
                "croissance_mensuelle",
                ["Croiss. mois", "Growth, month"],
                |row: &Row<'r>| row.croissance_mensuelle,
            )
            .titled(Text, "Crois. mens.")
            .part(1),
            Column::change(
                "croissance_trimestrielle",
                ["Croiss. trim.", "Growth, quarter"],
                |row: &Row<'r>| row.croissance_trimestrielle,
            )
            .titled(Text, "Crois. trim.")
            .part(1),
            Column::change(
                "ecart_a_la_moyenne",
                ["Écart à la moy.", "Against mean"],
                |row: &Row<'r>| row.ecart_a_la_moyenne,
            )
            .titled(Text, "Écart moy."),
        ],
    )
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    csv::write(&table(), &report.comparatif, out)
}
