//! `setup`: a cluster's first minute. See `setup --help`.
//!
//! `setup secrets` runs before the broker: passwords, its users and rights, an authority and a certificate. `setup
//! topology` runs when the broker is up: exchanges, queues, bindings. Both may run again, and then change nothing.

mod certificate;
mod rights;
mod secrets;

use std::path::PathBuf;
use std::process::ExitCode;

use autoconnect_common::Broker as _;
use autoconnect_common::program::{self, Failure};
use autoconnect_common::settings::{self, Sources};
use clap::{Args, Parser, Subcommand};

/// Prepares a cluster: its secrets, then its exchanges and queues
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the passwords and certificates that DIR lacks, and write everything that follows from them
    Secrets(Secrets),
    /// Declare every exchange, queue and binding on the broker of the settings, then end
    Topology,
}

#[derive(Debug, Args)]
struct Secrets {
    /// Below it, one folder for the broker and one for each of its users
    dir: PathBuf,
    /// A name under which a broker is reached; the first is tried first
    #[arg(long = "host", value_name = "HOST", required = true)]
    hosts: Vec<String>,
    /// Where brokers listen for TLS
    #[arg(long, default_value_t = 5671)]
    port: u16,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return program::refuse(&error, "setup"),
    };
    program::end(match cli.command {
        Command::Secrets(Secrets { dir, hosts, port }) => {
            secrets::write(&dir, &hosts, port).map_err(|error| Failure::of(&error))
        }
        Command::Topology => declare(),
    })
}

fn declare() -> Result<(), Failure> {
    let settings = Sources::of_process(None, None)
        .flag("broker.declare", Some(true))
        .read(&[settings::KEYS])?;
    program::run(async |shutdown| {
        let broker = program::connect(
            &settings,
            "topology",
            autoconnect_jobs::registry().formats(),
        )?;
        let reached = shutdown.run_until_cancelled(broker.reach()).await;
        broker.close().await;
        reached
            .unwrap_or(Ok(()))
            .map_err(|error| Failure::of(&error))
    })
}
