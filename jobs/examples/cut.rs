//! Times the acts of `sales` on one file, without a queue: `cargo run --release -p autoconnect-jobs --example cut -- FILE`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::{Chunk, JobId, JobKind as _, Merge, Outlet, Shutdown};
use autoconnect_jobs::sales::request::{Encoding, Margin, MaxRejects};
use autoconnect_jobs::sales::{Partial, Request, Sales, cut, work};
use autoconnect_report::fixed::Percent;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("usage: cut FILE [THREADS [no-dedup]]")?;
    let threads = std::env::args().nth(2).map_or(Ok(2), |text| text.parse())?;
    let request = request(file, std::env::args().nth(3).is_none());
    let start = Instant::now();
    let job: JobId = "sales-example".parse()?;
    let (outlet, mut items) = Outlet::new(
        job.clone(),
        4,
        threads,
        Arc::new(Progress::default()),
        Shutdown::new(),
    );
    let worker =
        std::thread::spawn(move || work_all(&job, std::iter::from_fn(|| items.blocking_recv())));
    let made = cut::cut(&request, &outlet)?;
    drop(outlet);
    let cut_took = start.elapsed();
    let (sum, bytes, busy) = worker.join().map_err(|_| "the worker crashed")?;
    let rows: u64 = sum
        .villes
        .values()
        .flat_map(|ville| ville.mois.values())
        .map(|m| m.vente.nombre + m.location.nombre)
        .sum();
    println!("cut {cut_took:?}, all {:?}, work {busy:?}", start.elapsed());
    println!(
        "{:?} chunks, {bytes} bytes, {rows} rows, facts {:?}",
        made.chunks, made.facts
    );
    Ok(())
}

fn request(file: String, dedup: bool) -> Request {
    Request {
        inputs: vec![file.into()],
        chunk_rows: 16_384,
        delimiter: None,
        encoding: Encoding::Auto,
        dedup,
        max_rejects: MaxRejects::Percent(Percent::from_units(100)),
        today: chrono::Utc::now().date_naive(),
        margin: Margin::default(),
        periode: None,
    }
}

/// Works every chunk; returns the sum of the partials, the bytes of the chunks, and the time it took.
fn work_all(job: &JobId, items: impl Iterator<Item = Item>) -> (Partial, usize, Duration) {
    let (mut sum, mut bytes, mut busy) = (Partial::default(), 0, Duration::ZERO);
    for item in items {
        let Item::Chunk {
            seq,
            key,
            rows,
            body,
        } = item
        else {
            continue;
        };
        let start = Instant::now();
        bytes += body.len();
        let chunk = Chunk {
            job: job.clone(),
            kind: Sales::NAME.to_owned(),
            schema: Sales::SCHEMA,
            seq,
            key,
            rows,
            body: body.into(),
        };
        let merged = work::work(&chunk).map(|partial| sum.merge(partial));
        assert!(matches!(merged, Ok(Ok(()))), "every chunk can be worked");
        busy += start.elapsed();
    }
    (sum, bytes, busy)
}
