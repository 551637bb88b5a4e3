//! Every read of a small report, through the router, against answers written by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use autoconnect_common::Shutdown;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::kind::REPORT;
use autoconnect_common::settings::Sources;
use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::mois::Mois;
use autoconnect_jobs::sales::partial::ParType;
use autoconnect_jobs::sales::report::{
    CaMois, Comparatif, Marge, Part, Prevision, Rotation, Saison, Tendance, Top, TopModele,
};
use autoconnect_report::fixed::Fixed;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode};
use tower::ServiceExt as _;
use utoipa_axum::router::OpenApiRouter;

use crate::app::{App, Config};
use crate::link::Link;

/// Something of each of two cities.
fn of<T>(lyon: T, nimes: T) -> BTreeMap<String, T> {
    BTreeMap::from([("Lyon".to_owned(), lyon), ("Nîmes".to_owned(), nimes)])
}

fn month(name: &str) -> Mois {
    name.parse().expect("a month")
}

/// Two cities, two months. Every number has its own value.
fn sample() -> Report {
    let ca = |vente, location| CaMois {
        vente: Fixed(vente),
        location: Fixed(location),
        total: Fixed(vente + location),
    };
    let by_month = |a, b| {
        let months = [("2024-01", a), ("2024-02", b)];
        BTreeMap::from(months.map(|(name, ca)| (month(name), ca)))
    };
    let part = |nombre, pourcentage| Part {
        nombre,
        pourcentage: Fixed(pourcentage),
        ca: Fixed(0),
    };
    let model = |modele: &str, nombre| TopModele {
        modele: modele.to_owned(),
        nombre,
        ca: Fixed(1),
    };
    let place = |rang, ville: &str, ca| Comparatif {
        rang,
        ville: ville.to_owned(),
        ca: Fixed(ca),
        part: Fixed(5000),
        transactions: 3,
        panier_moyen_vente: None,
        loyer_moyen: None,
        croissance_mensuelle: None,
        croissance_trimestrielle: None,
        ecart_a_la_moyenne: None,
    };
    let season = |change, index| Saison {
        variations: BTreeMap::from([(month("2024-02"), Some(Fixed(change)))]),
        indices: BTreeMap::from([(month("01"), None), (month("02"), Some(Fixed(index)))]),
    };
    let trend = |slope| Tendance {
        mois: ["2023-12", "2024-01", "2024-02"].map(str::to_owned),
        ca: [Fixed(1), Fixed(2), Fixed(3)],
        pente: Fixed(slope),
        ordonnee: Fixed(1),
        r2: None,
        prevision: Prevision {
            mois: "2024-03".to_owned(),
            ca: Fixed(4),
            en_cours: false,
        },
    };
    let mut report = Report {
        villes: vec!["Lyon".to_owned(), "Nîmes".to_owned()],
        ca_mensuel: of(
            by_month(ca(1_000_010, 5), ca(0, 0)),
            by_month(ca(0, 83_310), ca(250, 0)),
        ),
        repartition: of(
            ParType {
                vente: part(2, 6667),
                location: part(1, 3333),
            },
            ParType {
                vente: part(0, 0),
                location: part(3, 10_000),
            },
        ),
        top_modeles: of(
            Top {
                total: vec![model("Zoé", 9), model("Audi \"A1\"", 9), model("BMW", 2)],
                ..Top::default()
            },
            Top::default(),
        ),
        comparatif: vec![place(1, "Lyon", 1_000_015), place(2, "Nîmes", 83_560)],
        marge: of(
            ParType {
                vente: Marge {
                    taux_moyen: Some(Fixed(1200)),
                    hypothese: true,
                    ..Marge::default()
                },
                location: Marge::default(),
            },
            ParType::default(),
        ),
        rotation: of(
            Rotation {
                contrats: 1,
                ..Rotation::default()
            },
            Rotation {
                contrats: 3,
                duree_moyenne_mois: Some(Fixed(2450)),
                ..Rotation::default()
            },
        ),
        tendance: BTreeMap::from([
            ("Lyon".to_owned(), trend(-125)),
            ("global".to_owned(), trend(7)),
        ]),
        ..Report::default()
    };
    report.saisonnalite = of(season(-1250, 9950), season(0, 12_345));
    report
        .saisonnalite
        .insert("global".to_owned(), season(1, 10_000));
    report.periode.mois = vec!["2024-01".to_owned(), "2024-02".to_owned()];
    report
}

/// The API over a folder of results.
fn api(results: &Path) -> Router {
    let results = results.to_str().expect("a path in UTF-8");
    let sources = Sources::new(None, None, Vec::new()).flag("reducer.results", Some(results));
    let settings = sources.read(&autoconnect_jobs::registry().catalogue());
    let config = Config::load(&settings.expect("settings")).expect("settings");
    let link = Link::Embedded(Embedded::new());
    crate::router(&Arc::new(App::new(config, link, &Shutdown::new())))
}

struct Asked {
    folder: tempfile::TempDir,
    api: Router,
}

