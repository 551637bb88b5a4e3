//! Middleware of all routes: host check, token, CORS, timeouts, security headers.
//!
//! * A `Host` that is neither an address nor a configured name is refused, against DNS rebinding.
//! * With a token, every request that changes something must carry it. Without one only this machine reaches the API (see
//!   [`Config::load`](crate::Config::load)), and cross-site writes are refused (CSRF).
//! * No request takes longer than [`ORDINARY`], except an upload, which must keep sending, and a stream of events.
//!
//! tower-http sets the headers of every response and catches panics. CORS and timeouts are implemented here: tower-http's CORS
//! layer answers the preflight of any origin with 200 and exposes the responses of writes too, and its timeout response has
//! no body, where every error here is a [`Problem`].

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autoconnect_common::settings;
use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::set_header::response::SetMultipleResponseHeadersLayer;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};

use crate::app::Shared;
use crate::body;
use crate::problem::Problem;

/// How long a request may take, except an upload: longer than any read, and as long as the part of a body may take.
pub const ORDINARY: Duration = Duration::from_secs(30);
/// The header in which a browser says whether a page of the same site sent a request.
const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Default headers of a response; a handler may override them.
const ALWAYS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (header::CACHE_CONTROL, "no-store"),
];

/// Wraps the routes in all of the middleware.
pub(crate) fn around(routes: Router, app: &Shared) -> Router {
    let always = ALWAYS.map(|(name, value)| (name, HeaderValue::from_static(value)).into());
    routes
        .fallback(crate::pages::nowhere)
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "Méthode non autorisée",
                "cette adresse attend une autre méthode\u{a0}: voyez l’en-tête Allow",
            )
        })
        .layer(DefaultBodyLimit::max(body::SMALL))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(app), stand))
        .layer(SetMultipleResponseHeadersLayer::if_not_present(
            always.to_vec(),
        ))
}

async fn stand(State(app): State<Shared>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let may_read = app.config.api.origin.as_deref();
    let reads_from_there = is_read(&method)
        && may_read.is_some()
        && text(request.headers(), header::ORIGIN) == may_read;
    let mut response = match preflight(&request, may_read) {
        Some(response) => response,
        None => match check(&app.config.api, &request) {
            Ok(()) => {
                let takes_files =
                    |route: &MatchedPath| app.config.kinds.takes_files(route.as_str());
                let is_upload = route.as_ref().is_some_and(takes_files);
                pass(is_upload, request, next).await
            }
            Err(problem) => problem.into_response(),
        },
    };
    let status = response.status();
    let headers = response.headers_mut();
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if may_read.is_some() {
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    if reads_from_there && let Some(origin) = may_read.and_then(|origin| origin.parse().ok()) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("etag"),
        );
    }
    let route = route.as_ref().map_or("other", MatchedPath::as_str);
    app.metrics
        .answered(route, &method, status, begun.elapsed());
    response
}

/// The response where a handler panics; the panic hook has logged the place.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    Problem::broken().into_response()
}

/// Passes a request on, and responds 408 where it takes longer than it may.
async fn pass(is_upload: bool, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let (body, rest) = body::patient(&parts.headers, body);
    let answering = next.run(Request::from_parts(parts, body));
    let answered = if is_upload {
        Ok(answering.await)
    } else {
        tokio::time::timeout(ORDINARY, answering).await
    };
    let response = match answered {
        Ok(response) => response,
        Err(_) => body::slow().into_response(),
    };
    if response.status().is_client_error() {
        rest.ignore().await;
    }
    response
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The response to a CORS preflight: pages of the configured origin may read.
fn preflight(request: &Request, may_read: Option<&str>) -> Option<Response> {
    let headers = request.headers();
    let asks = request.method() == Method::OPTIONS
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let origin =
        may_read.filter(|&origin| asks && text(headers, header::ORIGIN) == Some(origin))?;
    let allowed = [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "if-none-match"),
        (header::ACCESS_CONTROL_MAX_AGE, "600"),
    ];
    Some((StatusCode::NO_CONTENT, allowed).into_response())
}

