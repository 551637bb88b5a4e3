//! The report as files for people: HTML, text, tables. Pure functions of the report: a report that was written and read
//! again gives the same bytes.

mod figures;
pub mod html;
mod notices;
mod tables;
mod text;
mod words;

use autoconnect_common::kind::ReportFile;

use super::Report;
pub use notices::notices;
pub use words::explain;

/// The files beside `report.json`: the same ones for every report.
pub fn files() -> Vec<ReportFile<Report>> {
    vec![
        ReportFile::new("report.html", html::write),
        ReportFile::new("analysis_report.txt", text::write),
        ReportFile::new("tables/ca_mensuel.csv", tables::ca_mensuel),
        ReportFile::new("tables/repartition.csv", tables::repartition),
        ReportFile::new("tables/comparatif.csv", tables::comparatif),
        ReportFile::new("tables/top_modeles.csv", tables::top_modeles),
        ReportFile::new("tables/ca_par_modele.csv", tables::ca_par_modele),
        ReportFile::new("tables/saisonnalite.csv", tables::saisonnalite),
        ReportFile::new("tables/rotation.csv", tables::rotation),
        ReportFile::new("tables/valeur_contrats.csv", tables::valeur_contrats),
        ReportFile::new("tables/marge.csv", tables::marge),
        ReportFile::new("tables/tendance.csv", tables::tendance),
        ReportFile::new("tables/qualite.csv", tables::qualite),
    ]
}
