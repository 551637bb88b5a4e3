//! Messages that nobody could use: what they are, why, and how they are sent once more.

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

use crate::Shared;
use crate::body;
use crate::params::{Nothing, Params};
use crate::problem::Problem;

/// The most messages of a queue that are looked at.
const MOST: u16 = 200;
/// The most messages that are sent once more at a time.
const MOST_IDS: usize = 2 * MOST as usize;
/// The longest id, in bytes.
const MAX_ID: usize = autoconnect_common::message::MAX_NAME;
/// How old a list may be while the number of dead messages is the same, and while it is another.
const SAME: Duration = Duration::from_secs(60);
const OTHER: Duration = Duration::from_secs(3);
/// How long the broker and the reducer may take.
const ANSWERS: Duration = Duration::from_secs(15);

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(requeue))
}

/// The dead messages, as they were when somebody looked last: looking takes all of them for a moment.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Option<(Instant, Listed)>>);

/// The dead messages.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[schema(as = Dead)]
struct Listed {
    /// Les premiers, avec la raison de chacun.
    dead: Vec<Message>,
    /// Combien il y en a au-delà.
    beyond: u64,
}

/// A dead message.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = DeadMessage)]
struct Message {
    /// Its id: of a chunk, `<job>/<chunk>`.
    id: String,
    /// The queue it lies in.
    queue: &'static str,
    /// `chunk`, `partial`, …
    r#type: String,
    /// Its job.
    job: Option<String>,
    /// The number of the chunk, `part.number`.
    chunk: Option<String>,
    /// The kind of job.
    kind: Option<String>,
    /// What its rows have in common.
    key: Option<String>,
    /// How many rows it has.
    rows: Option<u64>,
    /// The length of its body.
    bytes: usize,
    /// Why it is dead.
    reason: String,
}

impl From<Line> for Message {
    fn from(line: Line) -> Self {
        let Line {
            id,
            queue,
            r#type,
            job,
            chunk,
            kind,
            key,
            rows,
            bytes,
            reason,
        } = line;
        Self {
            id,
            queue,
            r#type,
            job,
            chunk,
            kind,
            key,
            rows,
            bytes,
            reason,
        }
    }
}

/// What nobody could use, and why.
#[utoipa::path(get, path = "/api/dead", tag = "activité",
    responses(
        (status = 200, description = "Les premiers messages morts", body = Listed),
        (status = 400, description = "Un paramètre inconnu", body = Problem),
        (status = 503, description = "Le courtier de messages ne répond pas", body = Problem),
    ))]
async fn list(State(app): State<Shared>, _: Params<Nothing>) -> Result<Json<Listed>, Problem> {
    let queues = app.activity.snapshots().borrow().queues;
    let count = queues.ok_or_else(away)?.dead;
    if count == 0 {
        return Ok(Json(Listed::default()));
    }
    // whoever comes meanwhile is told the same
    let mut seen = app.dead.0.lock().await;
    if let Some((when, listed)) = &*seen {
        let is_same = listed.dead.len() as u64 + listed.beyond == count;
        if when.elapsed() < if is_same { SAME } else { OTHER } {
            return Ok(Json(listed.clone()));
        }
    }
    let looked = tokio::time::timeout(ANSWERS, dead::list(&app.link, MOST)).await;
    let (lines, beyond) = looked.map_err(|_| away())?.map_err(refused)?;
    let listed = Listed {
        dead: lines.into_iter().map(Message::from).collect(),
        beyond,
    };
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
    /// Leurs identifiants.
    #[schema(min_items = 1, max_items = 400)]
    ids: Vec<String>,
}

/// What became of them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Requeued)]
struct Done {
    /// Combien sont repartis.
    requeued: u64,
    /// Ceux qui ne sont pas parmi les messages morts.
    not_found: Vec<String>,
    /// Ceux dont le job est terminé\u{a0}: son rapport ne change plus.
    ended: Vec<String>,
    /// Ceux qui ne disent pas d’où ils viennent.
    refused: Vec<String>,
}

/// Sends dead messages once more to where they belong.
#[utoipa::path(post, path = "/api/dead/requeue", tag = "activité",
    request_body(content = Asked, description = "Les messages à renvoyer"),
    responses(
        (status = 200, description = "Ce qu’ils sont devenus", body = Done),
        (status = 400, description = "Le corps ne peut pas être utilisé", body = Problem),
        (status = 413, description = "Le corps est trop long", body = Problem),
        (status = 415, description = "Le corps n’est pas du JSON", body = Problem),
        (status = 503, description = "Le courtier de messages ou le réducteur ne répond pas", body = Problem),
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
            Left::Ended(_) => done.ended.push(id),
            Left::Odd(_) => done.refused.push(id),
        }
    }
    Ok(Json(done))
}
