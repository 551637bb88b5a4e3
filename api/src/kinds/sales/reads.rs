//! The reads of a report: the public contract of 2025, and each part of the report under its own name.
//!
//! Every number is that of `report.json`. A city is called as in the report, or else differs by case, accents or
//! surrounding blanks only; a city or month that the report does not know has an empty answer.

use std::collections::BTreeMap;

use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::partial::ParType;
use autoconnect_jobs::sales::report::{Comparatif, Marge, Part, Rotation, Saison, Tendance};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, OpenApi as _, ToSchema, schema};
use utoipa_axum::router::OpenApiRouter;

use super::answers;
use super::{Held, Sales};
use crate::app::Shared;
use crate::problem::Problem;
use crate::reads::{About, OfJob, json, read};

/// The schemas that reads answer with.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Report, Marge, Part, Villes<'_>, Numbers, Margins)))]
struct Schemas;

/// What of the report does not depend on a month.
const WHOLE_PERIOD: &str = "As in `/api/report` with the same parameters: the report tells this of the whole period only, and it stays so with a `mois`.";

/// Which city.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfCity {
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
pub(super) struct OfCityAndMonth {
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
pub(super) struct AsFormat {
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

impl OfCityAndMonth {
    /// What of this part of the report is about the city.
    fn by_city<'r, T: Serialize>(
        &'r self,
        held: &'r Held,
        part: &'r BTreeMap<String, T>,
    ) -> Result<Bytes, Problem> {
        json(&answers::by_city(&held.report, part, self.ville.as_deref()))
    }
}

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<Shared> {
    let contract = contract_of_2025(OpenApiRouter::with_openapi(Schemas::openapi()));
    parts_by_city(contract.routes(read::<Sales, OfCityAndMonth>(
        About {
            path: "/api/report",
            summary: "The whole report, byte for byte as `report.json`; or the part of it about a city or a month, where what cannot be told\nby city or month stays whole.",
            description: "",
            answer: "The report",
            schema: schema!(Report).into(),
        },
        |held, asked| match (&asked.ville, &asked.mois) {
            (None, None) => Ok(held.bytes.clone()),
            (ville, mois) => {
                let ville = ville.as_deref();
                let ville = ville.map(|name| answers::named(&held.report, name));
                json(&held.report.filtered(ville, mois.as_deref()))
            }
        },
    )))
}

/// What the public API of 2025 answers.
fn contract_of_2025(routes: OpenApiRouter<Shared>) -> OpenApiRouter<Shared> {
    routes
        .routes(read::<Sales, OfJob>(
            About {
                path: "/api/villes",
                summary: "The cities of the report.",
                description: "",
                answer: "The cities, sorted",
                schema: schema!(Villes<'_>).into(),
            },
            |held, _| {
                json(&Villes {
                    villes: &held.report.villes,
                })
            },
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/ca-mensuel",
                summary: "CA by city and month, in euros: of sales and rentals together.",
                description: "",
                answer: "CA by city and month, in euros",
                schema: schema!(BTreeMap<String, BTreeMap<String, f64>>).into(),
            },
            |held, OfCityAndMonth { ville, mois, .. }| {
                let (ville, mois) = (ville.as_deref(), mois.as_deref());
                json(&answers::ca_mensuel(&held.report, ville, mois))
            },
        ))
        .routes(read::<Sales, AsFormat>(
            About {
                path: "/api/repartition",
                summary: "Sales and rentals of each city, as numbers or percentages of its transactions.",
                description: "",
                answer: "Sales and rentals by city",
                schema: schema!(Numbers).into(),
            },
            |held, asked| {
                let parts = &held.report.repartition;
                let parts = answers::by_city(&held.report, parts, asked.ville.as_deref());
                match asked.format {
                    None => json(&answers::each(parts, |part| part.nombre)),
                    Some(Format::Percentage) => {
                        json(&answers::each(parts, |part| part.pourcentage))
                    }
                }
            },
        ))
        .routes(read::<Sales, OfCity>(
            About {
                path: "/api/top-modeles",
                summary: "The five models with most transactions in each city, sales and rentals together, best first.",
                description: "",
                answer: "The first five models by city, the best first",
                schema: schema!(BTreeMap<String, BTreeMap<String, u64>>).into(),
            },
            |held, asked| json(&answers::top_modeles(&held.report, asked.ville.as_deref())),
        ))
}

/// The parts of the report, each as it stands there.
fn parts_by_city(routes: OpenApiRouter<Shared>) -> OpenApiRouter<Shared> {
    routes
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/comparatif",
                summary: "The cities, ranked by CA.",
                description: WHOLE_PERIOD,
                answer: "The cities, by rank",
                schema: schema!(Vec<Comparatif>).into(),
            },
            |held, asked| json(&answers::comparatif(&held.report, asked.ville.as_deref())),
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/saisonnalite",
                summary: "Seasonality of each city and, as `global`, of all together: change from month to month, index of each calendar month.",
                description: "",
                answer: "Seasonality by city, and `global`",
                schema: schema!(BTreeMap<String, Saison>).into(),
            },
            |held, OfCityAndMonth { ville, mois, .. }| {
                let (ville, mois) = (ville.as_deref(), mois.as_deref());
                json(&answers::saisonnalite(&held.report, ville, mois))
            },
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/tendance",
                summary: "The trend of each city and, as `global`, of all together, with a forecast.",
                description: WHOLE_PERIOD,
                answer: "The trend by city, and `global`",
                schema: schema!(BTreeMap<String, Tendance>).into(),
            },
            |held, asked| asked.by_city(held, &held.report.tendance),
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/marge",
                summary: "Margins of each city, and whether their rate is assumed.",
                description: WHOLE_PERIOD,
                answer: "Margins by city",
                schema: schema!(Margins).into(),
            },
            |held, asked| asked.by_city(held, &held.report.marge),
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/rotation",
                summary: "How long cars are rented in each city.",
                description: WHOLE_PERIOD,
                answer: "How long cars are rented, by city",
                schema: schema!(BTreeMap<String, Rotation>).into(),
            },
            |held, asked| asked.by_city(held, &held.report.rotation),
        ))
}
