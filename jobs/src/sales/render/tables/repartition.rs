//! Sales and rentals of each city: side by side for people, one below the other as data.

use std::io;

use autoconnect_report::table::Form::Text;
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::{Type, ranked, ville};
use crate::sales::Report;
use crate::sales::partial::ParType;
use crate::sales::report::Part;

pub(in crate::sales::render) const FILE: &str = "repartition.csv";

/// The sales and rentals of a city.
#[derive(Debug, Clone, Copy)]
pub(in crate::sales::render) struct Row<'r> {
    ville: &'r str,
    parts: ParType<Part>,
}

/// The sales, or the rentals, of a city.
#[derive(Debug, Clone, Copy)]
struct Line<'r> {
    ville: &'r str,
    type_: Type,
    part: Part,
}

/// What is said of sales, and of rentals; their titles matter where both stand side by side.
fn columns<'r>(type_: Type) -> [Column<'r, Part>; 3] {
    [
        Column::count(
            "nombre",
            type_.choose(["Ventes", "Sales"], ["Locations", "Rentals"]),
            |part: &Part| part.nombre,
        )
        .titled(Text, type_.choose("Ventes", "Loc.")),
        Column::number("pourcentage", "%", |part: &Part| part.pourcentage),
        Column::euros(
            "ca",
            type_.choose(
                ["CA ventes", "Sales revenue"],
                ["CA locations", "Rental revenue"],
            ),
            |part: &Part| part.ca,
        ),
    ]
}

pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    let parts = Type::ALL.into_iter().flat_map(|type_| {
        columns(type_).map(|column| column.of(move |row: &Row<'r>| type_.of(row.parts)))
    });
    Table::new(FILE, [ville(|row: &Row<'r>| row.ville)]).and(parts)
}

/// The cities, best first.
pub(in crate::sales::render) fn rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    ranked(report).map(|ville| Row {
        ville,
        parts: of_city(report, ville),
    })
}

/// The sales and rentals of a city.
pub(in crate::sales::render) fn of_city(report: &Report, ville: &str) -> ParType<Part> {
    let parts = report.repartition.get(ville);
    parts.copied().unwrap_or_default()
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let table = Table::new(
        FILE,
        [
            ville(|line: &Line<'_>| line.ville),
            Column::name("type", "Type", |line: &Line<'_>| line.type_.word()),
        ],
    )
    .and(columns(Type::Vente).map(|column| column.of(|line: &Line<'_>| line.part)));
    let lines = report.repartition.iter().flat_map(|(ville, parts)| {
        Type::ALL.map(|type_| Line {
            ville,
            type_,
            part: type_.of(*parts),
        })
    });
    csv::write(&table, lines, out)
}