impl Asked {
    fn about(report: Option<&Report>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some(report) = report {
            let json = serde_json::to_vec(report).expect("JSON");
            std::fs::write(folder.path().join(REPORT), json).expect("written");
        }
        let api = api(folder.path());
        Self { folder, api }
    }

    async fn response(&self, path: &str, header: Option<(&str, &str)>) -> Response<Body> {
        let mut request = Request::get(path).header("host", "127.0.0.1");
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let request = request.body(Body::empty()).expect("a request");
        self.api.clone().oneshot(request).await.expect("answered")
    }

    async fn text(&self, path: &str) -> (StatusCode, String) {
        let response = self.response(path, None).await;
        let status = response.status();
        let body = to_bytes(response.into_body(), 1 << 20)
            .await
            .expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }
}

#[tokio::test]
async fn the_contract_of_2025_holds_to_the_byte() {
    let asked = Asked::about(Some(&sample()));
    for (path, expected) in [
        ("/api/villes", r#"{"villes":["Lyon","Nîmes"]}"#),
        (
            "/api/ca-mensuel",
            r#"{"Lyon":{"2024-01":10000.15,"2024-02":0},"Nîmes":{"2024-01":833.1,"2024-02":2.5}}"#,
        ),
        (
            "/api/ca-mensuel?ville=&mois=",
            r#"{"Lyon":{"2024-01":10000.15,"2024-02":0},"Nîmes":{"2024-01":833.1,"2024-02":2.5}}"#,
        ),
        (
            "/api/ca-mensuel?ville=Lyon",
            r#"{"Lyon":{"2024-01":10000.15,"2024-02":0}}"#,
        ),
        (
            "/api/ca-mensuel?ville=nimes&mois=2024-02",
            r#"{"Nîmes":{"2024-02":2.5}}"#,
        ),
        (
            "/api/ca-mensuel?mois=2024-01",
            r#"{"Lyon":{"2024-01":10000.15},"Nîmes":{"2024-01":833.1}}"#,
        ),
        ("/api/ca-mensuel?mois=2031-01", "{}"),
        ("/api/ca-mensuel?ville=Brest", "{}"),
        ("/api/ca-mensuel?ville=global", "{}"),
        (
            "/api/repartition",
            r#"{"Lyon":{"vente":2,"location":1},"Nîmes":{"vente":0,"location":3}}"#,
        ),
        (
            "/api/repartition?ville=%20LYON&format=percentage",
            r#"{"Lyon":{"vente":66.67,"location":33.33}}"#,
        ),
        ("/api/repartition?ville=Brest&format=percentage", "{}"),
        (
            "/api/top-modeles",
            r#"{"Lyon":{"Zoé":9,"Audi \"A1\"":9,"BMW":2},"Nîmes":{}}"#,
        ),
        ("/api/top-modeles?ville=Brest", "{}"),
    ] {
        assert_eq!(
            asked.text(path).await,
            (StatusCode::OK, expected.to_owned()),
            "{path}"
        );
    }
}

/// The paths of all reads.
fn reads() -> Vec<String> {
    let routes = super::reads::routes().merge(super::rejects::routes());
    let paths = routes.get_openapi().paths.paths.keys();
    paths.cloned().collect()
}

/// The keys of the report that are read under their own names.
fn parts() -> Vec<String> {
    let routes = super::reads::parts_by_city(OpenApiRouter::new());
    let paths = routes.get_openapi().paths.paths.keys();
    paths.map(|path| path.replacen("/api/", "", 1)).collect()
}

#[tokio::test]
async fn the_page_of_the_api_names_the_routes_of_its_document_and_no_others() {
    let page = include_str!("../../../../docs/api.md");
    let asked = Asked::about(None);
    let (_, text) = asked.text("/api/openapi.json").await;
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.contains_key("/api/report"), "{text}");
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let route = format!("`{} {path}`", method.to_uppercase());
            assert!(page.contains(&route), "docs/api.md does not name {route}");
        }
    }
    let mut named = 0;
    for code in page.split('`').filter(|code| code.contains(" /api/")) {
        let mut words = code.split_whitespace();
        let (Some(method @ ("GET" | "POST" | "DELETE")), Some(path)) = (words.next(), words.next())
        else {
            continue;
        };
        named += 1;
        let operation = &document["paths"][path][method.to_lowercase()];
        assert!(
            operation.is_object(),
            "docs/api.md names {code}, which is no route"
        );
    }
    assert!(named > 20, "{named} routes are named");
}

