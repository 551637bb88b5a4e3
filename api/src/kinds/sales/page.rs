//! The result page of `sales`: the whole report, or its part about a city or a month; its tables as CSV.

use askama::Template;
use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_jobs::sales::reason::explain;
use autoconnect_jobs::sales::render;
use autoconnect_jobs::sales::render::html::article::{Part, article};
use autoconnect_report::lang::Lang;
use autoconnect_report::number;
use autoconnect_report::page::{Article, Links};
use axum::http::StatusCode;
use axum::response::Response;
use form_urlencoded::Serializer;

use super::Held;
use crate::kinds::Table;
use crate::pages::frame::{Frame, Here, Visitor, message};
use crate::pages::report::{ReportPage, Whose};
use crate::params::PerPage;

/// How many rejected rows the page shows: enough to see what is wrong; a link leads to all of them.
const REJECTS: u64 = 10;

/// The fields of the form that requests an analysis, beside its files.
#[derive(Template)]
#[template(path = "sales_fields.html")]
pub(super) struct Fields {
    pub(super) lang: Lang,
}

impl Fields {
    fn say(&self, fr: &'static str, en: &'static str) -> &'static str {
        self.lang.say(fr, en)
    }
}

/// The part of the report that a visitor requests.
#[derive(Debug, Clone, Default)]
struct Asked {
    ville: Option<String>,
    mois: Option<String>,
}

impl Asked {
    /// Reads the requested part from the address.
    ///
    /// # Errors
    /// The name of a city or month that the report does not have.
    fn of(visitor: &Visitor, report: &Report) -> Result<Self, String> {
        let ville = visitor
            .asked("ville")
            .map(|name| report.ville(name).ok_or_else(|| name.to_owned()))
            .transpose()?;
        let mois = visitor.asked("mois");
        let unknown = mois.filter(|mois| !report.periode.mois.iter().any(|known| known == mois));
        if let Some(mois) = unknown {
            return Err(mois.to_owned());
        }
        Ok(Self {
            ville: ville.map(str::to_owned),
            mois: mois.map(str::to_owned),
        })
    }

    fn part(&self) -> Part<'_> {
        Part {
            ville: self.ville.as_deref(),
            mois: self.mois.as_deref(),
        }
    }

    /// The part as the query of an address.
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        for (name, value) in [("ville", &self.ville), ("mois", &self.mois)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        match query.finish() {
            none if none.is_empty() => none,
            query => format!("?{query}"),
        }
    }
}

/// An entry of a filter.
struct Choice {
    value: String,
    label: String,
    is_chosen: bool,
}

/// A rejected row.
struct Row {
    ligne: u64,
    /// The reason, in words.
    motif: &'static str,
    champ: String,
    valeur: String,
    extrait: String,
}

#[derive(Template)]
#[template(path = "sales.html")]
struct Page {
    t: Frame,
    article: Article,
    villes: Vec<Choice>,
    mois: Vec<Choice>,
    /// The chosen part, in words; empty where none is chosen.
    chosen: String,
    month_chosen: bool,
    city_chosen: bool,
    rejects: Vec<Row>,
    rejected: String,
    /// The address of this report.
    here: String,
    whose: Whose,
}

/// The page of a report. Blocks.
pub(super) fn show(page: ReportPage, held: &Held) -> Response {
    let ReportPage {
        visitor,
        here,
        whose,
    } = page;
    let (lang, report) = (visitor.lang, &held.report);
    let asked = match Asked::of(&visitor, report) {
        Ok(asked) => asked,
        Err(unknown) => return not_in_report(&visitor, &unknown, here),
    };
    let links = Links {
        before: format!("{here}/tables/"),
        after: asked.query(),
        label: lang.say("Télécharger ", "Download ").to_owned(),
    };
    let article = article(report, asked.part(), lang, links);
    let chosen: Vec<String> = asked
        .ville
        .iter()
        .cloned()
        .chain(asked.mois.iter().map(|mois| number::mois(mois, lang)))
        .collect();
    let title = match chosen.as_slice() {
        [] => lang.say("Résultats", "Results").to_owned(),
        some => format!("{} – {}", lang.say("Résultats", "Results"), some.join(", ")),
    };
    let choice = |chosen: &Option<String>, value: &String, label: String| Choice {
        is_chosen: chosen.as_ref() == Some(value),
        value: value.clone(),
        label,
    };
    let villes = report.villes.iter();
    let mois = report.periode.mois.iter().rev();
    let rejected = report.source.rejetees;
    visitor.show(&Page {
        t: visitor.frame(Here::Results, title),
        villes: villes
            .map(|ville| choice(&asked.ville, ville, ville.clone()))
            .collect(),
        mois: mois
            .map(|mois| choice(&asked.mois, mois, number::mois(mois, lang)))
            .collect(),
        chosen: chosen.join(", "),
        month_chosen: asked.mois.is_some(),
        city_chosen: asked.ville.is_some(),
        rejects: first_rejects(held, lang),
        rejected: number::count(rejected, lang),
        here,
        whose,
        article,
    })
}

/// The first rejected rows; empty where their file no longer exists.
fn first_rejects(held: &Held, lang: Lang) -> Vec<Row> {
    let rejects = held.rejects.first(&held.report, PerPage::of::<REJECTS>());
    let rows = rejects.unwrap_or_default().into_iter();
    rows.map(|reject| {
        let motif = reject.motif.as_str();
        Row {
            ligne: reject.ligne,
            motif: explain(motif, lang).unwrap_or(motif),
            champ: reject.champ,
            valeur: reject.valeur,
            extrait: reject.extrait,
        }
    })
    .collect()
}

fn not_in_report(visitor: &Visitor, unknown: &str, here: String) -> Response {
    let lang = visitor.lang;
    let unknown: String = unknown.chars().take(80).collect();
    message(
        visitor,
        StatusCode::NOT_FOUND,
        Here::Results,
        (
            lang.say(
                "Rien de tel dans ce rapport",
                "Nothing of the kind in this report",
            ),
            lang.say(
                format!("Le rapport ne connaît pas «\u{a0}{unknown}\u{a0}»."),
                format!("The report does not know “{unknown}”."),
            ),
        ),
        (
            here,
            lang.say("Voir tout le rapport", "See the whole report"),
        ),
    )
}

/// A table of a report or of its chosen part, or the file of all rejected rows. Blocks.
pub(super) fn table(visitor: &Visitor, held: &Held, name: &str) -> Option<Table> {
    if name == REJETS {
        return held.rejects.path(&held.report).ok().map(Table::File);
    }
    let asked = match Asked::of(visitor, &held.report) {
        Ok(asked) => asked,
        Err(unknown) => {
            let here = visitor.above("/tables/").to_owned();
            return Some(Table::Other(not_in_report(visitor, &unknown, here)));
        }
    };
    csv_of(&held.report, &asked, &format!("tables/{name}")).map(Table::Bytes)
}

/// A table of a report or of its chosen part, as CSV.
fn csv_of(report: &Report, asked: &Asked, wanted: &str) -> Option<Vec<u8>> {
    let mut files = render::files().into_iter();
    let file = files.find(|file| file.path() == wanted)?;
    let mut bytes = Vec::new();
    let written = match asked.part() {
        Part {
            ville: None,
            mois: None,
        } => file.write(report, &mut bytes),
        Part { ville, mois } => file.write(&report.filtered(ville, mois), &mut bytes),
    };
    written.is_ok().then_some(bytes)
}
