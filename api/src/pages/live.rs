//! Live pages: sends a piece of HTML again whenever it changes.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _};

/// How often a keep-alive is sent while nothing changes, so that the page notices a lost stream within seconds.
const ALIVE: Duration = Duration::from_secs(2);

/// What is sent to a page.
pub(super) enum News {
    /// The piece of HTML that replaces the one that is shown.
    View(String),
    /// The address of the page to go to.
    Elsewhere(String),
}

/// The stream of these messages.
pub(super) fn stream(news: impl Stream<Item = News> + Send + 'static) -> Response {
    let events = news.map(|news| {
        Ok::<_, Infallible>(match news {
            // a carriage return would end a line of the stream
            News::View(html) => Event::default().event("vue").data(html.replace('\r', " ")),
            News::Elsewhere(address) => Event::default().event("fin").data(address),
        })
    });
    let alive = KeepAlive::new()
        .interval(ALIVE)
        .event(Event::default().event("vie").data(""));
    Sse::new(events).keep_alive(alive).into_response()
}
