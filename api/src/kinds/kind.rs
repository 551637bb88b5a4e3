//! [`ApiKind`], the part of a kind of job that the API needs, and [`Kinds`], the one place where the types of kinds are erased.

use std::any::Any;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autoconnect_common::JobKind;
use autoconnect_report::lang::Lang;
use axum::response::Response;
use bytes::Bytes;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;

use crate::app::Shared;
use crate::editions::{Edition, ReadReport};
use crate::pages::frame::Visitor;
use crate::pages::report::ReportPage;

/// A kind of job, as the API reads and shows it.
pub trait ApiKind: Send + Sync + 'static {
    /// The kind.
    type Job: JobKind;
    /// A report, as it is kept in memory.
    type Report: Send + Sync + 'static;

    /// Reads a report: `bytes` is its `report.json`, and `folder` has the other files of its job. Blocks.
    ///
    /// # Errors
    /// [`io::Error`] for bytes that are no report of this kind.
    fn open(&self, bytes: &Bytes, folder: &Path) -> io::Result<Self::Report>;

    /// The routes of the kind: calls of [`reads::read`](crate::reads::read), and handlers of its own.
    fn routes(self: Arc<Self>) -> OpenApiRouter<Shared>;

    /// The page of a report. Blocks.
    fn page(&self, page: ReportPage, report: &Self::Report) -> Response;

    /// The table of a report to which the page links as `tables/<name>`; `None` where there is none of that name. Blocks.
    fn table(&self, asked: &Visitor, report: &Self::Report, name: &str) -> Option<Table> {
        let _none = (asked, report, name);
        None
    }

    /// The form by which a visitor uploads files for this kind; `None` for a kind that takes none.
    fn intake(&self, lang: Lang) -> Option<Intake> {
        let _none = lang;
        None
    }

    /// The name of the file of rejected rows, which a job without a report may leave too; `None` for a kind that rejects none.
    fn rejects(&self) -> Option<&'static str> {
        None
    }

    /// The schema of `report.json`, for the OpenAPI document.
    fn schema(&self) -> RefOr<Schema> {
        ObjectBuilder::new().into()
    }
}

/// A table of a report.
pub enum Table {
    /// The table as CSV.
    Bytes(Vec<u8>),
    /// A file with the table, which is sent under the requested name.
    File(PathBuf),
    /// Another response, where the report does not have the part that the visitor requests.
    Other(Response),
}

/// The way to upload files for a kind: its route, and its part of the form that requests an analysis.
pub struct Intake {
    /// The route that takes the files.
    pub route: &'static str,
    /// A sentence that says which files to send.
    pub lead: &'static str,
    /// A sentence or two that list the columns of a file.
    pub columns: String,
    /// The other fields of the form, as HTML.
    pub fields: String,
}

/// A kind whose types are erased.
trait AnyKind: ReadReport {
    fn routes(&self) -> OpenApiRouter<Shared>;
    fn page(&self, page: ReportPage, edition: &Edition) -> Option<Response>;
    fn table(&self, asked: &Visitor, edition: &Edition, name: &str) -> Option<Table>;
    fn intake(&self, lang: Lang) -> Option<Intake>;
    fn rejects(&self) -> Option<&'static str>;
    fn schema(&self) -> RefOr<Schema>;
}

struct Erased<K>(Arc<K>);

impl<K: ApiKind> ReadReport for Erased<K> {
    fn kind(&self) -> &'static str {
        K::Job::NAME
    }

    fn at_root(&self) -> bool {
        K::Job::AT_ROOT
    }

    fn read(&self, bytes: &Bytes, folder: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        Ok(Box::new(self.0.open(bytes, folder)?))
    }
}

impl<K: ApiKind> AnyKind for Erased<K> {
    fn routes(&self) -> OpenApiRouter<Shared> {
        Arc::clone(&self.0).routes()
    }

    fn page(&self, page: ReportPage, edition: &Edition) -> Option<Response> {
        Some(self.0.page(page, edition.report()?))
    }

    fn table(&self, asked: &Visitor, edition: &Edition, name: &str) -> Option<Table> {
        self.0.table(asked, edition.report()?, name)
    }

    fn intake(&self, lang: Lang) -> Option<Intake> {
        self.0.intake(lang)
    }

    fn rejects(&self) -> Option<&'static str> {
        self.0.rejects()
    }

    fn schema(&self) -> RefOr<Schema> {
        self.0.schema()
    }
}

/// The registered kinds, in the order of their registration. The first is shown where no kind is requested.
#[derive(Clone, Default)]
pub struct Kinds {
    all: Vec<Arc<dyn AnyKind>>,
    /// The routes that take files.
    uploads: Vec<&'static str>,
}

impl Kinds {
    /// Registers a kind.
    #[must_use]
    pub fn with<K: ApiKind>(mut self, kind: K) -> Self {
        let intake = kind.intake(Lang::default());
        self.uploads.extend(intake.map(|intake| intake.route));
        self.all.push(Arc::new(Erased(Arc::new(kind))));
        self
    }

    /// The name of the kind that is shown by default; empty where none is registered.
    pub(crate) fn default_kind(&self) -> &'static str {
        self.all.first().map_or("", |kind| kind.kind())
    }

    /// The readers of the reports of each kind.
    pub(crate) fn readers(&self) -> Vec<Arc<dyn ReadReport>> {
        let kinds = self.all.iter().cloned();
        kinds.map(|kind| kind as Arc<dyn ReadReport>).collect()
    }

    /// The routes of all kinds.
    pub(crate) fn routes(&self) -> OpenApiRouter<Shared> {
        let routes = self.all.iter().map(|kind| kind.routes());
        routes.fold(OpenApiRouter::new(), OpenApiRouter::merge)
    }

    /// The page of a report; `None` for one of a kind that is not registered. Blocks.
    pub(crate) fn page(&self, page: ReportPage, edition: &Edition) -> Option<Response> {
        self.of(edition)?.page(page, edition)
    }

    /// A table of a report. Blocks.
    pub(crate) fn table(&self, asked: &Visitor, edition: &Edition, name: &str) -> Option<Table> {
        self.of(edition)?.table(asked, edition, name)
    }

    fn of(&self, edition: &Edition) -> Option<&Arc<dyn AnyKind>> {
        self.all.iter().find(|kind| kind.kind() == edition.kind)
    }

    /// The upload form of the first kind that takes files.
    pub(crate) fn intake(&self, lang: Lang) -> Option<Intake> {
        self.all.iter().find_map(|kind| kind.intake(lang))
    }

    /// Whether this route takes files, whose upload may take hours.
    pub(crate) fn takes_files(&self, route: &str) -> bool {
        self.uploads.contains(&route)
    }

    /// The names of the kinds' files of rejected rows.
    pub(crate) fn rejects(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().filter_map(|kind| kind.rejects())
    }

    /// The schema of a `report.json` of any kind.
    pub(crate) fn schema(&self) -> RefOr<Schema> {
        match &self.all[..] {
            [one] => one.schema(),
            several => {
                let each = several.iter().map(|kind| kind.schema());
                each.fold(OneOfBuilder::new(), OneOfBuilder::item).into()
            }
        }
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.all.iter().map(|kind| kind.kind()))
            .finish()
    }
}
