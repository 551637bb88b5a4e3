//! What may be typed: flags, their manual, and what each command does with them.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use autoconnect_common::results::Accept;
use autoconnect_common::settings::{self, Log, Settings, Sources};
use autoconnect_common::{JobId, program, telemetry};
use autoconnect_jobs::sales::periode::Plage;
use autoconnect_jobs::sales::request::Encoding;
use autoconnect_jobs::settings::Limit;
use chrono::NaiveDate;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::{Failure, generate, operator, print, run, serve};

/// What `autoconnect` reads where it is not told.
pub const DEFAULT_FILE: &str = "data/transactions_autoconnect.csv";

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
pub struct Cli {
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
    Queues(operator::queues::Queues),
    /// Write a file of transactions that looks real, to try things with
    Generate(generate::Generate),
    /// Print the completions of a shell, to be put where it looks for them
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// A worker of `run --broker … --workers N`; it stops when its standard input ends
    #[command(hide = true)]
    Worker(Worker),
}

/// What `run` was asked, as typed.
#[derive(Debug, Default, Args)]
pub struct Run {
    /// Files and folders to read, in this order; - is standard input [default: data/transactions_autoconnect.csv]
    ///
    /// A folder stands for the CSV files in it, by name. Files may be compressed (.gz, .zst).
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub files: Vec<PathBuf>,

    /// Where to write the report [default: results]
    #[arg(short, long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) reading: Reading,

    #[command(flatten)]
    pub(crate) accepting: Accepting,

    /// How many workers [default: one for each core; with --broker, those that run elsewhere]
    ///
    /// With --broker, so many worker processes and a reducer are started for this job and stopped at its end; without
    /// this, they must run elsewhere.
    #[arg(short, long, value_name = "N", value_parser = workers, help_heading = "Working")]
    pub workers: Option<NonZeroU16>,

    #[command(flatten)]
    pub(crate) print: Print,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// How files are read, as typed.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Reading")]
pub(crate) struct Reading {
    /// What stands between fields: , ; or tab [default: told from the header]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    pub(crate) delimiter: Option<char>,

    /// How the files' bytes spell text
    #[arg(long, value_enum, default_value_t)]
    pub(crate) encoding: EncodingName,

    /// Accept a second row with the same id (by default the first valid row keeps it)
    #[arg(long)]
    pub(crate) no_dedup: bool,

    /// The most rejected rows for which there is a report: so many rows, or so many percent [default: 10%]
    #[arg(long, value_name = "N|P%")]
    pub(crate) max_rejects: Option<Limit>,

    /// The months to report on, all of them complete: rows outside are counted apart [default: told from the rows]
    #[arg(long, value_name = "YYYY-MM..YYYY-MM")]
    pub(crate) periode: Option<Plage>,

    /// The day after which a date is in the future: accepted, with a warning [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) today: Option<NaiveDate>,

    /// How many rows a chunk has at most [default: 16384]
    #[arg(long, value_name = "N", value_parser = rows)]
    pub(crate) chunk_rows: Option<NonZeroU32>,
}

/// Which report becomes the newest, as typed.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct Accepting {
    /// Let a report without an accepted row take the place of the newest
    #[arg(long)]
    pub(crate) accept_empty: bool,

    /// Let a report that lacks something take the place of a complete one
    #[arg(long)]
    pub(crate) accept_incomplete: bool,
}

impl From<Accepting> for Accept {
    fn from(typed: Accepting) -> Self {
        Self {
            empty: typed.accept_empty,
            incomplete: typed.accept_incomplete,
        }
    }
}

/// What is printed, as typed.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(next_help_heading = "Printing")]
pub(crate) struct Print {
    /// Print nothing unless something goes wrong
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Print one JSON object instead of the summary
    #[arg(long)]
    pub(crate) json: bool,
}

impl Print {
    /// Whether a person may look at a bar.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && !self.json
    }
}

/// Where the broker and the settings are, as typed.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Place {
    /// Go through RabbitMQ at this address, as in amqp://user:password@host:5672/vhost (or amqps://)
    ///
    /// A password is better kept in a file: see AUTOCONNECT_BROKER__URI_FILE.
    #[arg(short, long, global = true, value_name = "URI", value_hint = ValueHint::Url)]
    pub(crate) broker: Option<String>,

    /// The authority that signed the broker's certificate, in PEM
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,

    /// Log to standard error, by level and module, as in info or producer=debug
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// The folder with base.toml and the profiles [default: config, if there is one]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) config: Option<PathBuf>,

    /// Settings that stand in PROFILE.toml, beside base.toml
    #[arg(long, global = true, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
}

