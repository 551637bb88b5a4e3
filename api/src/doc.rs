//! The OpenAPI document, made from the annotations of the handlers, and Swagger UI, a page to read and try it.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use utoipa::OpenApi as _;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::Config;

use crate::app::Shared;
use crate::kinds::Kinds;
use crate::problem::Problem;

/// The route of the document.
const DOCUMENT: &str = "/api/openapi.json";
/// The route of a report of any kind.
const REPORT: &str = "/api/jobs/{id}/report";
/// The content security policy of Swagger UI: nothing from another host. Its script sets inline styles.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The document without its routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "AutoConnect",
        description = "The activity of the cluster, and the reports that its jobs made of files of sales and rentals. Every error is a `Problem`, in French.",
    ),
    servers((url = "/", description = "This server")),
    tags(
        (name = "report", description = "Read the newest report, or that of a job"),
        (name = "jobs", description = "Request a report, follow its job, cancel it"),
        (name = "activity", description = "The activity of the cluster, and its dead messages"),
        (name = "health", description = "For monitoring"),
    ),
)]
struct Start;

/// A router with the document without its routes.
pub(crate) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Start::openapi())
}

/// Allows the empty value, which counts as absent, for every parameter whose type is an enum.
fn with_empty_words(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.delete];
        let parameters = operations
            .into_iter()
            .flatten()
            .filter_map(|operation| operation.parameters.as_mut());
        for parameter in parameters.flatten() {
            if let RefOr::T(parameter) = parameter
                && let Some(RefOr::T(Schema::Object(words))) = &mut parameter.schema
                && let Some(words) = &mut words.enum_values
                && parameter.parameter_in == ParameterIn::Query
            {
                words.push("".into());
            }
        }
    }
    document
}

/// Describes the report of a job as that of any kind.
fn with_reports(mut document: OpenApi, kinds: &Kinds) -> OpenApi {
    let item = document.paths.paths.get_mut(REPORT);
    let answer = item.and_then(|item| item.get.as_mut()?.responses.responses.get_mut("200"));
    if let Some(RefOr::T(answer)) = answer
        && let Some(RefOr::T(content)) = answer.content.get_mut("application/json")
    {
        content.schema = Some(kinds.schema());
    }
    document
}

/// The routes of the document and of Swagger UI.
pub(crate) fn routes(document: OpenApi, kinds: &Kinds) -> Router<Shared> {
    let document = with_reports(with_empty_words(document), kinds);
    let json = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let config = Config::new([DOCUMENT])
        .validator_url("none")
        .try_it_out_enabled(true);
    let config = Arc::new(config);
    let page = {
        let config = Arc::clone(&config);
        move || asset("index.html", &config)
    };
    Router::new()
        .route(
            DOCUMENT,
            get(|| async move {
                let headers = [
                    (CONTENT_TYPE, "application/json"),
                    (CACHE_CONTROL, "no-cache"),
                ];
                (headers, json).into_response()
            }),
        )
        .route(
            "/api/docs",
            get(|| async { Redirect::permanent("/api/docs/") }),
        )
        .route("/api/docs/", get(|| async move { page() }))
        .route(
            "/api/docs/{file}",
            get(|Path(file): Path<String>| async move { asset(&file, &config) }),
        )
}

/// A file of Swagger UI.
fn asset(file: &str, config: &Arc<Config<'static>>) -> Result<Response, Problem> {
    let found = utoipa_swagger_ui::serve(file, Arc::clone(config))
        .ok()
        .flatten();
    let found = found.ok_or_else(|| Problem::not_found("cette page n’a pas de tel fichier"))?;
    let headers = [
        (CONTENT_TYPE, found.content_type.as_str()),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-cache"),
    ];
    let mut response = (headers, found.bytes.into_owned()).into_response();
    if found.gzpipped {
        let gzip = axum::http::HeaderValue::from_static("gzip");
        response.headers_mut().insert(CONTENT_ENCODING, gzip);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_openapi_3_1_and_names_our_version() {
        let document = serde_json::to_value(Start::openapi()).expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn the_page_loads_nothing_from_elsewhere() {
        let config = Arc::new(Config::new([DOCUMENT]));
        let page = utoipa_swagger_ui::serve("swagger-initializer.js", config).expect("served");
        let text = String::from_utf8(page.expect("a file").bytes.into_owned()).expect("UTF-8");
        assert!(text.contains(DOCUMENT) && !text.contains("http"), "{text}");
    }
}
