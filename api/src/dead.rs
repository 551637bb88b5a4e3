//! Lists and requeues dead messages.

use std::time::{Duration, Instant};

use autoconnect_common::ask::{ANSWER, AskError};
use autoconnect_common::broker::BrokerError;
use autoconnect_common::dead::{self, Left, Line, Requeued};
use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::body;
use crate::params::{Nothing, Params};
use crate::problem::Problem;

/// The most messages of a queue that are read: a page for a person. They are unacked until all are read.
const MOST: u16 = 200;
/// The most ids of one request to requeue: as many messages as the list shows of two full queues.
const MOST_IDS: usize = 2 * MOST as usize;
/// The longest id, in bytes.
const MAX_ID: usize = autoconnect_common::message::MAX_NAME;
/// How old a list may be while the number of dead messages is unchanged, and while it changes. A look disturbs the
/// messages, which it consumes and requeues.
const SAME: Duration = Duration::from_secs(60);
const OTHER: Duration = Duration::from_secs(3);
/// How long the broker and the reducer may take to answer: half of the 30 seconds that a request may take.
const ANSWERS: Duration = Duration::from_secs(15);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(requeue))
}

/// The dead messages at the last look.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Option<(Instant, Listed)>>);

/// Dead messages.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = Dead)]
struct Listed {
    /// The first messages of each dead queue, with their reasons.
    dead: Vec<Line>,
    /// How many dead messages the list leaves out.
    beyond: u64,
}

/// The dead-lettered messages, with the reason of each.
#[utoipa::path(get, path = "/api/dead", tag = "activity",
    responses(
        (status = 200, description = "The first dead messages", body = Listed),
        (status = 400, description = "An unknown parameter", body = Problem),
        (status = 503, description = "The message broker does not answer", body = Problem),
    ))]
async fn list(State(app): State<Shared>, _: Params<Nothing>) -> Result<Json<Listed>, Problem> {
    let queues = app.activity.snapshots().borrow().queues;
    let count = queues.ok_or_else(away)?.dead;
    if count == 0 {
        return Ok(Json(Listed::default()));
    }
    // concurrent requests wait for this lock and share one look
    let mut seen = app.dead.0.lock().await;
    if let Some((when, listed)) = &*seen {
        let is_same = listed.dead.len() as u64 + listed.beyond == count;
        if when.elapsed() < if is_same { SAME } else { OTHER } {
            return Ok(Json(listed.clone()));
        }
    }
    let looked = tokio::time::timeout(ANSWERS, dead::list(&app.link, MOST)).await;
    let (dead, beyond) = looked.map_err(|_| away())?.map_err(refused)?;
    let listed = Listed { dead, beyond };
    *seen = Some((Instant::now(), listed.clone()));
    Ok(Json(listed))
}

fn away() -> Problem {
    Problem::unavailable("le courtier de messages ne répond pas\u{a0}; réessayez plus tard")
}

#[expect(clippy::needless_pass_by_value, reason = "map_err passes it by value")]
fn refused(error: BrokerError) -> Problem {
    tracing::warn!(%error, "the dead messages cannot be read");
    away()
}

/// The dead messages to requeue.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeadIds)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The ids of the messages.
    #[schema(min_items = 1, max_items = 400)]
    ids: Vec<String>,
}

/// The outcome of a requeue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Requeued)]
struct Done {
    /// How many messages were requeued.
    requeued: u64,
    /// The ids that no dead message has.
    not_found: Vec<String>,
    /// The messages whose job has ended, which stay dead: its report does not change.
    ended: Vec<String>,
    /// The messages that do not name their job or their queue, which stay dead.
    refused: Vec<String>,
}

/// Requeues dead messages.
///
/// Each is published to the queue that it came from and, once the broker has confirmed it, removed from the dead queue.
#[utoipa::path(post, path = "/api/dead/requeue", tag = "activity",
    request_body(content = Asked, description = "The messages to requeue"),
    responses(
        (status = 200, description = "The outcome for each message", body = Done),
        (status = 400, description = "The body cannot be used", body = Problem),
        (status = 413, description = "The body is too long", body = Problem),
        (status = 415, description = "The body is not JSON", body = Problem),
        (status = 503, description = "The message broker or the reducer does not answer", body = Problem),
    ))]
async fn requeue(
    State(app): State<Shared>,
    _: Params<Nothing>,
    request: Request,
) -> Result<Json<Done>, Problem> {
    let (parts, body) = request.into_parts();
    if body::content_type(&parts.headers).as_deref() != Some("application/json") {
        return Err(body::unsupported("attendu\u{a0}: application/json"));
    }
    let body = body::small(body).await?;
    let Asked { ids } = body::object(&body, "{\"ids\": [\"…\"]}")?;
    if !(1..=MOST_IDS).contains(&ids.len()) || ids.iter().any(|id| id.len() > MAX_ID) {
        let detail = format!(
            "de 1 à {MOST_IDS} identifiants sont attendus, de {MAX_ID} octets au plus chacun"
        );
        return Err(Problem::bad("ids", detail));
    }
    // the list changes now: drop the last look, and let no other begin before the end
    let mut seen = app.dead.0.lock().await;
    *seen = None;
    let sending = dead::requeue(&app.link, MOST, false, |message| ids.contains(&message.id));
    let sent = tokio::time::timeout(ANSWERS, sending).await;
    let Requeued {
        done, found, left, ..
    } = sent.map_err(|_| away())?.map_err(|error| match error {
        AskError::Silence => Problem::unavailable(format!(
            "le réducteur n’a pas répondu en {} secondes\u{a0}; réessayez",
            ANSWER.as_secs()
        )),
        AskError::Broker(error) => refused(error),
    })?;
    let mut done = Done {
        requeued: done,
        not_found: ids.into_iter().filter(|id| !found.contains(id)).collect(),
        ended: Vec::new(),
        refused: Vec::new(),
    };
    done.not_found.sort_unstable();
    done.not_found.dedup();
    for (id, why) in left {
        match why {
            Left::Ended(_) | Left::Unknown(_) => done.ended.push(id),
            Left::Odd(_) => done.refused.push(id),
        }
    }
    Ok(Json(done))
}
