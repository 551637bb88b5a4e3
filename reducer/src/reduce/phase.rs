//! Where a job is in its life: open, asked for again, ending, or waiting for a disk that refused its report.

use autoconnect_common::JobId;
use autoconnect_common::message::{JobStage, Stage};
use tokio::time::Instant;

use crate::ending::Work;
use crate::job::Job;

/// Where a job is in its life.
pub(super) enum Phase {
    /// Results are coming.
    Open(Box<Job>),
    /// It ended, its results were removed, and something of it comes. It begins anew once a producer says that it cuts the
    /// job, or all that its manifest counts came; until then it counts as ended.
    Again(Box<Job>),
    /// It is being concluded or published.
    Ending { kind: Option<String> },
    /// The disk refused what is left to do; it is tried again at that time.
    Waiting {
        work: Work,
        attempt: u32,
        at: Instant,
    },
}

impl Phase {
    fn stage(&self) -> Stage {
        match self {
            Self::Open(job) | Self::Again(job) => {
                let (done, total, rows) = job.counts();
                Stage::Open {
                    done,
                    total,
                    rows,
                    idle_ms: u64::try_from(job.idle().as_millis()).unwrap_or(u64::MAX),
                }
            }
            Self::Ending { .. } | Self::Waiting { .. } => Stage::Ending,
        }
    }

    /// The job's kind, as far as anything said it.
    pub(super) fn kind(&self) -> Option<String> {
        match self {
            Self::Open(job) | Self::Again(job) => job.kind().map(str::to_owned),
            Self::Ending { kind } => kind.clone(),
            Self::Waiting { work, .. } => work.kind().map(str::to_owned),
        }
    }

    /// The job of that name in this phase.
    pub(super) fn of(&self, job: &JobId) -> JobStage {
        JobStage {
            job: job.clone(),
            kind: self.kind(),
            stage: self.stage(),
        }
    }
}
