//! Named points at which a test kills a role, to start it again and look.
//!
//! A role names its points in an enum of its own. Outside tests nothing is there to kill it: [`Faults::default`] never
//! does.

use std::fmt;
use std::sync::Arc;

/// A role was killed at a point, by a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("killed at {0:?}")]
pub struct Killed<P: fmt::Debug>(pub P);

/// Decides at each point whether the role is killed.
pub struct Faults<P>(Option<Arc<Decide<P>>>);

type Decide<P> = dyn Fn(P) -> bool + Send + Sync;

impl<P: Copy + fmt::Debug> Faults<P> {
    /// Kills the role at each point for which `kill` returns true; `kill` may also end the process itself.
    pub fn new(kill: impl Fn(P) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(kill)))
    }

    /// Asks whether to live on; for roles.
    ///
    /// # Errors
    /// [`Killed`] where the role is to stop at once, without tidying up.
    pub fn at(&self, point: P) -> Result<(), Killed<P>> {
        match &self.0 {
            Some(kill) if kill(point) => Err(Killed(point)),
            _ => Ok(()),
        }
    }
}

impl<P> Default for Faults<P> {
    fn default() -> Self {
        Self(None)
    }
}

impl<P> Clone for Faults<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P> fmt::Debug for Faults<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = self.0.is_some();
        f.debug_struct("Faults").field("armed", &armed).finish()
    }
}
