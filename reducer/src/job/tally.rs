//! What a job's partials add up to: the first partial or the manifest decides which kind and version the job is of, and
//! that kind adds the partials up.

use std::panic::{AssertUnwindSafe, catch_unwind};

use autoconnect_common::kind::{AddError, Overflow, Tally};
use autoconnect_common::seal::Prefix;
use autoconnect_common::{Digest, Format, Registry};
use serde_json::value::RawValue;

use crate::entry::PartialEntry;

/// The sum of a job's partials, of a kind that is known once something said it.
#[derive(Default)]
pub(super) struct JobTally {
    pub(super) format: Option<Format>,
    pub(super) tally: Option<Box<dyn Tally>>,
}

impl JobTally {
    /// What the sum weighs, in bytes of memory.
    pub(super) fn weight(&self) -> u64 {
        self.tally.as_ref().map_or(0, |tally| tally.weight())
    }

    /// Makes sure that the job is of this kind and version; a job whose kind is not known yet becomes of this one.
    pub(super) fn accept_format(
        &mut self,
        kind: &str,
        schema: u32,
        registry: &Registry,
    ) -> Result<(), String> {
        if let Some(known) = &self.format {
            return if known.kind == kind && known.schema == schema {
                Ok(())
            } else {
                Err(format!(
                    "kind {kind:?} with schema {schema}, expected {:?} with schema {} as the rest of the job",
                    known.kind, known.schema
                ))
            };
        }
        let here = registry.known(kind, schema)?;
        self.tally = Some(here.tally());
        self.format = Some(Format::new(kind, schema));
        Ok(())
    }

    /// Adds a partial, and returns the digest of what it says.
    pub(super) fn merge(&mut self, partial: &RawValue) -> Result<Digest, AddError> {
        let Some(tally) = self.tally.as_mut() else {
            return Err(AddError::Unreadable("its kind is unknown".to_owned()));
        };
        // a kind's bug must cost its own job only
        catch_unwind(AssertUnwindSafe(|| tally.add(partial)))
            .unwrap_or(Err(AddError::Overflow(Overflow)))
    }

    /// Whether a partial says what the one with this digest said, however each is written; why it cannot be read, if it
    /// cannot.
    pub(super) fn says(&self, partial: &PartialEntry<'_>, what: Prefix) -> Result<bool, String> {
        // bytes that we would write ourselves need not be read
        if Prefix::of(&partial.digest) == what {
            return Ok(true);
        }
        let Some(tally) = &self.tally else {
            return Ok(false);
        };
        let said = tally.digest(partial.json);
        let said = said.map_err(|error| error.to_string())?;
        Ok(Prefix::of(&said) == what)
    }
}
