//! The page of a report: one self-contained HTML file, for screen and paper, with key figures, charts and tables in each given
//! language.
//!
//! It has no script; a link switches between the languages. The templates escape names from the data; the code that fills a
//! page must pass them through [`clean`](crate::name::clean).

use std::io;

use askama::Template;

use crate::chart::{Chart, Mark};
use crate::lang::Lang;
use crate::table::html::Shown;

/// The style sheet of the page.
pub const STYLE: &str = include_str!("../templates/page.css");

/// The template of the file.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: String,
    articles: &'a [Article],
}

/// Writes a page with these articles, under the title of the first.
///
/// ```
/// use autoconnect_report::lang::Lang;
/// use autoconnect_report::page::{Article, KeyFigure, Links, write};
///
/// let article = |lang: Lang| Article {
///     lang,
///     title: lang.say("Mots", "Words"),
///     period: lang.say("mars 2024", "March 2024").to_owned(),
///     key_figures: vec![KeyFigure {
///         name: lang.say("Mots différents", "Different words"),
///         value: "12".to_owned(),
///         note: String::new(),
///     }],
///     source: "texte.txt".to_owned(),
///     incomplete: String::new(),
///     files: "words.txt",
///     links: Links::default(),
/// #   notices: Vec::new(), highlights: Vec::new(), sections: Vec::new(), terms: Vec::new(),
/// };
/// let mut html = Vec::new();
/// write(&[article(Lang::Fr), article(Lang::En)], &mut html)?;
/// assert!(String::from_utf8_lossy(&html).contains("<title>AutoConnect – Mots, mars 2024</title>"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// The error of `out`.
pub fn write(articles: &[Article], out: &mut dyn io::Write) -> io::Result<()> {
    let title = articles.first().map_or_else(String::new, |first| {
        format!("AutoConnect – {}, {}", first.title, first.period)
    });
    let page = Page { title, articles };
    page.write_into(out).map_err(io::Error::other)
}

/// A report in one language.
#[derive(Debug)]
pub struct Article {
    /// The language of all its text.
    pub lang: Lang,
    /// The title of the report.
    pub title: &'static str,
    /// The period that it covers.
    pub period: String,
    /// The files that it was made from.
    pub source: String,
    /// A sentence that says what is missing; empty for a complete report.
    pub incomplete: String,
    /// Notices about how the files were read.
    pub notices: Vec<String>,
    /// The large numbers at the top.
    pub key_figures: Vec<KeyFigure>,
    /// The most important results, one sentence each.
    pub highlights: Vec<String>,
    /// The sections.
    pub sections: Vec<Section>,
    /// Terms and their definitions.
    pub terms: Vec<(&'static str, &'static str)>,
    /// The links to the files of tables.
    pub links: Links,
    /// The names of the files with what the page does not show.
    pub files: &'static str,
}

#[derive(Template)]
#[template(path = "sections.html")]
struct Sections<'a> {
    article: &'a Article,
}

#[derive(Template)]
#[template(path = "terms.html")]
struct Terms<'a> {
    article: &'a Article,
}

impl Article {
    /// The key figures and every section, as HTML. Anchors begin with the code of the language.
    pub fn sections(&self) -> String {
        rendered(&Sections { article: self })
    }

    /// The terms and their definitions, as HTML.
    pub fn terms(&self) -> String {
        rendered(&Terms { article: self })
    }

    fn code(&self) -> &'static str {
        self.lang.code()
    }

    fn say(&self, fr: &'static str, en: &'static str) -> &'static str {
        self.lang.say(fr, en)
    }
}

/// Renders a template.
pub(crate) fn rendered(template: &impl Template) -> String {
    let rendered = template.render();
    // writing to a string cannot fail
    debug_assert!(rendered.is_ok(), "{rendered:?}");
    rendered.unwrap_or_default()
}

/// The link to the file of a table: the address is `before`, the name of the file, and `after`.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// The part of the address before the name.
    pub before: String,
    /// The part of the address after the name.
    pub after: String,
    /// The text before the name.
    pub label: String,
}

/// A large number at the top of the page.
#[derive(Debug)]
pub struct KeyFigure {
    /// The name of the figure.
    pub name: &'static str,
    /// The number.
    pub value: String,
    /// A remark below the number; empty for none.
    pub note: String,
}

/// A section of the report.
#[derive(Debug)]
pub struct Section {
    /// The anchor, which is the same in every language.
    pub id: &'static str,
    /// The title.
    pub title: &'static str,
    /// Paragraphs that explain the figures.
    pub text: Vec<String>,
    /// The figures.
    pub figures: Vec<Figure>,
}

impl Section {
    /// The prefix of the anchors of the section's chart with this number.
    fn chart_id(&self, language: &str, number: impl std::fmt::Display) -> String {
        format!("{language}-{}-{number}", self.id)
    }
}

/// A chart with its legend and the tables of its numbers.
#[derive(Debug, Default)]
pub struct Figure {
    /// The title.
    pub title: String,
    /// A sentence below the title.
    pub note: String,
    /// The legend; empty for a chart with one colour.
    pub legend: Vec<Legend>,
    /// The chart.
    pub chart: Option<Chart>,
    /// The tables of its numbers.
    pub tables: Vec<Shown>,
    /// Whether two such figures may be side by side where there is room.
    pub narrow: bool,
}

/// An entry of a legend.
#[derive(Debug)]
pub struct Legend {
    /// The class in the style sheet that sets the colour.
    pub class: &'static str,
    /// The meaning of the colour.
    pub label: String,
}
