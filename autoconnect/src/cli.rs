//! What may be typed: flags, their manual, and what each command does with them.

use std::io::{self, Write as _};
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use autoconnect_common::program;
use autoconnect_common::settings::{self, Settings, Sources};
use autoconnect_jobs::sales::request::Encoding;
use autoconnect_jobs::settings::Limit;
use chrono::NaiveDate;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use crate::{Failure, generate, run};

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
    /// Write a file of transactions that looks real, to try things with
    Generate(Generate),
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

    /// What stands between fields: , ; or tab [default: told from the header]
    #[arg(long, value_name = "CHAR", value_parser = delimiter, help_heading = "Reading")]
    pub delimiter: Option<char>,

    /// How the files' bytes spell text
    #[arg(long, value_enum, default_value_t, help_heading = "Reading")]
    pub encoding: EncodingName,

    /// Accept a second row with the same id (by default the first valid row keeps it)
    #[arg(long, help_heading = "Reading")]
    pub no_dedup: bool,

    /// The most rejected rows for which there is a report: so many rows, or so many percent [default: 10%]
    #[arg(long, value_name = "N|P%", help_heading = "Reading")]
    pub max_rejects: Option<Limit>,

    /// The day after which a date is in the future: accepted, with a warning [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day, help_heading = "Reading")]
    pub today: Option<NaiveDate>,

    /// How many rows a chunk has at most [default: 16384]
    #[arg(long, value_name = "N", value_parser = rows, help_heading = "Working")]
    pub chunk_rows: Option<NonZeroU32>,

    /// How many workers [default: one for each core; with --broker, those that run elsewhere]
    ///
    /// With --broker, so many worker processes and a reducer are started for this job and stopped at its end.
    #[arg(short, long, value_name = "N", value_parser = workers, help_heading = "Working")]
    pub workers: Option<NonZeroU16>,

    /// Go through RabbitMQ at this address, as in amqp://user:password@host:5672/vhost (or amqps://)
    ///
    /// Without --workers, workers and a reducer must run elsewhere. A password is better kept in a file: see
    /// AUTOCONNECT_BROKER__URI_FILE.
    #[arg(short, long, value_name = "URI", value_hint = ValueHint::Url, help_heading = "Working")]
    pub broker: Option<String>,

    /// The authority that signed the broker's certificate, in PEM
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Working")]
    pub ca: Option<PathBuf>,

    /// Print nothing unless something goes wrong
    #[arg(short, long, conflicts_with = "json", help_heading = "Printing")]
    pub quiet: bool,

    /// Print one JSON object instead of the summary
    #[arg(long, help_heading = "Printing")]
    pub json: bool,

    /// Log to standard error, by level and module, as in info or producer=debug
    #[arg(long, value_name = "FILTER", help_heading = "Printing")]
    pub log: Option<String>,

    /// The folder with base.toml and the profiles [default: config, if there is one]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Settings")]
    pub config: Option<PathBuf>,

    /// Settings that stand in PROFILE.toml, beside base.toml
    #[arg(long, value_name = "PROFILE", help_heading = "Settings")]
    pub profile: Option<String>,
}

#[derive(Debug, Args)]
struct Generate {
    /// The file to write
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// How many rows, dirty ones included
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    rows: u64,
    /// How many cities: Lyon, Paris, Marseille, then others
    #[arg(long, value_name = "K", default_value_t = 3)]
    cities: u32,
    /// The share of rows that are wrong or odd, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    dirty: f64,
    /// Another seed, another file; the same seed, the same bytes
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Write FILE.truth.json as well: what was planted, and the exact tables a correct reader finds
    #[arg(long)]
    truth: bool,
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
    /// UTF-8, with or without byte order mark
    #[default]
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
            Command::Generate(asked) => asked.carry_out(),
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
        read(
            Sources::of_process(self.config.clone(), self.profile.clone())
                .flag("broker.uri", self.broker.as_ref())
                .flag("broker.ca", self.ca.as_ref().map(|path| path.display()))
                .flag(
                    "reducer.results",
                    self.out.as_ref().map(|path| path.display()),
                )
                .flag("log.filter", self.log.as_ref())
                .flag("sales.chunk_rows", self.chunk_rows),
        )
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

impl Generate {
    fn carry_out(self) -> Result<(), Failure> {
        let options = generate::Options {
            rows: self.rows,
            cities: self.cities,
            dirty: self.dirty,
            seed: self.seed,
            truth: self.truth,
        };
        match generate::generate(&options, &self.file) {
            Ok(_) => Ok(()),
            Err(error) => {
                let sentence = program::sentence(&error);
                Err(match error {
                    generate::Error::Write { .. } => Failure::failed(sentence),
                    _ => Failure::usage(sentence),
                })
            }
        }
    }
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "autoconnect", &mut script);
    match io::stdout().lock().write_all(&script) {
        // whoever read us had enough
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::failed(format!("standard output: {error}"))),
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
