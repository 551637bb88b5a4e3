//! A rejected row, as `rejets.csv` has it, and the selection of rows.

use std::io;

use autoconnect_jobs::sales::reason::Reason;
use autoconnect_jobs::sales::ville;
use csv::StringRecord;
use serde::{Deserialize, Serialize};
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A rejected row, cell for cell as in `rejets.csv`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(in super::super) struct Reject {
    /// The line of the file on which the row begins, from 1.
    pub ligne: u64,
    /// The reason.
    pub motif: Motif,
    /// The column with the fault; empty where the whole row has it.
    pub champ: String,
    /// The value of that column.
    pub valeur: String,
    /// The first line of the row.
    pub extrait: String,
    /// The base name of the file.
    pub fichier: String,
}

/// The reason of a rejection, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(in super::super) struct Motif(pub(super) Reason);

impl Motif {
    /// The word.
    pub(in super::super) fn as_str(self) -> &'static str {
        self.0.word()
    }
}

impl TryFrom<String> for Motif {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let known = Reason::all().find(|reason| reason.word() == text).map(Self);
        known.ok_or_else(|| {
            let words: Vec<&str> = Reason::all().map(Reason::word).collect();
            format!("motif inconnu\u{a0}; attendu\u{a0}: {}", words.join(", "))
        })
    }
}

impl Serialize for Motif {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

impl PartialSchema for Motif {
    fn schema() -> RefOr<Schema> {
        let words = Reason::all().map(Reason::word);
        ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .enum_values(Some(words))
            .into()
    }
}

impl ToSchema for Motif {}

/// The requested rejects; all of them by default.
#[derive(Debug, Default)]
pub(super) struct Sought {
    pub(super) motif: Option<Motif>,
    /// The key of a city that the line names.
    pub(super) ville: Option<String>,
    /// The month of a date that the line has.
    pub(super) mois: Option<String>,
}

impl Sought {
    /// Whether a row of `rejets.csv` is requested.
    pub(super) fn has(&self, row: &StringRecord) -> bool {
        let cells = || {
            let line = row.get(4).unwrap_or_default();
            let cells = line.split([',', ';', '\t', '|']);
            cells.map(|cell| cell.trim_matches(|c: char| c == '"' || c.is_whitespace()))
        };
        let in_month = |cell: &str, mois: &str| {
            let day = cell.strip_prefix(mois);
            day.is_some_and(|day| day.starts_with('-'))
        };
        self.motif
            .is_none_or(|motif| row.get(1) == Some(motif.as_str()))
            && (self.ville.as_ref()).is_none_or(|key| cells().any(|cell| ville::key(cell) == *key))
            && (self.mois.as_ref()).is_none_or(|mois| cells().any(|cell| in_month(cell, mois)))
    }
}

/// The reason of a row of `rejets.csv`.
pub(super) fn motif(row: &StringRecord) -> io::Result<Motif> {
    let word = row.get(1).unwrap_or_default().to_owned();
    Motif::try_from(word).map_err(|_| invalid("an unknown reason"))
}

/// A row of `rejets.csv`.
pub(super) fn reject(row: &StringRecord) -> io::Result<Reject> {
    let cell = |index: usize| row.get(index).unwrap_or_default().to_owned();
    Ok(Reject {
        ligne: cell(0)
            .parse()
            .map_err(|_| invalid("a line number that is no number"))?,
        motif: motif(row)?,
        champ: cell(2),
        valeur: cell(3),
        extrait: cell(4),
        fichier: cell(5),
    })
}

/// The error of a file that is not one of rejects.
pub(super) fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
