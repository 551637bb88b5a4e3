//! What every program does the same way: stops on a signal, prints its error once, ends with a meaningful exit code.
//!
//! [`role`] is the whole `main` of a program that plays one role of a cluster, but for the role itself.

use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, ValueHint, value_parser};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::broker::Broker as _;
use crate::broker::rabbitmq::{CONSUME, Options, RabbitMq};
use crate::settings::{self, Key, Log, Settings, SettingsError, Sources};
#[cfg(unix)]
use crate::wait::or_pending;
use crate::{Format, Registry, Shutdown, dead, health, telemetry};

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It succeeded.
    Done,
    /// It failed, and the user is not to blame.
    Failed,
    /// Its arguments, settings or input cannot be used.
    Usage,
    /// There is a report, and it names what it lacks.
    Incomplete,
    /// It was stopped by Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The code the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// What went wrong, in one sentence, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// How the program ends.
    pub exit: Exit,
    /// One sentence; empty where there is nothing to say.
    pub sentence: String,
}

impl Failure {
    /// The arguments, the settings or the input cannot be used.
    pub fn usage(error: impl std::fmt::Display) -> Self {
        Self::new(Exit::Usage, error)
    }

    /// A failure for which the user is not to blame.
    pub fn failed(error: impl std::fmt::Display) -> Self {
        Self::new(Exit::Failed, error)
    }

    /// As [`Failure::failed`], with the whole chain of causes.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Self::failed(sentence(error))
    }

    /// A failure with this exit code and sentence.
    pub fn new(exit: Exit, error: impl std::fmt::Display) -> Self {
        let sentence = error.to_string();
        Self { exit, sentence }
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        Self::usage(error)
    }
}

/// How the program ends; an error is printed here, once, on standard error.
pub fn end(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => Exit::Done.into(),
        Err(Failure { exit, sentence }) => {
            if !sentence.is_empty() {
                eprintln!("error: {sentence}");
            }
            exit.into()
        }
    }
}

/// Runs `act` in a new Tokio runtime, with a shutdown by signals: see [`stop_on_signals`].
///
/// # Errors
/// Those of `act`.
pub fn run<T, F>(act: impl FnOnce(Shutdown) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    let done = runtime.block_on(async { act(stop_on_signals()).await });
    // a thread that waits for standard input must not delay the exit
    runtime.shutdown_background();
    done
}

/// A program that plays one role of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct Role {
    /// The program's name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The kinds that it knows.
    pub registry: fn() -> Registry,
}

/// The whole `main` of a role: reads arguments and settings, starts logging, runs the role until it ends or a signal
/// arrives.
pub fn role<F>(role: &Role, play: impl FnOnce(Settings, Shutdown) -> F) -> ExitCode
where
    F: Future<Output = Result<(), Failure>>,
{
    let arguments = match role.command().try_get_matches() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, role.name),
    };
    let path = arguments.get_one::<PathBuf>("config").cloned();
    let profile = arguments.get_one::<String>("profile").cloned();
    end(Sources::of_process(path, profile)
        .read(&(role.registry)().catalogue())
        .map_err(Failure::from)
        .and_then(|settings| {
            if arguments.get_flag("health") {
                return look(&settings);
            }
            let log: Log = settings.load()?;
            telemetry::start(&log.filter, log.json);
            run(|shutdown| play(settings, shutdown))
        }))
}

/// Checks the health of the running program with the same settings.
fn look(settings: &Settings) -> Result<(), Failure> {
    let settings::Health { file } = settings.load()?;
    let file = file.ok_or_else(|| {
        let variable = settings::variable("health.file");
        Failure::usage(format!(
            "nothing to look at: set {variable}, or health.file in the settings"
        ))
    })?;
    health::look(&file).map_err(Failure::failed)
}

impl Role {
    fn command(&self) -> Command {
        let (name, about) = (self.name, self.about);
        let exits = "0 told to stop, 1 failed, 2 arguments or settings that cannot be used";
        Command::new(name)
            .version(env!("CARGO_PKG_VERSION"))
            .about(about)
            .after_help(format!(
                "It runs until SIGTERM or Ctrl-C; what is in hand is finished first.\nExit codes: {exits}.\n\n\
                 Environment (every setting is a variable):\n{}",
                environment(&(self.registry)().catalogue())
            ))
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("DIR")
                    .value_hint(ValueHint::DirPath)
                    .value_parser(value_parser!(PathBuf))
                    .help("The folder with base.toml and the profiles [default: config, if there is one]"),
            )
            .arg(
                Arg::new("profile")
                    .long("profile")
                    .value_name("PROFILE")
                    .help("Settings that stand in PROFILE.toml, beside base.toml"),
            )
            .arg(
                Arg::new("health")
                    .long("health")
                    .action(ArgAction::SetTrue)
                    .help("Only say whether the one that runs with the setting health.file is well: 0 or 1"),
            )
    }
}