/// What `submit` was asked, as typed.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Files and folders to read, in this order, as the cluster's producer sees them
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,

    /// Print the job's id, and leave the job to the cluster
    #[arg(long, conflicts_with_all = ["quiet", "json"])]
    pub(crate) no_wait: bool,

    #[command(flatten)]
    pub(crate) reading: Reading,

    #[command(flatten)]
    pub(crate) accepting: Accepting,

    #[command(flatten)]
    pub(crate) print: Print,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// What `serve` was asked, as typed.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen [default: 127.0.0.1:5000]; beyond this machine only with a token, see AUTOCONNECT_API__TOKEN_FILE
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) bind: Option<SocketAddr>,

    /// The folder of files that may be reported on; uploads go into its folder incoming [default: data]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,

    /// Where reports are written [default: results]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) results: Option<PathBuf>,

    /// How many workers [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = workers)]
    pub(crate) workers: Option<NonZeroU16>,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// What `jobs` was asked, as typed.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Jobs {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) act: JobsAct,
}

/// The commands of `jobs`.
#[derive(Debug, Subcommand)]
pub(crate) enum JobsAct {
    /// Every job that the reducer knows: those that go on, then those that ended, the newest first
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// One job: how far it is, or how it ended
    Status {
        /// Its id
        #[arg(value_name = "JOB")]
        job: JobId,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// End a job without a report; one of which nothing has come yet is dropped when it comes
    Cancel {
        /// Its id
        #[arg(value_name = "JOB")]
        job: JobId,
        /// Why, in a few words
        #[arg(long, value_name = "TEXT", default_value = "by the operator")]
        reason: String,
    },
}

/// What `dead` was asked, as typed.
#[derive(Debug, Args)]
#[command(arg_required_else_help = false)]
pub(crate) struct Dead {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) act: DeadAct,
}

/// The commands of `dead`.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadAct {
    /// A line for every chunk that nobody could work and every result that the reducer could not read
    List {
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// One of them: its headers, its reason, its first rows
    Show {
        /// Its id, as in sales-0123456789abcdef/0.17
        #[arg(value_name = "ID")]
        id: String,
        /// How many rows
        #[arg(long, value_name = "N", default_value_t = 10)]
        rows: usize,
        /// Write its body, as it is, into this file instead
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        save: Option<PathBuf>,
    },
    /// Send them once more; a worker or the reducer may be better now
    Requeue {
        #[command(flatten)]
        selection: Selection,
        /// Also of jobs that have ended, whose reports do not change any more
        #[arg(long)]
        even_if_ended: bool,
    },
    /// Remove them for good
    Drop {
        #[command(flatten)]
        selection: Selection,
    },
}

/// Which dead messages.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Selection {
    /// Those with these ids, as in sales-0123456789abcdef/0.17
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Those of this job
    #[arg(long, value_name = "JOB")]
    pub(crate) job: Option<JobId>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}

/// What a worker process is told; the broker's address comes by the environment.
#[derive(Debug, Args)]
pub struct Worker {
    /// Its name
    #[arg(long)]
    pub name: String,
    /// As in `run`
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// As in `run`
    #[arg(long)]
    pub profile: Option<String>,
}

/// How a file's bytes spell text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum EncodingName {
    /// UTF-8, or Windows-1252 where every byte beyond ASCII says so
    #[default]
    Auto,
    /// UTF-8, with or without byte order mark; rows that are not are rejected
    #[value(name = "utf-8", alias = "utf8")]
    Utf8,
    /// Old Windows exports
    #[value(name = "windows-1252", alias = "cp1252")]
    Windows1252,
    /// UTF-16, its byte order told by its mark
    #[value(name = "utf-16", alias = "utf16")]
    Utf16,
}

impl From<EncodingName> for Encoding {
    fn from(name: EncodingName) -> Self {
        match name {
            EncodingName::Auto => Self::Auto,
            EncodingName::Utf8 => Self::Utf8,
            EncodingName::Windows1252 => Self::Windows1252,
            EncodingName::Utf16 => Self::Utf16,
        }
    }
}

