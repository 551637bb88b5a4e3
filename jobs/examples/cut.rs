//! Times the acts of `sales` on one file, without a queue: `cargo run --release -p autoconnect-jobs --example cut -- FILE`.

use std::sync::Arc;
use std::time::Instant;

use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::{Chunk, Merge, Outlet, Shutdown};
use autoconnect_jobs::sales::request::{Encoding, Margin, MaxRejects};
use autoconnect_jobs::sales::{Partial, Request, cut, work};
use autoconnect_report::fixed::Percent;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args()
        .nth(1)
        .ok_or("usage: cut FILE [THREADS [no-dedup]]")?;
    let threads = std::env::args().nth(2).map_or(Ok(2), |text| text.parse())?;
    let request = Request {
        inputs: vec![file.into()],
        chunk_rows: 16_384,
        delimiter: None,
        encoding: Encoding::Auto,
        dedup: std::env::args().nth(3).is_none(),
        max_rejects: MaxRejects::Percent(Percent::from_units(100)),
        today: chrono::Utc::now().date_naive(),
        margin: Margin::default(),
        periode: None,
    };
    let start = Instant::now();
    let job: autoconnect_common::JobId = "sales-example".parse()?;
    let (outlet, mut items) = Outlet::new(
        job.clone(),
        4,
        threads,
        Arc::new(Progress::default()),
        Shutdown::new(),
    );
    let worker = std::thread::spawn(move || {
        let (mut sum, mut bytes, mut busy) = (Partial::default(), 0, std::time::Duration::ZERO);
        while let Some(item) = items.blocking_recv() {
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
                kind: "sales".to_owned(),
                schema: 1,
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
    });
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
