//! The kind `sales`: commercial performance of each city, from a file of transactions.

pub mod block;
pub mod chunk;
pub mod columns;
pub mod conclude;
pub mod cut;
pub mod fast;
mod filter;
pub mod gather;
pub mod mois;
mod notes;
pub mod partial;
pub mod periode;
pub mod reason;
pub mod render;
pub mod report;
pub mod request;
pub mod row;
pub mod settings;
pub mod ville;
pub mod work;

#[cfg(test)]
#[path = "../../examples/sales_report/sample.rs"]
mod sample;

use std::path::PathBuf;

use autoconnect_common::kind::{ConcludeError, Cut, ReportFile, Steps, WorkError};
use autoconnect_common::settings::{Key, Settings, SettingsError};
use autoconnect_common::{Chunk, CutError, Digest, JobKind, Outlet, Seq};

pub use partial::Partial;
pub use report::Report;
pub use request::{Facts, Request};

/// Commercial performance: CA per month and city, ranking, top 5, seasonality, rental duration, margin, trend.
pub struct Sales;

impl JobKind for Sales {
    const NAME: &'static str = "sales";
    const SCHEMA: u32 = columns::SCHEMA;
    const AT_ROOT: bool = true;
    type Request = Request;
    type Facts = Facts;
    type Partial = Partial;
    type Report = Report;

    const SETTINGS: &'static [Key] = settings::KEYS;

    fn files(_: &Report) -> Vec<ReportFile<Report>> {
        render::files()
    }

    fn default_request(
        settings: &Settings,
        inputs: Vec<PathBuf>,
    ) -> Result<Option<Request>, SettingsError> {
        let sales: settings::Sales = settings.load()?;
        Ok(Some(sales.request(inputs, settings::today())))
    }

    fn inputs(request: &Request) -> Vec<PathBuf> {
        request.inputs.clone()
    }

    fn fingerprint(request: &Request) -> Result<Digest, CutError> {
        cut::fingerprint(request)
    }

    fn cut(request: &Request, outlet: &Outlet) -> Result<Cut<Facts>, CutError> {
        cut::cut(request, outlet)
    }

    fn work(chunk: &Chunk) -> Result<Partial, WorkError> {
        work::work(chunk)
    }

    fn show(chunk: &Chunk, rows: usize) -> Result<String, WorkError> {
        chunk::show(&chunk.body, rows).map_err(WorkError)
    }

    fn conclude(
        facts: Facts,
        partial: Partial,
        missing: &[Seq],
        steps: &mut Steps<'_>,
    ) -> Result<Report, ConcludeError> {
        conclude::conclude(facts, partial, missing, steps)
    }

    fn weigh(partial: &Partial) -> u64 {
        partial.weigh()
    }
}