#[tokio::test]
async fn each_part_of_the_report_is_that_of_the_report() {
    let asked = Asked::about(Some(&sample()));
    let report = std::fs::read_to_string(asked.folder.path().join(REPORT)).expect("read");
    assert_eq!(
        asked.text("/api/report").await,
        (StatusCode::OK, report.clone())
    );
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    for key in parts() {
        let (status, text) = asked.text(&format!("/api/{key}")).await;
        let part: serde_json::Value = serde_json::from_str(&text).expect(&key);
        assert_eq!((status, &part), (StatusCode::OK, &report[&key]), "{key}");
        let (_, text) = asked.text(&format!("/api/{key}?ville=Brest")).await;
        let empty = if key == "comparatif" { "[]" } else { "{}" };
        assert_eq!(text, empty, "{key}");
    }
    for (path, expected) in [
        (
            "/api/saisonnalite?ville=lyon",
            r#"{"Lyon":{"variations":{"2024-02":-12.5},"indices":{"01":null,"02":99.5}}}"#,
        ),
        (
            "/api/saisonnalite?ville=global&mois=2024-02",
            r#"{"global":{"variations":{"2024-02":0.01},"indices":{"02":100}}}"#,
        ),
        (
            "/api/saisonnalite?ville=Lyon&mois=2024-01",
            r#"{"Lyon":{"variations":{},"indices":{"01":null}}}"#,
        ),
        ("/api/saisonnalite?mois=2031-02", "{}"),
        (
            "/api/tendance?ville=Lyon",
            r#"{"Lyon":{"mois":["2023-12","2024-01","2024-02"],"ca":[0.01,0.02,0.03],"pente":-1.25,"ordonnee":0.01,"r2":null,"prevision":{"mois":"2024-03","ca":0.04,"en_cours":false}}}"#,
        ),
        ("/api/tendance?ville=Nimes", "{}"),
        (
            "/api/rotation?ville=NIMES",
            r#"{"Nîmes":{"contrats":3,"duree_moyenne_mois":24.5,"rotations_par_an":null,"par_modele":{}}}"#,
        ),
        (
            "/api/rejets",
            r#"{"rejets":[],"page":1,"par_page":50,"total":0,"par_motif":{}}"#,
        ),
    ] {
        assert_eq!(
            asked.text(path).await,
            (StatusCode::OK, expected.to_owned()),
            "{path}"
        );
    }
    let (_, text) = asked.text("/api/report?ville=LYON&mois=2024-02").await;
    let part: Report = serde_json::from_str(&text).expect("a report");
    assert_eq!(part, sample().filtered(Some("Lyon"), Some("2024-02")));
    let part = serde_json::to_value(&part).expect("JSON");
    // of a month, seasonality has the index of its calendar month too
    for name in parts().into_iter().filter(|name| name != "saisonnalite") {
        let (_, text) = asked
            .text(&format!("/api/{name}?ville=lyon&mois=2024-02"))
            .await;
        let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(found, part[&name], "{name}");
    }
}

#[tokio::test]
async fn a_parameter_that_a_route_cannot_answer_is_refused_by_name() {
    let asked = Asked::about(Some(&sample()));
    for (path, champ) in [
        ("/api/villes?ville=Lyon", "ville"),
        ("/api/ca-mensuel?vile=Lyon", "vile"),
        ("/api/ca-mensuel?ville=Lyon&ville=Nice", "ville"),
        ("/api/repartition?format=xml", "format"),
        ("/api/top-modeles?mois=2024-01", "mois"),
        ("/api/rejets?page=0", "page"),
        ("/api/rejets?par_page=501", "par_page"),
        ("/api/rejets?motif=autre", "motif"),
    ] {
        let (status, text) = asked.text(path).await;
        let problem: serde_json::Value = serde_json::from_str(&text).expect(path);
        assert_eq!(
            (status, &problem["champ"]),
            (StatusCode::BAD_REQUEST, &champ.into()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn before_the_first_report_there_is_nothing_to_read() {
    let asked = Asked::about(None);
    for path in reads() {
        let (status, text) = asked.text(&path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(text.starts_with(r#"{"error":"Aucun résultat","#), "{text}");
    }
}

#[tokio::test]
async fn whoever_has_the_answer_is_not_sent_it_again() {
    let asked = Asked::about(Some(&sample()));
    for path in ["/api/ca-mensuel", "/api/report", "/api/rejets"] {
        let response = asked.response(path, None).await;
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.headers()["content-type"], "application/json");
        let etag = response.headers()["etag"]
            .to_str()
            .expect("a tag")
            .to_owned();
        let again = asked.response(path, Some(("if-none-match", &etag))).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(again.headers()["etag"], etag.as_str());
        let body = to_bytes(again.into_body(), 9).await.expect("a body");
        assert!(body.is_empty());
        let other = asked
            .response(path, Some(("if-none-match", "\"other\"")))
            .await;
        assert_eq!(other.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn the_document_names_every_read_and_its_page_loads_from_here_only() {
    let asked = Asked::about(None);
    let (status, text) = asked.text("/api/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    let document: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for path in reads() {
        let responses = &document["paths"][&path]["get"]["responses"];
        for status in ["200", "304", "400", "404"] {
            assert!(responses[status].is_object(), "{path} {status}");
        }
    }
    let schemas = &document["components"]["schemas"];
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().expect("a name");
        assert!(schemas[name].is_object(), "{name}");
    }
    let moved = asked.response("/api/docs", None).await;
    assert_eq!(moved.headers()["location"], "/api/docs/");
    let page = asked.response("/api/docs/", None).await;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .expect("text");
    assert!(policy.contains("script-src 'self';"), "{policy}");
    assert_eq!(
        asked.text("/api/docs/none.js").await.0,
        StatusCode::NOT_FOUND
    );
}
