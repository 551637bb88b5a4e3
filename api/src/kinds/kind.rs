//! What a kind of job is to the API ([`ApiKind`]), and the one place where the types of kinds are erased ([`Kinds`]).

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
    /// What is kept in memory of a report.
    type Report: Send + Sync + 'static;

    /// Reads a report: `bytes` is its `report.json`, `folder` where the other files of its job are. Blocks.
    ///
    /// # Errors
    /// [`io::Error`] for bytes that are no report of this kind.
    fn open(&self, bytes: &Bytes, folder: &Path) -> io::Result<Self::Report>;

    /// Its routes: calls of [`reads::read`](crate::reads::read), and handlers of its own.
    fn routes(self: Arc<Self>) -> OpenApiRouter<Shared>;

    /// The page of a report. Blocks.
    fn page(&self, page: ReportPage, report: &Self::Report) -> Response;

    /// A table of a report, as the page links to it below `tables/`; `None` where there is none of that name. Blocks.
    fn table(&self, asked: &Visitor, report: &Self::Report, name: &str) -> Option<Table> {
        let _none = (asked, report, name);
        None
    }

    /// How files are sent to it; `None` for a kind that takes none.
    fn intake(&self, lang: Lang) -> Option<Intake> {
        let _none = lang;
        None
    }

    /// The file of rejected rows, which a job may leave without a report; `None` for a kind that rejects none.
    fn rejects(&self) -> Option<&'static str> {
        None
    }

    /// The shape of `report.json`, for the OpenAPI document.
    fn schema(&self) -> RefOr<Schema> {
        ObjectBuilder::new().into()
    }
}

/// A table of a report.
pub enum Table {
    /// Its bytes, CSV.
    Bytes(Vec<u8>),
    /// A file that holds it, sent under the requested name.
    File(PathBuf),
    /// Another response: the report does not have what the visitor requests.
    Other(Response),
}

/// How files are sent to a kind: its route, and the form of the page that requests an analysis.
pub struct Intake {
    /// The route that takes them.
    pub route: &'static str,
    /// What to send and what it gives, in one sentence.
    pub lead: &'static str,
    /// Which columns a file has, in one sentence.
    pub columns: &'static str,
    /// The fields of the form beside the files, as HTML.
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

/// The registered kinds, in that order; the first is shown where no kind is requested.
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
    pub(crate) fn usual(&self) -> &'static str {
        self.all.first().map_or("", |kind| kind.kind())
    }

    /// What reads the reports of each.
    pub(crate) fn readers(&self) -> Vec<Arc<dyn ReadReport>> {
        let kinds = self.all.iter().cloned();
        kinds.map(|kind| kind as Arc<dyn ReadReport>).collect()
    }

    /// The routes of all of them.
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

    /// How files are sent to the first kind that takes any.
    pub(crate) fn intake(&self, lang: Lang) -> Option<Intake> {
        self.all.iter().find_map(|kind| kind.intake(lang))
    }

    /// Whether this route takes files, which may come for hours.
    pub(crate) fn takes_files(&self, route: &str) -> bool {
        self.uploads.contains(&route)
    }

    /// The names of their files of rejected rows.
    pub(crate) fn rejects(&self) -> impl Iterator<Item = &'static str> {
        self.all.iter().filter_map(|kind| kind.rejects())
    }

    /// The shape of a `report.json` of any of them.
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