/// Whether a request may be served at all.
fn check(api: &settings::Api, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let writes = !is_read(request.method()) && request.method() != Method::OPTIONS;
    // a request without a host comes from no browser, so it cannot be DNS rebinding
    let host = request.uri().authority().map(Authority::as_str);
    let host = host.or_else(|| text(headers, header::HOST));
    let is_told = |host: &HeaderValue| host.to_str().is_ok();
    if !headers.get(header::HOST).is_none_or(is_told)
        || !host.is_none_or(|host| is_known(host, &api.hosts))
    {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "Hôte inconnu",
            "l’en-tête Host porte un nom inconnu\u{a0}; utilisez localhost ou une adresse IP, ou configurez api.hosts",
        )
        .about("Host"));
    }
    if !writes {
        return Ok(());
    }
    let Some(token) = &api.token else {
        if comes_from_elsewhere(headers, host) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "Origine refusée",
                "une page d’un autre site ne peut rien modifier ici",
            )
            .about("Origin"));
        }
        return Ok(());
    };
    match bearer(headers) {
        Some(found) if bool::from(found.as_bytes().ct_eq(token.expose().as_bytes())) => Ok(()),
        _ => Err(Problem::unauthorized()),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}

/// Whether `host`, with or without a port, is an address, `localhost`, or one of `known`.
fn is_known(host: &str, known: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok()
        || host == "localhost"
        || host.ends_with(".localhost")
        || known.contains(&host)
}

/// Whether `Sec-Fetch-Site` or `Origin` says that a page of another site, or of an opaque origin (`null`), sent the request.
fn comes_from_elsewhere(headers: &HeaderMap, host: Option<&str>) -> bool {
    let site = headers.get(SITE).map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().ok().and_then(|origin| {
        let (_scheme, authority) = origin.split_once("://")?;
        Some(authority)
    });
    match (origin, host) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

impl Problem {
    fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Jeton requis",
            "cette requête doit porter l’en-tête Authorization: Bearer suivi du jeton configuré",
        )
        .about("Authorization")
    }

    pub(crate) fn broken() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Erreur interne",
            "une erreur est survenue\u{a0}; elle est notée dans le journal du serveur",
        )
    }
}

/// Adds the middleware's error responses to the OpenAPI document.
pub(crate) fn in_document(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        if let Some(read) = &mut item.get {
            answers(read, &BEFORE_ALL);
        }
        for write in [&mut item.post, &mut item.delete].into_iter().flatten() {
            answers(write, &BEFORE_ALL);
            answers(write, &BEFORE_WRITES);
            // the empty alternative makes the token optional in the document
            write.security = Some(vec![
                SecurityRequirement::default(),
                SecurityRequirement::new::<_, _, String>(TOKEN, []),
            ]);
        }
    }
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        TOKEN,
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    components
        .schemas
        .entry("Problem".to_owned())
        .or_insert_with(Problem::schema);
    document
}

/// The name of the security scheme in the document.
const TOKEN: &str = "token";

const BEFORE_ALL: [(u16, &str); 3] = [
    (408, "The request did not arrive in time"),
    (421, "The `Host` header has an unknown name"),
    (500, "An internal error; the server's log has its cause"),
];

const BEFORE_WRITES: [(u16, &str); 2] = [
    (401, "The token is missing or wrong"),
    (403, "The request comes from the page of another site"),
];

fn answers(operation: &mut Operation, statuses: &[(u16, &str)]) {
    for (status, meaning) in statuses {
        let problem = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let response = ResponseBuilder::new()
            .description(*meaning)
            .content("application/json", problem);
        operation
            .responses
            .responses
            .entry(status.to_string())
            .or_insert_with(|| response.build().into());
    }
}
