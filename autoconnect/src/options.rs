//! Flags that several commands share: where the settings and the broker are, what is printed, which report becomes the
//! newest.

use std::num::NonZeroU16;
use std::path::PathBuf;

use autoconnect_common::results::Accept;
use autoconnect_common::settings::{Log, Settings, Sources};
use autoconnect_common::{Registry, telemetry};
use clap::{Args, ValueHint};

use crate::Failure;

/// The flags that decide which report becomes the newest.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(next_help_heading = "Writing")]
pub(crate) struct Accepting {
    /// Let a report without accepted rows become the newest
    #[arg(long)]
    pub(crate) accept_empty: bool,

    /// Let an incomplete report replace a complete one as the newest
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

/// The flags that decide what is printed.
#[derive(Debug, Default, Clone, Copy, Args)]
#[command(next_help_heading = "Printing")]
pub(crate) struct Print {
    /// Print nothing but errors
    #[arg(short, long, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Print one JSON object instead of the summary
    #[arg(long)]
    pub(crate) json: bool,
}

impl Print {
    /// Whether these flags allow a progress bar.
    pub(crate) fn shows_progress(self) -> bool {
        !self.quiet && !self.json
    }
}

/// The flags that say where the broker and the settings are.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Place {
    /// The address of RabbitMQ, as in amqp://user:password@host:5672/vhost (or amqps://)
    ///
    /// Other users of the machine can read a command line: keep an address with a password in a file, see
    /// AUTOCONNECT_BROKER__URI_FILE.
    #[arg(short, long, global = true, value_name = "URI", value_hint = ValueHint::Url)]
    pub(crate) broker: Option<String>,

    /// The certificate of the authority that signed the broker's certificate, in PEM
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca: Option<PathBuf>,

    /// Log to standard error, by level and module, as in info or producer=debug
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,

    /// The folder with base.toml and the profiles [default: config, if there is one]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) config: Option<PathBuf>,

    /// Also read PROFILE.toml, beside base.toml, whose settings it overrides
    #[arg(long, global = true, value_name = "PROFILE")]
    pub(crate) profile: Option<String>,
}

impl Place {
    /// The layers that settings are read from: files, environment, then these flags, which override the others.
    pub(crate) fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.profile.clone())
            .flag("broker.uri", self.broker.as_ref())
            .flag("broker.ca", self.ca.as_ref().map(|path| path.display()))
            .flag("log.filter", self.log.as_ref())
    }

    /// Reads the settings of `sources`, and starts logging where that is requested.
    ///
    /// # Errors
    /// [`Failure`] for a setting that is unknown or a log filter that is not one.
    pub(crate) fn read(&self, sources: Sources, registry: &Registry) -> Result<Settings, Failure> {
        let settings = read(sources, registry)?;
        if self.log.is_some() {
            let log: Log = settings.load()?;
            telemetry::start(&log.filter, log.json);
        }
        Ok(settings)
    }

    /// Reads the settings from every layer; these flags override the others.
    ///
    /// # Errors
    /// As [`Place::read`].
    pub(crate) fn settings(&self, registry: &Registry) -> Result<Settings, Failure> {
        self.read(self.sources(), registry)
    }
}

/// Reads the settings of `sources`, those of the kinds of `registry` among them.
///
/// # Errors
/// [`Failure`] for a setting that is unknown.
pub(crate) fn read(sources: Sources, registry: &Registry) -> Result<Settings, Failure> {
    sources.read(&registry.catalogue()).map_err(Failure::usage)
}

/// Parses a number of workers.
pub(crate) fn workers(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse()
        .map_err(|_| "expected a whole number from 1 to 65535")
}
