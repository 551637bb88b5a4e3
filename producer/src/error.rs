//! Why a job was not cut.

use autoconnect_common::broker::BrokerError;
use autoconnect_common::{CutError, Fate};

/// Why a job was not cut to its end. Each message is one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ProducerError {
    /// The cut did not reach its end.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// This program does not know that kind of job, or not that version of it. One sentence.
    #[error("{0}")]
    UnknownKind(String),
    /// The kind broke its contract: a bug in it.
    #[error("cut of kind {kind}: {what}")]
    Broken {
        /// The kind.
        kind: &'static str,
        /// What it did, and what was expected.
        what: String,
    },
    /// The broker refuses our messages for good.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl ProducerError {
    /// Whether the same request may work later, or never.
    pub fn fate(&self) -> Fate {
        match self {
            Self::Broker(BrokerError::Closed | BrokerError::Refused(_))
            | Self::Cut(CutError::Cancelled) => Fate::Again,
            _ => Fate::Bury,
        }
    }
}
