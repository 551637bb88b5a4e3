//! `sales`, commercial performance: its reads, its result page, its rejects and its uploads.

mod answers;
mod page;
mod process;
mod reads;
mod rejects;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use askama::Template as _;
use autoconnect_jobs::sales::columns;
use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_jobs::sales::settings;
use autoconnect_jobs::sales::{Report, Sales as Job};
use autoconnect_report::lang::Lang;
use axum::Extension;
use axum::response::Response;
use bytes::Bytes;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;

use super::{ApiKind, Intake, Table};
use crate::app::Shared;
use crate::pages::frame::Visitor;
use crate::pages::report::ReportPage;
use rejects::{Failed, Source};

/// `sales`, as the API reads and shows it.
pub struct Sales {
    /// The values of the fields that a request leaves out.
    settings: settings::Sales,
    /// The rejects of a job that ended without a report.
    failed: Failed,
}

impl Sales {
    /// The kind with these settings.
    pub fn new(settings: settings::Sales) -> Self {
        Self {
            settings,
            failed: Failed::default(),
        }
    }
}

/// A report, as it is kept in memory.
pub struct Held {
    report: Report,
    /// `report.json`, byte for byte.
    bytes: Bytes,
    /// The rejected rows of its job.
    rejects: Source,
}

impl ApiKind for Sales {
    type Job = Job;
    type Report = Held;

    fn open(&self, bytes: &Bytes, folder: &Path) -> io::Result<Held> {
        Ok(Held {
            report: serde_json::from_slice(bytes)?,
            bytes: bytes.clone(),
            rejects: Source::in_folder(folder),
        })
    }

    fn routes(self: Arc<Self>) -> OpenApiRouter<Shared> {
        reads::routes()
            .merge(rejects::routes())
            .merge(process::routes())
            .layer(Extension(self))
    }

    fn page(&self, page: ReportPage, held: &Held) -> Response {
        page::show(page, held)
    }

    fn table(&self, asked: &Visitor, held: &Held, name: &str) -> Option<Table> {
        page::table(asked, held, name)
    }

    fn intake(&self, lang: Lang) -> Option<Intake> {
        let [always, optional] = columns::names();
        Some(Intake {
            route: process::PROCESS,
            lead: lang.say(
                "Donnez un fichier CSV de ventes et de locations\u{a0}; le rapport s’affiche dès qu’il est prêt.",
                "Give a CSV file of sales and rentals; its report shows as soon as it is ready.",
            ),
            columns: lang.say(
                format!(
                    "Colonnes, dans n’importe quel ordre\u{a0}: {always}\u{a0}; en option\u{a0}: {optional}. Le type est vente ou location."
                ),
                format!(
                    "Columns, in any order: {always}; optional: {optional}. The type is vente (sale) or location (rental)."
                ),
            ),
            fields: page::Fields { lang }.render().unwrap_or_default(),
        })
    }

    fn rejects(&self) -> Option<&'static str> {
        Some(REJETS)
    }

    fn schema(&self) -> RefOr<Schema> {
        Ref::from_schema_name("Report").into()
    }
}
