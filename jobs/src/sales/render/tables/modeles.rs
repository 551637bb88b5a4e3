//! CA of each model: best first for people, by model and city as data.

use std::cmp::Reverse;
use std::io;

use autoconnect_report::fixed::Euros;
use autoconnect_report::table::Form::Text;
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::ville;
use crate::sales::Report;
use crate::sales::render::figures::share;
use crate::sales::report::CaModele;

pub(in crate::sales::render) const FILE: &str = "ca_par_modele.csv";

/// A model and its CA.
pub(in crate::sales::render) type Row<'r> = (&'r str, &'r CaModele);

/// A model in a city.
#[derive(Debug, Clone, Copy)]
struct Line<'r> {
    modele: &'r str,
    ville: &'r str,
    ca: Euros,
}

/// The column of the models.
fn modele<'r, R>(of: impl Fn(&R) -> &'r str + 'r) -> Column<'r, R> {
    Column::name("modele", ["Modèle", "Model"], of)
}

/// The column of the CA.
fn ca<'r, R>(of: impl Fn(&R) -> Euros + 'r) -> Column<'r, R> {
    Column::euros("ca", ["CA", "Revenue"], of)
}

/// The page adds the CA of each city.
pub(in crate::sales::render) fn table(report: &Report) -> Table<'_, Row<'_>> {
    Table::new(
        FILE,
        [
            modele(|(modele, _): &Row<'_>| modele),
            ca(|(_, ca): &Row<'_>| ca.total),
            Column::percent("part", ["Part", "Share"], |(_, ca): &Row<'_>| {
                share(ca.total.0, report.ca_total.0)
            }),
            Column::integer("villes", ["Villes", "Cities"], |(_, ca): &Row<'_>| {
                ca.villes.len() as u64
            })
            .only(Text),
        ],
    )
}

/// The models, best first.
pub(in crate::sales::render) fn rows(report: &Report) -> Vec<Row<'_>> {
    let modeles = report.ca_par_modele.iter();
    let mut modeles: Vec<Row<'_>> = modeles.map(|(modele, ca)| (modele.as_str(), ca)).collect();
    modeles.sort_by_key(|(modele, ca)| (Reverse(ca.total), *modele));
    modeles
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let table = Table::new(
        FILE,
        [
            modele(|line: &Line<'_>| line.modele),
            ville(|line: &Line<'_>| line.ville),
            ca(|line: &Line<'_>| line.ca),
        ],
    );
    let lines = report.ca_par_modele.iter().flat_map(|(modele, ca)| {
        let villes = ca.villes.iter();
        villes.map(move |(ville, &ca)| Line { modele, ville, ca })
    });
    csv::write(&table, lines, out)
}
