//! The commands, their manual, and which of them was typed. Each command has a file of its own.

use autoconnect_common::program;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::Failure;
use crate::completions::{self, Completions};
use crate::generate::{self, Generate};
use crate::operator::dead::{self, Dead};
use crate::operator::jobs::{self, Jobs};
use crate::operator::queues::{self, Queues};
use crate::run::{self, Run};
use crate::serve::{self, Serve};
use crate::submit::{self, Submit};
use crate::worker::{self, Worker};

const ABOUT: &str = "Reports on a car dealer's transactions, exactly";

const LONG_ABOUT: &str = "\
Reports on a car dealer's transactions, exactly.

Reads CSV files of sales and rentals (date, ville, type, modele, prix, duree_location_mois), refuses what is wrong row by \
row with its reason, and writes a report: CA per month and city, ranking, top 5 models, seasonality, rental duration, \
margin, trend. A job is cut into chunks; workers turn each chunk into a partial; partials merge exactly; so the same file \
gives the same report.json, byte for byte, with 1 worker or 16, in one process or through RabbitMQ.

Without a command it does the main job: it reads data/transactions_autoconnect.csv and writes into results/.";

const AFTER: &str = "\
Examples:
  autoconnect                                      the main job, into results/
  autoconnect run export.csv --out rapport         another file, another folder
  autoconnect run janvier.csv fevrier.csv.gz       several files, compressed or not
  zcat export.csv.gz | autoconnect run -           standard input
  autoconnect run export.csv --broker amqp://user:password@localhost/autoconnect --workers 2
  autoconnect serve                                the dashboard, on http://127.0.0.1:5000
  autoconnect submit /data/export.csv              a job for a cluster, followed to its end
  autoconnect jobs list                            what the cluster's reducer does and did
  autoconnect dead list                            chunks that nobody could work, and why
  autoconnect queues list                          its exchanges and queues, and who uses them
  autoconnect generate --rows 1000000 --dirty 0.02 essai.csv
  autoconnect completions bash > ~/.local/share/bash-completion/completions/autoconnect

Exit codes:
  0  done: the report is complete (rejected rows, if any, are in rejets.csv)
  1  failed: too many rejected rows, a disk, a broker
  2  bad usage or input: an argument, a setting or a file that cannot be used
  3  the report is incomplete: it names the chunks that nobody could work
  130  stopped by Ctrl-C";

const AFTER_LONG: &str = "\
Files written into --out:
  report.json          the report; the same bytes for the same input
  report.html          the same, to look at, with charts
  analysis_report.txt  the same, to read in a terminal
  tables/*.csv         the same, for a spreadsheet
  rejets.csv           every rejected row: line, reason, field, value
  execution.json       times and workers: what may differ from run to run
  jobs/<job>/          every job's own copy";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold());

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "autoconnect",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = AFTER,
    after_long_help = after_long_help(),
    styles = STYLES,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Report on files of transactions
    #[command(after_help = AFTER, after_long_help = after_long_help())]
    Run(Run),
    /// Serve the API and the dashboard, with every role in this process
    Serve(Serve),
    /// Let a cluster report on files that its producer sees, and follow the job
    #[command(after_help = AFTER, after_long_help = after_long_help())]
    Submit(Submit),
    /// Look at the jobs of a cluster, or cancel one
    Jobs(Jobs),
    /// Look at what nobody could work or read, send it once more, or drop it
    Dead(Dead),
    /// Look at the exchanges and queues of a cluster, or remove those that nobody uses any more
    Queues(Queues),
    /// Write a file of transactions that looks real, to try things with
    Generate(Generate),
    /// Print the completions of a shell, to be put where it looks for them
    Completions(Completions),
    /// A worker of `run --broker … --workers N`; it stops when its standard input ends
    #[command(hide = true)]
    Worker(Worker),
}

fn after_long_help() -> String {
    let environment = program::environment(&autoconnect_jobs::registry().catalogue());
    format!("{AFTER}\n\n{AFTER_LONG}\n\nEnvironment (every setting is a variable):\n{environment}")
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) fn carry_out(self) -> Result<(), Failure> {
        match self.command.unwrap_or_else(|| Command::Run(Run::default())) {
            Command::Run(run) => run::carry_out(run),
            Command::Serve(serve) => serve::carry_out(serve),
            Command::Submit(submit) => submit::carry_out(submit),
            Command::Jobs(jobs) => jobs::carry_out(jobs),
            Command::Dead(dead) => dead::carry_out(dead),
            Command::Queues(queues) => queues::carry_out(queues),
            Command::Generate(asked) => generate::carry_out(asked),
            Command::Completions(asked) => completions::carry_out(&asked, Self::command()),
            Command::Worker(worker) => worker::carry_out(worker),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_argument_is_refused_in_one_sentence() {
        let said = |arguments: &[&str]| {
            program::first_sentence(&Cli::try_parse_from(arguments).expect_err("refused"))
        };
        assert_eq!(
            said(&["autoconnect", "run", "--max-rejects", "ten"]),
            "error: invalid value 'ten' for '--max-rejects <N|P%>': expected a whole number of rows, or 0 to 100 \
             percent as in 10%"
        );
        assert_eq!(
            said(&["autoconnect", "run", "--delimeter", ";"]),
            "error: unexpected argument '--delimeter' found (a similar argument exists: '--delimiter')"
        );
    }
}
