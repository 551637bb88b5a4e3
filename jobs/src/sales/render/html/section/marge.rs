//! Margins, with what is assumed marked as such.

use crate::sales::render::html::view::View;
use crate::sales::render::tables;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::name::cut;
use autoconnect_report::page::{Figure, Legend, Section};
use autoconnect_report::table::html::Shown;

/// Margins of sales and rentals.
pub(in crate::sales::render::html) fn marge(view: &View<'_>) -> Section {
    let mut legend = view.types();
    let mut text = Vec::new();
    if tables::marge::is_assumed(view.report) {
        legend.push(Legend {
            class: "guess",
            label: view.say("* taux supposé", "* assumed rate").to_owned(),
        });
        text.push(
            view.say(
                "* Hypothèse\u{a0}: le fichier n’a pas de coût pour ces lignes\u{a0}; la marge vient d’un taux des réglages.",
                "* Assumption: the file has no cost for these rows; the margin comes from a rate in the settings.",
            )
            .to_owned(),
        );
    }
    let mut bars = Vec::new();
    let mut said = Vec::new();
    for city in view.best() {
        for row in tables::marge::of_city(view.report, &city.ville) {
            let [fr, en] = row.type_.plural();
            let star = tables::marge::star(&row.marge);
            let name = format!("{}, {}{star}", cut(&city.ville, 12), view.say(fr, en));
            let words = view.euros(row.marge.marge_totale);
            let guess = if row.marge.hypothese { " guess" } else { "" };
            said.push(format!("{name} {words}"));
            bars.push(Bar {
                pieces: vec![(
                    row.marge.marge_totale.0.into(),
                    format!("{}{guess}", row.type_.choose("sale", "rent")),
                    view.pair(&name, &words),
                )],
                name,
                value: words,
            });
        }
    }
    let figure = Figure {
        title: view
            .say("Marge totale par ville", "Total margin by city")
            .to_owned(),
        note: view.best_of_cities(),
        legend,
        chart: Some(bars::chart(said.join(", "), bars)),
        tables: vec![Shown::first(
            &tables::marge::table(),
            tables::marge::rows(view.report),
            view.lang,
        )],
        ..Figure::default()
    };
    Section {
        id: "marge",
        title: view.say("Marge", "Margin"),
        text,
        figures: vec![figure],
    }
}
