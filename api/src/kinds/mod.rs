//! The kinds of job, as the API reads and shows them: a file or a folder for each.
//!
//! A kind is an [`ApiKind`], registered by one line in [`all`].

mod kind;
pub mod sales;

use autoconnect_common::settings::{Settings, SettingsError};

pub use kind::{ApiKind, Intake, Kinds, Table};

/// Every kind. The page and the upload form of the first are shown by default.
///
/// # Errors
/// [`SettingsError`] where a setting of a kind is wrong.
pub fn all(settings: &Settings) -> Result<Kinds, SettingsError> {
    Ok(Kinds::default().with(sales::Sales::new(settings.load()?)))
}
