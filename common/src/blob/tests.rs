//! The blob store on a folder: a body that was put is found, a missing or damaged one is reported as such, and a store
//! that is not mounted differs from one that lacks a body.

use std::fs;
use std::path::Path as Folder;

use tempfile::TempDir;

use super::*;
use crate::Seq;
use crate::chunk::Chunk;

fn store(folder: &Folder, max: u64) -> Blobs {
    Blobs::open(&Place::folder(folder), max).expect("a folder")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn job(name: &str) -> JobId {
    name.parse().expect("valid")
}

fn claim(name: &str, body: &Body) -> Claim {
    let chunk = Chunk {
        job: job(name),
        kind: "words".to_owned(),
        schema: 1,
        seq: Seq::first_part(0),
        key: "text".to_owned(),
        rows: 1,
        body: body.clone(),
    };
    let claim = Claim::of(&chunk.to_claim()).expect("as sent");
    claim.expect("a claim")
}

async fn put(blobs: &Blobs, name: &str, text: &str) -> Claim {
    let body = Body::from(text.to_owned());
    blobs
        .put(&job(name), &body, body.digest())
        .await
        .expect("put");
    claim(name, &body)
}

#[tokio::test]
async fn what_is_put_is_found_by_its_claim_and_by_another_program() {
    let folder = folder();
    let blobs = store(folder.path(), 100);
    let claims = [
        put(&blobs, "a-1", "lyon").await,
        put(&blobs, "a-1", "paris").await,
    ];
    put(&blobs, "a-1", "lyon").await;
    let other = store(folder.path(), 100);
    for (claim, text) in claims.iter().zip(["lyon", "paris"]) {
        assert_eq!(other.get(claim).await.expect("there"), Body::from(text));
    }
    assert!(
        other
            .jobs()
            .await
            .expect("listed")
            .contains_key(&job("a-1"))
    );
}

#[tokio::test]
async fn the_bodies_of_a_job_are_removed_and_those_of_others_stay() {
    let folder = folder();
    let blobs = store(folder.path(), 100);
    let (gone, stays) = (
        put(&blobs, "a-1", "x").await,
        put(&blobs, "a-12", "x").await,
    );
    // a producer was killed while it wrote
    let own = folder.path().join("jobs/a-1");
    fs::write(own.join("half#1"), "half").expect("written");
    assert!(blobs.jobs().await.expect("listed")[&job("a-1")].has_bodies);
    blobs.remove(&job("a-1")).await.expect("removed");
    assert!(!own.exists());
    let missing = blobs.get(&gone).await.expect_err("removed");
    assert!(
        matches!(missing, BlobError::Missing { bytes: 1, .. }),
        "{missing}"
    );
    assert_eq!(missing.fate(), Fate::Bury);
    blobs.get(&stays).await.expect("it stays");
    blobs
        .remove(&job("never"))
        .await
        .expect("nothing to remove");
    let jobs = blobs.jobs().await.expect("listed");
    assert_eq!(jobs.into_keys().collect::<Vec<_>>(), [job("a-12")]);
}

#[tokio::test]
async fn a_job_that_ended_has_no_body_and_says_so_until_it_is_cut_again() {
    let folder = folder();
    let blobs = store(folder.path(), 100);
    let claim = put(&blobs, "a-1", "lyon").await;
    let own = folder.path().join("jobs/a-1");
    fs::write(own.join("half#1"), "half").expect("written");
    for _ in 0..2 {
        blobs.end(&job("a-1")).await.expect("ended");
        assert_eq!(fs::read_dir(&own).expect("a folder").count(), 1);
        let over = blobs.get(&claim).await.expect_err("removed");
        assert!(matches!(over, BlobError::Ended { .. }), "{over}");
        assert_eq!(over.fate(), Fate::Bury);
    }
    let left = blobs.jobs().await.expect("listed")[&job("a-1")];
    assert!(left.is_ended && !left.has_bodies, "{left:?}");
    // a producer put one more while its job ended
    put(&blobs, "a-1", "paris").await;
    let over = blobs.get(&claim).await.expect_err("removed");
    assert!(matches!(over, BlobError::Ended { .. }), "{over}");
    blobs.begin(&job("a-1")).await.expect("begun");
    let missing = blobs.get(&claim).await.expect_err("not put again");
    assert!(matches!(missing, BlobError::Missing { .. }), "{missing}");
    put(&blobs, "a-1", "lyon").await;
    blobs.get(&claim).await.expect("put again");
}

#[tokio::test]
async fn a_job_without_bodies_is_not_marked_as_ended() {
    let folder = folder();
    let blobs = store(folder.path(), 100);
    blobs.begin(&job("a-1")).await.expect("begun");
    blobs.end(&job("a-1")).await.expect("ended");
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_behind_a_link_works_and_a_link_in_it_leads_nowhere() {
    use std::os::unix::fs::symlink;

    let folder = folder();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    fs::create_dir(&real).expect("made");
    symlink(&real, &link).expect("linked");
    let blobs = store(&link, 100);
    let claim = put(&blobs, "a-1", "lyon").await;
    blobs.get(&claim).await.expect("there");
    assert!(blobs.jobs().await.expect("listed")[&job("a-1")].has_bodies);

    // a file, a folder, and what never ends, all outside the store
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).expect("made");
    let secret = outside.join(claim.digest.to_string());
    fs::write(&secret, "lyon").expect("written");
    let file = real.join(format!("jobs/a-1/{}", claim.digest));
    for target in [secret.as_path(), Folder::new("/dev/zero")] {
        fs::remove_file(&file).expect("removed");
        symlink(target, &file).expect("linked");
        let refused = blobs.get(&claim).await.expect_err("a link");
        assert!(matches!(refused, BlobError::Damaged { .. }), "{refused}");
    }
    let own = real.join("jobs/a-1");
    fs::remove_dir_all(&own).expect("removed");
    symlink(&outside, &own).expect("linked");
    let refused = blobs.get(&claim).await.expect_err("a link");
    assert!(matches!(refused, BlobError::Damaged { .. }), "{refused}");
    blobs.end(&job("a-1")).await.expect("nothing to end");
    assert!(blobs.jobs().await.expect("listed").is_empty());
    assert_eq!(fs::read_to_string(&secret).expect("untouched"), "lyon");
}

#[tokio::test]
async fn a_body_of_another_size_is_damaged() {
    let folder = folder();
    let blobs = store(folder.path(), 100);
    let claim = put(&blobs, "a-1", "lyon").await;
    let file = folder.path().join(format!("jobs/a-1/{}", claim.digest));
    for found in ["", "lyo", "lyon!"] {
        fs::write(&file, found).expect("written");
        let damaged = blobs.get(&claim).await.expect_err("another body");
        assert!(matches!(damaged, BlobError::Damaged { .. }), "{damaged}");
        assert_eq!(damaged.fate(), Fate::Bury);
    }
}

#[tokio::test]
async fn a_body_above_the_bound_is_neither_put_nor_fetched() {
    let folder = folder();
    let (small, large) = (store(folder.path(), 4), store(folder.path(), 5));
    let claim = put(&large, "a-1", "paris").await;
    let body = Body::from("paris");
    for refused in [
        small.put(&claim.job, &body, body.digest()).await.err(),
        small.get(&claim).await.err(),
    ] {
        let refused = refused.expect("too large");
        assert!(
            matches!(refused, BlobError::TooLarge { found: 5, most: 4 }),
            "{refused}"
        );
    }
    put(&small, "a-1", "lyon").await;
}

#[tokio::test]
async fn an_empty_folder_where_the_store_should_be_is_a_store_that_is_away() {
    let folder = folder();
    let mounted = folder.path().join("blobs");
    let blobs = store(&mounted, 100);
    let claim = put(&blobs, "a-1", "lyon").await;
    let aside = folder.path().join("aside");
    fs::rename(&mounted, &aside).expect("unmounted");
    for empty in [false, true] {
        if empty {
            fs::create_dir(&mounted).expect("made");
        }
        let away = blobs.get(&claim).await.expect_err("away");
        assert!(matches!(away, BlobError::Away { .. }), "{away}");
        assert_eq!(away.fate(), Fate::Again);
        assert!(blobs.jobs().await.expect("nothing there").is_empty());
    }
    fs::remove_dir(&mounted).expect("removed");
    fs::rename(&aside, &mounted).expect("mounted");
    blobs.get(&claim).await.expect("back");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_tried_again_and_the_program_says_so_meanwhile() {
    let health = Health::default();
    let mut attempts = 0;
    let found = patiently(&health, || {
        attempts += 1;
        let away = attempts < 5;
        assert_eq!(health.is_raised(TROUBLE), attempts > 1);
        async move {
            match away {
                true => Err(BlobError::Away {
                    store: "a folder".to_owned(),
                    why: "unmounted".to_owned(),
                }),
                false => Ok(7),
            }
        }
    });
    assert_eq!(found.await.expect("back"), 7);
    assert_eq!(attempts, 5);
    assert!(!health.is_raised(TROUBLE));
    let missing = patiently(&health, || async {
        Err::<(), _>(BlobError::Missing {
            address: "jobs/a-1/0".to_owned(),
            bytes: 1,
        })
    });
    assert_eq!(missing.await.expect_err("at once").fate(), Fate::Bury);
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_the_store_that_is_given_up_leaves_no_trouble() {
    let health = Health::default();
    let waiting = patiently(&health, || async {
        Err::<(), _>(BlobError::Away {
            store: "a folder".to_owned(),
            why: "unmounted".to_owned(),
        })
    });
    let given_up = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(given_up.is_err(), "{given_up:?}");
    assert!(!health.is_raised(TROUBLE));
}

#[test]
fn a_folder_is_a_place_and_what_is_neither_is_refused() {
    let place = |text: &str| text.parse::<Place>().ok();
    let folder = |path: &str| Some(Place::folder(path));
    assert_eq!(place("blobs"), folder("blobs"));
    assert_eq!(place("/var/blobs"), folder("/var/blobs"));
    assert_eq!(place("file:///var/blobs"), folder("/var/blobs"));
    for wrong in [
        "",
        "file://",
        "file:///",
        "file://host/x",
        "s3://key:secret@bucket/x",
        "gs://b",
        "://x",
    ] {
        assert_eq!(place(wrong), None, "{wrong:?}");
    }
}

#[test]
fn a_login_in_an_address_of_a_store_is_refused_and_not_shown() {
    let refused = "s3://key:s3cret@bucket/x".parse::<Place>();
    let said = refused.expect_err("a login").to_string();
    assert!(
        !said.contains("s3cret") && said.contains("bucket/x"),
        "{said}"
    );
}

#[test]
fn a_bucket_is_a_place_where_the_feature_s3_is_built_in_and_refused_by_its_name_where_not() {
    let shown = "s3://bucket/x".parse::<Place>();
    let shown = shown.map_or_else(|refused| refused.to_string(), |place| place.to_string());
    match cfg!(feature = "s3") {
        true => assert_eq!(shown, "s3://bucket/x"),
        false => assert!(
            shown.ends_with("built with the cargo feature s3"),
            "{shown}"
        ),
    }
}
