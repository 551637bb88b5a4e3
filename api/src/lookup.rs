//! Finds the job that a request names, or says why there is no such job or no report of it.

use autoconnect_common::JobId;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;

use crate::activity::JobView;
use crate::app::Shared;
use crate::problem::Problem;

/// The id of a job in a path, which may be invalid.
pub(crate) type Named = Result<Path<String>, PathRejection>;

/// The id in the path.
///
/// # Errors
/// [`Problem`] for text that is no id of a job.
pub(crate) fn named(id: Named) -> Result<JobId, Problem> {
    let id: Option<JobId> = id.ok().and_then(|Path(id)| id.parse().ok());
    id.ok_or_else(|| unknown().about("id"))
}

/// The job with the id in the path.
///
/// # Errors
/// [`Problem`], where no such job is known.
pub(crate) fn known(app: &Shared, id: Named) -> Result<JobView, Problem> {
    let job = app.activity.job(&named(id)?);
    job.ok_or_else(|| unknown().about("id"))
}

/// The problem that no job has this id.
pub(crate) fn unknown() -> Problem {
    Problem::not_found("aucun job n’a cet identifiant")
}

/// The problem that says why a job has no report.
pub(crate) fn without_report(app: &Shared, job: &JobId) -> Problem {
    let Some(view) = app.activity.job(job) else {
        return unknown();
    };
    let reason = view.reason.as_deref().unwrap_or_default();
    match view.status {
        state if !state.has_ended() => {
            Problem::not_found("ce job n’a pas encore de rapport\u{a0}; il n’est pas terminé")
        }
        state if state.has_report() => Problem::not_found(
            "le rapport de ce job n’est plus dans le dossier des résultats, ou ne peut pas être lu",
        ),
        _ => Problem::not_found(format!("ce job s’est terminé sans rapport\u{a0}: {reason}")),
    }
}
