//! Settings: built-in defaults < `config/base.toml` < `config/<profile>.toml` < environment < flags.
//!
//! Read in two stages: [`Sources::read`] collects the values as text ([`Settings`]) and refuses unknown keys;
//! [`Settings::load`] checks a [`Section`] into a strict type before anything connects. Every message names the key, its
//! source and the accepted values. Secrets do not print ([`Secret`]).
//!
//! # Environment
//!
//! Every key of the [catalogue](Key) is also a variable: `AUTOCONNECT_`, the section, two underscores, the key
//! (`AUTOCONNECT_BROKER__URI`). Other variables are not settings: [`CONFIG`] and [`PROFILE`] name the files to read, and
//! those that begin with [`TEST_PREFIX`] belong to the test suite.

mod blobs;
mod secret;
mod sections;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use config::{Config, ConfigError, Environment, File, FileFormat, Value, ValueKind};

use crate::text::without_login;

pub use blobs::Blobs;
pub use secret::Secret;
pub use sections::{Api, Broker, Health, KEYS, Log, Producer, Reducer, Worker, host};
pub(crate) use sections::{each, is_prefix};

/// The variable that names the folder with `base.toml` and the profiles; `config` where absent.
pub const CONFIG: &str = "AUTOCONNECT_CONFIG";
/// The variable that names the profile: `<profile>.toml` in the same folder.
pub const PROFILE: &str = "AUTOCONNECT_PROFILE";
/// Variables that begin so are the test suite's.
pub const TEST_PREFIX: &str = "AUTOCONNECT_TEST_";
/// What every variable begins with.
const PREFIX: &str = "AUTOCONNECT_";

/// A key that may be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// `section.key`, as in the files.
    pub path: &'static str,
    /// What is accepted, to complete "expected …".
    pub accepts: &'static str,
    /// What it is for, in a few words.
    pub about: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

impl Key {
    /// A key whose value may be shown.
    pub const fn new(path: &'static str, accepts: &'static str, about: &'static str) -> Self {
        Self {
            path,
            accepts,
            about,
            secret: false,
        }
    }

    /// A key whose value must never be shown.
    pub const fn secret(path: &'static str, accepts: &'static str, about: &'static str) -> Self {
        Self {
            secret: true,
            ..Self::new(path, accepts, about)
        }
    }

    /// Its environment variable.
    pub fn variable(&self) -> String {
        variable(self.path)
    }

    fn section(&self) -> &'static str {
        self.path.split('.').next().unwrap_or(self.path)
    }
}

/// The environment variable of the key `path`.
pub fn variable(path: &str) -> String {
    format!("{PREFIX}{}", path.replace('.', "__").to_uppercase())
}

/// A strict group of settings; its defaults are those of the key that is absent everywhere.
pub trait Section: Sized {
    /// Checks what was written into a strict value.
    ///
    /// # Errors
    /// [`SettingsError`] for the first value that is not what its key accepts.
    fn check(settings: &Settings) -> Result<Self, SettingsError>;
}

/// Why settings cannot be used: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// An unknown key.
    #[error("settings: unknown key {path} in {origin}, expected {expected}")]
    UnknownKey {
        /// The key.
        path: String,
        /// Where it was written.
        origin: String,
        /// The keys that are accepted there.
        expected: String,
    },
    /// A value that its key does not accept.
    #[error("settings: {path} in {origin}: found {found}, expected {expected}")]
    BadValue {
        /// The key.
        path: String,
        /// Where it was written.
        origin: String,
        /// The value, quoted, or a mask.
        found: String,
        /// What is accepted.
        expected: String,
    },
    /// A file that cannot be read.
    #[error("settings: {0}")]
    Unreadable(String),
}

/// Where settings are written.
#[derive(Clone, Default)]
pub struct Sources {
    folder: PathBuf,
    folder_was_named: bool,
    profile: Option<String>,
    variables: Vec<(String, String)>,
    flags: Vec<(&'static str, String)>,
}

impl Sources {
    /// The sources of this process: its environment, and `folder` and `profile` where flags name them.
    pub fn of_process(folder: Option<PathBuf>, profile: Option<String>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
            .collect();
        Self::new(folder, profile, variables)
    }

