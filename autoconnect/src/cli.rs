//! The commands, their manual, and the choice of the one that was typed. Each command has a file of its own.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use autoconnect_common::{Registry, program};
use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgMatches, Args as _, Subcommand};

use crate::Failure;
use crate::completions::{self, Completions};
use crate::generate::{self, Generate};
use crate::kind::{self, AnyCommand, KindCommand, erased};
use crate::operator::dead::{self, Dead};
use crate::operator::jobs::{self, Jobs};
use crate::operator::queues::{self, Queues};
use crate::run::{self, Run};
use crate::serve::{self, Serve};
use crate::submit::{self, Submit};
use crate::worker::{self, Worker};

const ABOUT: &str = "Reports on a car dealer's transactions, with exact figures";

const LONG_ABOUT: &str = "\
Reports on a car dealer's transactions, with exact figures.

Reads CSV files of sales and rentals, rejects each wrong row with its reason, and writes a report: CA per month and \
city, ranking, top 5 models, seasonality, rental duration, margin, trend. A job is cut into chunks; workers turn each \
chunk into a partial; partials merge exactly; so the same file gives the same report.json, byte for byte, with 1 worker \
or 16, in one process or through RabbitMQ.

Without a command it reads data/transactions_autoconnect.csv and writes the report into results/, as `run` does.";

const EXAMPLES: &str = "\
Examples:
  autoconnect                                      data/transactions_autoconnect.csv, into results/
  autoconnect run export.csv --out rapport         another file, another folder
  autoconnect run janvier.csv fevrier.csv.gz       several files, compressed or not
  zcat export.csv.gz | autoconnect run -           standard input
  autoconnect run export.csv --broker amqp://user:password@localhost/autoconnect --workers 2
  autoconnect serve                                the dashboard, on http://127.0.0.1:5000
  autoconnect submit /data/export.csv              a job for a cluster, followed to its end
  autoconnect jobs list                            the cluster's open and ended jobs
  autoconnect dead list                            dead-lettered chunks and results, and why
  autoconnect queues list                          the cluster's exchanges and queues
  autoconnect generate --rows 1000000 --dirty 0.02 essai.csv
  autoconnect completions bash > ~/.local/share/bash-completion/completions/autoconnect";

const EXIT_CODES: &str = "\
Exit codes:
  0  done: the report is complete (rejected rows, if any, are in rejets.csv)
  1  failed: too many rejected rows, or an error of the disk or the broker
  2  bad usage or input: an argument, a setting or a file that cannot be used
  3  the report is incomplete: it names the chunks that it lacks
  130  stopped by Ctrl-C";

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold());

const PROGRAM: &str = "autoconnect";
/// The command that sends a job to a cluster.
const SUBMIT: &str = "submit";

/// The commands that do not depend on the kinds of job.
///
/// The order of all commands in the manual: the default kind's (0), those of the other kinds (1), `serve` (2), `submit`
/// (3), then as they stand here.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API and the dashboard, with producer, workers and reducer in this process
    #[command(display_order = 2)]
    Serve(Serve),
    /// List the jobs of a cluster, show one, or cancel one
    #[command(display_order = 4)]
    Jobs(Jobs),
    /// List, show, requeue or drop dead-lettered messages
    #[command(display_order = 5)]
    Dead(Dead),
    /// List the exchanges and queues of a cluster, or remove them
    #[command(display_order = 6)]
    Queues(Queues),
    /// Write a file of made-up transactions, clean or with faults, for trials
    #[command(display_order = 7)]
    Generate(Generate),
    /// Print the completion script of a shell
    #[command(display_order = 8)]
    Completions(Completions),
    /// A worker of `run --broker … --workers N`; it stops when its standard input ends
    #[command(hide = true, display_order = 9)]
    Worker(Worker),
}

/// The command line: the kinds that it knows, and the command of each.
pub struct Cli {
    registry: Arc<Registry>,
    /// The kind whose command runs where none is typed, and that `submit` sends where it names no kind.
    default: Box<dyn AnyCommand>,
    others: Vec<Box<dyn AnyCommand>>,
}

impl Cli {
    /// A command line for the kinds of `registry`, with the command `C`, which runs where none is typed.
    pub fn new<C: KindCommand>(registry: Registry) -> Self {
        Self {
            registry: Arc::new(registry),
            default: erased::<C>(),
            others: Vec::new(),
        }
    }

    /// Adds the command of another kind.
    #[must_use]
    pub fn with<C: KindCommand>(mut self) -> Self {
        self.others.push(erased::<C>());
        self
    }

    /// The whole program: carries out the arguments, and prints an error once, on standard error.
    pub fn main(&self) -> ExitCode {
        match self.typed(std::env::args_os()) {
            Ok(typed) => program::end(self.carry_out(&typed)),
            Err(error) => program::refuse(&error, PROGRAM),
        }
    }

