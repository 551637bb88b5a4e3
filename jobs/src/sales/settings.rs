//! The section `[sales]` of the settings: the defaults of a request.

use std::path::PathBuf;
use std::str::FromStr;

use autoconnect_common::settings::{Key, Section, Settings, SettingsError};
use autoconnect_report::fixed::Percent;

use chrono::NaiveDate;

use super::periode::Plage;
use super::request::{Encoding, Margin, MaxRejects, Request};

/// Every key of this section.
pub const KEYS: &[Key] = &[
    Key::new(
        "sales.chunk_rows",
        "a whole number from 1",
        "rows in a chunk",
    ),
    Key::new(
        "sales.max_rejects",
        "a whole number of rows, or 0 to 100 percent as in 10%",
        "rejected rows a job survives",
    ),
    Key::new(
        "sales.marge_vente",
        "percent from 0 to 100, with at most 2 decimals",
        "margin assumed on a sale",
    ),
    Key::new(
        "sales.marge_location",
        "percent from 0 to 100, with at most 2 decimals",
        "margin assumed on a rental",
    ),
    Key::new(
        "sales.periode",
        "two months as in 2024-01..2024-03",
        "months to report on; told from the rows where absent",
    ),
];

/// `[sales]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sales {
    /// Rows in a chunk, at most.
    pub chunk_rows: u32,
    /// Above this, there is no report.
    pub max_rejects: MaxRejects,
    /// The margin rates assumed for the sales, or rentals, of a city none of which has a `cout`.
    pub margin: Margin,
    /// The months to report on; detected from the rows where absent.
    pub periode: Option<Plage>,
}

impl Sales {
    /// The usual request: `inputs`, read as they come. A date after `today` is in the future.
    pub fn request(&self, inputs: Vec<PathBuf>, today: NaiveDate) -> Request {
        Request {
            inputs,
            chunk_rows: self.chunk_rows,
            delimiter: None,
            encoding: Encoding::default(),
            dedup: true,
            max_rejects: self.max_rejects,
            today,
            margin: self.margin,
            periode: self.periode,
        }
    }
}

/// This machine's day.
pub fn today() -> NaiveDate {
    chrono::Local::now().date_naive()
}

impl Section for Sales {
    fn check(settings: &Settings) -> Result<Self, SettingsError> {
        let rate = |path| settings.get_where(path, is_share);
        let margin = Margin::default();
        let Limit(max_rejects) = settings.get("sales.max_rejects")?.unwrap_or_default();
        Ok(Self {
            chunk_rows: settings
                .get_where("sales.chunk_rows", |&rows: &u32| rows > 0)?
                .unwrap_or(16_384),
            max_rejects,
            margin: Margin {
                vente: rate("sales.marge_vente")?.unwrap_or(margin.vente),
                location: rate("sales.marge_location")?.unwrap_or(margin.location),
            },
            periode: settings.get("sales.periode")?,
        })
    }
}

fn is_share(percent: &Percent) -> bool {
    (Percent::default()..=Percent::from_units(100)).contains(percent)
}

/// [`MaxRejects`] as people write it: `10%` or `250`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit(pub MaxRejects);

impl Default for Limit {
    fn default() -> Self {
        Self(MaxRejects::Percent(Percent::from_units(10)))
    }
}

/// Text that is neither a number of rows nor percent.
#[derive(Debug, thiserror::Error)]
#[error("expected a whole number of rows, or 0 to 100 percent as in 10%")]
pub struct InvalidLimit;

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, InvalidLimit> {
        let limit = match text.strip_suffix('%') {
            Some(percent) => percent
                .trim_end()
                .parse()
                .ok()
                .filter(is_share)
                .map(MaxRejects::Percent),
            None => text.parse().ok().map(MaxRejects::Rows),
        };
        limit.map(Self).ok_or(InvalidLimit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_rows_or_percent_and_nothing_else() {
        let limit = |text: &str| text.parse::<Limit>().ok().map(|limit| limit.0);
        assert_eq!(limit("250"), Some(MaxRejects::Rows(250)));
        assert_eq!(limit("0"), Some(MaxRejects::Rows(0)));
        assert_eq!(
            limit("10%"),
            Some(MaxRejects::Percent(Percent::from_units(10)))
        );
        assert_eq!(
            limit("0.5 %"),
            Some(MaxRejects::Percent(Percent::ratio(1, 2).expect("fits")))
        );
        for bad in [
            "", "%", "-1", "-1%", "101%", "10.125%", "ten", "10 rows", "1e3", "0x10",
        ] {
            assert_eq!(limit(bad), None, "{bad:?}");
        }
    }
}
