//! Live pages: sends a fragment of HTML whenever it changes.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};

/// How often a keep-alive is sent while nothing changes: every two seconds, so that a page soon notices a lost stream.
const ALIVE: Duration = Duration::from_secs(2);

/// A message to a page.
pub(super) enum News {
    /// The fragment of HTML that replaces the one on the page.
    View(String),
    /// The address that the browser goes to.
    Elsewhere(String),
}

/// The response that streams these messages.
pub(super) fn stream(news: impl Stream<Item = News> + Send + 'static) -> Response {
    let events = news.map(|news| {
        Ok::<_, Infallible>(match news {
            // in server-sent events a carriage return ends a line
            News::View(html) => Event::default().event("vue").data(html.replace('\r', " ")),
            News::Elsewhere(address) => Event::default().event("fin").data(address),
        })
    });
    let alive = KeepAlive::new()
        .interval(ALIVE)
        .event(Event::default().event("vie").data(""));
    Sse::new(events).keep_alive(alive).into_response()
}