    /// Parses the arguments; where they name no command, the default one is parsed without arguments.
    fn typed(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<ArgMatches, clap::Error> {
        let mut command = self.command();
        let typed = command.try_get_matches_from_mut(arguments)?;
        if typed.subcommand().is_some() {
            return Ok(typed);
        }
        command.try_get_matches_from_mut([PROGRAM, self.default.name()])
    }

    fn carry_out(&self, typed: &ArgMatches) -> Result<(), Failure> {
        if let Some((name, typed)) = typed.subcommand() {
            if name == SUBMIT {
                return self.submit(typed);
            }
            if let Some(kind) = self.kind(name) {
                return run::carry_out(kind, typed, &self.registry);
            }
        }
        let registry = &self.registry;
        match kind::typed(typed)? {
            Command::Serve(asked) => serve::carry_out(asked, registry),
            Command::Jobs(asked) => jobs::carry_out(asked, registry),
            Command::Dead(asked) => dead::carry_out(asked, registry),
            Command::Queues(asked) => queues::carry_out(asked, registry),
            Command::Generate(asked) => generate::carry_out(asked),
            Command::Completions(asked) => completions::carry_out(&asked, self.command()),
            Command::Worker(asked) => worker::carry_out(asked, registry),
        }
    }

    fn submit(&self, typed: &ArgMatches) -> Result<(), Failure> {
        let named = typed.subcommand();
        let named = named.and_then(|(name, typed)| Some((self.kind(name)?, typed)));
        let (kind, typed) = named.unwrap_or((self.default.as_ref(), typed));
        submit::carry_out(kind, typed, &self.registry)
    }

    /// The kind that has this command.
    fn kind(&self, command: &str) -> Option<&dyn AnyCommand> {
        let mut kinds = std::iter::once(&self.default).chain(&self.others);
        let kind = kinds.find(|kind| kind.name() == command)?;
        Some(kind.as_ref())
    }

    /// The whole command line, as `clap` describes it.
    fn command(&self) -> clap::Command {
        let default = self.default.as_ref();
        let run = |kind: &dyn AnyCommand, order| {
            let command = clap::Command::new(kind.name()).display_order(order);
            let command = Run::augment_args(kind.arguments(command)).about(kind.about());
            self.explained(kind, command)
        };
        let program = clap::Command::new(PROGRAM)
            .version(env!("CARGO_PKG_VERSION"))
            .propagate_version(true)
            .styles(STYLES)
            .max_term_width(100)
            .subcommand(run(default, 0))
            .subcommands(self.others.iter().map(|kind| run(kind.as_ref(), 1)))
            .subcommand(self.submit_command());
        let program = Command::augment_subcommands(program)
            .about(ABOUT)
            .long_about(LONG_ABOUT);
        self.explained(default, program)
    }

    /// `submit`: the arguments of the default kind, or the command of another kind.
    fn submit_command(&self) -> clap::Command {
        let submit = |kind: &dyn AnyCommand, name: &'static str| {
            let arguments = kind.submitted(kind.arguments(clap::Command::new(name)));
            self.explained(kind, Submit::augment_args(arguments))
        };
        let command = submit(self.default.as_ref(), SUBMIT)
            .about(
                "Send a job to a cluster, whose producer reads the files, and follow it to its end",
            )
            .display_order(3);
        if self.others.is_empty() {
            return command;
        }
        let others = self.others.iter().map(|kind| {
            let command = submit(kind.as_ref(), kind.name());
            command.about(kind.about())
        });
        command
            .subcommands(others)
            .subcommand_negates_reqs(true)
            .args_conflicts_with_subcommands(true)
    }

    /// Adds the part of a command's manual that follows its arguments.
    fn explained(&self, kind: &dyn AnyCommand, command: clap::Command) -> clap::Command {
        let short = if kind.name() == self.default.name() {
            format!("{EXAMPLES}\n\n{EXIT_CODES}")
        } else {
            EXIT_CODES.to_owned()
        };
        let environment = program::environment(&self.registry.catalogue());
        let parts = [
            short.as_str(),
            &kind.manual(),
            &format!("Environment (every setting is a variable):\n{environment}"),
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        command
            .after_long_help(parts.join("\n\n"))
            .after_help(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        crate::kinds::cli(autoconnect_jobs::registry())
            .command()
            .debug_assert();
    }

    #[test]
    fn a_wrong_argument_is_refused_in_one_sentence() {
        let said = |arguments: &[&str]| {
            let cli = crate::kinds::cli(autoconnect_jobs::registry());
            let typed = cli.typed(arguments.iter().map(OsString::from));
            program::first_sentence(&typed.expect_err("refused"))
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
