//! Margins, with what is assumed marked as such.

use crate::sales::render::html::view::View;
use crate::sales::report::{Comparatif, Marge};
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::name::cut;
use autoconnect_report::number::or_none;
use autoconnect_report::page::{Figure, Legend, Section};
use autoconnect_report::table::{Cell, Table};

/// Margins of sales and rentals.
pub(in crate::sales::render::html) fn marge(view: &View<'_>) -> Section {
    let assumed = view
        .report
        .marge
        .values()
        .any(|both| both.vente.hypothese || both.location.hypothese);
    let mut legend = view.types();
    let mut text = Vec::new();
    if assumed {
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
        for (name, class, marge) in lines(view, city) {
            let name = format!("{}, {name}{}", cut(&city.ville, 12), star(marge));
            let words = view.euros(marge.marge_totale);
            said.push(format!("{name} {words}"));
            bars.push(Bar {
                pieces: vec![(
                    marge.marge_totale.0.into(),
                    format!("{class}{}", if marge.hypothese { " guess" } else { "" }),
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
        tables: vec![table(view)],
        ..Figure::default()
    };
    Section {
        id: "marge",
        title: view.say("Marge", "Margin"),
        text,
        figures: vec![figure],
    }
}

/// The margins of a city: what each is called, the class of its colour, and the margin.
fn lines<'v>(view: &View<'v>, city: &Comparatif) -> [(&'v str, &'v str, Marge); 2] {
    let both = view.report.marge.get(&city.ville);
    let both = both.copied().unwrap_or_default();
    [
        (view.say("ventes", "sales"), "sale", both.vente),
        (view.say("locations", "rentals"), "rent", both.location),
    ]
}

fn table(view: &View<'_>) -> Table {
    let columns = [
        view.say("Ville", "City"),
        "Type",
        "Transactions",
        view.say("Taux", "Rate"),
        view.say("Marge moyenne", "Average margin"),
        view.say("Marge totale", "Total margin"),
    ];
    let rows = view.report.comparatif.iter().flat_map(|city| {
        lines(view, city).map(|(name, _, marge)| table_row(view, &city.ville, name, marge))
    });
    Table::new("marge.csv", 2, columns).rows(rows, view.lang)
}

fn star(marge: Marge) -> &'static str {
    if marge.hypothese { "\u{a0}*" } else { "" }
}

fn table_row(view: &View<'_>, ville: &str, type_: &str, marge: Marge) -> Vec<Cell> {
    let cells = [
        format!("{type_}{}", star(marge)),
        view.count(marge.nombre),
        or_none(marge.taux_moyen, |taux| view.percent(taux)),
        or_none(marge.marge_moyenne, |euros| view.euros(euros)),
        view.euros(marge.marge_totale),
    ];
    autoconnect_report::table::row(ville, cells)
}
