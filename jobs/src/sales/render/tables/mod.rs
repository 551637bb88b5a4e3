//! The tables of the report, each described once, in one file: its columns, and its rows from the report. The page, the text and
//! the files of `tables/` are written from these descriptions.
//!
//! Where a file has another row than what people read (one a city *and type*, say), its columns are those of the other table, of
//! that row. The tables that the page alone has, with a column for each city that has a colour, are in `html/section/`.

pub(super) mod ca_mensuel;
pub(super) mod comparatif;
pub(super) mod marge;
pub(super) mod modeles;
pub(super) mod qualite;
pub(super) mod repartition;
pub(super) mod rotation;
pub(super) mod saisonnalite;
pub(super) mod tendance;
pub(super) mod top_modeles;

use std::io;

use autoconnect_report::table::column::{Align, Column};
use autoconnect_report::table::value::{Value, Words};

use crate::sales::Report;
use crate::sales::partial::ParType;
use crate::sales::report::GLOBAL;

/// Writes all of a table as CSV.
type Write = fn(&Report, &mut dyn io::Write) -> io::Result<()>;

/// The files of the folder `tables`: the name of each, and what writes it.
pub(super) const FILES: [(&str, Write); 11] = [
    (ca_mensuel::FILE, ca_mensuel::write),
    (repartition::FILE, repartition::write),
    (comparatif::FILE, comparatif::write),
    (top_modeles::FILE, top_modeles::write),
    (modeles::FILE, modeles::write),
    (saisonnalite::FILE, saisonnalite::write),
    (rotation::FILE, rotation::write),
    (rotation::FILE_VALEUR, rotation::write_valeur),
    (marge::FILE, marge::write),
    (tendance::FILE, tendance::write),
    (qualite::FILE, qualite::write),
];

/// Sales, or rentals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Vente,
    Location,
}

impl Type {
    pub(super) const ALL: [Self; 2] = [Self::Vente, Self::Location];

    /// What there is for this type.
    pub(super) fn of<T>(self, both: ParType<T>) -> T {
        self.choose(both.vente, both.location)
    }

    /// One of both.
    pub(super) fn choose<T>(self, vente: T, location: T) -> T {
        match self {
            Self::Vente => vente,
            Self::Location => location,
        }
    }

    /// In the plural, in French and in English.
    pub(super) fn plural(self) -> [&'static str; 2] {
        self.choose(["ventes", "sales"], ["locations", "rentals"])
    }

    /// As data.
    fn word(self) -> &'static str {
        self.choose("vente", "location")
    }
}

/// The cities, best first.
fn ranked(report: &Report) -> impl Iterator<Item = &str> {
    report.comparatif.iter().map(|city| city.ville.as_str())
}

const VILLE: [&str; 2] = ["Ville", "City"];

/// The column of the cities.
fn ville<'r, R>(of: impl Fn(&R) -> &'r str + 'r) -> Column<'r, R> {
    Column::name("ville", VILLE, of)
}

/// The column of the cities and of [`GLOBAL`].
fn ville_or_global<'r, R>(of: impl Fn(&R) -> &'r str + 'r) -> Column<'r, R> {
    Column::new("ville", VILLE, Align::Left, move |row| match of(row) {
        GLOBAL => Value::Words(Words::new(GLOBAL, "Toutes les villes", "All cities")),
        ville => Value::Name(ville.into()),
    })
}
