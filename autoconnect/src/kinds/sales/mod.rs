//! `sales` on the command line, as `run`: its arguments, the request made of them, and the summary.

mod summary;

use std::num::NonZeroU32;
use std::path::PathBuf;

use autoconnect_common::settings::Settings;
use autoconnect_jobs::sales::columns;
use autoconnect_jobs::sales::periode::Plage;
use autoconnect_jobs::sales::request::Encoding;
use autoconnect_jobs::sales::settings::{Limit, Sales as Section, today};
use autoconnect_jobs::sales::{Request, Sales};
use chrono::NaiveDate;
use clap::builder::Resettable;
use clap::{Args, Command, ValueEnum, ValueHint};

use crate::Failure;
use crate::kind::{KindCommand, Rows};
use summary::Shown;

/// The file that is read where none is named.
const DEFAULT_FILE: &str = "data/transactions_autoconnect.csv";

/// The command of `sales`.
pub(crate) struct Report;

impl KindCommand for Report {
    type Kind = Sales;
    type Arguments = Arguments;
    type Shown = Shown;

    const NAME: &'static str = "run";
    const ABOUT: &'static str = "Report on files of transactions";

    fn manual() -> String {
        let [always, optional] = columns::names();
        format!(
            "Columns of a file, in any order:\n  {always}\n  where there is one: {optional}\n\n{FILES}"
        )
    }

    fn submitted(arguments: Command) -> Command {
        arguments.mut_arg("files", |files| {
            files
                .required(true)
                .help(
                    "Files and folders to read, in this order, as the cluster's producer sees them",
                )
                .long_help(Resettable::Reset)
        })
    }

    fn request(arguments: Arguments, settings: &Settings) -> Result<Request, Failure> {
        let Arguments { mut files, reading } = arguments;
        if files.is_empty() {
            files.push(PathBuf::from(DEFAULT_FILE));
        }
        let section: Section = settings.load()?;
        let default = section.request(files, reading.today.unwrap_or_else(today));
        let chunk_rows = reading.chunk_rows.map(NonZeroU32::get);
        let max_rejects = reading.max_rejects.map(|Limit(limit)| limit);
        Ok(Request {
            chunk_rows: chunk_rows.unwrap_or(default.chunk_rows),
            delimiter: reading.delimiter,
            encoding: reading.encoding.into(),
            dedup: !reading.no_dedup,
            max_rejects: max_rejects.unwrap_or(default.max_rejects),
            periode: reading.periode.or(default.periode),
            ..default
        })
    }

    fn summary(shown: &Shown) -> String {
        shown.text()
    }

    fn rows(shown: &Shown) -> Option<Rows> {
        Some(Rows {
            lignes: shown.source.lignes,
            acceptees: shown.source.acceptees,
            rejetees: shown.source.rejetees,
        })
    }
}

/// The files of a report.
const FILES: &str = "\
Files written into --out:
  report.json          the report; the same bytes for the same input
  report.html          the same as a web page, with charts
  analysis_report.txt  the same as text, for a terminal
  tables/*.csv         its tables, for a spreadsheet
  rejets.csv           every rejected row: line, reason, field, value
  execution.json       times and workers, which differ from run to run
  jobs/<job>/          the same files of every job";

/// The arguments of `run`, without those that every kind has.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Files and folders to read, in this order; - is standard input [default: data/transactions_autoconnect.csv]
    ///
    /// A folder stands for the CSV files in it, in the order of their names. Files may be compressed (.gz, .zst).
    #[arg(value_name = "FILE", value_hint = ValueHint::AnyPath)]
    files: Vec<PathBuf>,

    #[command(flatten)]
    reading: Reading,
}

/// The flags that say how files are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading")]
struct Reading {
    /// The field delimiter: , ; or tab [default: detected from the header]
    #[arg(long, value_name = "CHAR", value_parser = delimiter)]
    delimiter: Option<char>,

    /// The text encoding of the files
    #[arg(long, value_enum, default_value_t)]
    encoding: EncodingName,

    /// Accept several rows with the same id (by default all but the first valid one are rejected)
    #[arg(long)]
    no_dedup: bool,

    /// The job fails if more rows than this, or more than this percentage, are rejected [default: 10%]
    #[arg(long, value_name = "N|P%")]
    max_rejects: Option<Limit>,

    /// The months to report on, each taken as complete; rows outside are only counted [default: detected from the rows]
    #[arg(long, value_name = "YYYY-MM..YYYY-MM")]
    periode: Option<Plage>,

    /// The day of the report: a row with a later date is accepted with a warning [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    today: Option<NaiveDate>,

    /// The most rows in a chunk [default: 16384]
    #[arg(long, value_name = "N", value_parser = rows)]
    chunk_rows: Option<NonZeroU32>,
}

/// The text encoding of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum EncodingName {
    /// UTF-8; a file without any valid UTF-8 sequence beyond ASCII is read as Windows-1252
    #[default]
    Auto,
    /// UTF-8, with or without byte order mark; rows that are not valid UTF-8 are rejected
    #[value(name = "utf-8", alias = "utf8")]
    Utf8,
    /// The encoding of old Windows exports
    #[value(name = "windows-1252", alias = "cp1252")]
    Windows1252,
    /// UTF-16, in the byte order of its mark, or little endian without one
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
