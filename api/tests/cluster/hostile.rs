//! Whatever is asked, in whatever bytes: an answer below 500, and no file outside the data folder.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::site::Site;
use anyhow::{Context as _, Result};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

/// What the API's document does not have under `/api/`: pages, and the document itself.
const PAGES: &[&str] = &[
    "/",
    "/analyse",
    "/api/docs/{}",
    "/api/openapi.json",
    "/jobs/{}",
    "/metrics",
    "/resultats",
    "/resultats/tables/{}.csv",
    "/resultats/{}",
    "/resultats/{}/tables/{}.csv",
    "/static/{}",
    "/{}",
];

const PARAMETERS: &[&str] = &[
    "ville",
    "mois",
    "format",
    "page",
    "par_page",
    "motif",
    "status",
    "nom",
    "lang",
    "x",
    "job",
    "encoding",
    "periode",
    "accept_empty",
];

const NASTY: &[&str] = &[
    "",
    "..",
    "../../secret.csv",
    "/etc/passwd",
    "\0",
    "a\0.csv",
    "..\\secret.csv",
    "%2e%2e%2f",
    "secret.csv",
    "Lyon",
    "2024-03",
    "2024-99",
    "-1",
    "18446744073709551616",
    "1e308",
    "null",
    "été\u{301}\u{202e}",
    "' OR 1=1 --",
    "<script>",
    "${7*7}",
    "usual.csv",
];

const HEADERS: &[&str] = &[
    "Content-Type: application/json",
    "Content-Type: text/csv",
    "Content-Type: application/octet-stream",
    "Content-Type: multipart/form-data; boundary=XX",
    "Content-Type: multipart/form-data",
    "Content-Type: ; charset=",
    "Content-Type: text/csv; charset=\"",
    "X-Fichier: ../../secret.csv",
    "If-None-Match: W/\"x\", *",
    "Accept-Language: \u{e9}",
    "Cookie: lang=zz; lang=../..",
    "Range: bytes=9-1",
    "Origin: null",
    "Last-Event-ID: -1",
    "Transfer-Encoding: gzip",
    "Expect: 100-continue",
];

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        select(NASTY).prop_map(str::to_owned),
        "\\PC{0,12}",
        vec(any::<char>(), 0..40).prop_map(String::from_iter),
        (1usize..3_000).prop_map(|length| "a/".repeat(length)),
    ]
}

/// The stream that ends with its listener.
const ENDLESS: &str = "/api/activity/events";

/// Every route with an answer that ends, with `{}` where it has a parameter.
async fn routes(site: &Site) -> Result<Vec<String>> {
    let document = site.get("/api/openapi.json").await?.json()?;
    let paths = document["paths"].as_object().context("paths")?;
    let without_name = |part: &str| match part.starts_with('{') {
        true => "{}".to_owned(),
        false => part.to_owned(),
    };
    let ends = |path: &&String| path.starts_with("/api/") && *path != ENDLESS;
    let plain = paths.keys().filter(ends).map(|path| {
        let parts: Vec<String> = path.split('/').map(without_name).collect();
        parts.join("/")
    });
    Ok(plain
        .chain(PAGES.iter().map(|&page| page.to_owned()))
        .collect())
}

/// A target of a request: encoded, or as it comes but for what would end it.
fn target(routes: Vec<String>) -> impl Strategy<Value = String> {
    let query = vec((select(PARAMETERS), text()), 0..4);
    (select(routes), text(), query, any::<bool>()).prop_map(|(route, name, query, raw)| {
        let name = if raw {
            name.chars().filter(char::is_ascii_graphic).collect()
        } else {
            encoded(&name)
        };
        let query: Vec<String> = query
            .into_iter()
            .map(|(name, value)| format!("{name}={}", encoded(&value)))
            .collect();
        format!("{}?{}", route.replace("{}", &name), query.join("&"))
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        text().prop_map(|text| serde_json::json!({ "fichier": text })),
        vec(text(), 0..5).prop_map(|ids| serde_json::json!({ "ids": ids })),
        text().prop_map(|text| serde_json::json!([text, { "fichier": [1, null] }])),
    ];
    let form = (text(), text(), vec(any::<u8>(), 0..200)).prop_map(|(field, name, content)| {
        let mut form = format!(
            "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n"
        )
        .into_bytes();
        form.extend(content);
        form.extend_from_slice(b"\r\n--XX--\r\n");
        form
    });
    prop_oneof![
        Just(Vec::new()),
        vec(any::<u8>(), 0..300),
        json.prop_map(|json| json.to_string().into_bytes()),
        form,
        text().prop_map(String::into_bytes),
    ]
}

/// What is in a folder.
fn entries(place: &Path) -> Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(place)?.map(|entry| entry.map(|entry| entry.path()));
    Ok(entries.collect::<Result<_, _>>()?)
}

#[test]
fn whatever_is_asked_there_is_an_answer_below_500_and_no_file_elsewhere() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let site = runtime.block_on(Site::start())?;
    let place = site.place.path().to_owned();
    fs::copy(crate::site::shipped(), place.join("secret.csv"))?;
    std::os::unix::fs::symlink(place.join("secret.csv"), site.data().join("link.csv"))?;
    // the reads are of a report
    let job = runtime.block_on(async { site.post("/api/process", "", b"").await?.job() })?;
    runtime.block_on(site.follow(&job))?;
    let before = entries(&place)?;
    let requests = (
        select(&["GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT", "BREW"][..]),
        target(runtime.block_on(routes(&site))?),
        vec(select(HEADERS), 0..3),
        body(),
    );
    let config = Config {
        cases: 1500,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&requests, |(method, target, headers, body)| {
            let (line, headers) = (
                format!("{method} {target}"),
                headers.join(
                    "
",
                ),
            );
            let answer = runtime
                .block_on(site.ask(&line, &headers, &body))
                .map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
            prop_assert!((200..500).contains(&answer.status), "{answer:?}");
            Ok(())
        })
        .map_err(|failure| anyhow::anyhow!("{failure}"))?;
    anyhow::ensure!(entries(&place)? == before);
    let jobs = runtime.block_on(async { site.get("/api/jobs?par_page=500").await?.json() })?;
    for job in jobs["jobs"].as_array().into_iter().flatten() {
        let fichier = job["fichier"].as_str().unwrap_or_default();
        anyhow::ensure!(fichier != "link.csv" && !fichier.contains('/'), "{job}");
    }
    runtime.block_on(site.stop())
}

#[test]
fn bytes_that_are_no_request_harm_nobody() -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let site = runtime.block_on(Site::with(0, |_| ()))?;
    let config = Config {
        cases: 100,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&vec(any::<u8>(), 1..500), |mut bytes| {
            // a complete head, so that the server does not wait for more of it
            bytes.extend_from_slice(b"\r\n\r\n");
            if let Ok(answer) = runtime.block_on(site.say(&bytes)) {
                prop_assert!(answer.status < 500, "{answer:?}");
            }
            Ok(())
        })
        .map_err(|failure| anyhow::anyhow!("{failure}"))?;
    let answer = runtime.block_on(site.get("/healthz"))?;
    anyhow::ensure!(answer.status == 200);
    runtime.block_on(site.stop())
}
