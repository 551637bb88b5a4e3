//! What is asked of a report, the newest or a job's own (`job=`): the public contract of 2025, and each part of the report under its own name.
//!
//! Every number is that of `report.json`. A city is called as in the report, or else differs by case, accents or
//! surrounding blanks only; a city or month that the report does not know has an empty answer.

mod answers;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::partial::ParType;
use autoconnect_jobs::sales::report::{Comparatif, Marge, Rotation, Saison, Tendance};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder, response};
use utoipa::{IntoParams, IntoResponses, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Shared;
use crate::params::Params;
use crate::problem::Problem;
pub(crate) use reader::{Answers, Reader, json, of_job};

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(villes))
        .routes(routes!(ca_mensuel))
        .routes(routes!(repartition))
        .routes(routes!(top_modeles))
        .routes(routes!(report))
        .routes(routes!(comparatif))
        .routes(routes!(saisonnalite))
        .routes(routes!(tendance))
        .routes(routes!(marge))
        .routes(routes!(rotation))
}

/// Which report.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfJob {
    /// The job whose report it is; the newest report without it.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
}

/// Which city.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfCity {
    /// The job whose report it is; the newest report without it.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
    /// A city; all without it.
    ville: Option<String>,
}

/// Which city and which month.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct OfCityAndMonth {
    /// The job whose report it is; the newest report without it.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
    /// A city; all without it.
    ville: Option<String>,
    /// A month, `YYYY-MM`; all without it.
    #[param(example = "2024-03")]
    mois: Option<String>,
}

/// Which city, and in numbers of what.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AsFormat {
    /// The job whose report it is; the newest report without it.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
    /// A city; all without it.
    ville: Option<String>,
    /// `percentage`: in percent of the city's transactions; the number of transactions without it.
    #[param(inline)]
    format: Option<Format>,
}

/// In numbers of what.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// In percent.
    Percentage,
}

/// The cities.
#[derive(Serialize, ToSchema)]
struct Villes<'r> {
    /// In the order of the report.
    villes: &'r [String],
}

/// Numbers of sales and of rentals by city; the document tells the two generic answers apart by these names.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes an answer")]
struct Numbers(BTreeMap<String, ParType<f64>>);

/// Margins of sales and of rentals by city.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes an answer")]
struct Margins(BTreeMap<String, ParType<Marge>>);

/// What a read answers where it does not answer the question.
pub(crate) struct Otherwise;

impl IntoResponses for Otherwise {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        let problem = || {
            let schema = Ref::from_schema_name("Problem");
            ContentBuilder::new().schema(Some(schema)).build()
        };
        let empty = |about: &str| ResponseBuilder::new().description(about).build();
        let told = |about: &str| {
            let response = ResponseBuilder::new().description(about);
            response.content("application/json", problem()).build()
        };
        [
            (
                "304",
                empty("The answer is the one that `If-None-Match` names"),
            ),
            (
                "400",
                told("A parameter that is unknown, given twice or malformed"),
            ),
            ("404", told("There is no report yet, or the job has none")),
        ]
        .map(|(status, response)| (status.to_owned(), response.into()))
        .into()
    }
}

/// The cities of the report.
#[utoipa::path(get, path = "/api/villes", tag = "report", params(OfJob),
    responses((status = 200, description = "The cities, sorted", body = Villes<'_>), Otherwise))]
async fn villes(_: Params<OfJob>, reader: Reader) -> Result<Response, Problem> {
    let make = |report: &Report| {
        json(&Villes {
            villes: &report.villes,
        })
    };
    reader.answer(move |edition| make(&edition.report)).await
}

/// CA by city and month, in euros: of sales and rentals together.
#[utoipa::path(get, path = "/api/ca-mensuel", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "CA by city and month, in euros",
        body = BTreeMap<String, BTreeMap<String, f64>>), Otherwise))]
async fn ca_mensuel(
    Params(asked): Params<OfCityAndMonth>,
    reader: Reader,
) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            let OfCityAndMonth { ville, mois, .. } = &asked;
            json(&answers::ca_mensuel(
                &edition.report,
                ville.as_deref(),
                mois.as_deref(),
            ))
        })
        .await
}

/// Sales and rentals of each city, as numbers or percentages of its transactions.
#[utoipa::path(get, path = "/api/repartition", tag = "report", params(AsFormat),
    responses((status = 200, description = "Sales and rentals by city",
        body = Numbers), Otherwise))]
