//! Why a command failed, and its exit code.

use autoconnect_common::CutError;
use autoconnect_common::ask::AskError;
use autoconnect_common::broker::BrokerError;
use autoconnect_common::program::{Exit, sentence};
use autoconnect_producer::ProducerError;

use crate::Failure;

/// Why a command failed.
pub(crate) enum Trouble {
    /// The job cannot be cut.
    Producer(ProducerError),
    /// An error of the broker, or of the connection to it.
    Broker(BrokerError),
    /// Another error, in one sentence.
    Failed(String),
    /// Interrupted by Ctrl-C.
    Interrupted,
}

impl From<BrokerError> for Trouble {
    fn from(error: BrokerError) -> Self {
        Self::Broker(error)
    }
}

impl From<AskError> for Trouble {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Broker(error) => Self::Broker(error),
            AskError::Silence => Self::of(&error),
        }
    }
}

impl Trouble {
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(sentence(error))
    }

    pub(crate) fn into_failure(self) -> Failure {
        match self {
            Self::Producer(ProducerError::Cut(error)) => refused(&error),
            Self::Producer(error) => Failure::failed(sentence(&error)),
            Self::Broker(BrokerError::Refused(why)) => Failure::usage(why),
            Self::Broker(error) => Failure::failed(sentence(&error)),
            Self::Failed(said) => Failure::failed(said),
            Self::Interrupted => interrupted(),
        }
    }
}

fn interrupted() -> Failure {
    Failure::new(
        Exit::Interrupted,
        "interrupted before the report was complete",
    )
}

fn refused(error: &CutError) -> Failure {
    match error {
        CutError::Refused(_) => Failure::usage(sentence(error)),
        CutError::Failed { .. } => Failure::failed(sentence(error)),
        CutError::Cancelled => interrupted(),
    }
}
