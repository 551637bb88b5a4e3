//! Every job has its own report: to read at once when it is said to be done, by whatever way, and for as long as its folder
//! is there.

use std::fs;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::{Broker as _, Queue};
use autoconnect_common::message::bury;
use autoconnect_common::{Format, Shutdown};
use autoconnect_jobs::sales::Sales;
use autoconnect_worker as worker;
use serde_json::{Value, json};

use crate::site::{Answer, Site, soon};

const CSV: &str = "Content-Type: text/csv";
const HEADER: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois";

/// A table with so many good rows of a city and so many without a price.
fn table(ville: &str, good: usize, bad: usize) -> Vec<u8> {
    let row =
        |id: usize, prix: &str| format!("TX{id},2024-01-31,{ville},vente,BMW_X3,{prix},NULL\n");
    let rows: String = (0..good)
        .map(|id| row(id, "100"))
        .chain((good..good + bad).map(|id| row(id, "")))
        .collect();
    format!("{HEADER}\n{rows}").into_bytes()
}

/// Starts a job on this table.
async fn start(site: &Site, name: &str, table: &[u8]) -> Result<String> {
    let path = format!("/api/process?nom={name}");
    site.post(&path, CSV, table).await?.job()
}

/// Asks for a job's status again and again until it has ended.
async fn ended(site: &Site, job: &str) -> Result<Value> {
    soon("a job to end", async {
        loop {
            let told = site.get(&format!("/api/job/{job}/status")).await?.json()?;
            if !["queued", "processing"].contains(&told["status"].as_str().unwrap_or_default()) {
                return Ok(told);
            }
        }
    })
    .await?
}

/// Runs a job to its end.
async fn run(site: &Site, name: &str, table: &[u8]) -> Result<String> {
    let job = start(site, name, table).await?;
    ended(site, &job).await?;
    Ok(job)
}

