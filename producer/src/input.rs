//! The input of a request: detects that it changed since the job was named.

use std::sync::Arc;

use autoconnect_common::kind::Kind;
use autoconnect_common::message::JobRequest;
use autoconnect_common::{CutError, Digest, Registry, machine};
use serde_json::value::RawValue;

use crate::error::ProducerError;

/// When the input changed, in the refusal of a request whose job was named from another one.
pub(crate) const SINCE_ASKED: &str = "since the job was asked for";

/// Whether every input of a request can be read again; standard input cannot.
pub(crate) fn can_be_read_twice(kind: &dyn Kind, request: &RawValue) -> Result<bool, CutError> {
    let inputs = kind.inputs(request)?;
    Ok(!inputs.iter().any(|input| input.as_os_str() == "-"))
}

/// The current fingerprint of a request's input; `None` where it cannot be read twice. Refuses an input whose fingerprint
/// was `before`, and changed `since`.
pub(crate) async fn unchanged(
    registry: &Arc<Registry>,
    request: &JobRequest,
    before: Option<Digest>,
    since: &str,
) -> Result<Option<Digest>, ProducerError> {
    let now = fingerprint(registry, request).await?;
    refuse_change(registry, request, before, now, since)?;
    Ok(now)
}

async fn fingerprint(
    registry: &Arc<Registry>,
    request: &JobRequest,
) -> Result<Option<Digest>, ProducerError> {
    let (registry, kind, schema) = (Arc::clone(registry), request.kind.clone(), request.schema);
    let request = request.request.clone();
    let look = machine::block(move || {
        let kind = known(&registry, &kind, schema)?;
        Ok(match can_be_read_twice(kind, &request)? {
            true => Some(kind.fingerprint(&request)?),
            false => None,
        })
    });
    look.await.unwrap_or(Err(CutError::Cancelled.into()))
}

fn refuse_change(
    registry: &Registry,
    request: &JobRequest,
    before: Option<Digest>,
    now: Option<Digest>,
    since: &str,
) -> Result<(), ProducerError> {
    match (before, now) {
        (Some(before), Some(now)) if before != now => {
            let kind = known(registry, &request.kind, request.schema)?;
            let input = match &kind.inputs(&request.request)?[..] {
                [input] => format!("{}: the input", input.display()),
                inputs => format!("one of {} inputs", inputs.len()),
            };
            let sentence = format!("{input} changed {since}: ask for the job again");
            Err(CutError::Refused(sentence).into())
        }
        _ => Ok(()),
    }
}

pub(crate) fn known<'r>(
    registry: &'r Registry,
    kind: &str,
    schema: u32,
) -> Result<&'r dyn Kind, ProducerError> {
    let known = registry.known(kind, schema);
    known.map_err(ProducerError::UnknownKind)
}
