//! Answers questions about jobs, and makes a chosen report the newest.

use autoconnect_common::message::{Event, JobStage, Newest, Question, Stage};
use autoconnect_common::{Broker, JobId, machine};

use super::Reducer;
use super::phase::Phase;
use crate::ending::Whereabouts;
use crate::tombstone::Tombstone;

/// The most jobs in one answer, and the most characters of each reason: together far below the size limit of an event.
const ANSWERED: (usize, usize) = (1000, 500);

impl<B: Broker> Reducer<'_, B> {
    /// Makes a report the newest because a person chose it.
    pub(super) fn choose(&mut self, wish: Newest) {
        let order = self.next_order();
        let results = self.place.results.clone();
        machine::block_in(&mut self.choices, move || {
            let chosen = results.choose(&wish.job, order);
            if let Err(error) = &chosen {
                tracing::warn!(job_id = %wish.job, %error, "report not made the newest");
            }
            Event::Newest {
                token: wish.token,
                job: wish.job,
                refused: chosen.err().map(|error| error.to_string()),
            }
        });
    }

    /// Answers a question; every tombstone that it is about must have been read.
    pub(super) fn ask(&mut self, question: Question) {
        let reading = match (&question.job, &self.reading) {
            (None, None) => self.tombstones.reading(),
            _ => None,
        };
        if let Some(read) = reading {
            self.reading = Some(machine::block(read));
        }
        match (&question.job, &self.reading) {
            (None, Some(_)) => self.questions.push(question),
            (Some(job), _) => self.answer_about(&question.token, job),
            (None, None) => self.answer(question.token),
        }
    }

    pub(super) fn answer_questions(&mut self, read: Vec<Tombstone>) {
        self.reading = None;
        self.tombstones.learn(read);
        for question in std::mem::take(&mut self.questions) {
            self.answer(question.token);
        }
    }

    /// Publishes the stage of one job; announces its end again, if it ended.
    fn answer_about(&mut self, token: &JobId, job: &JobId) {
        let open = match self.jobs.get(job) {
            Some(phase) if !matches!(phase, Phase::Again(_)) => Some(phase.of(job)),
            _ => None,
        };
        // a job whose results were removed can be requested again
        let ended = open.is_none()
            && self.tombstones.contains(job)
            && self.place.results_of(job) != Whereabouts::Removed;
        let tombstone = self.tombstones.get(job).filter(|_| ended);
        let jobs = open.or_else(|| tombstone.map(stage_of));
        self.announcer.news(Event::Jobs {
            token: token.clone(),
            jobs: jobs.into_iter().collect(),
            more: 0,
        });
        if ended {
            self.announce(job);
        }
    }

    /// Publishes the stage of all jobs: open ones first, then ended ones, the newest first.
    fn answer(&self, token: JobId) {
        let (most, _) = ANSWERED;
        let open = self
            .jobs
            .iter()
            .filter(|(_, phase)| !matches!(phase, Phase::Again(_)));
        let mut jobs: Vec<JobStage> = open.take(most).map(|(id, phase)| phase.of(id)).collect();
        let ended = self.tombstones.newest(most - jobs.len()).into_iter();
        jobs.extend(ended.map(stage_of));
        let again = self
            .jobs
            .values()
            .filter(|phase| matches!(phase, Phase::Again(_)));
        let all = self.jobs.len() - again.count() + self.tombstones.len();
        self.announcer.news(Event::Jobs {
            token,
            more: all.saturating_sub(jobs.len()) as u64,
            jobs,
        });
    }
}

/// The stage of an ended job.
fn stage_of(tombstone: Tombstone) -> JobStage {
    let (_, characters) = ANSWERED;
    let reason = tombstone.reason;
    JobStage {
        job: tombstone.job,
        kind: tombstone.kind,
        stage: Stage::Ended {
            status: tombstone.status,
            reason: reason.map(|reason| reason.chars().take(characters).collect()),
            ended_at: tombstone.ended_at,
        },
    }
}