    /// As [`Sources::of_process`], with other `variables`.
    pub fn new(
        folder: Option<PathBuf>,
        profile: Option<String>,
        variables: Vec<(String, String)>,
    ) -> Self {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(found, value)| found == name && !value.is_empty())
                .map(|(_, value)| value.clone())
        };
        let named = folder.or_else(|| variable(CONFIG).map(PathBuf::from));
        Self {
            folder_was_named: named.is_some(),
            folder: named.unwrap_or_else(|| PathBuf::from("config")),
            profile: profile.or_else(|| variable(PROFILE)),
            flags: Vec::new(),
            variables: variables
                .into_iter()
                .filter(|(name, _)| {
                    !(name == CONFIG || name == PROFILE || name.starts_with(TEST_PREFIX))
                })
                .collect(),
        }
    }

    /// Sets the key `path` from a flag; does nothing where the flag was not given.
    #[must_use]
    pub fn flag(mut self, path: &'static str, value: Option<impl ToString>) -> Self {
        self.flags
            .extend(value.map(|value| (path, value.to_string())));
        self
    }

    /// Gathers everything that was written. `catalogue` holds every key there is.
    ///
    /// # Errors
    /// [`SettingsError::Unreadable`] for a file that cannot be read, [`SettingsError::UnknownKey`] for a key that is not
    /// in the catalogue.
    pub fn read(&self, catalogue: &[&[Key]]) -> Result<Settings, SettingsError> {
        let mut layers = Config::builder();
        for file in self.files()? {
            let source = File::from(file).format(FileFormat::Toml).required(true);
            layers = layers.add_source(source);
        }
        layers = layers.add_source(
            Environment::with_prefix("AUTOCONNECT")
                .prefix_separator("_")
                .separator("__")
                .ignore_empty(true)
                .source(Some(self.variables.iter().cloned().collect())),
        );
        for (path, value) in &self.flags {
            layers = layers
                .set_override(*path, value.as_str())
                .map_err(unreadable)?;
        }
        let root = layers.build().map_err(unreadable)?.cache;
        let mut settings = Settings {
            found: BTreeMap::new(),
            keys: catalogue
                .iter()
                .flat_map(|keys| keys.iter())
                .copied()
                .collect(),
        };
        settings.gather(String::new(), root)?;
        Ok(settings)
    }

    fn files(&self) -> Result<Vec<PathBuf>, SettingsError> {
        let mut files = Vec::new();
        let base = self.folder.join("base.toml");
        if base.is_file() {
            files.push(base);
        } else if self.folder_was_named {
            return Err(missing(&base));
        }
        if let Some(profile) = &self.profile {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            if profile.is_empty() || !profile.bytes().all(allowed) {
                return Err(SettingsError::Unreadable(format!(
                    "profile {profile:?}: expected a name of letters, digits, - and _"
                )));
            }
            let file = self.folder.join(format!("{profile}.toml"));
            if !file.is_file() {
                return Err(missing(&file));
            }
            files.push(file);
        }
        Ok(files)
    }
}

impl std::fmt::Debug for Sources {
    /// Variables and flags may hold secrets: only their names are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let variables: Vec<_> = self.variables.iter().map(|(name, _)| name).collect();
        let flags: Vec<_> = self.flags.iter().map(|(path, _)| path).collect();
        f.debug_struct("Sources")
            .field("folder", &self.folder)
            .field("profile", &self.profile)
            .field("variables", &variables)
            .field("flags", &flags)
            .finish_non_exhaustive()
    }
}

fn missing(file: &Path) -> SettingsError {
    SettingsError::Unreadable(format!("{}: no such file", file.display()))
}

/// An error of the `config` crate in one line.
fn unreadable(error: ConfigError) -> SettingsError {
    let (file, text) = match &error {
        ConfigError::FileParse { uri, cause } => (uri.clone(), cause.to_string()),
        other => (None, other.to_string()),
    };
    let drawing = |line: &&str| {
        let rest = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        !(rest.is_empty() || rest.starts_with('|'))
    };
    let said: Vec<&str> = text.lines().filter(drawing).map(str::trim).collect();
    let said = said.join(": ");
    SettingsError::Unreadable(match file {
        Some(file) => format!("{file}: {said}"),
        None => said,
    })
}

/// The values as written: text by key.
#[derive(Clone)]
pub struct Settings {
    found: BTreeMap<String, Found>,
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Found {
    text: String,
    origin: String,
}

impl Settings {
    /// The section `T`, checked.
    ///
    /// # Errors
    /// As [`Section::check`].
    pub fn load<T: Section>(&self) -> Result<T, SettingsError> {
        T::check(self)
    }

