//! The report as files for people: HTML, text, tables. Pure functions of the report: a report that was written and read
//! again gives the same bytes.

mod figures;
pub mod html;
mod notices;
mod tables;
mod text;
mod words;

use std::io::{self, Write};

use autoconnect_common::kind::ReportFile;

use super::Report;
pub use notices::notices;
pub use words::explain;

/// See [`FILES`](autoconnect_common::JobKind::FILES).
pub const FILES: &[ReportFile<Report>] = &[
    file("report.html", html::write),
    file("analysis_report.txt", text::write),
    file("tables/ca_mensuel.csv", tables::ca_mensuel),
    file("tables/repartition.csv", tables::repartition),
    file("tables/comparatif.csv", tables::comparatif),
    file("tables/top_modeles.csv", tables::top_modeles),
    file("tables/ca_par_modele.csv", tables::ca_par_modele),
    file("tables/saisonnalite.csv", tables::saisonnalite),
    file("tables/rotation.csv", tables::rotation),
    file("tables/valeur_contrats.csv", tables::valeur_contrats),
    file("tables/marge.csv", tables::marge),
    file("tables/tendance.csv", tables::tendance),
    file("tables/qualite.csv", tables::qualite),
];

const fn file(
    path: &'static str,
    write: fn(&Report, &mut dyn Write) -> io::Result<()>,
) -> ReportFile<Report> {
    ReportFile { path, write }
}
