//! What a bucket does that a folder does not: refusals in the server's own words, pages of a listing.

use std::fs;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use autoconnect_common::blob::{BlobError, Blobs};
use autoconnect_common::message::Claim;
use autoconnect_common::{Body, Chunk, Fate, JobId, Seq};

use crate::server::{BUCKET, KEY, PREFIX, SECRET, Server};

const MAX: u64 = 100;

/// Puts a body of a job; its claim.
async fn put(blobs: &Blobs, job: &str, text: &str) -> Result<Claim> {
    let (job, body): (JobId, _) = (job.parse()?, Body::from(text.to_owned()));
    blobs.put(&job, &body, body.digest()).await?;
    let chunk = Chunk {
        job,
        kind: "words".to_owned(),
        schema: 1,
        seq: Seq::first_part(0),
        key: "text".to_owned(),
        rows: 1,
        body,
    };
    Claim::of(&chunk.to_claim())?.context("a claim")
}

#[tokio::test]
async fn bodies_in_a_bucket_are_found_by_every_program_and_removed_job_by_job() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path()).await?;
    let (one, other) = (server.open(MAX)?, server.open(MAX)?);
    ensure!(other.jobs().await?.is_empty());
    let before = SystemTime::now() - std::time::Duration::from_secs(60);
    let (lyon, paris) = (
        put(&one, "a-1", "lyon").await?,
        put(&one, "a-12", "paris").await?,
    );
    put(&one, "a-1", "lyon").await?;
    ensure!(other.get(&lyon).await? == Body::from("lyon"));
    let jobs = other.jobs().await?;
    ensure!(jobs.len() == 2, "{jobs:?}");
    let left = jobs[&lyon.job];
    ensure!(
        left.has_bodies && !left.is_ended && left.put > before,
        "{left:?}"
    );
    other.remove(&lyon.job).await?;
    other.remove(&"never".parse()?).await?;
    let missing = other.get(&lyon).await.err().context("removed")?;
    ensure!(
        matches!(missing, BlobError::Missing { bytes: 4, .. }),
        "{missing}"
    );
    ensure!(
        missing
            .to_string()
            .ends_with(&format!("s3://{BUCKET}/{PREFIX}/jobs/a-1/{}", lyon.digest)),
        "{missing}"
    );
    ensure!(other.get(&paris).await? == Body::from("paris"));
    ensure!(other.jobs().await?.into_keys().eq(["a-12".parse()?]));
    Ok(())
}

#[tokio::test]
async fn a_job_that_ended_has_no_body_in_its_bucket_and_says_so_until_it_is_cut_again() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path()).await?;
    let blobs = server.open(MAX)?;
    let none: JobId = "a-0".parse()?;
    blobs.begin(&none).await?;
    blobs.end(&none).await?;
    ensure!(
        blobs.jobs().await?.is_empty(),
        "a job without bodies is marked"
    );
    let claim = put(&blobs, "a-1", "lyon").await?;
    for _ in 0..2 {
        blobs.end(&claim.job).await?;
        let over = blobs.get(&claim).await.err().context("removed")?;
        ensure!(matches!(over, BlobError::Ended { .. }), "{over}");
    }
    let left = blobs.jobs().await?[&claim.job];
    ensure!(left.is_ended && !left.has_bodies, "{left:?}");
    blobs.begin(&claim.job).await?;
    let missing = blobs.get(&claim).await.err().context("not put again")?;
    ensure!(matches!(missing, BlobError::Missing { .. }), "{missing}");
    Ok(())
}

#[tokio::test]
async fn a_job_with_more_bodies_than_a_page_of_a_listing_is_removed_whole() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path()).await?;
    let blobs = server.open(MAX)?;
    let claim = put(&blobs, "a-1", "lyon").await?;
    let own = server.files().join("jobs/a-1");
    // S3 lists 1,000 at once
    for number in 0..1_001 {
        fs::write(own.join(format!("{number:064}")), "x")?;
    }
    blobs.end(&claim.job).await?;
    let left = fs::read_dir(&own)?.count();
    ensure!(
        left == 1,
        "{left} objects are left, expected the mark alone"
    );
    Ok(())
}

/// What every operation says of a store that it cannot use.
async fn refusals(blobs: &Blobs, claim: &Claim) -> Result<Vec<BlobError>> {
    let (job, body) = (&claim.job, Body::from("lyon"));
    let refused = [
        blobs.put(job, &body, body.digest()).await.err(),
        blobs.get(claim).await.err(),
        blobs.begin(job).await.err(),
        blobs.end(job).await.err(),
        blobs.remove(job).await.err(),
        blobs.jobs().await.err(),
    ];
    let refused: Option<Vec<_>> = refused.into_iter().collect();
    refused.context("an operation that is not refused")
}

#[tokio::test]
async fn wrong_credentials_are_said_in_one_sentence_and_are_not_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path()).await?;
    let claim = put(&server.open(MAX)?, "a-1", "lyon").await?;
    for (key, secret, code) in [
        (KEY, "wrong-secret", "SignatureDoesNotMatch"),
        ("wrong-key", SECRET, "NotSignedUp"),
    ] {
        let blobs = server.open_as(key, secret, BUCKET, MAX)?;
        for refused in refusals(&blobs, &claim).await? {
            let said = refused.to_string();
            let begins = format!("the blob store s3://{BUCKET}/{PREFIX} is away: ");
            ensure!(said.starts_with(&begins), "{said}");
            ensure!(
                said.contains(&format!(" {}/{BUCKET}", server.endpoint())),
                "{said}"
            );
            ensure!(said.contains(code) && !said.contains('\n'), "{said}");
            ensure!(!said.contains(secret) && !said.contains('<'), "{said}");
            ensure!(refused.fate() == Fate::Again, "{said}");
        }
        ensure!(!format!("{blobs:?}").contains(secret), "{blobs:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_bucket_that_is_not_there_and_a_server_that_is_away_are_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path()).await?;
    let claim = put(&server.open(MAX)?, "a-1", "lyon").await?;
    let elsewhere = server.open_as(KEY, SECRET, "elsewhere", MAX)?;
    let said = elsewhere
        .jobs()
        .await
        .err()
        .context("no bucket")?
        .to_string();
    ensure!(
        said.contains("s3://elsewhere") && said.contains("NoSuchBucket"),
        "{said}"
    );
    server.go();
    for away in refusals(&server.open(MAX)?, &claim).await? {
        let said = away.to_string();
        ensure!(
            said.contains(&server.endpoint()) && !said.contains('\n'),
            "{said}"
        );
        ensure!(matches!(away, BlobError::Away { .. }), "{said}");
    }
    server.come_back();
    server.open(MAX)?.get(&claim).await?;
    Ok(())
}

#[tokio::test]
async fn a_token_that_no_request_can_hold_is_an_error_and_not_the_end_of_the_program() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let server = Server::start(folder.path()).await?;
    let claim = put(&server.open(MAX)?, "a-1", "lyon").await?;
    let token = folder.path().join("token");
    fs::write(&token, "of two\nlines")?;
    let endpoint = server.endpoint();
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", endpoint.clone()),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            token.display().to_string(),
        ),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value));
    let place = format!("s3://{BUCKET}/{PREFIX}").parse()?;
    let blobs = Blobs::open_with(&place, MAX, variables)?;
    for refused in refusals(&blobs, &claim).await? {
        let said = refused.to_string();
        ensure!(refused.fate() == Fate::Again, "{said}");
        ensure!(said.contains("are the credentials plain text?"), "{said}");
    }
    Ok(())
}
