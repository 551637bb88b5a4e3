//! Dead messages: lists and requeues them.

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

/// The most messages of a queue that are read: a page to look at, and unacked for a moment only.
const MOST: u16 = 200;
/// The most messages that are requeued at a time.
const MOST_IDS: usize = 2 * MOST as usize;
/// The longest id, in bytes.
const MAX_ID: usize = autoconnect_common::message::MAX_NAME;
/// How old a list may be while the number of dead messages is the same, and while it is another.
const SAME: Duration = Duration::from_secs(60);
const OTHER: Duration = Duration::from_secs(3);
/// How long the broker and the reducer may take: less than a request may take in all.
const ANSWERS: Duration = Duration::from_secs(15);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(requeue))
}

/// The dead messages at the last look, which consumes and requeues all of them.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Option<(Instant, Listed)>>);

/// The dead messages.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = Dead)]
struct Listed {
    /// The first of them, with the reason of each.
    dead: Vec<Line>,
    /// How many there are beyond.
    beyond: u64,
}

/// What could not be processed, and why.
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
    // concurrent requests wait here and share one look
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

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what map_err hands over"
)]
fn refused(error: BrokerError) -> Problem {
    tracing::warn!(%error, "dead messages not looked at");
    away()
}

/// Which dead messages are to be sent once more.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeadIds)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// Their ids.
    #[schema(min_items = 1, max_items = 400)]
    ids: Vec<String>,
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Requeued)]
struct Done {
    /// How many are no longer dead.
    requeued: u64,
    /// Those that are not among the dead messages.
    not_found: Vec<String>,
    /// Those whose job has ended: its report does not change.
    ended: Vec<String>,
    /// Those that do not say where they belong.
    refused: Vec<String>,
}

/// Sends dead messages once more to where they belong.
#[utoipa::path(post, path = "/api/dead/requeue", tag = "activity",
    request_body(content = Asked, description = "The messages to send once more"),
    responses(
        (status = 200, description = "What became of them", body = Done),
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
    // the list is another one after this
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
