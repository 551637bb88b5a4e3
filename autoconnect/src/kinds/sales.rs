//! `sales` on the command line: how files are read, as typed, and the request that flags and settings make.

use std::num::NonZeroU32;
use std::path::PathBuf;

use autoconnect_common::settings::{Settings, Sources};
use autoconnect_jobs::sales::Request;
use autoconnect_jobs::sales::periode::Plage;
use autoconnect_jobs::sales::request::Encoding;
use autoconnect_jobs::sales::settings::{Limit, Sales, today};
use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use crate::Failure;

/// What `autoconnect` reads where it is not told.
pub(crate) const DEFAULT_FILE: &str = "data/transactions_autoconnect.csv";

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

impl Reading {
    /// Lets these flags speak for their settings.
    pub(crate) fn flags(&self, sources: Sources) -> Sources {
        sources.flag("sales.chunk_rows", self.chunk_rows)
    }
}

/// The request that flags and settings make of these inputs.
///
/// # Errors
/// [`Failure`] for a setting that cannot be used.
pub(crate) fn request(
    asked: &Reading,
    inputs: Vec<PathBuf>,
    settings: &Settings,
) -> Result<Request, Failure> {
    let sales: Sales = settings.load().map_err(Failure::usage)?;
    let usual = sales.request(inputs, asked.today.unwrap_or_else(today));
    Ok(Request {
        delimiter: asked.delimiter,
        encoding: asked.encoding.into(),
        dedup: !asked.no_dedup,
        max_rejects: asked
            .max_rejects
            .map_or(sales.max_rejects, |Limit(limit)| limit),
        periode: asked.periode.or(usual.periode),
        ..usual
    })
}

/// How a file's bytes spell text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum EncodingName {
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
