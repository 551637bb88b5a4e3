//! Writes the report of a made-up sales job into a folder, to look at, and says how long each calculation took.
//!
//! ```sh
//! cargo run --release -p autoconnect-jobs --example sales_report -- FOLDER [CITIES] [MONTHS] [MODELS]
//! ```

mod sample;

use std::path::Path;
use std::time::Instant;

use autoconnect_common::JobKind;
use autoconnect_common::kind::Laps;
use autoconnect_jobs::sales::Sales;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("expected a folder")?;
    let mut number = |default: i32| args.next().map_or(Ok(default), |arg| arg.parse());
    let (villes, mois, modeles) = (number(3)?, number(36)?, number(20)?);
    let size = sample::Size {
        villes: villes.try_into()?,
        mois,
        modeles: modeles.try_into()?,
    };
    let (facts, partial) = sample::sample(size);
    let mut laps = Laps::default();
    let start = Instant::now();
    let report = Sales::conclude(facts, partial, &[], &mut laps)?;
    let files = laps.time("rendu", || Sales::render(&report));
    let json = laps.time("json", || serde_json::to_vec_pretty(&report))?;
    println!("{:>9.3} ms  in all", start.elapsed().as_secs_f64() * 1e3);
    for lap in laps.into_vec() {
        println!("{:>9.3} ms  {}", lap.ms, lap.name);
    }
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder.join("tables"))?;
    std::fs::write(folder.join("report.json"), json)?;
    for file in files {
        println!("{:>9} bytes  {}", file.bytes.len(), file.path);
        std::fs::write(folder.join(file.path), file.bytes)?;
    }
    Ok(())
}
