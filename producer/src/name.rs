//! Names jobs, and makes requests under those names.

use autoconnect_common::kind::{Kind, to_json};
use autoconnect_common::message::JobRequest;
use autoconnect_common::results::Accept;
use autoconnect_common::{CutError, Digest, Format, JobId, JobKind, Registry};
use serde_json::value::RawValue;

use crate::error::ProducerError;
use crate::input::{can_be_read_twice, known};

/// The name of a job: `<kind>-<32 hexadecimal digits>` of everything that can change a byte of its chunks, and of `run`,
/// where the same job is requested anew.
///
/// # Errors
/// [`CutError::Refused`] for a request of another kind or an input that cannot be read.
pub fn job_id(kind: &dyn Kind, request: &RawValue, run: Option<&str>) -> Result<JobId, CutError> {
    named(kind, request, &kind.fingerprint(request)?, run)
}

/// A request for a job of the kind `K`, under the name that [`job_id`] gives it.
///
/// # Errors
/// [`ProducerError::UnknownKind`] where `registry` lacks it, [`CutError::Refused`] as [`job_id`].
pub fn name_job<K: JobKind>(
    registry: &Registry,
    request: &K::Request,
    run: Option<&str>,
) -> Result<JobRequest, ProducerError> {
    let kind = known(registry, K::NAME, K::SCHEMA)?;
    Ok(name_erased(kind, to_json::<K>(request)?, run)?)
}

/// As [`name_job`], for a kind given by its name.
///
/// # Errors
/// [`CutError::Refused`] as [`job_id`].
pub fn name_erased(
    kind: &dyn Kind,
    request: Box<RawValue>,
    run: Option<&str>,
) -> Result<JobRequest, CutError> {
    let fingerprint = kind.fingerprint(&request)?;
    let job = named(kind, &request, &fingerprint, run)?;
    let fingerprint = can_be_read_twice(kind, &request)?.then_some(fingerprint);
    Ok(asked(kind.format(), job, request, fingerprint))
}

/// As [`name_job`], for an input that only the cluster's producer can read: the name is made of `run` alone, which must be
/// unique.
///
/// # Errors
/// [`CutError::Refused`] for a request that cannot be sent.
pub fn name_unseen<K: JobKind>(request: &K::Request, run: &str) -> Result<JobRequest, CutError> {
    let format = Format::of::<K>();
    Ok(asked(
        format,
        spelt(K::NAME, run)?,
        to_json::<K>(request)?,
        None,
    ))
}

/// As [`name_unseen`], for a kind given by its name.
///
/// # Errors
/// [`CutError::Refused`] for a kind whose name cannot be part of a job's name.
pub fn name_unseen_erased(
    kind: &dyn Kind,
    request: Box<RawValue>,
    run: &str,
) -> Result<JobRequest, CutError> {
    Ok(asked(
        kind.format(),
        spelt(kind.name(), run)?,
        request,
        None,
    ))
}

fn asked(
    format: Format,
    job: JobId,
    request: Box<RawValue>,
    fingerprint: Option<Digest>,
) -> JobRequest {
    JobRequest {
        job,
        kind: format.kind,
        schema: format.schema,
        request,
        fingerprint,
        accept: Accept::default(),
    }
}

fn named(
    kind: &dyn Kind,
    request: &RawValue,
    fingerprint: &Digest,
    run: Option<&str>,
) -> Result<JobId, CutError> {
    let (name, schema, request) = (kind.name(), kind.schema(), request.get());
    let run = run.unwrap_or_default();
    spelt(
        name,
        &format!("{name}\n{schema}\n{fingerprint}\n{request}\n{run}"),
    )
}

/// `<kind>-<digits of all>`.
fn spelt(kind: &str, all: &str) -> Result<JobId, CutError> {
    let id = format!("{kind}-{}", Digest::of(all.as_bytes()).short(32));
    id.parse()
        .map_err(|error| CutError::Refused(format!("kind {kind}: {error}")))
}
