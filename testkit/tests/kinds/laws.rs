//! The partials of every kind obey the laws: those that workers make, and arbitrary ones.

use anyhow::{Result, ensure};
use autoconnect_common::message::{Change, JobRequest};
use autoconnect_jobs::sales::Partial;
use autoconnect_jobs::sales::partial::{Jours, Marge, ParType, Somme, Ville};
use autoconnect_testkit::cluster::results_of;
use autoconnect_testkit::jobs;
use autoconnect_testkit::join::{Matched, Sums};
use autoconnect_testkit::laws::{hold, hold_for};
use autoconnect_testkit::wordcount::Words;
use proptest::collection::btree_map;
use proptest::prelude::*;
use serde::de::DeserializeOwned;

/// Numbers as they come, and some of which two are too many.
fn count() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..1_000_000_u64, 1 => (i64::MAX as u64 / 2)..=i64::MAX as u64]
}

fn cents() -> impl Strategy<Value = i64> {
    count().prop_map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}

fn by_type<T: std::fmt::Debug>(
    one: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = ParType<T>> {
    (one.clone(), one).prop_map(|(vente, location)| ParType { vente, location })
}

fn ville() -> impl Strategy<Value = Ville> {
    let jours = (-40_000..40_000_i32, 0..800_i32).prop_map(|(premier, days)| Jours {
        premier,
        dernier: premier + days,
    });
    let sum = by_type(
        (0..9_u64, 0..99_999_i64)
            .prop_map(|(nombre, ca)| Somme { nombre, ca })
            .boxed(),
    );
    let large = by_type(cents().prop_map(|ca| Somme { nombre: 1, ca }).boxed());
    let margin = by_type(
        (0..9_u64, 0..99_999_i64, 0..99_999_i64)
            .prop_map(|(nombre, ca, cout)| Marge { nombre, ca, cout })
            .boxed(),
    );
    (
        proptest::option::of(jours),
        btree_map(24_270..24_276_i32, large, 0..4),
        btree_map("[ab]", sum, 0..3),
        btree_map("[ab]", count(), 0..3),
        cents(),
        margin,
    )
        .prop_map(
            |(jours, mois, modeles, durees, valeur_contrats, marges)| Ville {
                jours,
                mois,
                modeles,
                durees,
                valeur_contrats,
                marges,
            },
        )
}

#[test]
fn arbitrary_partials_of_sales_obey() -> Result<()> {
    hold_for(btree_map("[lmp]", ville(), 0..3).prop_map(|villes| Partial { villes }))
}

#[test]
fn arbitrary_partials_of_wordcount_obey() -> Result<()> {
    hold_for(btree_map("[a-c]", count(), 0..4))
}

#[test]
fn arbitrary_partials_of_join_obey() -> Result<()> {
    let matched = || {
        (count(), count(), cents()).prop_map(|(matched, unmatched, amount)| Matched {
            matched,
            unmatched,
            amount,
        })
    };
    hold_for((matched(), matched()).prop_map(|(left, right)| Sums { left, right }))
}

/// The partials that a worker makes of a job's chunks.
async fn made<T: DeserializeOwned>(request: &JobRequest) -> Result<Vec<T>> {
    let mut partials = Vec::new();
    for message in results_of(jobs::registry(), request).await? {
        if let Change::Partial(partial) = Change::from_message(&message)? {
            partials.push(serde_json::from_str(partial.json.get())?);
        }
    }
    ensure!(partials.len() > 9, "{} partials", partials.len());
    Ok(partials)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_partials_that_workers_make_obey() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let sales = jobs::sales(&jobs::dirty(folder.path(), 3_000)?, 97)?;
    for three in made::<Partial>(&sales).await?.windows(3) {
        hold(&three[0], &three[1], &three[2])?;
    }
    for three in made::<Words>(&jobs::words(folder.path(), 97)?)
        .await?
        .windows(3)
    {
        hold(&three[0], &three[1], &three[2])?;
    }
    Ok(())
}
