//! Whether a job's request is still being cut: a job that no producer cuts any more is asked for again, and one whose
//! request is dead or whose input changed fails.

use std::time::Duration;

use autoconnect_common::Registry;
use autoconnect_common::message::Begun;

use super::{Absorbed, Job, Without};
use crate::entry::Entry;
use crate::lease::{self, Heard, Lease, Orphan};

impl Job {
    /// Takes note that a producer cuts the job.
    pub(super) fn absorb_begun(&mut self, begun: &Begun) -> Absorbed {
        let Some(lease) = &mut self.lease else {
            self.lease = Some(Lease::new(begun));
            return Absorbed::News;
        };
        if self.manifest.is_some() {
            return Absorbed::Renewed;
        }
        match lease.hear(begun) {
            Heard::Anew => Absorbed::News,
            Heard::Still => Absorbed::Renewed,
            Heard::Changed => {
                let reason = "inconsistent: the input changed between two attempts to cut the job: ask for it again";
                self.without = Some(Without::failed(reason));
                Absorbed::Last(Entry::Failed {
                    reason: reason.into(),
                })
            }
        }
    }

    /// Takes note that the job was asked for again.
    pub(super) fn absorb_asked_again(&mut self) -> Absorbed {
        (self.losses.redo, self.losses.asked_again) = (false, true);
        match &mut self.lease {
            Some(lease) => {
                lease.ask_again();
                Absorbed::News
            }
            None => Absorbed::Duplicate,
        }
    }

    /// A dead request ends a job that no producer cuts: one that was cut to its end needs no request any more, and one that
    /// a producer still cuts may come to it.
    pub(super) fn absorb_dead_request(&mut self, reason: &str) -> Absorbed {
        match &mut self.lease {
            _ if self.manifest.is_some() => return Absorbed::Duplicate,
            Some(lease) => lease.bury(reason),
            None => self.without = Some(Without::failed(lease::no_request(reason))),
        }
        Absorbed::News
    }

    /// Whether a program of these kinds consumes the job's results: those of another format wait in their queue for a
    /// program that knows it, and their silence says nothing.
    pub(crate) fn is_known_to(&self, registry: &Registry) -> bool {
        let format = self
            .tally
            .format
            .as_ref()
            .map(|f| (f.kind.as_str(), f.schema));
        let format = format.or(self.lease.as_ref().map(Lease::format));
        format.is_none_or(|(kind, schema)| registry.get(kind, schema).is_some())
    }

    /// What is to be done about the job, if no producer said for longer than `term` that it cuts it.
    pub(crate) fn orphan(&self, term: Duration) -> Option<Orphan> {
        let lease = self.lease.as_ref().filter(|_| self.without.is_none())?;
        if self.losses.redo {
            return Some(Orphan::AskAgain(lease.request()));
        }
        let is_cut = self.manifest.is_some();
        lease.orphan(term).filter(|_| !is_cut)
    }
}
