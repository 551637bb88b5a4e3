//! The reads of a report: those of the public API of 2025, and one for each part of the report, under its name.
//!
//! Every number is that of `report.json`. The name of a city may differ from the report's in case, accents and surrounding
//! blanks; for a city or month that the report does not have, the answer is empty.

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

/// The schemas of the answers.
#[derive(utoipa::OpenApi)]
#[openapi(components(schemas(Report, Marge, Part, Villes<'_>, Numbers, Margins)))]
struct Schemas;

/// The description of a part of the report that does not depend on a month.
const WHOLE_PERIOD: &str = "The report has these figures for the whole period only: `mois` does not change them, as in `/api/report`.";

/// The parameters of a read by city.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfCity {
    /// The job whose report is read; the newest report where absent.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
    /// A city; every city where absent.
    ville: Option<String>,
}

/// The parameters of a read by city and month.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OfCityAndMonth {
    /// The job whose report is read; the newest report where absent.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
    /// A city; every city where absent.
    ville: Option<String>,
    /// A month, `YYYY-MM`; every month where absent.
    #[param(example = "2024-03")]
    mois: Option<String>,
}

/// The parameters of a read by city, in counts or percentages.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AsFormat {
    /// The job whose report is read; the newest report where absent.
    #[expect(dead_code, reason = "the reader takes it from the query")]
    job: Option<String>,
    /// A city; every city where absent.
    ville: Option<String>,
    /// `percentage`: in percent of the city's transactions; in numbers of transactions where absent.
    #[param(inline)]
    format: Option<Format>,
}

/// The unit of the numbers.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// Percent of the city's transactions.
    Percentage,
}

/// The cities.
#[derive(Serialize, ToSchema)]
struct Villes<'r> {
    /// The cities, in the order of the report.
    villes: &'r [String],
}

/// Numbers of sales and of rentals by city. The type only gives a generic answer a name in the OpenAPI document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes an answer")]
struct Numbers(BTreeMap<String, ParType<f64>>);

/// Margins of sales and of rentals by city, for the same reason.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it describes an answer")]
struct Margins(BTreeMap<String, ParType<Marge>>);

impl OfCityAndMonth {
    /// The values of `part` for the requested city.
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
            summary: "The whole report, byte for byte as `report.json`; with `ville` or `mois`, its part about that city or month.",
            description: "Figures that the report does not have by city or by month are those of the whole report.",
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

/// The reads of the public API of 2025.
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
                summary: "The CA (revenue) by city and month, in euros, sales and rentals together.",
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
                summary: "Sales and rentals of each city, in numbers or in percent of its transactions.",
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
                summary: "The five models with the most transactions in each city, sales and rentals together, best first.",
                description: "",
                answer: "The first five models by city, the best first",
                schema: schema!(BTreeMap<String, BTreeMap<String, u64>>).into(),
            },
            |held, asked| json(&answers::top_modeles(&held.report, asked.ville.as_deref())),
        ))
}

/// One read for each part of the report, as it is in `report.json`.
pub(super) fn parts_by_city(routes: OpenApiRouter<Shared>) -> OpenApiRouter<Shared> {
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
                summary: "The seasonality of each city and, as `global`, of all cities: the change from month to month, and the index of each calendar month.",
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
                summary: "The trend of each city and, as `global`, of all cities, with a forecast.",
                description: WHOLE_PERIOD,
                answer: "The trend by city, and `global`",
                schema: schema!(BTreeMap<String, Tendance>).into(),
            },
            |held, asked| asked.by_city(held, &held.report.tendance),
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/marge",
                summary: "The margins of each city, and whether their rate is an assumption.",
                description: WHOLE_PERIOD,
                answer: "Margins by city",
                schema: schema!(Margins).into(),
            },
            |held, asked| asked.by_city(held, &held.report.marge),
        ))
        .routes(read::<Sales, OfCityAndMonth>(
            About {
                path: "/api/rotation",
                summary: "The rental durations of each city.",
                description: WHOLE_PERIOD,
                answer: "Rental durations by city",
                schema: schema!(BTreeMap<String, Rotation>).into(),
            },
            |held, asked| asked.by_city(held, &held.report.rotation),
        ))
}
