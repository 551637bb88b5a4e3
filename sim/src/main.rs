//! `sim --seeds 1000` runs that many histories. `sim --replay 17` runs one, and prints its trace.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use autoconnect_sim::history;
use clap::Parser;

/// Simulates whole clusters with faults, each drawn from a seed; see docs/simulation.md.
#[derive(Parser)]
struct Args {
    /// How many histories to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many to run at a time; by default as many as there are processors.
    #[arg(long)]
    jobs: Option<usize>,
    /// Stop at the first history that breaks a promise.
    #[arg(long)]
    stop: bool,
    /// Replay the history of this seed, and print its trace.
    #[arg(long)]
    replay: Option<u64>,
}

fn main() -> ExitCode {
    // print no panics: kinds panic on purpose, and the verdict has a panic of a role
    std::panic::set_hook(Box::new(|_| {}));
    let args = Args::parse();
    match args.replay {
        Some(seed) => replay(seed),
        None => run(&args),
    }
}

fn replay(seed: u64) -> ExitCode {
    let outcome = history::run(seed, true);
    let mut out = std::io::stdout().lock();
    for line in &outcome.lines {
        // a reader such as `head` closes the pipe early
        if writeln!(out, "{line}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    let _closed = writeln!(out, "seed {seed}, trace {:016x}", outcome.hash);
    verdict(outcome.violations.is_empty())
}

fn run(args: &Args) -> ExitCode {
    let start = Instant::now();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(args.from);
    let end = args.from + args.seeds;
    let failed = Mutex::new(Vec::new());
    let lasted = AtomicU64::new(0);
    let ran = AtomicU64::new(0);
    std::thread::scope(|threads| {
        for _ in 0..args.jobs.unwrap_or(processors) {
            threads.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = history::run(seed, false);
                    ran.fetch_add(1, Ordering::Relaxed);
                    lasted.fetch_add(outcome.lasted.as_secs(), Ordering::Relaxed);
                    if !outcome.violations.is_empty() {
                        report(seed, &outcome.violations);
                        let mut failed = failed.lock().unwrap_or_else(|p| p.into_inner());
                        failed.push(seed);
                        if args.stop {
                            next.store(end, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|p| p.into_inner());
    let hours = lasted.into_inner() / 3600;
    println!(
        "{} histories from seed {}, {hours} hours of their time, {:.1} s of ours: {} broke a promise",
        ran.into_inner(),
        args.from,
        start.elapsed().as_secs_f64(),
        failed.len()
    );
    verdict(failed.is_empty())
}

/// Prints the violations of a seed, and the command that replays it.
fn report(seed: u64, violations: &[String]) {
    let commit = env!("SIM_COMMIT");
    println!("seed {seed}, commit {commit}: make sim REPLAY={seed}");
    for violation in violations {
        println!("    {violation}");
    }
}

fn verdict(kept: bool) -> ExitCode {
    match kept {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
