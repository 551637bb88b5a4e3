//! A kind of another crate: its read and its page are registered by one line.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use autoconnect_api::Shared;
use autoconnect_api::kinds::ApiKind;
use autoconnect_api::pages::report::ReportPage;
use autoconnect_api::reads::{About, OfJob, json, read};
use autoconnect_common::message::JobRequest;
use autoconnect_common::results::Accept;
use autoconnect_common::{Broker as _, JobKind as _};
use autoconnect_testkit::wordcount::{Report, Request, WordCount, Words};
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;
use utoipa::schema;
use utoipa_axum::router::OpenApiRouter;

use crate::site::{Site, soon};

/// The word count, as the API reads and shows it.
struct WordPage;

impl ApiKind for WordPage {
    type Job = WordCount;
    type Report = Report;

    fn open(&self, bytes: &Bytes, _: &Path) -> io::Result<Report> {
        Ok(serde_json::from_slice(bytes)?)
    }

    fn routes(self: Arc<Self>) -> OpenApiRouter<Shared> {
        let about = About {
            path: "/api/mots",
            summary: "How often each word occurs.",
            description: "",
            answer: "Occurrences by word",
            schema: schema!(Words).into(),
        };
        OpenApiRouter::new().routes(read::<Self, OfJob>(about, |report, _| json(&report.words)))
    }

    fn page(&self, page: ReportPage, report: &Report) -> Response {
        // a word is letters and digits: nothing in it is HTML
        let rows = report.words.iter();
        let rows = rows.map(|(word, count)| format!("<tr><th>{word}</th><td>{count}</td></tr>"));
        page.plain(
            "Mots",
            format!("<table>{}</table>", rows.collect::<String>()),
        )
    }
}

/// Asks for a count of the words of this text, and waits for its end.
async fn count(site: &Site, job: &str, text: &str) -> Result<()> {
    let file = site.data().join(format!("{job}.txt"));
    fs::write(&file, text)?;
    let request = Request {
        files: vec![file],
        chunk_lines: 1,
    };
    let request = JobRequest {
        job: job.parse()?,
        kind: WordCount::NAME.to_owned(),
        schema: WordCount::SCHEMA,
        request: serde_json::value::to_raw_value(&request)?,
        fingerprint: None,
        accept: Accept::default(),
    };
    site.broker.publish(request.to_message()?).await?;
    soon("the job to end", async {
        while !site
            .get(&format!("/api/job/{job}/status"))
            .await?
            .text()
            .contains("\"done\"")
        {
            tokio::task::yield_now().await;
        }
        Ok(())
    })
    .await?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_kind_has_its_read_its_page_and_its_place_in_the_list() -> Result<()> {
    let site = Site::with(1, |config| {
        config.kinds = std::mem::take(&mut config.kinds).with(WordPage);
    })
    .await?;
    let sold = site.post("/api/process", "", b"").await?.job()?;
    site.follow(&sold).await?;
    count(&site, "words-1", "un deux\ndeux\n").await?;
    count(&site, "words-2", "trois\n").await?;

    let words = |path: &'static str| async { site.get(path).await?.json() };
    ensure!(words("/api/mots").await? == json!({"trois": 1}));
    ensure!(words("/api/mots?job=words-1").await? == json!({"deux": 2, "un": 1}));
    let page = site.get("/resultats/words-1").await?.text();
    ensure!(page.contains("<th>deux</th><td>2</td>"), "{page}");
    let newest = site.get("/resultats/wordcount").await?.text();
    ensure!(newest.contains("<th>trois</th><td>1</td>"), "{newest}");
    ensure!(site.get("/resultats").await?.text().contains("Marseille"));

    // a read is of its own kind
    site.get("/api/villes?job=words-1")
        .await?
        .problem(404, Some("job"))?;
    site.get(&format!("/api/mots?job={sold}"))
        .await?
        .problem(404, Some("job"))?;
    let report = site.get("/api/jobs/words-1/report").await?;
    ensure!(
        report.status == 200 && report.json()?["lines"] == 2,
        "{report:?}"
    );
    let jobs = site.get("/api/jobs").await?.json()?;
    let kinds = jobs["jobs"].as_array().into_iter().flatten();
    let kinds: Vec<String> = kinds
        .map(|job| format!("{} {}", job["job_id"], job["kind"]))
        .collect();
    for expected in [
        ("words-1", "wordcount"),
        ("words-2", "wordcount"),
        (&sold, "sales"),
    ] {
        let expected = format!("\"{}\" \"{}\"", expected.0, expected.1);
        ensure!(kinds.contains(&expected), "{kinds:?}");
    }
    let document = site.get("/api/openapi.json").await?.json()?;
    ensure!(document["paths"]["/api/mots"]["get"]["responses"]["200"].is_object());
    site.stop().await
}
