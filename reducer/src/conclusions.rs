//! Decides which jobs are concluded now and which wait: bounds the memory of all conclusions together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use autoconnect_common::JobId;
use autoconnect_common::kind::MAX_TALLY;

use crate::job::End;

/// Jobs concluded at the same time, at most: flushing a report to disk is waiting, and 32 of them keep a disk busy.
const AT_ONCE: usize = 32;

/// A job that is to be concluded.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) job: JobId,
    /// How it ends, if no more results arrive before.
    pub(crate) end: End,
    /// The weight of its figures.
    pub(crate) weight: u64,
}

/// The jobs that are ready to conclude, in the order in which they became so. Small ones are concluded together as long as
/// their figures weigh at most [`MAX_TALLY`]; a job as heavy as that is concluded alone.
#[derive(Debug, Default)]
pub(crate) struct Conclusions {
    waiting: VecDeque<Due>,
    known: BTreeSet<JobId>,
    /// The weight of each job that is being concluded or published.
    running: BTreeMap<JobId, u64>,
    /// The weight of each job whose publication the disk refused: its report stays in memory until it is written.
    stuck: BTreeMap<JobId, u64>,
}

impl Conclusions {
    /// Queues a job for its conclusion, unless it is queued.
    pub(crate) fn push(&mut self, due: Due) {
        if self.known.insert(due.job.clone()) {
            self.waiting.push_back(due);
        }
    }

    /// Whether a job waits for its conclusion.
    pub(crate) fn knows(&self, job: &JobId) -> bool {
        self.known.contains(job)
    }

    /// The next job, if there is room for it now. It runs from then on.
    pub(crate) fn next(&mut self) -> Option<Due> {
        let weight = self.waiting.front()?.weight;
        let running: u64 = self.running.values().sum();
        let stuck: u64 = self.stuck.values().sum();
        let alone = self.running.is_empty();
        let fits = self.running.len() < AT_ONCE && running.saturating_add(weight) <= MAX_TALLY;
        // bounds the reports that cannot be written as well
        if !(alone || fits) || self.stuck.len() >= AT_ONCE || stuck >= MAX_TALLY {
            return None;
        }
        let due = self.waiting.pop_front()?;
        self.known.remove(&due.job);
        self.running.insert(due.job.clone(), due.weight);
        Some(due)
    }

    /// The disk refused a job's publication.
    pub(crate) fn stuck(&mut self, job: &JobId) {
        if let Some(weight) = self.running.remove(job) {
            self.stuck.insert(job.clone(), weight);
        }
    }

    /// A publication is retried.
    pub(crate) fn again(&mut self, job: &JobId) {
        if let Some(weight) = self.stuck.remove(job) {
            self.running.insert(job.clone(), weight);
        }
    }

    /// A job ended, or is not to be concluded after all.
    pub(crate) fn over(&mut self, job: &JobId) {
        self.running.remove(job);
        self.stuck.remove(job);
    }

    /// The jobs that are being concluded or published.
    pub(crate) fn running(&self) -> impl Iterator<Item = &JobId> {
        self.running.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(number: u32, weight: u64) -> Due {
        Due {
            job: format!("sales-{number}").parse().expect("a name"),
            end: End::Report {
                missing: Vec::new(),
                lacking: None,
            },
            weight,
        }
    }

    /// The jobs that may run now, of those that wait.
    fn started(conclusions: &mut Conclusions) -> Vec<String> {
        std::iter::from_fn(|| conclusions.next())
            .map(|due| due.job.to_string())
            .collect()
    }

    fn of(weights: &[u64]) -> Conclusions {
        let mut conclusions = Conclusions::default();
        for (number, &weight) in (0..).zip(weights) {
            conclusions.push(due(number, weight));
            conclusions.push(due(number, weight));
        }
        conclusions
    }

    #[test]
    fn jobs_are_concluded_together_as_long_as_they_are_light() {
        let mut conclusions = of(&[MAX_TALLY / 2, MAX_TALLY / 2, 1, 2 * MAX_TALLY, 1]);
        assert_eq!(started(&mut conclusions), ["sales-0", "sales-1"]);
        conclusions.over(&due(0, 0).job);
        assert_eq!(started(&mut conclusions), ["sales-2"]);
        conclusions.over(&due(1, 0).job);
        assert!(started(&mut conclusions).is_empty());
        conclusions.over(&due(2, 0).job);
        assert_eq!(started(&mut conclusions), ["sales-3"]);
        conclusions.over(&due(3, 0).job);
        assert_eq!(started(&mut conclusions), ["sales-4"]);
    }

    #[test]
    fn reports_that_the_disk_refuses_do_not_gather_in_memory() {
        let mut conclusions = of(&[1; 100]);
        let mut begun = 0;
        loop {
            let now = started(&mut conclusions);
            if now.is_empty() {
                break;
            }
            begun += now.len();
            for job in now {
                conclusions.stuck(&job.parse().expect("a name"));
            }
        }
        assert!((AT_ONCE..=2 * AT_ONCE).contains(&begun), "{begun}");
        // one is written after all
        let written = due(0, 0).job;
        conclusions.again(&written);
        conclusions.over(&written);
        assert!(!started(&mut conclusions).is_empty());
    }

    #[test]
    fn one_job_that_is_stuck_does_not_stop_the_others() {
        let mut conclusions = of(&[MAX_TALLY / 2, 1]);
        assert!(conclusions.next().is_some());
        conclusions.stuck(&due(0, 0).job);
        assert_eq!(started(&mut conclusions), ["sales-1"]);
    }
}
