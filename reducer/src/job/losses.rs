//! What of a job the reducer may have lost: its end does not say then that something never came, and a job of which
//! something was lost for certain is asked for again, once.

use super::Job;

/// What may be lost of a job.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// What could not be read of the job's journals, in one phrase: some of what came may be lost.
    pub(super) damage: Option<String>,
    /// Whether something was lost for certain, so that the job is to be asked for again.
    pub(super) redo: bool,
    /// Whether the job was asked for again, because no producer cut it any more or because of damage.
    pub(super) asked_again: bool,
    /// Whether it ended before: late copies of that life may be among what came.
    pub(super) anew: bool,
}

impl Losses {
    fn note(&mut self, damage: &str, redo: bool) {
        self.redo |= redo;
        let known = self.damage.get_or_insert_default();
        if !known.contains(damage) && known.len() < 500 {
            let separator = if known.is_empty() { "" } else { "; " };
            known.extend([separator, damage]);
        }
    }

    /// `fact`, that something did not come, or the damage that may be why nothing is known of it.
    pub(super) fn unless_lost(&self, fact: &str) -> String {
        match &self.damage {
            None => fact.to_owned(),
            Some(damage) => {
                format!("{fact}, or it was lost with what the reducer cannot read: {damage}")
            }
        }
    }
}

impl Job {
    /// Takes note that some of what came may be lost: the job's end must not say that it never came.
    /// What was lost for certain (`redo`) is asked for again, where the request is known.
    pub(crate) fn note_damage(&mut self, damage: &str, redo: bool) {
        self.losses.note(damage, redo);
    }

    /// Has a silent job asked for again, once, before it is given up, and says whether it is: where some of what came may be
    /// lost, as what a torn end of a journal held may have been acknowledged; or where some of it may be of an earlier life,
    /// as a late manifest, which keeps producers from cutting the job once more.
    pub(crate) fn redo_before_giving_up(&mut self) -> bool {
        let losses = &mut self.losses;
        losses.redo |= (losses.damage.is_some() || losses.anew) && !losses.asked_again;
        losses.redo && self.lease.is_some() && self.without.is_none()
    }
}