    /// The value of a key, if it was written anywhere.
    ///
    /// # Errors
    /// [`SettingsError::BadValue`] where it is no `T`.
    pub fn get<T: FromStr>(&self, path: &str) -> Result<Option<T>, SettingsError> {
        self.get_where(path, |_| true)
    }

    /// The value of a key, if it was written anywhere, which must also satisfy `accepted`.
    ///
    /// # Errors
    /// [`SettingsError::BadValue`] where it is no `T` or not accepted.
    pub fn get_where<T: FromStr>(
        &self,
        path: &str,
        accepted: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, SettingsError> {
        let Some(found) = self.found.get(path) else {
            return Ok(None);
        };
        match found.text.parse() {
            Ok(value) if accepted(&value) => Ok(Some(value)),
            _ => Err(self.refuse(path, found)),
        }
    }

    /// Refuses the value of a key for a reason that only its section knows.
    pub fn bad_value(&self, path: &str, found: &str, expected: &str) -> SettingsError {
        let origin = self
            .found
            .get(path)
            .map_or("the built-in defaults", |found| &found.origin);
        SettingsError::BadValue {
            path: path.to_owned(),
            origin: origin.to_owned(),
            found: found.to_owned(),
            expected: expected.to_owned(),
        }
    }

    fn refuse(&self, path: &str, found: &Found) -> SettingsError {
        let key = self.keys.iter().find(|key| key.path == path);
        let shown: String = without_login(&found.text).chars().take(80).collect();
        SettingsError::BadValue {
            path: path.to_owned(),
            origin: found.origin.clone(),
            found: match key {
                Some(key) if !key.secret => format!("{shown:?}"),
                _ => "a secret that is something else".to_owned(),
            },
            expected: key.map_or("nothing", |key| key.accepts).to_owned(),
        }
    }

    fn gather(&mut self, path: String, value: Value) -> Result<(), SettingsError> {
        let origin = origin(&path, value.origin());
        match value.kind {
            ValueKind::Table(table) if !self.keys.iter().any(|key| key.path == path) => {
                // sorted, so that the same one of several mistakes is always reported
                for (name, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
                    let path = match path.as_str() {
                        "" => name,
                        _ => format!("{path}.{name}"),
                    };
                    self.gather(path, value)?;
                }
                Ok(())
            }
            ValueKind::Nil => Ok(()),
            kind => self.keep(path, kind, origin),
        }
    }

    fn keep(&mut self, path: String, kind: ValueKind, origin: String) -> Result<(), SettingsError> {
        if !self.keys.iter().any(|key| key.path == path) {
            return Err(SettingsError::UnknownKey {
                expected: self.expected_at(&path),
                path,
                origin,
            });
        }
        let is_scalar = !matches!(kind, ValueKind::Table(_) | ValueKind::Array(_));
        let found = Found {
            text: Value::new(None, kind)
                .into_string()
                .unwrap_or_else(|_| "a table or list".to_owned()),
            origin,
        };
        if !is_scalar {
            return Err(self.refuse(&path, &found));
        }
        self.found.insert(path, found);
        Ok(())
    }

    /// What may be written where an unknown key was found.
    fn expected_at(&self, path: &str) -> String {
        let section = path.split('.').next().unwrap_or(path);
        let mut names: Vec<&str> = self
            .keys
            .iter()
            .filter(|key| key.section() == section)
            .map(|key| key.path)
            .collect();
        if names.is_empty() {
            names = self.keys.iter().map(Key::section).collect();
            names.dedup();
            return format!("one of the sections {}", names.join(", "));
        }
        format!("one of {}", names.join(", "))
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mask = |path: &str| self.keys.iter().any(|key| key.path == path && key.secret);
        f.debug_map()
            .entries(self.found.iter().map(|(path, found)| {
                let shown = if mask(path) { "***" } else { &found.text };
                (path, format!("{shown} ({})", found.origin))
            }))
            .finish()
    }
}

/// Where a value was written, in words.
fn origin(path: &str, said: Option<&str>) -> String {
    match said {
        Some("the environment") => variable(path),
        Some(file) => file.to_owned(),
        None => "the command line".to_owned(),
    }
}

#[cfg(test)]
mod tests;