async fn found(site: &Site, path: &str) -> Result<Answer> {
    let answer = site.get(path).await?;
    ensure!(
        answer.status == 200,
        "{path}: {} {}",
        answer.status,
        answer.text()
    );
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_job_is_said_to_be_done_every_read_shows_it_or_a_later_one() -> Result<()> {
    let site = Site::start().await?;
    let mut last = 0;
    for round in 0..40 {
        let job = start(&site, "a.csv", &table(&format!("Ville {round}"), 3, 0)).await?;
        // whichever says it first
        match round % 4 {
            0 => ensure!(ended(&site, &job).await?["status"] == "done"),
            1 => ensure!(site.follow(&job).await?.last().context("events")?.0 == "finished"),
            2 => {
                soon("the list to say it", async {
                    loop {
                        let told = site.get("/api/jobs?status=done").await?.json()?;
                        if told["jobs"][0]["job_id"] == job.as_str() {
                            return anyhow::Ok(());
                        }
                    }
                })
                .await??;
            }
            _ => {
                soon("the page to say it", async {
                    while !site
                        .get(&format!("/jobs/{job}?lang=en"))
                        .await?
                        .text()
                        .contains(">done<")
                    {}
                    anyhow::Ok(())
                })
                .await??;
            }
        }
        let newest = found(&site, "/api/villes").await?.json()?;
        let newest = newest["villes"][0].as_str().context("a city")?.to_owned();
        let number: usize = newest.strip_prefix("Ville ").context("ours")?.parse()?;
        ensure!(
            number >= round && number >= last,
            "{number} after {last}, at {round}"
        );
        last = number;
        for read in [
            "villes",
            "report",
            "ca-mensuel",
            "repartition",
            "top-modeles",
            "comparatif",
            "saisonnalite",
            "tendance",
            "marge",
            "rotation",
            "rejets",
        ] {
            let answer = found(&site, &format!("/api/{read}?job={job}")).await?;
            let is_about_it = answer.text().contains(&format!("Ville {round}"));
            ensure!(
                is_about_it || ["tendance", "rejets"].contains(&read),
                "{read}: {}",
                answer.text()
            );
        }
        let own = found(&site, &format!("/api/jobs/{job}/report")).await?;
        let file = fs::read(
            site.place
                .path()
                .join(format!("results/jobs/{job}/report.json")),
        )?;
        ensure!(own.body == file);
        found(&site, &format!("/resultats/{job}")).await?;
        found(&site, &format!("/resultats/{job}/tables/marge.csv")).await?;
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_end_side_by_side_are_each_read_as_soon_as_they_say_done() -> Result<()> {
    let site = Site::with(2, |_| ()).await?;
    let mut jobs = Vec::new();
    for number in 0..60 {
        let ville = format!("Ville {number}");
        let job = start(&site, "a.csv", &table(&ville, 3, 0)).await?;
        jobs.push((job, ville));
    }
    let all = jobs.iter().map(|(job, ville)| {
        let (site, jobs) = (&site, &jobs);
        async move {
            let told = ended(site, job).await?;
            ensure!(told["status"] == "done", "{told}");
            // the newest is this one, or one that came to its end later
            let newest = found(site, "/api/villes").await?.json()?;
            let whose = jobs
                .iter()
                .find(|(_, ville)| newest["villes"][0] == ville.as_str());
            let (newest, _) = whose.context("a city of ours")?;
            let newest = ended(site, newest).await?;
            ensure!(
                newest["ended_at_ms"].as_u64() >= told["ended_at_ms"].as_u64(),
                "{newest} is shown when this one is done: {told}"
            );
            let own = found(site, &format!("/api/villes?job={job}"))
                .await?
                .json()?;
            ensure!(own == json!({"villes": [ville]}), "{own}");
            anyhow::Ok(())
        }
    });
    futures_util::future::try_join_all(all).await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_keeps_its_report_when_another_is_the_newest() -> Result<()> {
    let site = Site::start().await?;
    let lyon = run(&site, "lyon.csv", &table("Lyon", 30, 1)).await?;
    let before = found(&site, "/api/report").await?;
    let nice = run(&site, "nice.csv", &table("Nice", 30, 2)).await?;
    ensure!(found(&site, "/api/villes").await?.json()? == json!({"villes": ["Nice"]}));
    for (job, ville, rejected) in [(&lyon, "Lyon", 1), (&nice, "Nice", 2)] {
        let read = async |what: &str| found(&site, &format!("/api/{what}job={job}")).await?.json();
        ensure!(read("villes?").await? == json!({"villes": [ville]}));
        ensure!(read(&format!("ca-mensuel?ville={ville}&")).await?[ville]["2024-01"] == 3000);
        ensure!(read("rejets?par_page=1&").await?["total"] == rejected);
        let page = found(&site, &format!("/resultats/{job}?lang=en"))
            .await?
            .text();
        ensure!(
            page.contains(&format!("{ville}.csv").to_lowercase()) && page.contains(job.as_str())
        );
        let offers = if job == &lyon { &nice } else { &lyon };
        ensure!(
            page.contains(&format!("href=\"/resultats/{offers}\"")),
            "{page}"
        );
        // only an older one can be made the newest
        ensure!(
            page.contains(&format!("data-newest=\"{job}\"")) == (job == &lyon),
            "{page}"
        );
        ensure!(page.contains("it is the report that is shown by default") == (job == &nice));
        let row = found(&site, &format!("/resultats/{job}/tables/comparatif.csv"))
            .await?
            .text();
        ensure!(row.contains(ville), "{row}");
        let job_page = found(&site, &format!("/jobs/{job}")).await?.text();
        ensure!(
            job_page.contains(&format!("href=\"/resultats/{job}\"")),
            "{job_page}"
        );
    }
    let own = found(&site, &format!("/api/jobs/{lyon}/report")).await?;
    ensure!(own.body == before.body && own.header("etag") == before.header("etag"));
    let etag = own.header("etag").context("a tag")?;
    let path = format!("GET /api/jobs/{lyon}/report");
    let again = site
        .ask(&path, &format!("If-None-Match: {etag}"), b"")
        .await?;
    ensure!(again.status == 304, "{again:?}");
    site.stop().await
}

/// The cities of the newest report.
async fn villes(site: &Site) -> Result<Value> {
    Ok(found(site, "/api/villes").await?.json()?["villes"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_without_a_row_is_the_newest_only_where_somebody_accepts_it() -> Result<()> {
    let site = Site::start().await?;
    let good = run(&site, "lyon.csv", &table("Lyon", 30, 0)).await?;
    let empty = run(&site, "vide.csv", &table("Nice", 0, 0)).await?;
    let told = ended(&site, &empty).await?;
    let reason = told["reason"].as_str().context("a reason")?;
    ensure!(
        told["status"] == "done" && reason.contains("no accepted row"),
        "{told}"
    );
    ensure!(reason.contains(&good), "{reason}");
    ensure!(villes(&site).await? == json!(["Lyon"]));
    let own = found(&site, &format!("/api/villes?job={empty}"))
        .await?
        .json()?;
    ensure!(own == json!({"villes": []}), "{own}");
    let page = found(&site, &format!("/jobs/{empty}")).await?.text();
    ensure!(page.contains("no accepted row"), "{page}");
    for wish in [
        "accept_empty=true",
        "accept_incomplete=true&accept_empty=true",
    ] {
        run(&site, "lyon.csv", &table("Lyon", 30, 0)).await?;
        ensure!(villes(&site).await? == json!(["Lyon"]));
        let path = format!("/api/process?nom=vide.csv&{wish}");
        let job = site.post(&path, CSV, &table("Nice", 0, 0)).await?.job()?;
        let told = ended(&site, &job).await?;
        ensure!(
            told["reason"].is_null() && villes(&site).await? == json!([]),
            "{wish}: {told}"
        );
    }
    for wish in [
        "accept_empty=false",
        "accept_incomplete=true",
        "accept_empty=",
    ] {
        run(&site, "lyon.csv", &table("Lyon", 30, 0)).await?;
        let path = format!("/api/process?nom=vide.csv&{wish}");
        let job = site.post(&path, CSV, &table("Nice", 0, 0)).await?.job()?;
        ended(&site, &job).await?;
        ensure!(villes(&site).await? == json!(["Lyon"]), "{wish}");
    }
    let bad = site
        .post("/api/process?accept_empty=oui", CSV, &table("Nice", 0, 0))
        .await?;
    bad.problem(400, Some("accept_empty"))?;
    site.stop().await
}

/// Runs a job on two chunks, of which no worker could work the first where `dies`; its end. The site has no worker.
async fn worked(site: &Site, path: &str, ville: &str, dies: bool) -> Result<Value> {
    let job = site.post(path, CSV, &table(ville, 600, 0)).await?.job()?;
    if dies {
        let queue = Queue::Chunks(Format::of::<Sales>());
        let mut chunks = site.broker.subscribe(queue, 1).await?;
        let first = soon("a chunk", chunks.next()).await?.context("a chunk")?;
        let dead = bury(first.message.clone(), "boom");
        site.broker.publish(dead).await?;
        first.ack();
    }
    let registry = Arc::new(autoconnect_jobs::registry());
    let stop = Shutdown::new();
    let config = worker::Config::named("late");
    let working = worker::run(&site.broker, &registry, &config, &stop);
    tokio::select! {
        told = ended(site, &job) => told,
        worked = working => anyhow::bail!("the worker ended by itself: {worked:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_report_takes_the_place_of_a_complete_one_only_where_somebody_accepts_it()
-> Result<()> {
    let site = Site::with(0, |_| ()).await?;
    let told = worked(&site, "/api/process?nom=lyon.csv", "Lyon", false).await?;
    ensure!(told["status"] == "done", "{told}");
    for (wish, accepted) in [
        ("", false),
        ("&accept_incomplete=false", false),
        ("&accept_empty=true", false),
        ("&accept_incomplete=true", true),
    ] {
        let path = format!("/api/process?nom=nice.csv{wish}");
        let told = worked(&site, &path, "Nice", true).await?;
        let reason = told["reason"].as_str().context("a reason")?;
        ensure!(
            told["status"] == "incomplete" && reason.contains("1 of 2 chunks are missing"),
            "{wish}: {told}"
        );
        let kept = reason.contains("the newest report is still that of");
        ensure!(kept != accepted, "{wish}: {reason}");
        let newest = if accepted { "Nice" } else { "Lyon" };
        let read = villes(&site).await?;
        ensure!(read == json!([newest]), "{wish}: {read}: {told}");
        // it has its own report all the same, which says what it lacks
        let job = told["job_id"].as_str().context("a job")?;
        let own = found(&site, &format!("/api/jobs/{job}/report")).await?;
        let own = own.json()?;
        ensure!(own["qualite"]["complet"] == false, "{wish}: {own}");
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_job_with_a_report_can_be_made_the_newest() -> Result<()> {
    let site = Site::start().await?;
    let lyon = run(&site, "lyon.csv", &table("Lyon", 30, 1)).await?;
    let nice = run(&site, "nice.csv", &table("Nice", 30, 0)).await?;
    let empty = run(&site, "vide.csv", &table("Nice", 0, 0)).await?;
    let failed = run(&site, "mauvais.csv", &table("Nice", 1, 30)).await?;
    let make = async |job: &str| site.post(&format!("/api/jobs/{job}/newest"), "", b"").await;
    for (job, ville) in [
        (&lyon, json!(["Lyon"])),
        (&empty, json!([])),
        (&nice, json!(["Nice"])),
        (&lyon, json!(["Lyon"])),
    ] {
        let answer = make(job).await?;
        ensure!(answer.status == 200, "{}", answer.text());
        ensure!(answer.json()?["job_id"] == job.as_str());
        // at once
        ensure!(villes(&site).await? == ville, "{}", villes(&site).await?);
        let page = found(&site, "/resultats").await?.text();
        ensure!(page.contains(job.as_str()), "{page}");
    }
    ensure!(found(&site, "/api/rejets").await?.json()?["total"] == 1);
    make(&failed).await?.problem(409, Some("id"))?;
    make("none").await?.problem(404, Some("id"))?;
    ensure!(villes(&site).await? == json!(["Lyon"]));
    // a job that ends afterwards is the newest again
    run(&site, "brest.csv", &table("Brest", 30, 0)).await?;
    ensure!(villes(&site).await? == json!(["Brest"]));
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_a_job_are_its_own_and_no_path_leads_out_of_its_folder() -> Result<()> {
    let site = Site::start().await?;
    let job = run(&site, "lyon.csv", &table("Lyon", 30, 1)).await?;
    let other = run(&site, "nice.csv", &table("Nice", 30, 0)).await?;
    let told = found(&site, &format!("/api/jobs/{job}/files"))
        .await?
        .json()?;
    let names: Vec<&str> = told["fichiers"]
        .as_array()
        .context("files")?
        .iter()
        .filter_map(|file| file["chemin"].as_str())
        .collect();
    for name in [
        "report.json",
        "report.html",
        "rejets.csv",
        "execution.json",
        "tables/marge.csv",
    ] {
        ensure!(names.contains(&name), "{names:?}");
    }
    let folder = site.place.path().join("results/jobs").join(&job);
    for name in names {
        let answer = found(&site, &format!("/api/jobs/{job}/files/{name}")).await?;
        ensure!(answer.body == fs::read(folder.join(name))?, "{name}");
        let disposition = answer.header("content-disposition").context("a name")?;
        ensure!(disposition.starts_with("attachment; filename=\"") && !disposition.contains('/'));
    }
    fs::write(site.place.path().join("results/secret"), "x")?;
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../secret", folder.join("link.csv"))?;
    for chemin in [
        "../../secret",
        "..%2f..%2fsecret",
        "%2e%2e/%2e%2e/secret",
        "tables/../../../secret",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "link.csv",
        "tables",
        "tables/",
        ".",
        "..",
        "report.json%00",
        "report.json/",
        "REPORT.JSON",
        "none.csv",
    ] {
        let answer = site.get(&format!("/api/jobs/{job}/files/{chemin}")).await?;
        ensure!(
            answer.status == 404,
            "{chemin}: {} {}",
            answer.status,
            answer.text()
        );
    }
    for id in [
        "..",
        "%2e%2e",
        "none",
        &format!("{job}%2f..%2f{other}"),
        "A",
    ] {
        let answer = site
            .get(&format!("/api/jobs/{id}/files/report.json"))
            .await?;
        ensure!(answer.status == 404, "{id}: {}", answer.status);
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_failed_leaves_its_rejects_and_says_why_it_has_no_report() -> Result<()> {
    let site = Site::start().await?;
    let good = run(&site, "lyon.csv", &table("Lyon", 30, 0)).await?;
    let failed = run(&site, "mauvais.csv", &table("Nice", 1, 30)).await?;
    let told = ended(&site, &failed).await?;
    ensure!(told["status"] == "failed", "{told}");
    // the newest is still the one before
    ensure!(found(&site, "/api/villes").await?.json()? == json!({"villes": ["Lyon"]}));
    let rows = found(&site, &format!("/api/jobs/{failed}/files/rejets.csv"))
        .await?
        .text();
    ensure!(rows.matches("prix_manquant").count() == 30, "{rows}");
    let page = found(
        &site,
        &format!("/api/rejets?job={failed}&par_page=7&page=2"),
    )
    .await?
    .json()?;
    ensure!(
        page["total"] == 30 && page["rejets"][0]["ligne"] == 10,
        "{page}"
    );
    ensure!(page["par_motif"] == json!({"prix_manquant": 30}), "{page}");
    let none = found(
        &site,
        &format!("/api/rejets?job={failed}&motif=date_invalide"),
    )
    .await?
    .json()?;
    ensure!(none["total"] == 0, "{none}");
    for path in [
        format!("/api/villes?job={failed}"),
        format!("/api/report?job={failed}"),
    ] {
        let answer = site.get(&path).await?;
        answer.problem(404, Some("job"))?;
        ensure!(answer.text().contains("sans rapport"), "{}", answer.text());
    }
    site.get(&format!("/api/jobs/{failed}/report"))
        .await?
        .problem(404, Some("id"))?;
    let page = found(&site, &format!("/jobs/{failed}")).await?.text();
    ensure!(
        page.contains(&format!("href=\"/api/jobs/{failed}/files/rejets.csv\"")),
        "{page}"
    );
    let page = site.get(&format!("/resultats/{failed}?lang=en")).await?;
    ensure!(page.status == 404 && page.text().contains("This job has no report"));
    for job in ["none", "..%2f..", &format!("{good}x"), "%00"] {
        site.get(&format!("/api/villes?job={job}"))
            .await?
            .problem(404, Some("job"))?;
        ensure!(site.get(&format!("/resultats/{job}")).await?.status == 404);
    }
    site.get(&format!("/api/villes?job={good}&job={failed}"))
        .await?
        .problem(400, Some("job"))?;
    site.stop().await
}
