//! What changes something, over a whole cluster in this process: files that are named or come along, jobs to their end,
//! cancellations, dead messages; and who may not.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use crate::site::{Site, shipped, soon};
use anyhow::{Context, Result, ensure};
use autoconnect_api::link::Link;
use autoconnect_api::streams::STREAMS;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::bury;
use autoconnect_common::settings::Secret;
use autoconnect_common::{Chunk, JobKind as _, Seq};
use autoconnect_jobs::sales::Sales;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const JSON: &str = "Content-Type: application/json";
const CSV: &str = "Content-Type: text/csv";
const FORM: &str = "Content-Type: multipart/form-data; boundary=XX";

/// A form with one file.
fn form(field: &str, name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(b"\r\n--XX--\r\n");
    body
}

/// The names of the files that the newest report is about.
fn reported(site: &Site) -> Result<Value> {
    let report = fs::read(site.place.path().join("results/report.json"))?;
    let report: Value = serde_json::from_slice(&report)?;
    Ok(report["source"]["fichiers"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_name_a_file_ends_with_a_report_on_it() -> Result<()> {
    let site = Site::start().await?;
    let content = fs::read(shipped())?;
    fs::create_dir(site.data().join("mai"))?;
    fs::write(site.data().join("mai/ventes mai.csv"), &content)?;
    let named = json!({"fichier": "mai/ventes mai.csv"}).to_string();
    let requests: [(&str, &str, Vec<u8>, &str); 9] = [
        ("/api/process", "", vec![], "usual.csv"),
        ("/api/process", JSON, vec![], "usual.csv"),
        ("/api/process", JSON, b" {}".to_vec(), "usual.csv"),
        (
            "/api/process",
            JSON,
            b"{\"fichier\": null}".to_vec(),
            "usual.csv",
        ),
        ("/api/process", JSON, named.into_bytes(), "ventes mai.csv"),
        (
            "/api/process",
            FORM,
            form("fichier", "ventes été.csv", &content),
            "ventes_été.csv",
        ),
        ("/api/process?nom=a%2Fb.csv", CSV, content.clone(), "b.csv"),
        (
            "/api/process",
            "Content-Type: application/octet-stream\r\nX-Fichier: c.tsv",
            content.clone(),
            "c.tsv",
        ),
        (
            "/api/process",
            "Content-Type: text/csv; charset=utf-8",
            content,
            "envoi.csv",
        ),
    ];
    for (path, headers, body, name) in requests {
        let job = site.post(path, headers, &body).await?.job()?;
        let events = site.follow(&job).await?;
        let (last, view) = events.last().context("events")?;
        ensure!(last == "finished", "{events:?}");
        ensure!(
            view["job_id"] == job.as_str() && view["status"] == "done",
            "{view}"
        );
        ensure!(view["fichier"] == name, "{name}: {view}");
        ensure!(view["progress"]["percentage"] == 100.0, "{view}");
        ensure!(reported(&site)? == json!([name]), "{}", reported(&site)?);
        let told = site.get(&format!("/api/job/{job}/status")).await?.json()?;
        ensure!(
            told["status"] == "done" && told["rows"] == view["rows"],
            "{told}"
        );
    }
    site.swept().await?;
    let told = site.get("/api/jobs?par_page=4&page=2").await?.json()?;
    ensure!(
        told["total"] == 9 && told["page"] == 2 && told["par_page"] == 4,
        "{told}"
    );
    ensure!(
        told["jobs"].as_array().is_some_and(|jobs| jobs.len() == 4),
        "{told}"
    );
    let newest = &site.get("/api/jobs").await?.json()?["jobs"][0];
    ensure!(newest["fichier"] == "envoi.csv", "{newest}");
    let told = site.get("/api/jobs?status=failed").await?.json()?;
    ensure!(told["total"] == 0, "{told}");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_table_fails_its_job_and_is_removed() -> Result<()> {
    let site = Site::start().await?;
    let job = site.post("/api/process", CSV, b"\0\x01\x02").await?.job()?;
    let events = site.follow(&job).await?;
    let (last, view) = events.last().context("events")?;
    ensure!(last == "failed" && view["status"] == "failed", "{events:?}");
    ensure!(view["reason"].is_string(), "{view}");
    site.swept().await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn events_begin_with_how_it_is_and_end_with_the_end() -> Result<()> {
    let site = Site::start().await?;
    let job = site.post("/api/process", "", b"").await?.job()?;
    let events = site.follow(&job).await?;
    let (last, before) = events.split_last().context("events")?;
    ensure!(last.0 == "finished");
    ensure!(
        before.iter().all(|(name, _)| name == "progress"),
        "{before:?}"
    );
    let percentages = events
        .iter()
        .map(|(_, view)| view["progress"]["percentage"].as_f64());
    ensure!(percentages.is_sorted(), "{events:?}");
    // a later listener receives only the end
    let events = site.follow(&job).await?;
    ensure!(events.len() == 1 && events[0].0 == "finished", "{events:?}");
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_once() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let job = site
        .post("/api/process", CSV, &fs::read(shipped())?)
        .await?
        .job()?;
    let delete = format!("DELETE /api/jobs/{job}");
    let answer = site.ask(&delete, "", b"").await?;
    ensure!(
        answer.status == 202 && answer.json()?["job_id"] == job.as_str(),
        "{answer:?}"
    );
    let events = site.follow(&job).await?;
    let (last, view) = events.last().context("events")?;
    ensure!(
        last == "failed" && view["status"] == "cancelled",
        "{events:?}"
    );
    site.ask(&delete, "", b"").await?.problem(409, Some("id"))?;
    site.swept().await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_is_not_found() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let long = "a".repeat(5_000);
    for id in [
        "00000000-0000-4000-8000-000000000000",
        "..%2F..%2Fetc%2Fpasswd",
        "%00",
        "%FF",
        "A",
        "%C3%A9",
        &long,
    ] {
        for line in [
            format!("GET /api/job/{id}/status"),
            format!("GET /api/jobs/{id}/events"),
            format!("DELETE /api/jobs/{id}"),
        ] {
            let answer = site.ask(&line, "", b"").await?;
            answer.problem(404, Some("id")).with_context(|| line)?;
        }
    }
    for path in ["/api/nothing", "/api", "/api/job/../../etc/passwd"] {
        site.get(path).await?.problem(404, None)?;
    }
    ensure!(site.get("/%2e%2e/etc/passwd").await?.status == 404);
    for line in [
        "GET /api/process",
        "POST /api/jobs",
        "PUT /api/dead",
        "TRACE /api/jobs",
    ] {
        let answer = site.ask(line, "", b"").await?;
        answer.problem(405, None).with_context(|| line)?;
        ensure!(answer.header("allow").is_some(), "{line}: {answer:?}");
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_outside_the_data_folder_is_ever_named() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let data = site.data();
    let secret = site.place.path().join("secret.csv");
    fs::copy(shipped(), &secret)?;
    fs::create_dir(data.join("folder"))?;
    std::os::unix::fs::symlink(&secret, data.join("link.csv"))?;
    std::os::unix::fs::symlink(site.place.path(), data.join("out"))?;
    let absolute = secret.to_str().context("UTF-8")?;
    let long = "a/".repeat(20_000) + "a";
    for (fichier, status) in [
        ("", 400),
        ("../secret.csv", 400),
        ("folder/../../secret.csv", 400),
        ("./../secret.csv", 400),
        (absolute, 400),
        ("/etc/passwd", 400),
        ("usual.csv\0", 400),
        (".", 400),
        ("..", 400),
        ("link.csv", 404),
        ("out/secret.csv", 404),
        ("out/data/../secret.csv", 400),
        ("folder", 404),
        ("-", 404),
        ("nothing.csv", 404),
        ("..%2Fsecret.csv", 404),
        ("\\..\\secret.csv", 404),
        ("file:///etc/passwd", 404),
        ("usual.csv/", 404),
        (&long, 404),
    ] {
        let body = json!({ "fichier": fichier }).to_string();
        let answer = site.post("/api/process", JSON, body.as_bytes()).await?;
        answer
            .problem(status, Some("fichier"))
            .with_context(|| fichier.chars().take(50).collect::<String>())?;
    }
    for body in [
        "[]",
        "null",
        "1",
        "{\"fichier\": 1}",
        "{\"file\": \"a\"}",
        "{",
        "\"usual.csv\"",
        "\u{feff}{}",
    ] {
        let answer = site.post("/api/process", JSON, body.as_bytes()).await?;
        answer.problem(400, Some("corps")).context(body)?;
    }
    ensure!(site.get("/api/jobs").await?.json()?["total"] == 0);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_lies_in_a_folder_of_its_own_whatever_its_name() -> Result<()> {
    // no producer cuts it, so it stays
    let site = Site::over_nobody().await?;
    for name in [
        "../../../../tmp/x.csv",
        "/etc/cron.d/x",
        "..",
        "a\\..\\..\\b.csv",
        ".htaccess",
        "%2e%2e%2fx.csv",
        "\u{202e}vsc.exe",
        &"x".repeat(3_000),
    ] {
        let body = form("fichier", name, b"id\n");
        site.post("/api/process", FORM, &body).await?.job()?;
    }
    let uploads = site.uploads();
    ensure!(uploads.len() == 8, "{uploads:?}");
    for folder in uploads {
        let files: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
        ensure!(files.len() == 1, "{files:?}");
        let name = files[0].file_name().into_string().ok().context("UTF-8")?;
        ensure!(
            name.len() <= 80 && !name.starts_with('.') && name.ends_with(".csv"),
            "{name}"
        );
        ensure!(fs::read(files[0].path())? == b"id\n");
    }
    site.stop().await
}

impl Site {
    /// An API whose queues have no consumers.
    async fn over_nobody() -> Result<Self> {
        let broker = Embedded::new();
        Self::over(Link::Embedded(broker.clone()), broker, |_| ()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_no_file_leaves_nothing_behind() -> Result<()> {
    let site = Site::with(0, |config| config.api.max_upload = 100_000).await?;
    let large = vec![b'a'; 300_000];
    let chunked = |content: &[u8]| {
        let mut body = Vec::new();
        for piece in content.chunks(10_000) {
            let _ = write!(body, "{:x}\r\n", piece.len());
            body.extend_from_slice(piece);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"0\r\n\r\n");
        body
    };
    let in_chunks = |headers: &str| format!("{headers}\r\nTransfer-Encoding: chunked");
    for (headers, body, status, champ) in [
        (CSV.to_owned(), large.clone(), 413, "corps"),
        (in_chunks(CSV), chunked(&large), 413, "corps"),
        (
            FORM.to_owned(),
            form("fichier", "a.csv", &large),
            413,
            "corps",
        ),
        (
            in_chunks(FORM),
            chunked(&form("fichier", "a.csv", &large)),
            413,
            "corps",
        ),
        (
            FORM.to_owned(),
            form("autre", "a.csv", &large[..9]),
            400,
            "autre",
        ),
        (
            in_chunks(FORM),
            chunked(&form("encoding", "a.csv", &vec![b'a'; 2 << 20])),
            413,
            "corps",
        ),
        // the head of a part that never ends
        (
            in_chunks(FORM),
            chunked(&form(&"a".repeat(2 << 20), "a.csv", b"id")),
            413,
            "corps",
        ),
        (
            FORM.to_owned(),
            form("fichier", "a.csv", b""),
            400,
            "fichier",
        ),
        (FORM.to_owned(), b"--XX\r\n".to_vec(), 400, "corps"),
        (FORM.to_owned(), b"id\n1\n".to_vec(), 400, "corps"),
        (
            "Content-Type: multipart/form-data".to_owned(),
            b"id".to_vec(),
            400,
            "Content-Type",
        ),
        (JSON.to_owned(), vec![b' '; 70_000], 413, "corps"),
        (in_chunks(CSV), chunked(b""), 400, "fichier"),
        (
            "Content-Type: text/html".to_owned(),
            b"id".to_vec(),
            415,
            "Content-Type",
        ),
        (String::new(), b"id\n1\n".to_vec(), 415, "Content-Type"),
        (
            format!("{CSV}\r\nContent-Encoding: gzip"),
            b"id".to_vec(),
            415,
            "Content-Encoding",
        ),
    ] {
        let answer = site.post("/api/process", &headers, &body).await?;
        answer
            .problem(status, Some(champ))
            .with_context(|| headers.clone())?;
    }
    site.post("/api/process?name=a", CSV, b"id")
        .await?
        .problem(400, Some("name"))?;
    ensure!(site.uploads().is_empty(), "{:?}", site.uploads());
    ensure!(site.get("/api/jobs").await?.json()?["total"] == 0);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_whose_client_leaves_is_removed() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    for headers in [CSV, FORM] {
        let mut stream = TcpStream::connect(site.address).await?;
        let head = format!(
            "POST /api/process HTTP/1.1\r\nHost: localhost\r\n{headers}\r\nContent-Length: 1000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let body = form("fichier", "a.csv", &[b'a'; 100_000]);
        stream.write_all(&body[..90_000]).await?;
        soon("the upload to begin", async {
            while site.uploads().is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await?;
        drop(stream);
        site.swept().await?;
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_nothing_is_started_and_nothing_is_kept() -> Result<()> {
    let link = RabbitMq::connect(Options {
        uris: vec!["amqp://nobody@127.0.0.1:1/none".to_owned()],
        ca: None,
        name: "api".to_owned(),
        declare: false,
        formats: Vec::new(),
        passing: false,
        prefix: String::new(),
        ..Options::default()
    })?;
    let site = Site::over(Link::RabbitMq(link), Embedded::new(), |_| ()).await?;
    site.post("/api/process", CSV, b"id\n")
        .await?
        .problem(503, None)?;
    ensure!(site.uploads().is_empty());
    site.get("/api/dead").await?.problem(503, None)?;
    site.get("/readyz").await?.problem(503, Some("broker"))?;
    ensure!(site.get("/healthz").await?.status == 200);
    ensure!(
        site.get("/metrics")
            .await?
            .text()
            .contains("\nautoconnect_broker_up 0\n")
    );
    ensure!(site.get("/api/jobs").await?.json()?["total"] == 0);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_writes_must_bear_it_and_reads_need_not() -> Result<()> {
    const GOOD: &str = "0123456789abcdef";
    let site = Site::with(0, |config| config.api.token = Some(Secret::new(GOOD))).await?;
    for (line, status) in [
        ("POST /api/process", 202),
        ("DELETE /api/jobs/none", 404),
        ("POST /api/dead/requeue", 415),
    ] {
        for header in [
            String::new(),
            "Authorization: Bearer 0123456789abcdeg".to_owned(),
            "Authorization: Bearer".to_owned(),
            format!("Authorization: Basic {GOOD}"),
            format!("Authorization: Bearer {GOOD}0"),
        ] {
            let answer = site.ask(line, &header, b"").await?;
            answer.problem(401, Some("Authorization"))?;
            ensure!(answer.header("www-authenticate") == Some("Bearer"));
        }
        let answer = site
            .ask(line, &format!("Authorization: bearer {GOOD}"), b"")
            .await?;
        ensure!(answer.status == status, "{line}: {answer:?}");
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_configured_is_refused_with_a_token_too() -> Result<()> {
    let site = Site::with(0, |config| {
        config.api.token = Some(Secret::new("0123456789abcdef"));
        config.api.hosts = vec!["api.example".to_owned()];
    })
    .await?;
    for (host, status) in [
        ("api.example", 200),
        ("API.example:5000", 200),
        ("192.0.2.1:5000", 200),
        ("localhost", 200),
        ("evil.example", 421),
        ("not-api.example", 421),
    ] {
        let answer = site
            .ask("GET /api/jobs", &format!("Host: {host}"), b"")
            .await?;
        ensure!(answer.status == status, "{host}: {answer:?}");
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_other_sites_and_other_names_are_refused() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let own = site.address;
    for (line, headers, status) in [
        ("GET /healthz", "Host: localhost:5000", 200),
        ("GET /healthz", "Host: app.localhost", 200),
        ("GET /healthz", "Host: [::1]:5000", 200),
        ("GET /healthz", "Host: 127.0.0.1", 200),
        ("GET /healthz", "Host: evil.example", 421),
        ("GET /healthz", "Host: localhost.evil.example", 421),
        ("GET /healthz", "Host: localhost@evil.example", 421),
        ("GET /healthz", "Host: 192.0.2.1", 200),
        ("GET /healthz", "Host: ", 421),
        ("GET http://evil.example/healthz", "Host: localhost", 421),
        (
            "POST /api/process",
            "Host: localhost\r\nOrigin: http://localhost",
            202,
        ),
        (
            "POST /api/process",
            "Host: localhost:80\r\nOrigin: http://localhost:81",
            403,
        ),
        (
            "POST /api/process",
            "Host: localhost\r\nOrigin: https://evil.example",
            403,
        ),
        ("POST /api/process", "Host: localhost\r\nOrigin: null", 403),
        ("POST /api/process", "Sec-Fetch-Site: cross-site", 403),
        ("POST /api/process", "Sec-Fetch-Site: same-site", 403),
        ("POST /api/process", "Sec-Fetch-Site: same-origin", 202),
        ("POST /api/process", "Sec-Fetch-Site: none", 202),
        ("GET /healthz", "Sec-Fetch-Site: cross-site", 200),
    ] {
        let answer = site.ask(line, headers, b"").await?;
        ensure!(answer.status == status, "{line} {headers}: {answer:?}");
        ensure!(answer.header("access-control-allow-origin").is_none());
    }
    let bound = format!("Host: {own}\r\nOrigin: http://{own}");
    ensure!(site.post("/api/process", &bound, b"").await?.status == 202);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_configured_origin_may_read_and_no_more() -> Result<()> {
    let origin = "https://pages.example";
    let site = Site::with(0, |config| config.api.origin = Some(origin.to_owned())).await?;
    let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST");
    let answer = site.ask("OPTIONS /api/process", &preflight, b"").await?;
    ensure!(answer.status == 204, "{answer:?}");
    ensure!(answer.header("access-control-allow-methods") == Some("GET, HEAD"));
    let answer = site
        .ask("GET /healthz", &format!("Origin: {origin}"), b"")
        .await?;
    ensure!(answer.header("access-control-allow-origin") == Some(origin));
    ensure!(answer.header("vary") == Some("origin"));
    let answer = site
        .ask("GET /healthz", "Origin: https://other.example", b"")
        .await?;
    ensure!(answer.header("access-control-allow-origin").is_none());
    let answer = site
        .post("/api/process", &format!("Origin: {origin}"), b"")
        .await?;
    ensure!(answer.status == 403);
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_bears_what_keeps_a_browser_safe() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    for path in ["/healthz", "/api/nothing", "/api/jobs"] {
        let answer = site.get(path).await?;
        let csp = answer
            .header("content-security-policy")
            .context("a policy")?;
        ensure!(
            csp.starts_with("default-src 'none'; script-src 'self';") && !csp.contains("unsafe")
        );
        ensure!(answer.header("x-content-type-options") == Some("nosniff"));
        ensure!(answer.header("x-frame-options") == Some("DENY"));
        ensure!(answer.header("cross-origin-resource-policy") == Some("same-origin"));
        ensure!(answer.header("referrer-policy").is_some());
        ensure!(answer.header("server").is_none());
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_or_too_long_is_refused_and_harms_nobody() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    for (request, status) in [
        (
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{many}\r\n"),
            431,
        ),
        (
            format!(
                "GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n",
                "a".repeat(100_000)
            ),
            414,
        ),
        ("GET / HTTP/9\r\n\r\n".to_owned(), 400),
        ("\u{0}\u{1}\r\n\r\n".to_owned(), 400),
    ] {
        let answer = site.say(request.as_bytes()).await?;
        ensure!((400..500).contains(&answer.status), "{status}: {answer:?}");
    }
    ensure!(site.get("/healthz").await?.status == 200);
    site.stop().await
}

fn chunk(job: &str, number: u32) -> Result<Chunk> {
    Ok(Chunk {
        job: job.parse()?,
        kind: Sales::NAME.to_owned(),
        schema: Sales::SCHEMA,
        seq: Seq::first_part(number),
        key: "lyon".to_owned(),
        rows: 3,
        body: format!("rows of {job}/{number}").into(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_messages_are_listed_and_sent_once_more_while_their_job_waits() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    ensure!(site.get("/readyz").await.is_ok());
    let mut odd = bury(chunk("open-1", 1)?.to_message(), "odd");
    odd.headers.remove("kind");
    for message in [
        bury(chunk("open-1", 0)?.to_message(), "boom"),
        odd,
        bury(chunk("ended-1", 0)?.to_message(), "boom"),
    ] {
        site.broker.publish(message).await?;
    }
    let cancel = site.follow_until_known("ended-1").await?;
    ensure!(cancel.status == 202, "{cancel:?}");
    let _ended = site.follow("ended-1").await?;
    let listed = soon("the dead to be listed", async {
        loop {
            let told = site.get("/api/dead").await?.json()?;
            if told["dead"].as_array().is_some_and(|dead| dead.len() == 3) {
                return anyhow::Ok(told);
            }
            tokio::task::yield_now().await;
        }
    });
    let listed = listed.await??;
    ensure!(listed["beyond"] == 0, "{listed}");
    ensure!(
        listed["dead"][0]
            == json!({
                "id": "open-1/0.0", "queue": "q.chunks.dead", "type": "chunk", "job": "open-1", "chunk": "0.0",
                "kind": "sales", "key": "lyon", "rows": 3, "bytes": 16, "reason": "boom",
            }),
        "{listed}"
    );
    let ids = json!({"ids": ["open-1/0.0", "open-1/0.1", "ended-1/0.0", "x/0.0", "x/0.0"]});
    let answer = site
        .post("/api/dead/requeue", JSON, ids.to_string().as_bytes())
        .await?;
    ensure!(answer.status == 200, "{answer:?}");
    let expected = json!({
        "requeued": 1, "not_found": ["x/0.0"], "ended": ["ended-1/0.0"], "refused": ["open-1/0.1"],
    });
    ensure!(answer.json()? == expected, "{}", answer.text());
    let mut chunks = site
        .broker
        .subscribe(Queue::Chunks(chunk("open-1", 0)?.format()), 1)
        .await?;
    let alive = soon("the chunk", chunks.next()).await?.context("a chunk")?;
    let mut expected = chunk("open-1", 0)?.to_message();
    expected
        .headers
        .insert("revived".to_owned(), "1".to_owned());
    ensure!(alive.message == expected, "{:?}", alive.message);
    for (body, champ) in [
        ("{}", "corps"),
        ("{\"ids\": []}", "ids"),
        ("{\"ids\": [1]}", "corps"),
    ] {
        let answer = site
            .post("/api/dead/requeue", JSON, body.as_bytes())
            .await?;
        answer.problem(400, Some(champ))?;
    }
    let many = json!({"ids": vec!["a"; 401]}).to_string();
    let answer = site
        .post("/api/dead/requeue", JSON, many.as_bytes())
        .await?;
    answer.problem(400, Some("ids"))?;
    site.stop().await
}

impl Site {
    /// Cancels a job as soon as it is known.
    async fn follow_until_known(&self, job: &str) -> Result<crate::site::Answer> {
        let cancelling = async {
            loop {
                let answer = self
                    .ask(&format!("DELETE /api/jobs/{job}"), "", b"")
                    .await?;
                if answer.status != 404 {
                    return anyhow::Ok(answer);
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the job to be known", cancelling).await?
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_events_are_bounded_and_end_when_the_api_does() -> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let mut stream = TcpStream::connect(site.address).await?;
        let request = "GET /api/activity/events HTTP/1.1\r\nHost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut first = [0; 512];
        let read = soon("an answer", stream.read(&mut first)).await??;
        ensure!(first[..read].starts_with(b"HTTP/1.1 200 OK\r\n"));
        streams.push(stream);
    }
    site.get("/api/activity/events").await?.problem(503, None)?;
    let metrics = site.get("/metrics").await?.text();
    ensure!(
        metrics.contains("\nautoconnect_event_streams 256\n"),
        "{metrics}"
    );
    let mut one = streams.pop().context("a stream")?;
    let mut text = Vec::new();
    soon("an event", async {
        while !text.windows(15).any(|seen| seen == b"event: activity") {
            let mut more = [0; 4096];
            let read = one.read(&mut more).await?;
            text.extend_from_slice(&more[..read]);
        }
        anyhow::Ok(())
    })
    .await??;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_measured_is_what_is_documented() -> Result<()> {
    let site = Site::start().await?;
    let job = site.post("/api/process", "", b"").await?.job()?;
    site.follow(&job).await?;
    let answer = site.get("/metrics").await?;
    ensure!(
        answer
            .header("content-type")
            .is_some_and(|said| said.starts_with("text/plain"))
    );
    let text = answer.text();
    let exposed: BTreeSet<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/telemetry.md"))?;
    let documented: BTreeSet<(&str, &str)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            let name = cells.next()?.strip_suffix('`')?;
            let kind = cells.next()?;
            ["counter", "gauge", "histogram"]
                .contains(&kind)
                .then_some((name, kind))
        })
        .collect();
    ensure!(
        exposed == documented,
        "exposed {exposed:?}, documented {documented:?}"
    );
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').context("a value")?;
        ensure!(value.parse::<f64>().is_ok(), "{line}");
    }
    ensure!(
        text.contains("autoconnect_jobs{status=\"done\"} 1\n"),
        "{text}"
    );
    let route = "autoconnect_http_requests_total{route=\"/api/process\",method=\"POST\",status=\"202\"} 1\n";
    ensure!(text.contains(route), "{text}");
    site.stop().await
}
