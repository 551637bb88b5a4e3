//! Dead letters: marks a message with its reason, and turns it back into one that can be requeued.

use super::{Exchange, Message, MessageError};
use crate::Format;

/// The header that counts how often a chunk was requeued from the dead queue.
pub(super) const REVIVED: &str = "revived";

/// Turns a chunk's message into its dead letter, for the reducer and the dead queue.
///
/// An unreadable message works as well, for the dead queue: the reducer cannot read it either.
#[must_use]
pub fn bury(mut message: Message, reason: &str) -> Message {
    message.exchange = Exchange::Dead;
    // under another format than its queue's it would not reach the reducer that waits for it
    let format = message.format().or_else(|| format_said(&message).ok());
    message.key = match format {
        Some(format) if format.is_plain() => format!("dead.{format}"),
        _ => "dead".to_owned(),
    };
    message
        .headers
        .insert("reason".to_owned(), reason.chars().take(500).collect());
    message
}

/// Turns the message of a request into its dead letter, for the reducer and the dead queue. As with [`bury`], only the
/// dead queue receives one that does not name its job.
#[must_use]
pub fn bury_request(mut message: Message, reason: &str) -> Message {
    message.exchange = Exchange::Dead;
    message.key = "jobs".to_owned();
    message.kind = "job".to_owned();
    let reason = reason.chars().take(500).collect();
    message.headers.insert("reason".to_owned(), reason);
    message
}

/// The format in a message's headers.
pub(super) fn format_said(message: &Message) -> Result<Format, MessageError> {
    Ok(Format {
        kind: message.header("kind")?,
        schema: message.header("schema")?,
    })
}

/// The reason of a dead chunk without one: the broker dead-lettered it at its delivery limit.
pub const NO_REASON: &str = "every worker that took it died";
/// The same of a dead request.
pub const NO_PRODUCER: &str = "every producer that took the request died";

/// Why a dead message is dead, as its header says.
pub fn reason(message: &Message) -> &str {
    let unsaid = match message.kind.as_str() {
        "job" => NO_PRODUCER,
        _ => NO_REASON,
    };
    let said = message.headers.get("reason");
    said.map_or(unsaid, String::as_str)
}

/// How often a chunk was requeued from the dead queue.
pub(super) fn times_revived(message: &Message) -> Result<u32, MessageError> {
    match message.headers.contains_key(REVIVED) {
        true => message.header(REVIVED),
        false => Ok(0),
    }
}

/// Turns a dead letter back into its message, to be requeued: the opposite of [`bury`]. A chunk's message then counts how
/// often that was done.
///
/// # Errors
/// [`MessageError`] for one whose headers do not name its destination.
pub fn revive(mut message: Message) -> Result<Message, MessageError> {
    let format = format_said(&message)?;
    let last = match message.kind.as_str() {
        "chunk" => {
            let time = times_revived(&message)?.saturating_add(1);
            message.headers.insert(REVIVED.to_owned(), time.to_string());
            "key"
        }
        _ => "job",
    };
    let last: String = message.header(last)?;
    (message.exchange, message.key) = match message.kind.as_str() {
        "job" => (Exchange::Jobs, format.to_string()),
        "chunk" => (Exchange::Chunks, format.key(last)),
        _ => (Exchange::Results, format.key(last)),
    };
    message.headers.remove("reason");
    Ok(message)
}
