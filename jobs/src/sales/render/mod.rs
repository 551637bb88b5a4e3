//! The report as files for people: HTML, text, tables. Pure functions of the report: a report that was written and read
//! again gives the same bytes.

mod figures;
pub mod html;
pub mod number;
pub mod tables;
mod text;
mod words;

use autoconnect_common::kind::ReportFile;

use super::Report;
pub use words::explain;

/// See [`autoconnect_common::JobKind::render`].
pub fn render(report: &Report) -> Vec<ReportFile> {
    let mut files = vec![
        ReportFile {
            path: "report.html",
            bytes: html::render(report).into_bytes(),
        },
        ReportFile {
            path: "analysis_report.txt",
            bytes: text::render(report).into_bytes(),
        },
    ];
    files.extend(tables::render(report));
    files
}
