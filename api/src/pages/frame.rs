//! The frame of every page: visitor, language and navigation.

use std::convert::Infallible;

use askama::Template;
use autoconnect_report::lang::Lang;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};
use form_urlencoded::Serializer;

use super::assets::{ICON, SCRIPT, STYLES};
use crate::problem::Problem;

/// The parameter and the cookie that name the language.
const LANG: &str = "lang";
/// How long a browser keeps the cookie, in seconds: a year.
const REMEMBERED: u32 = 31_536_000;

/// The visitor of a page: the page's address, and the language.
pub struct Visitor {
    /// The language of the page.
    pub lang: Lang,
    /// Whether the address names the language, which a cookie then keeps.
    chosen: bool,
    path: String,
    query: Vec<(String, String)>,
}

impl<S: Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let cookies = parts.headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|cookie| cookie.to_str().ok());
        Ok(Self::new(&parts.uri, cookies))
    }
}

impl Visitor {
    fn new<'c>(uri: &Uri, cookies: impl Iterator<Item = &'c str>) -> Self {
        let query = uri.query().unwrap_or_default();
        let query: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let asked = query.iter().rev().find(|(name, _)| name == LANG);
        let asked = asked.and_then(|(_, code)| language(code));
        let remembered = || {
            cookies
                .flat_map(|cookie| cookie.split(';'))
                .filter_map(|pair| pair.trim().split_once('='))
                .find_map(|(name, code)| (name == LANG).then(|| language(code))?)
        };
        Self {
            lang: asked.or_else(remembered).unwrap_or_default(),
            chosen: asked.is_some(),
            path: uri.path().to_owned(),
            query,
        }
    }

    /// The address of this page up to `part`.
    pub(crate) fn above(&self, part: &str) -> &str {
        self.path.split(part).next().unwrap_or_default()
    }

    /// A parameter of the address; `None` where it is empty.
    pub fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(found, _)| found == name);
        found
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }

    /// The address of this page in the other language.
    fn switch(&self, to: Lang) -> String {
        let others = self.query.iter().filter(|(name, _)| name != LANG);
        let mut query = Serializer::new(String::new());
        query.extend_pairs(others);
        query.append_pair(LANG, to.code());
        format!("{}?{}", self.path, query.finish())
    }

    /// The frame of a page.
    pub(crate) fn frame(&self, here: Here, title: impl Into<String>) -> Frame {
        let other = self.lang.say(Lang::En, Lang::Fr);
        Frame {
            lang: self.lang,
            title: title.into(),
            here,
            other,
            switch: self.switch(other),
            style: &STYLES.name,
            script: &SCRIPT.name,
            icon: &ICON.name,
        }
    }

    /// The response with this page.
    pub(crate) fn show(&self, page: &impl Template) -> Response {
        self.show_as(StatusCode::OK, page)
    }

    /// The response with this page and another status.
    pub(crate) fn show_as(&self, status: StatusCode, page: &impl Template) -> Response {
        let mut response = (status, Html(rendered(page))).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_LANGUAGE,
            HeaderValue::from_static(self.lang.code()),
        );
        headers.insert(header::VARY, HeaderValue::from_static("cookie"));
        if self.chosen {
            let code = self.lang.code();
            let cookie =
                format!("{LANG}={code}; Path=/; Max-Age={REMEMBERED}; SameSite=Lax; HttpOnly");
            if let Ok(cookie) = cookie.parse() {
                headers.insert(header::SET_COOKIE, cookie);
            }
        }
        response
    }
}

fn language(code: &str) -> Option<Lang> {
    [Lang::Fr, Lang::En]
        .into_iter()
        .find(|lang| lang.code() == code)
}

/// Renders a template as text. Writing to a string cannot fail.
pub(crate) fn rendered(template: &impl Template) -> String {
    let rendered = template.render();
    debug_assert!(rendered.is_ok(), "{rendered:?}");
    rendered.unwrap_or_default()
}

/// The entry of the menu that a page belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Here {
    Activity,
    Results,
    Analysis,
    /// None.
    Elsewhere,
}

/// The frame around a page.
pub(crate) struct Frame {
    pub(crate) lang: Lang,
    pub(crate) title: String,
    pub(crate) here: Here,
    pub(crate) other: Lang,
    pub(crate) switch: String,
    pub(crate) style: &'static str,
    pub(crate) script: &'static str,
    pub(crate) icon: &'static str,
}

impl Frame {
    /// The words in the page's language.
    pub(crate) fn say(&self, fr: &'static str, en: &'static str) -> &'static str {
        self.lang.say(fr, en)
    }

    pub(crate) fn is(&self, here: Here) -> bool {
        self.here == here
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    t: Frame,
    heading: String,
    detail: String,
    /// The address and the text of the link.
    way: (String, &'static str),
}

/// A page with one message and a link.
pub(crate) fn message(
    visitor: &Visitor,
    status: StatusCode,
    here: Here,
    (heading, detail): (&str, String),
    way: (String, &'static str),
) -> Response {
    let page = Message {
        t: visitor.frame(here, heading),
        heading: heading.to_owned(),
        detail,
        way,
    };
    visitor.show_as(status, &page)
}

/// The page for an unknown address.
pub(crate) fn lost(visitor: &Visitor) -> Response {
    let lang = visitor.lang;
    let detail = lang.say(
        "Il n’y a rien à cette adresse.",
        "There is nothing at this address.",
    );
    message(
        visitor,
        StatusCode::NOT_FOUND,
        Here::Elsewhere,
        (
            lang.say("Page introuvable", "Page not found"),
            detail.to_owned(),
        ),
        (
            "/".to_owned(),
            lang.say("Retour à l’activité", "Back to activity"),
        ),
    )
}

/// The response to an address without a route: a page, or a [`Problem`] below `/api`.
pub(crate) async fn nowhere(visitor: Visitor) -> Response {
    if visitor.path == "/api" || visitor.path.starts_with("/api/") {
        return Problem::not_found("il n’y a rien à cette adresse").into_response();
    }
    lost(&visitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(uri: &str, cookie: &str) -> Visitor {
        Visitor::new(&uri.parse().expect("an address"), [cookie].into_iter())
    }

    #[test]
    fn french_comes_first_the_address_wins_and_a_cookie_remembers() {
        for (uri, cookie, lang) in [
            ("/", "", Lang::Fr),
            ("/?lang=en", "lang=fr", Lang::En),
            ("/?lang=xx", "a=b; lang=en", Lang::En),
            ("/", "lang=en; a=b", Lang::En),
            ("/", "lang=", Lang::Fr),
            ("/?lang=en&lang=fr", "", Lang::Fr),
        ] {
            assert_eq!(visitor(uri, cookie).lang, lang, "{uri} {cookie}");
        }
    }

    #[test]
    fn the_switch_keeps_the_query() {
        let visitor = visitor("/resultats?ville=A%26B&lang=en&mois=2024-01", "");
        assert_eq!(
            visitor.switch(Lang::Fr),
            "/resultats?ville=A%26B&mois=2024-01&lang=fr"
        );
        assert_eq!(visitor.asked("ville"), Some("A&B"));
        assert_eq!(visitor.asked("x"), None);
    }
}