async fn repartition(Params(asked): Params<AsFormat>, reader: Reader) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            let parts = answers::by_city(
                &edition.report,
                &edition.report.repartition,
                asked.ville.as_deref(),
            );
            match asked.format {
                None => json(&answers::each(parts, |part| part.nombre)),
                Some(Format::Percentage) => json(&answers::each(parts, |part| part.pourcentage)),
            }
        })
        .await
}

/// The five models with most transactions in each city, sales and rentals together, best first.
#[utoipa::path(get, path = "/api/top-modeles", tag = "report", params(OfCity),
    responses((status = 200, description = "The first five models by city, the best first",
        body = BTreeMap<String, BTreeMap<String, u64>>), Otherwise))]
async fn top_modeles(Params(asked): Params<OfCity>, reader: Reader) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            json(&answers::top_modeles(
                &edition.report,
                asked.ville.as_deref(),
            ))
        })
        .await
}

/// The whole report, byte for byte as `report.json`; or the part of it about a city or a month, where what cannot be told
/// by city or month stays whole.
#[utoipa::path(get, path = "/api/report", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "The report", body = Report), Otherwise))]
async fn report(
    Params(asked): Params<OfCityAndMonth>,
    reader: Reader,
) -> Result<Response, Problem> {
    if asked.ville.is_none() && asked.mois.is_none() {
        return Ok(reader.whole());
    }
    reader
        .answer(move |edition| {
            let ville = asked.ville.as_deref();
            let ville = ville.map(|name| answers::named(&edition.report, name));
            json(&edition.report.filtered(ville, asked.mois.as_deref()))
        })
        .await
}

/// The cities, ranked by CA.
///
/// As in `/api/report` with the same parameters: the report tells this of the whole period only, and it stays so with a `mois`.
#[utoipa::path(get, path = "/api/comparatif", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "The cities, by rank", body = Vec<Comparatif>), Otherwise))]
async fn comparatif(
    Params(asked): Params<OfCityAndMonth>,
    reader: Reader,
) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            json(&answers::comparatif(
                &edition.report,
                asked.ville.as_deref(),
            ))
        })
        .await
}

/// Seasonality of each city and, as `global`, of all together: change from month to month, index of each calendar month.
#[utoipa::path(get, path = "/api/saisonnalite", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "Seasonality by city, and `global`",
        body = BTreeMap<String, Saison>), Otherwise))]
async fn saisonnalite(
    Params(asked): Params<OfCityAndMonth>,
    reader: Reader,
) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            let OfCityAndMonth { ville, mois, .. } = &asked;
            json(&answers::saisonnalite(
                &edition.report,
                ville.as_deref(),
                mois.as_deref(),
            ))
        })
        .await
}

/// The trend of each city and, as `global`, of all together, with a forecast.
///
/// As in `/api/report` with the same parameters: the report tells this of the whole period only, and it stays so with a `mois`.
#[utoipa::path(get, path = "/api/tendance", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "The trend by city, and `global`",
        body = BTreeMap<String, Tendance>), Otherwise))]
async fn tendance(
    Params(asked): Params<OfCityAndMonth>,
    reader: Reader,
) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            let report = &edition.report;
            json(&answers::by_city(
                report,
                &report.tendance,
                asked.ville.as_deref(),
            ))
        })
        .await
}

/// Margins of each city, and whether their rate is assumed.
///
/// As in `/api/report` with the same parameters: the report tells this of the whole period only, and it stays so with a `mois`.
#[utoipa::path(get, path = "/api/marge", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "Margins by city",
        body = Margins), Otherwise))]
async fn marge(Params(asked): Params<OfCityAndMonth>, reader: Reader) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            let report = &edition.report;
            json(&answers::by_city(
                report,
                &report.marge,
                asked.ville.as_deref(),
            ))
        })
        .await
}

/// How long cars are rented in each city.
///
/// As in `/api/report` with the same parameters: the report tells this of the whole period only, and it stays so with a `mois`.
#[utoipa::path(get, path = "/api/rotation", tag = "report", params(OfCityAndMonth),
    responses((status = 200, description = "How long cars are rented, by city",
        body = BTreeMap<String, Rotation>), Otherwise))]
async fn rotation(
    Params(asked): Params<OfCityAndMonth>,
    reader: Reader,
) -> Result<Response, Problem> {
    reader
        .answer(move |edition| {
            let report = &edition.report;
            json(&answers::by_city(
                report,
                &report.rotation,
                asked.ville.as_deref(),
            ))
        })
        .await
}
