//! The one shape of every error: `{"error", "detail", "champ"}`, in French, with the right status code.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The reason why a request was not served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    #[serde(skip)]
    status: StatusCode,
    /// What is wrong, in a few words; the same for every request with the same problem.
    error: &'static str,
    /// What was found and what was expected, in one sentence.
    detail: String,
    /// The parameter, header or part of the body that has the problem.
    champ: Option<String>,
}

impl Problem {
    /// A problem with this status code.
    pub fn new(status: StatusCode, error: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            error,
            detail: detail.into(),
            champ: None,
        }
    }

    /// 400: `champ` of the request cannot be used.
    pub fn bad(champ: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Requête invalide", detail).about(champ)
    }

    /// 404: the requested thing does not exist.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Introuvable", detail)
    }

    /// 404: there is no report yet.
    pub fn no_report() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Aucun résultat",
            "aucun rapport n’est encore disponible\u{a0}; lancez une analyse",
        )
    }

    /// 503: the broker, or a role behind it, does not answer.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Service indisponible",
            detail,
        )
    }

    /// The same, about this part of the request.
    #[must_use]
    pub fn about(mut self, champ: impl Into<String>) -> Self {
        self.champ = Some(champ.into());
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status, Json(self)).into_response()
    }
}
