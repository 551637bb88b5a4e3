//! The [`Request`] of a `sales` job, and its [`Facts`]: what `cut` learns that no chunk carries.

use std::collections::BTreeMap;
use std::path::PathBuf;

use autoconnect_report::fixed::Percent;
use autoconnect_tables::fold::Spellings;
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::periode::{Lieu, Plage, Suite};
use super::report::{Encodage, Ignores, LignesWindows1252};

pub use autoconnect_tables::encoding::Encoding;

/// Everything that can change a byte of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Files and folders to read, in this order; `-` is standard input.
    pub inputs: Vec<PathBuf>,
    /// How many rows a chunk has at most.
    pub chunk_rows: u32,
    /// `,`, `;` or tab; detected from the header where absent.
    pub delimiter: Option<char>,
    /// How the files' bytes spell text.
    pub encoding: Encoding,
    /// Whether a second row with the same id is refused.
    pub dedup: bool,
    /// Above this, there is no report.
    pub max_rejects: MaxRejects,
    /// A date after this one is accepted with a warning.
    pub today: NaiveDate,
    /// The margin rates assumed for the sales, or rentals, of a city none of which has a `cout`.
    pub margin: Margin,
    /// The months to report on; detected from the rows where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periode: Option<Plage>,
}

/// The most rejected rows a job survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxRejects {
    /// So many rows.
    Rows(u64),
    /// So many percent of the rows read.
    Percent(Percent),
}

/// Margin rates, in percent of the CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Margin {
    /// Of sales.
    pub vente: Percent,
    /// Of rentals.
    pub location: Percent,
}

/// What `cut` learns that no chunk carries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The base names of the files read, in the order they were read.
    pub fichiers: Vec<String>,
    /// Rows read (header and blank lines are none): always `acceptees + rejetees`.
    pub lignes: u64,
    /// Rows without a fault: those in the chunks, and `hors_periode`.
    pub acceptees: u64,
    /// Rows in `rejets.csv`.
    pub rejetees: u64,
    /// Rejected rows by reason; reasons that did not occur are absent.
    pub par_motif: BTreeMap<String, u64>,
    /// Accepted rows by what is odd about them; a row can be counted under several.
    pub avertissements: BTreeMap<String, u64>,
    /// As in [`Source::encodages`](super::report::Source::encodages).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encodages: Vec<Encodage>,
    /// As in [`Qualite::lignes_windows_1252`](super::report::Qualite::lignes_windows_1252).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lignes_windows_1252: Vec<LignesWindows1252>,
    /// As in [`Source::ignores`](super::report::Source::ignores).
    #[serde(default, skip_serializing_if = "Ignores::is_empty")]
    pub ignores: Ignores,
    /// Accepted rows outside the requested period; they are in no chunk.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub hors_periode: u64,
    /// The requested period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periode: Option<Plage>,
    /// The runs of months with transactions, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<Suite>,
    /// Where the first rows of a month stand, for the months of short runs, where there are several runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub premieres_lignes: BTreeMap<i32, Vec<Lieu>>,
    /// The name of each city by its key, as in [`Partial::villes`](super::Partial::villes).
    pub villes: BTreeMap<String, String>,
    /// The cities that were written in several ways, by key, with the rows of each spelling.
    #[serde(default, skip_serializing_if = "Spellings::is_empty")]
    pub orthographes: Spellings,
    /// The margin rates assumed for the sales, or rentals, of a city none of which has a `cout`.
    pub marge: Margin,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Default for Margin {
    /// The usual margins of the trade: 12 % on a sale, 35 % on a rental.
    fn default() -> Self {
        Self {
            vente: Percent::from_units(12),
            location: Percent::from_units(35),
        }
    }
}
