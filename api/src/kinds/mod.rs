//! The kinds of job, as the API reads and shows them: a file or a folder each.
//!
//! A kind is an [`ApiKind`], registered by one line in [`all`].

mod kind;
pub mod sales;

use autoconnect_common::settings::{Settings, SettingsError};

pub use kind::{ApiKind, Intake, Kinds, Table};

/// Every kind, the one whose page and uploads are shown by default first.
///
/// # Errors
/// [`SettingsError`], for the settings of a kind.
pub fn all(settings: &Settings) -> Result<Kinds, SettingsError> {
    Ok(Kinds::default().with(sales::Sales::new(settings.load()?)))
}
