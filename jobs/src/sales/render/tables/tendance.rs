//! The trend of each city and of all together: a line through three months, and where it leads.

use std::io;

use autoconnect_report::table::Form::Data;
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::ville_or_global;
use crate::sales::Report;
use crate::sales::render::figures::whole_and_each;
use crate::sales::report::Tendance;

pub(in crate::sales::render) const FILE: &str = "tendance.csv";

/// A city, or all of them, and its trend.
type Row<'r> = (&'r str, &'r Tendance);

/// As data all of it; for people the slope, how well it fits, and where it leads from the last month.
pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    let mois = |name, month: usize| {
        Column::month(name, ["Mois", "Month"], move |(_, of): &Row<'r>| {
            &of.mois[month]
        })
        .only(Data)
    };
    let ca = |name, month: usize| {
        let title = ["Dernier mois", "Last month"];
        Column::euros(name, title, move |(_, of): &Row<'r>| of.ca[month])
    };
    Table::new(
        FILE,
        [
            ville_or_global(|(ville, _): &Row<'r>| ville),
            mois("mois_1", 0),
            mois("mois_2", 1),
            mois("mois_3", 2),
            ca("ca_1", 0).only(Data),
            ca("ca_2", 1).only(Data),
            Column::euros(
                "pente",
                ["Pente par mois", "Slope a month"],
                |(_, of): &Row<'r>| of.pente,
            ),
            Column::euros(
                "ordonnee",
                ["Ordonnée", "Intercept"],
                |(_, of): &Row<'r>| of.ordonnee,
            )
            .only(Data),
            Column::coefficient("r2", "R²", |(_, of): &Row<'r>| of.r2),
            ca("ca_3", 2).at(Data, 6),
            Column::month(
                "mois_prevu",
                ["Mois prévu", "Forecast month"],
                |(_, of): &Row<'r>| &of.prevision.mois,
            )
            .only(Data),
            Column::euros(
                "ca_prevu",
                ["Prévision", "Forecast"],
                |(_, of): &Row<'r>| of.prevision.ca,
            ),
        ],
    )
}

/// The whole, then each city, best first.
pub(in crate::sales::render) fn rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    whole_and_each(report).filter_map(|ville| Some((ville, report.tendance.get(ville)?)))
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let rows = report.tendance.iter();
    let rows = rows.map(|(ville, tendance)| (ville.as_str(), tendance));
    csv::write(&table(), rows, out)
}