fn delimiter(text: &str) -> Result<char, &'static str> {
    match text {
        "," | ";" | "\t" => Ok(text.chars().next().unwrap_or(',')),
        "tab" | "\\t" => Ok('\t'),
        _ => Err("expected , or ; or tab"),
    }
}

fn rows(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "expected a whole number from 1")
}

fn workers(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number from 1 to 65535")
}

fn day(text: &str) -> Result<NaiveDate, &'static str> {
    let expected = "expected a day as in 2025-06-30";
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| expected)?;
    // the parser takes 2025-6-3 as well
    if day.to_string() == text {
        Ok(day)
    } else {
        Err(expected)
    }
}

fn after_long_help() -> String {
    let environment = program::environment(&[settings::KEYS, autoconnect_jobs::settings::KEYS]);
    format!("{AFTER}\n\n{AFTER_LONG}\n\nEnvironment (every setting is a variable):\n{environment}")
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn carry_out(self) -> Result<(), Failure> {
        match self.command.unwrap_or_else(|| Command::Run(Run::default())) {
            Command::Run(run) => run::carry_out(run),
            Command::Serve(serve) => serve::carry_out(serve),
            Command::Submit(submit) => run::submit(submit),
            Command::Jobs(jobs) => operator::jobs::carry_out(jobs),
            Command::Dead(dead) => operator::dead::carry_out(dead),
            Command::Queues(queues) => operator::queues::carry_out(queues),
            Command::Generate(asked) => generate::carry_out(asked),
            Command::Completions { shell } => completions(shell),
            Command::Worker(worker) => run::work(worker),
        }
    }
}

impl Run {
    /// Every layer of the settings, flags last.
    ///
    /// # Errors
    /// [`Failure`] for a setting that is unknown.
    pub fn settings(&self) -> Result<Settings, Failure> {
        let out = self.out.as_ref().map(|path| path.display());
        let sources = self.place.sources().flag("reducer.results", out);
        self.place.read(self.reading.flags(sources))
    }
}

impl Submit {
    /// As [`Run::settings`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        self.place.read(self.reading.flags(self.place.sources()))
    }
}

impl Serve {
    /// As [`Run::settings`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let sources = self.place.sources();
        let sources = sources.flag("reducer.results", path(&self.results));
        let sources = sources.flag("api.data", path(&self.data));
        self.place.read(sources.flag("api.bind", self.bind))
    }
}

impl Reading {
    fn flags(&self, sources: Sources) -> Sources {
        sources.flag("sales.chunk_rows", self.chunk_rows)
    }
}

impl Place {
    /// Where settings are written, these flags last.
    pub(crate) fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.profile.clone())
            .flag("broker.uri", self.broker.as_ref())
            .flag("broker.ca", self.ca.as_ref().map(|path| path.display()))
            .flag("log.filter", self.log.as_ref())
    }

    /// Gathers the settings of `sources`, and starts the log where one is asked for.
    ///
    /// # Errors
    /// As [`Run::settings`].
    pub(crate) fn read(&self, sources: Sources) -> Result<Settings, Failure> {
        let settings = read(sources)?;
        if self.log.is_some() {
            let log: Log = settings.load()?;
            telemetry::start(&log.filter, log.json);
        }
        Ok(settings)
    }

    /// As [`Run::settings`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn settings(&self) -> Result<Settings, Failure> {
        self.read(self.sources())
    }
}

/// Gathers the settings of `sources`.
///
/// # Errors
/// [`Failure`] for a setting that is unknown.
pub fn read(sources: Sources) -> Result<Settings, Failure> {
    sources
        .read(&[settings::KEYS, autoconnect_jobs::settings::KEYS])
        .map_err(Failure::usage)
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "autoconnect", &mut script);
    print::out(&String::from_utf8_lossy(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_delimiter_is_one_of_three() {
        assert_eq!(delimiter(";"), Ok(';'));
        assert_eq!(delimiter("tab"), Ok('\t'));
        assert_eq!(delimiter("\\t"), Ok('\t'));
        for bad in ["", "|", ",,", "é"] {
            assert!(delimiter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_day_is_written_in_one_way_only() {
        assert!(day("2025-06-30").is_ok());
        for bad in ["2025-6-30", "2025-02-30", "30/06/2025", "", "today"] {
            assert!(day(bad).is_err(), "{bad:?}");
        }
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
