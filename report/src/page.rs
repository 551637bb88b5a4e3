//! The page: one file that needs nothing else, to look at and to print. Key figures and sections of charts and tables, in
//! every language that it is given.
//!
//! No script runs; a link switches between the languages. The templates escape names from the data; the code that fills a
//! page must pass them through [`clean`](crate::name::clean).

use std::io;

use askama::Template;

use crate::chart::{Chart, Mark};
use crate::lang::Lang;
use crate::table::html::Shown;

/// The style of the page: colours, type, tables, charts, paper.
pub const STYLE: &str = include_str!("../templates/page.css");

/// The whole file.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    title: String,
    articles: &'a [Article],
}

/// Writes the page that holds these articles; the first one gives it its title.
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
/// What `out` said.
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
    /// The language of all its words.
    pub lang: Lang,
    /// What the report is called.
    pub title: &'static str,
    /// The days it covers.
    pub period: String,
    /// What it was made of.
    pub source: String,
    /// What is missing from it; empty where nothing is.
    pub incomplete: String,
    /// What is to be known of how the files were read.
    pub notices: Vec<String>,
    /// The numbers that stand large at the top.
    pub key_figures: Vec<KeyFigure>,
    /// What a reader in a hurry should know, in a few sentences.
    pub highlights: Vec<String>,
    /// Its parts.
    pub sections: Vec<Section>,
    /// Words, and what they mean.
    pub terms: Vec<(&'static str, &'static str)>,
    /// How the files of tables are linked.
    pub links: Links,
    /// Which files hold what the page does not show.
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
    /// HTML: the key figures and every section. Anchors begin with the code of the language.
    pub fn sections(&self) -> String {
        rendered(&Sections { article: self })
    }

    /// HTML: what the words mean.
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

/// What a template makes of its data.
pub(crate) fn rendered(template: &impl Template) -> String {
    let rendered = template.render();
    // writing to a string cannot fail
    debug_assert!(rendered.is_ok(), "{rendered:?}");
    rendered.unwrap_or_default()
}

/// How the file of a table is linked: its name stands in the address between `before` and `after`.
#[derive(Debug, Clone, Default)]
pub struct Links {
    /// The address up to the name of the file.
    pub before: String,
    /// The address after it.
    pub after: String,
    /// The words before the name.
    pub label: String,
}

/// A number that stands large at the top.
#[derive(Debug)]
pub struct KeyFigure {
    /// What it is.
    pub name: &'static str,
    /// The number.
    pub value: String,
    /// What more there is to say of it.
    pub note: String,
}

/// A part of the report.
#[derive(Debug)]
pub struct Section {
    /// Its anchor, the same in both languages.
    pub id: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// What the reader needs to know to read the figures.
    pub text: Vec<String>,
    /// What it shows.
    pub figures: Vec<Figure>,
}

impl Section {
    /// What the anchors of its chart with this number begin with.
    fn chart_id(&self, language: &str, number: impl std::fmt::Display) -> String {
        format!("{language}-{}-{number}", self.id)
    }
}

/// A chart with its legend, and its numbers.
#[derive(Debug, Default)]
pub struct Figure {
    /// What it shows.
    pub title: String,
    /// One sentence below the title.
    pub note: String,
    /// Its colours; empty where there is but one.
    pub legend: Vec<Legend>,
    /// The chart.
    pub chart: Option<Chart>,
    /// Its numbers.
    pub tables: Vec<Shown>,
    /// Whether figures of this kind stand beside one another where there is room.
    pub narrow: bool,
}

/// What a colour stands for.
#[derive(Debug)]
pub struct Legend {
    /// The class of the style sheet that has the colour.
    pub class: &'static str,
    /// What it stands for.
    pub label: String,
}
