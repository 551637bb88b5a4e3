//! The same job gives the same bytes: any number of workers, any chunk size, any order, any mischief, both brokers.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_common::message::{JobRequest, Status};
use autoconnect_testkit::broker::Home;
use autoconnect_testkit::chaos::Mischief;
use autoconnect_testkit::cluster::{Cluster, Outcome};
use autoconnect_testkit::jobs;
use autoconnect_testkit::node::OnNode;

/// Sizes of chunks, in rows or lines: many chunks, some, few, one for each city.
const SIZES: [u32; 4] = [97, 1_000, 4_096, 100_000];

/// One job, cut in all sizes, and the files it must give.
struct Case {
    name: &'static str,
    requests: Vec<JobRequest>,
    expected: BTreeMap<String, Vec<u8>>,
}

impl Case {
    async fn new(name: &'static str, request: impl Fn(u32) -> Result<JobRequest>) -> Result<Self> {
        let requests = SIZES.map(request).into_iter().collect::<Result<Vec<_>>>()?;
        let cluster = Cluster::of(jobs::registry(), 1);
        let outcome = cluster.run(Embedded::new(), requests[3].clone()).await?;
        ensure!(outcome.end.status == Status::Done, "{:?}", outcome.end);
        let exact = outcome.exact().into_iter();
        Ok(Self {
            name,
            requests,
            expected: exact
                .map(|(path, b)| (path.to_owned(), b.to_vec()))
                .collect(),
        })
    }

    /// Both kinds; `sales` from a clean file and from a dirty one.
    async fn all(folder: &Path) -> Result<Vec<Self>> {
        let dirty = jobs::dirty(folder, 3_000)?;
        let cases = vec![
            Self::new("shipped", |size| jobs::sales(&jobs::shipped(), size)).await?,
            Self::new("dirty", |size| jobs::sales(&dirty, size)).await?,
            Self::new("words", |size| jobs::words(folder, size)).await?,
        ];
        // or all that follows would compare nothing
        for (case, file) in cases.iter().zip(["report.json", "rejets.csv", "words.txt"]) {
            let bytes = case.expected.get(file).map_or(0, Vec::len);
            ensure!(bytes > 500, "{}: {file} of {bytes} bytes", case.name);
        }
        Ok(cases)
    }

    fn check(&self, how: &str, outcome: &Outcome) -> Result<()> {
        let what = format!("{}, {how}", self.name);
        ensure!(
            outcome.end.status == Status::Done,
            "{what}: {:?}",
            outcome.end
        );
        let found = outcome.exact();
        ensure!(
            found.keys().eq(self.expected.keys()),
            "{what}: other files: {:?}",
            found.keys()
        );
        for (path, bytes) in &self.expected {
            ensure!(
                found[path.as_str()] == bytes,
                "{what}: {path} is not the same"
            );
        }
        let repeats = outcome.reducer.duplicates + outcome.reducer.late;
        ensure!(
            repeats == outcome.figures.repeats(),
            "{what}: {repeats} results came again, expected as many as {:?} made",
            outcome.figures
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_number_of_workers_and_any_chunk_size() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for case in Case::all(folder.path()).await? {
        for workers in 1..=8 {
            // two sizes each, so that in the end each number of workers met small chunks and large ones
            for at in [workers % 2, 2 + workers % 2] {
                let (size, request) = (SIZES[at], &case.requests[at]);
                let cluster = Cluster::of(jobs::registry(), workers);
                let outcome = cluster.run(Embedded::new(), request.clone()).await?;
                case.check(&format!("{workers} workers, chunks of {size}"), &outcome)?;
                ensure!(outcome.reducer.duplicates + outcome.reducer.late == 0);
            }
        }
    }
    Ok(())
}

/// Runs every case with the mischief of each seed, the number of workers and the size of chunks changing with it.
async fn mischief<H: Home<Broker: Clone>>(
    home: impl Fn() -> H,
    seeds: impl Iterator<Item = u64> + Clone,
) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (mut given_back, mut acks_lost) = (0, 0);
    for case in Case::all(folder.path()).await? {
        let home = home();
        for seed in seeds.clone() {
            let at = usize::try_from(seed)?;
            let mut cluster = Cluster::of(jobs::registry(), 1 + at % 8);
            cluster.threads = 1 + at % 3;
            cluster.mischief = Mischief::of_all_kinds(seed);
            let request = case.requests[at % 3].clone();
            let how = format!("seed {seed}");
            let outcome = cluster.run(home.connect().await?, request).await;
            let outcome = outcome.with_context(|| format!("{}, {how}", case.name))?;
            case.check(&how, &outcome)?;
            given_back += outcome.figures.given_back;
            acks_lost += outcome.figures.acks_lost;
        }
    }
    ensure!(given_back > 0 && acks_lost > 0, "there was no mischief");
    Ok(())
}

/// Embedded brokers, one for each connection.
struct InProcess;

impl Home for InProcess {
    type Broker = Embedded;

    async fn connect(&self) -> Result<Embedded> {
        Ok(Embedded::new())
    }

    fn features(&self) -> autoconnect_testkit::broker::Features {
        unreachable!("only the suite of brokers asks")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_any_repetition_any_loss_in_one_process() -> Result<()> {
    mischief(|| InProcess, 0..12).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_order_any_repetition_any_loss_through_rabbitmq() -> Result<()> {
    let test = "any_order_any_repetition_any_loss_through_rabbitmq";
    let Some(node) = OnNode::of(test) else {
        return Ok(());
    };
    let uri = node.options.uris[0].clone();
    mischief(|| OnNode::at(uri.clone(), test), (0..7).step_by(3)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_three_times_in_another_order_is_counted_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for case in Case::all(folder.path()).await? {
        let mut cluster = Cluster::of(jobs::registry(), 3);
        cluster.mischief = Mischief {
            seed: 10,
            copies: 2,
            shuffle: true,
            ..Mischief::default()
        };
        let request = case.requests[0].clone();
        let outcome = cluster.run(Embedded::new(), request).await?;
        case.check("everything three times", &outcome)?;
        // each chunk is worked three times, and each partial comes three times
        let chunks: u64 = outcome.workers.iter().map(|worker| worker.chunks).sum();
        let merged = outcome.reducer.merged;
        ensure!(merged * 3 == chunks && merged > 10, "{:?}", outcome.reducer);
        let beside = outcome.figures.duplicated - (2 * merged + 2 * chunks);
        let repeats = outcome.reducer.duplicates + outcome.reducer.late;
        ensure!(
            repeats == 8 * merged + beside && beside > 0 && beside.is_multiple_of(2),
            "{:?} {:?}",
            outcome.reducer,
            outcome.figures
        );
    }
    Ok(())
}
