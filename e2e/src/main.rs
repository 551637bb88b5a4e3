//! `e2e`: whole clusters of real programs under faults, judged by the bytes of their reports. It is for developers, and not
//! part of a release.
//!
//! | command | what it runs | called by |
//! |---|---|---|
//! | `soak` | jobs back to back while workers, the reducer and the broker are killed at random | `make soak MINUTES=n` |
//! | `kill-cost` | the delay that a SIGKILL of each program causes to a job of 10 million rows | `make kill-cost` |
//! | `backpressure` | a file of 2 GB and one slow worker: the producer's memory and the length of the queue | `make backpressure` |
//! | `cities` | a report on 5,000 cities: the reducer's memory | `make cities` |
//! | `join` | two inputs of 5 million rows matched by key: the memory of all roles | `make join` |
//! | `rate` | many small jobs at once: how many end each second | `make rate` |
//! | `compose` | faults that need containers: kills, pauses, cuts, lost packets, three brokers | `make test-faults` |
//!
//! Every command runs the programs that were built beside it over a RabbitMQ node of its own (`scripts/rabbitmq-node`), except
//! `join`, which has a whole cluster in its own process. Each prints its figures as Markdown, and exits with 0 if every promise
//! holds, with 1 otherwise.

mod backpressure;
mod cities;
mod cluster;
mod compose;
mod cost;
mod figures;
mod join;
mod memory;
mod node;
mod process;
mod rate;
mod soak;
mod work;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Whole clusters of real programs under faults.
#[derive(Debug, Parser)]
#[command(name = "e2e")]
struct Cli {
    #[command(subcommand)]
    word: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Jobs back to back while workers, the reducer and the broker are killed at random
    Soak(soak::Options),
    /// The delay that a SIGKILL of each program causes to a job of 10 million rows
    KillCost(cost::Options),
    /// Faults that need containers: kills, pauses, cuts, lost packets, three brokers
    Compose(compose::Options),
    /// A large file and one slow worker: the producer's memory and the length of the queue
    Backpressure(backpressure::Options),
    /// A report on thousands of cities: the reducer's memory
    Cities(cities::Options),
    /// Two inputs of millions of rows matched by key: the memory of all roles
    Join(join::Options),
    /// Many small jobs at once: how many end each second
    Rate(rate::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let asked = Cli::parse();
    let judged = match &asked.word {
        Word::Soak(options) => soak::run(options).await,
        Word::KillCost(options) => cost::run(options).await,
        Word::Compose(options) => compose::run(options).await,
        Word::Backpressure(options) => backpressure::run(options).await,
        Word::Cities(options) => cities::run(options).await,
        Word::Join(options) => join::run(options).await,
        Word::Rate(options) => rate::run(options).await,
    };
    match judged {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
