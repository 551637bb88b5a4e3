//! How long cars are rented, by city and as data by model too; what the contracts are worth.

use std::io;

use autoconnect_report::fixed::{Euros, Fixed};
use autoconnect_report::table::Form::{Data, Text};
use autoconnect_report::table::column::Column;
use autoconnect_report::table::{Table, csv};

use super::{ranked, ville};
use crate::sales::Report;
use crate::sales::report::Rotation;

pub(in crate::sales::render) const FILE: &str = "rotation.csv";
/// The values of the contracts have a file of their own.
pub(in crate::sales::render) const FILE_VALEUR: &str = "valeur_contrats.csv";

/// The rentals of a city, or of a model in it.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sales::render) struct Row<'r> {
    ville: &'r str,
    modele: &'r str,
    contrats: Option<u64>,
    duree: Option<Fixed<2>>,
    rotations: Option<Fixed<2>>,
    valeur: Euros,
}

impl<'r> Row<'r> {
    fn of_city(ville: &'r str, rotation: &Rotation, valeur: Euros) -> Self {
        Self {
            ville,
            contrats: Some(rotation.contrats),
            duree: rotation.duree_moyenne_mois,
            rotations: rotation.rotations_par_an,
            valeur,
            ..Self::default()
        }
    }
}

/// The text has the values of the contracts in it.
pub(in crate::sales::render) fn table<'r>() -> Table<'r, Row<'r>> {
    Table::new(
        FILE,
        [
            ville(|row: &Row<'r>| row.ville),
            Column::name("modele", ["Modèle", "Model"], |row: &Row<'r>| row.modele).only(Data),
            Column::count("contrats", ["Contrats", "Contracts"], |row: &Row<'r>| {
                row.contrats
            }),
            Column::number(
                "duree_moyenne_mois",
                ["Durée (mois)", "Length (months)"],
                |row: &Row<'r>| row.duree,
            ),
            Column::number(
                "rotations_par_an",
                ["Rotations/an", "Turns a year"],
                |row: &Row<'r>| row.rotations,
            ),
            valeur().of(|row: &Row<'r>| row.valeur).only(Text),
        ],
    )
}

fn valeur<'r>() -> Column<'r, Euros> {
    Column::euros(
        "valeur_contrats",
        ["Valeur des contrats", "Contract value"],
        |valeur: &Euros| *valeur,
    )
}

/// The cities, best first.
pub(in crate::sales::render) fn rows(report: &Report) -> impl Iterator<Item = Row<'_>> {
    ranked(report).filter_map(|ville| {
        let rotation = report.rotation.get(ville)?;
        Some(Row::of_city(ville, rotation, valeur_of(report, ville)))
    })
}

/// What the contracts of a city are worth.
pub(in crate::sales::render) fn valeur_of(report: &Report, ville: &str) -> Euros {
    let valeur = report.valeur_contrats.get(ville);
    valeur.copied().unwrap_or_default()
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let rows = report.rotation.iter().flat_map(|(ville, rotation)| {
        let modeles = rotation.par_modele.iter().map(move |(modele, duree)| Row {
            ville,
            modele,
            duree: Some(*duree),
            ..Row::default()
        });
        let of_city = Row::of_city(ville, rotation, valeur_of(report, ville));
        std::iter::once(of_city).chain(modeles)
    });
    csv::write(&table(), rows, out)
}

/// A city and what its contracts are worth.
type Contrats<'r> = (&'r str, Euros);

pub(in crate::sales::render) fn table_valeur<'r>() -> Table<'r, Contrats<'r>> {
    Table::new(
        FILE_VALEUR,
        [
            ville(|(ville, _): &Contrats<'r>| ville),
            valeur().of(|(_, valeur): &Contrats<'r>| *valeur),
        ],
    )
}

/// The cities, best first.
pub(in crate::sales::render) fn rows_valeur(report: &Report) -> impl Iterator<Item = Contrats<'_>> {
    ranked(report).map(|ville| (ville, valeur_of(report, ville)))
}

pub(super) fn write_valeur(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let rows = report.valeur_contrats.iter();
    let rows = rows.map(|(ville, valeur)| (ville.as_str(), *valeur));
    csv::write(&table_valeur(), rows, out)
}
