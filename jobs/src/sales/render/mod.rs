//! The report as files for people: HTML, text, tables. Pure functions of the report: a report that was written and read
//! again gives the same bytes.

mod figures;
pub mod html;
mod notices;
mod tables;
mod text;

use autoconnect_common::kind::ReportFile;

use super::Report;
pub use notices::notices;

/// The files beside `report.json`: the same ones for every report.
pub fn files() -> Vec<ReportFile<Report>> {
    let mut files = vec![
        ReportFile::new("report.html", html::write),
        ReportFile::new("analysis_report.txt", text::write),
    ];
    let tables = tables::FILES.into_iter();
    files.extend(tables.map(|(name, write)| ReportFile::new(format!("tables/{name}"), write)));
    files
}
