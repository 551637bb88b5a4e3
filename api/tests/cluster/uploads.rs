//! Files that come with a request: several are one job, their encoding may be said, and what is not known is refused.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::site::Site;

const FORM: &str = "Content-Type: multipart/form-data; boundary=XX";
const HEADER: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois";

/// A table with a row of this city, in the bytes that `spell` makes of it.
fn table(id: &str, ville: &str, spell: fn(&str) -> Vec<u8>) -> Vec<u8> {
    spell(&format!(
        "{HEADER}\n{id},2024-01-31,{ville},vente,BMW_X3,100,NULL\n"
    ))
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|letter| letter as u8).collect()
}

/// A part of a form: the header lines after the name, and what it holds.
fn part(name: &str, more: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    part("fichier", &format!("; filename=\"{name}\""), content)
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [&parts.concat()[..], b"--XX--\r\n"].concat()
}

/// The report of the job that was started.
async fn report(site: &Site, path: &str, headers: &str, body: &[u8]) -> Result<Value> {
    let job = site.post(path, headers, body).await?.job()?;
    let events = site.follow(&job).await?;
    let (last, view) = events.last().context("events")?;
    ensure!(last == "finished", "{view}");
    site.get(&format!("/api/jobs/{job}/report")).await?.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_files_of_a_form_are_one_job() -> Result<()> {
    let site = Site::start().await?;
    let body = form(&[
        file("mars.csv", &table("TX1", "Lyon", utf8)),
        file("avril.csv", &table("TX2", "Nice", utf8)),
        // another file of the same name
        file("mars.csv", &table("TX3", "Brest", utf8)),
    ]);
    let told = report(&site, "/api/process", FORM, &body).await?;
    ensure!(
        told["source"]["fichiers"] == json!(["mars.csv", "avril.csv", "2-mars.csv"]),
        "{}",
        told["source"]
    );
    ensure!(
        told["villes"] == json!(["Brest", "Lyon", "Nice"]),
        "{}",
        told["villes"]
    );
    let shown = &site.get("/api/jobs").await?.json()?["jobs"][0];
    ensure!(shown["fichier"] == "mars.csv (+2)", "{shown}");
    site.swept().await?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_with_what_is_not_known_or_an_empty_file_is_refused_and_leaves_nothing() -> Result<()>
{
    let site = Site::start().await?;
    let good = file("a.csv", &table("TX1", "Lyon", utf8));
    for (parts, champ) in [
        (vec![good.clone(), part("autre", "", b"x")], "autre"),
        (
            vec![part("file", "; filename=\"a.csv\"", b"x"), good.clone()],
            "file",
        ),
        (vec![good.clone(), file("b.csv", b"")], "fichier"),
        (vec![part("encoding", "", b"utf-8")], "fichier"),
        (
            vec![good.clone(), part("encoding", "", b"latin9")],
            "encoding",
        ),
        (
            vec![
                part("encoding", "", b"utf-8"),
                good.clone(),
                part("encoding", "", b"windows-1252"),
            ],
            "encoding",
        ),
        (
            vec![part(
                "fichier",
                "; filename=\"a.csv\"\r\nContent-Type: text/csv; charset=macintosh",
                b"x",
            )],
            "Content-Type",
        ),
        (
            vec![
                part(
                    "fichier",
                    "; filename=\"a.csv\"\r\nContent-Type: text/csv; charset=latin1",
                    b"x",
                ),
                good.clone(),
            ],
            "Content-Type",
        ),
        (vec![good.clone(); 101], "fichier"),
    ] {
        let answer = site.post("/api/process", FORM, &form(&parts)).await?;
        answer.problem(400, Some(champ))?;
        ensure!(site.uploads().is_empty(), "{champ}");
    }
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_encoding_of_an_upload_is_what_is_said_or_else_told_from_its_bytes() -> Result<()> {
    let site = Site::start().await?;
    let old = table("TX1", "Orléans", latin1);
    let new = table("TX1", "Orléans", utf8);
    let mojibake = "OrlÃ©ans";
    let csv = |charset: &str| format!("Content-Type: text/csv{charset}");
    let in_form = |more: &str, content: &[u8]| {
        part("fichier", &format!("; filename=\"a.csv\"{more}"), content)
    };
    // what is said, and the city that comes of it; none where its row is rejected
    let raw: [(&str, &str, &[u8], Option<&str>); 9] = [
        ("", "", &old, Some("Orléans")),
        ("", "", &new, Some("Orléans")),
        ("", "; charset=windows-1252", &old, Some("Orléans")),
        ("", "; charset=\"ISO-8859-1\"", &new, Some(mojibake)),
        ("", "; charset=us-ascii", &new, Some("Orléans")),
        ("", "; charset=utf-8", &new, Some("Orléans")),
        (
            "?encoding=windows-1252",
            "; charset=utf-8",
            &old,
            Some("Orléans"),
        ),
        ("?encoding=auto", "", &old, Some("Orléans")),
        ("?encoding=utf-8", "", &old, None),
    ];
    for (query, charset, content, ville) in raw {
        let path = format!("/api/process{query}");
        expect(&site, &path, &csv(charset), content, ville)
            .await
            .with_context(|| format!("{query} {charset}"))?;
    }
    for (parts, ville) in [
        (vec![in_form("", &old)], Some("Orléans")),
        (
            vec![in_form(
                "\r\nContent-Type: text/csv; charset=windows-1252",
                &old,
            )],
            Some("Orléans"),
        ),
        (
            vec![in_form("", &new), part("encoding", "", b"windows-1252")],
            Some(mojibake),
        ),
        (
            vec![part("encoding", "", b""), in_form("", &new)],
            Some("Orléans"),
        ),
        (
            vec![part("encoding", "", b"utf-8"), in_form("", &old)],
            None,
        ),
    ] {
        expect(&site, "/api/process", FORM, &form(&parts), ville).await?;
    }
    fs::write(site.data().join("ancien.csv"), &new)?;
    let asked = json!({"fichier": "ancien.csv", "encoding": "windows-1252"}).to_string();
    expect(
        &site,
        "/api/process",
        "Content-Type: application/json",
        asked.as_bytes(),
        Some(mojibake),
    )
    .await?;
    site.post(
        "/api/process?encoding=latin1",
        "Content-Type: text/csv",
        &old,
    )
    .await?
    .problem(400, Some("encoding"))?;
    site.post(
        "/api/process",
        "Content-Type: text/csv; charset=koi8-r",
        &old,
    )
    .await?
    .problem(400, Some("Content-Type"))?;
    site.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_months_to_report_on_may_be_asked_for_in_every_way() -> Result<()> {
    let site = Site::start().await?;
    let rows = ["TX1,2024-01-31", "TX2,2024-02-01", "TX3,2024-03-01"]
        .map(|start| format!("{start},Lyon,vente,BMW_X3,100,NULL\n"));
    let table = utf8(&format!("{HEADER}\n{}", rows.concat()));
    fs::write(site.data().join("a.csv"), &table)?;
    let asked = json!({"fichier": "a.csv", "periode": "2024-02..2024-02"}).to_string();
    let wish = |value: &str| part("periode", "", value.as_bytes());
    let csv = "Content-Type: text/csv";
    let requests: [(&str, &str, Vec<u8>); 4] = [
        ("/api/process?periode=2024-02..2024-02", csv, table.clone()),
        (
            "/api/process",
            FORM,
            form(&[file("a.csv", &table), wish("2024-02..2024-02")]),
        ),
        // the query goes first
        (
            "/api/process?periode=2024-02..2024-02",
            FORM,
            form(&[file("a.csv", &table), wish("2024-01..2024-03")]),
        ),
        (
            "/api/process",
            "Content-Type: application/json",
            asked.into_bytes(),
        ),
    ];
    for (path, headers, body) in requests {
        let told = report(&site, path, headers, &body).await?;
        ensure!(
            told["periode"]["mois"] == json!(["2024-02"]),
            "{path}: {}",
            told["periode"]
        );
    }
    for bad in ["2024-02", "2024-13..2024-14", "2024-03..2024-01"] {
        let path = format!("/api/process?periode={bad}");
        site.post(&path, csv, &table)
            .await?
            .problem(400, Some("periode"))?;
        let body = form(&[file("a.csv", &table), wish(bad)]);
        site.post("/api/process", FORM, &body)
            .await?
            .problem(400, Some("periode"))?;
    }
    site.swept().await?;
    site.stop().await
}

/// Runs a job to its end; the only city of its report is this one, or its only row is rejected.
async fn expect(
    site: &Site,
    path: &str,
    headers: &str,
    body: &[u8],
    ville: Option<&str>,
) -> Result<()> {
    let job = site.post(path, headers, body).await?.job()?;
    let events = site.follow(&job).await?;
    let (last, view) = events.last().context("events")?;
    let Some(ville) = ville else {
        ensure!(last == "failed", "{view}");
        let reason = view["reason"].as_str().context("a reason")?;
        ensure!(
            reason.contains("1 of them read as Windows-1252"),
            "{reason}"
        );
        return Ok(());
    };
    ensure!(last == "finished", "{view}");
    let told = site.get(&format!("/api/villes?job={job}")).await?.json()?;
    ensure!(told == json!({"villes": [ville]}), "{told}");
    Ok(())
}
