//! Margins of sales and of rentals, by city, with what is assumed marked as such.

use std::io;

use autoconnect_report::table::Form::{Data, Page, Text};
use autoconnect_report::table::column::{Align, Column};
use autoconnect_report::table::value::{Value, Words};
use autoconnect_report::table::{Table, csv};

use super::{Type, ranked, ville};
use crate::sales::Report;
use crate::sales::report::Marge;

pub(in crate::sales::render) const FILE: &str = "marge.csv";

/// The sales, or the rentals, of a city.
#[derive(Debug, Clone, Copy)]
pub(in crate::sales::render) struct Row<'r> {
    ville: &'r str,
    pub(in crate::sales::render) type_: Type,
    pub(in crate::sales::render) marge: Marge,
}

pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    Table::new(
        FILE,
        [
            ville(|row: &Row<'r>| row.ville),
            Column::new("type", "Type", Align::Left, on_page).cell(Text, in_text),
            Column::percent("taux_moyen", ["Taux", "Rate"], |row: &Row<'r>| {
                row.marge.taux_moyen
            }),
            Column::euros(
                "marge_moyenne",
                ["Marge moyenne", "Average margin"],
                |row: &Row<'r>| row.marge.marge_moyenne,
            ),
            Column::euros(
                "marge_totale",
                ["Marge totale", "Total margin"],
                |row: &Row<'r>| row.marge.marge_totale,
            ),
            Column::flag("hypothese", ["Hypothèse", "Assumed"], |row: &Row<'r>| {
                row.marge.hypothese
            })
            .only(Data),
            Column::count("nombre", "Transactions", |row: &Row<'r>| row.marge.nombre)
                .at(Page, 2)
                .except(Text),
        ],
    )
}

/// The type in the plural; a star marks an assumed rate.
fn on_page<'r>(row: &Row<'r>) -> Value<'r> {
    let star = star(&row.marge);
    let [fr, en] = row.type_.plural().map(|word| format!("{word}{star}"));
    Value::Words(Words::new(row.type_.word(), fr, en))
}

fn in_text<'r>(row: &Row<'r>) -> Value<'r> {
    let (word, star) = (
        row.type_.word(),
        if row.marge.hypothese { " *" } else { "" },
    );
    Value::words(format!("{word}{star}"), row.type_.plural()[1])
}

/// What marks an assumed rate, behind a no-break space.
pub(in crate::sales::render) fn star(marge: &Marge) -> &'static str {
    if marge.hypothese { "\u{a0}*" } else { "" }
}

/// The margins of a city.
pub(in crate::sales::render) fn of_city<'r>(report: &Report, ville: &'r str) -> [Row<'r>; 2] {
    let both = report.marge.get(ville).copied().unwrap_or_default();
    Type::ALL.map(|type_| Row {
        ville,
        type_,
        marge: type_.of(both),
    })
}

/// The cities, best first.
pub(in crate::sales::render) fn rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    ranked(report).flat_map(|ville| of_city(report, ville))
}

/// Whether a rate was assumed.
pub(in crate::sales::render) fn is_assumed(report: &Report) -> bool {
    let mut marges = report.marge.values();
    marges.any(|both| both.vente.hypothese || both.location.hypothese)
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let rows = report.marge.keys().flat_map(|ville| of_city(report, ville));
    csv::write(&table(), rows, out)
}
