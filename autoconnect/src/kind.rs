//! What a kind of job is on the command line ([`KindCommand`]), and the one place where its types are erased.

use std::marker::PhantomData;

use autoconnect_common::kind::to_json;
use autoconnect_common::settings::Settings;
use autoconnect_common::{Format, JobKind, program};
use clap::builder::Resettable;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::Failure;

/// A kind's command: its arguments, the request made of them, and the summary at the end of a job.
///
/// `autoconnect NAME …` runs such a job, `autoconnect submit NAME …` sends it to a cluster. The arguments that every kind
/// has (`--out`, `--workers`, `--broker`, …) are added to [`Arguments`](KindCommand::Arguments).
pub trait KindCommand: 'static {
    /// The kind.
    type Kind: JobKind;
    /// The positional arguments and flags of this kind alone.
    type Arguments: Args;
    /// The part of `report.json` that is shown at the end; whatever else is in it is ignored.
    type Shown: DeserializeOwned;

    /// The command's name.
    const NAME: &'static str;
    /// What it does, in one line.
    const ABOUT: &'static str;

    /// A part of the long help, such as the list of the files that are written.
    fn manual() -> String {
        String::new()
    }

    /// Changes the arguments for `submit`, where a cluster's producer reads the files.
    fn submitted(arguments: Command) -> Command {
        arguments
    }

    /// The request made of arguments and settings.
    ///
    /// # Errors
    /// [`Failure`] for a setting that cannot be used, or arguments that do not fit together.
    fn request(
        arguments: Self::Arguments,
        settings: &Settings,
    ) -> Result<<Self::Kind as JobKind>::Request, Failure>;

    /// The summary that is printed at the end, in French: lines that end with a line feed.
    fn summary(shown: &Self::Shown) -> String;

    /// The counts of rows that `--json` prints; `None` for a kind without rows.
    fn rows(shown: &Self::Shown) -> Option<Rows> {
        let _ = shown;
        None
    }
}

/// Rows of the input: always `lignes = acceptees + rejetees`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Rows read.
    pub lignes: u64,
    /// Rows without a fault.
    pub acceptees: u64,
    /// Rows refused, each with its reason.
    pub rejetees: u64,
}

/// What is shown of a report.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// [`KindCommand::summary`].
    pub(crate) text: String,
    /// [`KindCommand::rows`].
    pub(crate) rows: Option<Rows>,
}

/// A [`KindCommand`] whose types are erased.
pub(crate) trait AnyCommand {
    /// [`KindCommand::NAME`].
    fn name(&self) -> &'static str;
    /// [`KindCommand::ABOUT`].
    fn about(&self) -> &'static str;
    /// [`KindCommand::manual`].
    fn manual(&self) -> String;
    /// The kind, and the schema of its requests.
    fn format(&self) -> Format;
    /// [`JobKind::AT_ROOT`].
    fn at_root(&self) -> bool;
    /// Adds the arguments to those of `command`.
    fn arguments(&self, command: Command) -> Command;
    /// As [`KindCommand::submitted`].
    fn submitted(&self, arguments: Command) -> Command;
    /// [`KindCommand::request`], as JSON.
    ///
    /// # Errors
    /// As there, and for a path that JSON cannot hold.
    fn request(&self, typed: &ArgMatches, settings: &Settings) -> Result<Box<RawValue>, Failure>;
    /// What is shown of a `report.json`; `None` where it cannot be read.
    fn shown(&self, report: &[u8]) -> Option<Shown>;
}

/// Erases the types of `C`.
pub(crate) fn erased<C: KindCommand>() -> Box<dyn AnyCommand> {
    Box::new(Erased::<C>(PhantomData))
}

/// Reads the parsed arguments as `T`.
///
/// # Errors
/// [`Failure`] where the arguments are not those of `T`.
pub(crate) fn typed<T: FromArgMatches>(typed: &ArgMatches) -> Result<T, Failure> {
    T::from_arg_matches(typed).map_err(|error| Failure::usage(program::first_sentence(&error)))
}

struct Erased<C>(PhantomData<fn() -> C>);

impl<C: KindCommand> AnyCommand for Erased<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn about(&self) -> &'static str {
        C::ABOUT
    }

    fn manual(&self) -> String {
        C::manual()
    }

    fn format(&self) -> Format {
        Format::of::<C::Kind>()
    }

    fn at_root(&self) -> bool {
        C::Kind::AT_ROOT
    }

    fn arguments(&self, command: Command) -> Command {
        // reset the heading, so that arguments added after the kind's own are not listed below it
        C::Arguments::augment_args(command).next_help_heading(Resettable::Reset)
    }

    fn submitted(&self, arguments: Command) -> Command {
        C::submitted(arguments)
    }

    fn request(&self, matches: &ArgMatches, settings: &Settings) -> Result<Box<RawValue>, Failure> {
        let request = C::request(typed(matches)?, settings)?;
        to_json::<C::Kind>(&request).map_err(Failure::usage)
    }

    fn shown(&self, report: &[u8]) -> Option<Shown> {
        let shown = serde_json::from_slice(report).ok()?;
        Some(Shown {
            text: C::summary(&shown),
            rows: C::rows(&shown),
        })
    }
}
