//! Writes the report of a made-up sales job into a folder, to look at, and says how long each calculation took and how much
//! memory all of it.
//!
//! ```sh
//! cargo run --release -p autoconnect-jobs --example sales_report -- FOLDER [CITIES] [MONTHS] [MODELS]
//! ```

mod sample;

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::time::Instant;

use autoconnect_common::JobKind;
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
    let start = Instant::now();
    let mut steps = vec![];
    let report = Sales::conclude(facts, partial, &[], &mut |name| {
        steps.push((name.to_owned(), Instant::now()));
    })?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder.join("tables"))?;
    for file in Sales::files(&report) {
        steps.push((file.path().to_owned(), Instant::now()));
        let out = File::create(folder.join(file.path()))?;
        file.write(&report, &mut BufWriter::new(out))?;
    }
    steps.push(("report.json".to_owned(), Instant::now()));
    let json = File::create(folder.join("report.json"))?;
    serde_json::to_writer_pretty(BufWriter::new(json), &report)?;
    let end = Instant::now();
    println!("{:>9.3} ms  in all", (end - start).as_secs_f64() * 1e3);
    let ends = steps.iter().skip(1).map(|(_, began)| *began).chain([end]);
    for ((name, began), end) in steps.iter().zip(ends) {
        println!("{:>9.3} ms  {name}", (end - *began).as_secs_f64() * 1e3);
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM"));
        println!("{}", peak.unwrap_or_default());
    }
    Ok(())
}
