//! Describes, routes and answers a read of a report, the newest of its kind or a job's own (`job=`).
//!
//! A kind's reads are calls of [`read`]. serde and the OpenAPI document share one struct with the parameters of the query.

mod reader;

use std::collections::BTreeMap;

use axum::routing::{MethodFilter, on};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, ParameterIn, Paths};
use utoipa::openapi::{
    ContentBuilder, Ref, RefOr, ResponseBuilder, ResponsesBuilder, Schema, response,
};
use utoipa::{IntoParams, IntoResponses};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::app::Shared;
use crate::kinds::ApiKind;
use crate::params::Params;
use crate::problem::Problem;
use bytes::Bytes;
pub use reader::{Reader, json};
pub(crate) use reader::{of_job, whole};

/// The description of a read in the OpenAPI document.
pub struct About {
    /// The path of the read, `/api/…`.
    pub path: &'static str,
    /// The content of the answer, in one sentence.
    pub summary: &'static str,
    /// More sentences; empty where there are none.
    pub description: &'static str,
    /// The description of the response 200, in a few words.
    pub answer: &'static str,
    /// The schema of the answer: `utoipa::schema!(…)`.
    pub schema: RefOr<Schema>,
}

/// A read of the reports of kind `K` with the query `Q`. `make` makes the answer, on a thread where it may block.
///
/// `Q` has a parameter `job` that the read itself takes from the query: the job whose report is read instead of the newest.
pub fn read<K: ApiKind, Q>(
    about: About,
    make: fn(&K::Report, &Q) -> Result<Bytes, Problem>,
) -> UtoipaMethodRouter<Shared>
where
    Q: DeserializeOwned + IntoParams + Send + 'static,
{
    let name = about.path.rsplit('/').next().unwrap_or_default();
    let answer = ContentBuilder::new().schema(Some(about.schema)).build();
    let answer = ResponseBuilder::new()
        .description(about.answer)
        .content("application/json", answer);
    let responses = ResponsesBuilder::new()
        .response("200", answer)
        .responses_from_into_responses::<Otherwise>();
    let operation = OperationBuilder::new()
        .operation_id(Some(name.replace('-', "_")))
        .tag("report")
        .summary(Some(about.summary))
        .description(Some(about.description).filter(|more| !more.is_empty()))
        .parameters(Some(Q::into_params(|| Some(ParameterIn::Query))))
        .responses(responses.build());
    let mut paths = Paths::new();
    paths.add_path_operation(about.path, vec![HttpMethod::Get], operation.build());
    let handler = async move |Params(asked): Params<Q>, reader: Reader<K>| {
        reader.answer(move |report| make(report, &asked)).await
    };
    (Vec::new(), paths, on(MethodFilter::GET, handler))
}

/// The parameters of a read that has no others.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OfJob {
    /// The job whose report is read; the newest report where absent.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
}

/// The other responses of a read than 200, as the OpenAPI document describes them.
pub struct Otherwise;

impl IntoResponses for Otherwise {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let problem = || {
            let schema = Ref::from_schema_name("Problem");
            ContentBuilder::new().schema(Some(schema)).build()
        };
        let empty = |about: &str| ResponseBuilder::new().description(about).build();
        let problem_of = |about: &str| {
            let response = ResponseBuilder::new().description(about);
            response.content("application/json", problem()).build()
        };
        [
            (
                "304",
                empty("Not modified since the response whose `ETag` is in `If-None-Match`"),
            ),
            (
                "400",
                problem_of("A parameter that is unknown, given twice or malformed"),
            ),
            (
                "404",
                problem_of("There is no report yet, or the job has none"),
            ),
        ]
        .map(|(status, response)| (status.to_owned(), response.into()))
        .into()
    }
}
