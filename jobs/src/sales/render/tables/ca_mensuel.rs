//! CA month by month: of a city, of all together, or of every city in one month.

use std::io;

use autoconnect_report::table::Form::{Data, Text};
use autoconnect_report::table::column::{Align, Column};
use autoconnect_report::table::value::Value;
use autoconnect_report::table::{Table, csv};

use super::ville;
use crate::sales::Report;
use crate::sales::render::figures::{is_isolated, is_partial};
use crate::sales::report::{CaMois, Periode, Saison};

pub(in crate::sales::render) const FILE: &str = "ca_mensuel.csv";

/// A city in a month.
#[derive(Debug, Clone, Copy)]
pub(in crate::sales::render) struct Row<'r> {
    ville: &'r str,
    mois: &'r str,
    ca: CaMois,
    /// Its changes from month to month.
    saison: Option<&'r Saison>,
    /// The period, whose partial and isolated months are called so; `None` where that is said above the table.
    periode: Option<&'r Periode>,
}

/// Of one city or one month, it is [`Table::without`] that column.
pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    Table::new(
        FILE,
        [
            ville(|row: &Row<'r>| row.ville),
            Column::month("mois", ["Mois", "Month"], |row: &Row<'r>| row.mois),
            Column::euros("vente", ["Ventes", "Sales"], |row: &Row<'r>| row.ca.vente),
            Column::euros("location", ["Locations", "Rentals"], |row: &Row<'r>| {
                row.ca.location
            }),
            Column::euros("total", "Total", |row: &Row<'r>| row.ca.total),
            Column::new(
                "variation",
                ["Variation", "Change"],
                Align::Right,
                |row: &Row<'r>| variation(row, "incomplet"),
            )
            .cell(Text, |row: &Row<'r>| variation(row, "partiel"))
            .except(Data),
        ],
    )
}

/// The change against the month before, or why there is none; what a partial month is called in French.
fn variation<'r>(row: &Row<'r>, partial: &'static str) -> Value<'r> {
    match row.periode {
        Some(periode) if is_partial(periode, row.mois) => Value::words(partial, "partial"),
        Some(periode) if is_isolated(periode, row.mois) => Value::words("isolé", "isolated"),
        _ => {
            let variations = row.saison.map(|saison| &saison.variations);
            Value::Change(variations.and_then(|variations| *variations.get(row.mois)?))
        }
    }
}

/// Months of a city, or of all together, which stand for the key `ville`.
pub(in crate::sales::render) fn of_city<'r>(
    report: &'r Report,
    ville: &'r str,
    months: impl IntoIterator<Item = (&'r str, CaMois)>,
) -> impl Iterator<Item = Row<'r>> {
    let saison = report.saisonnalite.get(ville);
    months.into_iter().map(move |(mois, ca)| Row {
        ville,
        mois,
        ca,
        saison,
        periode: Some(&report.periode),
    })
}

/// Cities in one month.
pub(in crate::sales::render) fn of_month<'r>(
    report: &'r Report,
    mois: &'r str,
    villes: impl IntoIterator<Item = (&'r str, CaMois)>,
) -> impl Iterator<Item = Row<'r>> {
    villes.into_iter().map(move |(ville, ca)| Row {
        ville,
        mois,
        ca,
        saison: report.saisonnalite.get(ville),
        periode: None,
    })
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let rows = report.ca_mensuel.iter().flat_map(|(ville, months)| {
        let months = months.iter().map(|(mois, ca)| (mois.as_str(), *ca));
        of_city(report, ville, months)
    });
    csv::write(&table(), rows, out)
}