/// The manual of the environment: a line for every setting, and for the two variables that name the settings files.
pub fn environment(catalogue: &[&[Key]]) -> String {
    let line = |variable: &str, about: &str| format!("  {variable:36} {about}");
    let keys = catalogue.iter().flat_map(|keys| keys.iter());
    let mut lines: Vec<String> = keys.map(|key| line(&key.variable(), key.about)).collect();
    lines.push(line(
        settings::CONFIG,
        "the folder with base.toml and the profiles",
    ));
    lines.push(line(
        settings::PROFILE,
        "settings that stand in <profile>.toml",
    ));
    lines.join("\n")
}

/// The broker of the settings, for a connection called `name`; `broker.uri` must be set. Call it inside a Tokio runtime.
/// It connects on first use; where it declares, it declares the queues of `formats`. Where `health.file` is set, the
/// program's health is written there.
///
/// # Errors
/// [`Failure`], in one sentence without any password.
pub fn connect(settings: &Settings, name: &str, formats: Vec<Format>) -> Result<RabbitMq, Failure> {
    let broker: settings::Broker = settings.load()?;
    if broker.uri.is_none() {
        return Err(Failure::usage(format!(
            "no broker: set {} or {}, or broker.uri in the settings",
            settings::variable("broker.uri"),
            settings::variable("broker.uri_file")
        )));
    }
    let health: settings::Health = settings.load()?;
    let rabbit = RabbitMq::connect(Options::of(&broker, name, formats)).map_err(Failure::usage)?;
    let watched = rabbit.clone();
    tokio::spawn(async move { dead::watch(&watched).await });
    if let Some(file) = health.file {
        let health = rabbit.health();
        health.expect(CONSUME, "no connection to the broker yet");
        tokio::spawn(async move { health.show(&file).await });
    }
    Ok(rabbit)
}

/// As [`connect`], for a program that may publish events: it publishes its troubles.
///
/// # Errors
/// As [`connect`].
pub fn connect_role(
    settings: &Settings,
    name: &str,
    formats: Vec<Format>,
) -> Result<RabbitMq, Failure> {
    let rabbit = connect(settings, name, formats)?;
    let (broker, name) = (rabbit.clone(), name.to_owned());
    tokio::spawn(async move { broker.health().tell(&broker, &name).await });
    Ok(rabbit)
}

/// Prints the requested help, or in one sentence what is wrong with the arguments of `program`.
pub fn refuse(error: &clap::Error, program: &str) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::Done.into();
    }
    eprintln!("{}; see {program} --help", first_sentence(error));
    Exit::Usage.into()
}

/// The first paragraph of clap's message, in one line, and its tip where there is one.
pub fn first_sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        words.join(" ")
    });
    let mut said = paragraphs.next().unwrap_or_default();
    if let Some(tip) = paragraphs.find_map(|next| next.strip_prefix("tip: ").map(str::to_owned)) {
        said = format!("{said} ({tip})");
    }
    said
}

/// A [`Shutdown`] that is requested by SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once. Call it inside a Tokio
/// runtime.
pub fn stop_on_signals() -> Shutdown {
    let shutdown = Shutdown::new();
    let requested = shutdown.clone();
    // caught from here on, not only once the task runs
    let mut signals = Signals::caught();
    tokio::spawn(async move {
        signals.next().await;
        requested.cancel();
        signals.next().await;
        std::process::exit(i32::from(Exit::Interrupted.code()));
    });
    shutdown
}

/// SIGTERM and Ctrl-C.
#[cfg(unix)]
struct Signals([Option<Signal>; 2]);

#[cfg(unix)]
impl Signals {
    /// Catches them; one that the system does not let be caught still ends the process.
    fn caught() -> Self {
        let kinds = [SignalKind::terminate(), SignalKind::interrupt()];
        Self(kinds.map(|kind| signal(kind).ok()))
    }

    async fn next(&mut self) {
        let [terminate, interrupt] = self.0.each_mut().map(Option::as_mut);
        tokio::select! {
            _ = or_pending(terminate.map(Signal::recv)) => {}
            _ = or_pending(interrupt.map(Signal::recv)) => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn caught() -> Self {
        Self
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// An error and its chain of causes, in one line; a cause that only repeats the text before is left out.
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !said.contains(&more) {
            said = format!("{said}: {more}");
        }
        cause = error.source();
    }
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CutError;

    #[test]
    fn a_chain_of_errors_is_one_line() {
        let error = CutError::Failed {
            what: "a.csv: cannot be\nread".to_owned(),
            source: std::io::Error::other("the disk is gone"),
        };
        assert_eq!(sentence(&error), "a.csv: cannot be read: the disk is gone");
    }
}
