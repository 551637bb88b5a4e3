//! `report.html`: the report to look at and to print, in one file that needs nothing else.
//!
//! Both languages are in it; a link switches between them and no script runs. Names from the data are escaped by the
//! template and made harmless by `name::clean`.

pub mod article;
mod section;
mod terms;
mod view;

#[cfg(test)]
mod tests;

use std::io;

use autoconnect_report::fixed::Percent;
use autoconnect_report::lang::Lang;
use autoconnect_report::name::cut;
use autoconnect_report::number;
use autoconnect_report::page::{self, Article, KeyFigure, Links, Section};
use autoconnect_report::table::html::others;

use self::section::{marge, modeles, mois, qualite, rotation, saison, tendance, villes};
use self::view::View;
use super::figures;
use super::notices::notices;
use crate::sales::Report;
use crate::sales::report::Comparatif;

/// The most files and lost chunks that are named.
const NAMED: usize = 20;

/// The page.
pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    page::write(&articles(report), out)
}

fn articles(report: &Report) -> [Article; 2] {
    [Lang::Fr, Lang::En].map(|lang| whole_article(&View::new(report, lang)))
}

/// The whole report in one language.
fn whole_article(view: &View<'_>) -> Article {
    let report = view.report;
    let qualite: fn(&View<'_>) -> Section = qualite::qualite;
    let sections: &[fn(&View<'_>) -> Section] = if report.comparatif.is_empty() {
        &[qualite]
    } else {
        &[
            villes::classement,
            mois::ca_mensuel,
            villes::repartition,
            modeles::top,
            modeles::modeles,
            saison::saisonnalite,
            rotation::rotation,
            marge::marge,
            tendance::tendance,
            qualite,
        ]
    };
    Article {
        lang: view.lang,
        title: view.say("Rapport commercial", "Sales report"),
        period: figures::period(report, view.lang),
        source: source(view),
        incomplete: incomplete(view),
        notices: notices(&report.source, &report.qualite, &report.periode, view.lang),
        key_figures: key_figures(view),
        highlights: figures::highlights(report, view.lang),
        sections: sections.iter().map(|section| section(view)).collect(),
        terms: terms::terms(view),
        links: Links {
            before: "tables/".to_owned(),
            label: "tables/".to_owned(),
            after: String::new(),
        },
        files: view.say(
            "Toutes les tables sont dans le dossier tables, les lignes rejetées dans rejets.csv, tous les nombres dans report.json.",
            "All tables are in the folder tables, the rejected rows in rejets.csv, all numbers in report.json.",
        ),
    }
}

fn source(view: &View<'_>) -> String {
    let fichiers = &view.report.source.fichiers;
    let mut named: Vec<String> = fichiers
        .iter()
        .take(NAMED)
        .map(|name| cut(name, 60))
        .collect();
    named.extend(Some(others(
        fichiers.len().saturating_sub(NAMED),
        view.lang,
    )));
    named.retain(|name| !name.is_empty());
    let rows = view.report.source.acceptees;
    let rows = view.say(
        view.some(rows, "ligne acceptée", "lignes acceptées"),
        view.some(rows, "row accepted", "rows accepted"),
    );
    named.push(rows);
    named.join(", ")
}

fn incomplete(view: &View<'_>) -> String {
    let qualite = &view.report.qualite;
    if qualite.complet {
        return String::new();
    }
    let lost = &qualite.chunks_perdus;
    let mut named: Vec<String> = lost.iter().take(NAMED).map(ToString::to_string).collect();
    named.extend(Some(others(lost.len().saturating_sub(NAMED), view.lang)));
    named.retain(|name| !name.is_empty());
    let (n, named) = (view.count(lost.len() as u64), named.join(", "));
    view.say(
        format!("Rapport incomplet\u{a0}: {n} lot(s) de lignes n’ont pas pu être comptés. Lots perdus\u{a0}: {named} (tables/qualite.csv)."),
        format!("Incomplete report: {n} chunk(s) of rows could not be counted. Lost chunks: {named} (tables/qualite.csv)."),
    )
}

fn key_figures(view: &View<'_>) -> Vec<KeyFigure> {
    let report = view.report;
    let totals = figures::totals(report);
    let [sales, rentals] = [totals.vente, totals.location];
    let transactions = sales.nombre.saturating_add(rentals.nombre);
    let variation = figures::last_variation(report);
    let leader = report.comparatif.first().filter(|first| first.ca.0 > 0);
    vec![
        KeyFigure {
            name: view.say("CA total", "Total revenue"),
            value: number::euros_compact(report.ca_total, view.lang),
            note: view.say(
                format!("exactement {}", view.euros(report.ca_total)),
                format!("exactly {}", view.euros(report.ca_total)),
            ),
        },
        KeyFigure {
            name: "Transactions",
            value: view.count(transactions),
            note: scope(view),
        },
        KeyFigure {
            name: view.say("Ventes – locations", "Sales – rentals"),
            value: shares(view, sales.nombre, transactions),
            note: view.say(
                format!(
                    "{}, {}",
                    view.some(sales.nombre, "vente", "ventes"),
                    view.some(rentals.nombre, "location", "locations"),
                ),
                format!(
                    "{}, {}",
                    view.some(sales.nombre, "sale", "sales"),
                    view.some(rentals.nombre, "rental", "rentals"),
                ),
            ),
        },
        KeyFigure {
            name: last_change(view),
            value: view.signed(variation.map(|(_, variation)| variation)),
            note: variation.map_or_else(String::new, |(mois, _)| {
                let mois = view.mois(mois);
                view.say(
                    format!("{mois}, contre le mois d’avant"),
                    format!("{mois}, against the month before"),
                )
            }),
        },
        match leader {
            Some(city) if city.rang > 1 => rank(view, city),
            leader => best(view, leader),
        },
    ]
}

/// What the key figure about the last month is called.
fn last_change(view: &View<'_>) -> &'static str {
    view.say("Dernière variation", "Last change")
}

fn best(view: &View<'_>, leader: Option<&Comparatif>) -> KeyFigure {
    KeyFigure {
        name: view.say("En tête", "Leader"),
        value: leader.map_or_else(|| number::NONE.to_owned(), |first| cut(&first.ville, 24)),
        note: leader.map_or_else(String::new, |first| {
            let part = view.percent(first.part);
            view.say(format!("{part} du CA"), format!("{part} of revenue"))
        }),
    }
}

/// Where a city stands among those that are not part of this report.
fn rank(view: &View<'_>, city: &Comparatif) -> KeyFigure {
    let part = view.percent(city.part);
    KeyFigure {
        name: view.say("Rang", "Rank"),
        value: view.count(city.rang.into()),
        note: view.say(
            format!("{part} du CA de toutes les villes"),
            format!("{part} of the revenue of all cities"),
        ),
    }
}

/// Sales and rentals in percent of the transactions.
fn shares(view: &View<'_>, sales: u64, all: u64) -> String {
    let share = |n: u64| Percent::ratio(100 * i128::from(n), all.into());
    let both = share(sales).zip(share(all.saturating_sub(sales)));
    number::or_none(both, |(sales, rentals)| {
        format!("{} – {}", view.percent(sales), view.percent(rentals))
    })
}

/// How many cities and models there are.
fn scope(view: &View<'_>) -> String {
    let villes = view.report.villes.len() as u64;
    let modeles = view.report.modeles.len() as u64;
    match view.lang {
        Lang::Fr => {
            let villes = view.some(villes, "ville", "villes");
            format!("dans {villes}, {}", view.some(modeles, "modèle", "modèles"))
        }
        Lang::En => {
            let villes = view.some(villes, "city", "cities");
            format!("in {villes}, {}", view.some(modeles, "model", "models"))
        }
    }
}
