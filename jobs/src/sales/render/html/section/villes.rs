//! The cities side by side: their ranking, and their sales and rentals.

use crate::sales::partial::ParType;
use crate::sales::render::html::view::View;
use crate::sales::render::tables;
use crate::sales::report::Part;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::name::cut;
use autoconnect_report::number;
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::html::Shown;

/// The ranking.
pub(in crate::sales::render::html) fn classement(view: &View<'_>) -> Section {
    let bars = view.best().map(|city| {
        let ca = view.whole_euros(city.ca);
        Bar {
            name: format!("{}. {}", city.rang, city.ville),
            pieces: vec![(
                city.ca.0.into(),
                view.colour(&city.ville).to_owned(),
                view.pair(&cut(&city.ville, 40), &ca),
            )],
            value: ca,
        }
    });
    let ranked: Vec<String> = view
        .best()
        .map(|city| format!("{} {}", cut(&city.ville, 40), view.whole_euros(city.ca)))
        .collect();
    let figure = Figure {
        title: view.say("CA par ville", "Revenue by city").to_owned(),
        note: view.best_of_cities(),
        chart: Some(bars::chart(ranked.join(", "), bars.collect())),
        tables: vec![Shown::first(
            &tables::comparatif::table(),
            &view.report.comparatif,
            view.lang,
        )],
        ..Figure::default()
    };
    Section {
        id: "classement",
        title: view.say("Classement des villes", "Ranking of the cities"),
        text: Vec::new(),
        figures: vec![figure],
    }
}

/// Sales and rentals of each city.
pub(in crate::sales::render::html) fn repartition(view: &View<'_>) -> Section {
    let share = |percent| number::fixed(percent, view.lang);
    let words = |ParType { vente, location }: ParType<Part>| {
        let (v, l) = (share(vente.pourcentage), share(location.pourcentage));
        view.say(format!("{v}\u{a0}% – {l}\u{a0}%"), format!("{v}% – {l}%"))
    };
    let bars = view.best().map(|city| {
        let both = tables::repartition::of_city(view.report, &city.ville);
        let piece = |part: Part, class: &str, name| {
            let n = view.pair(name, &view.count(part.nombre));
            (i128::from(part.pourcentage.0), class.to_owned(), n)
        };
        Bar {
            name: city.ville.clone(),
            value: words(both),
            pieces: vec![
                piece(both.vente, "sale", view.say("Ventes", "Sales")),
                piece(both.location, "rent", view.say("Locations", "Rentals")),
            ],
        }
    });
    let said: Vec<String> = view
        .best()
        .map(|city| {
            format!(
                "{} {}",
                cut(&city.ville, 40),
                words(tables::repartition::of_city(view.report, &city.ville))
            )
        })
        .collect();
    let figure = Figure {
        title: view
            .say(
                "Part des ventes et des locations",
                "Share of sales and rentals",
            )
            .to_owned(),
        note: format!(
            "{} {}",
            view.say("En nombre de transactions.", "By number of transactions."),
            view.best_of_cities()
        ),
        legend: view.types(),
        chart: Some(bars::chart(said.join(", "), bars.collect())),
        tables: vec![Shown::first(
            &tables::repartition::table(),
            tables::repartition::rows(view.report),
            view.lang,
        )],
        ..Figure::default()
    };
    Section {
        id: "repartition",
        title: view.say("Ventes et locations", "Sales and rentals"),
        text: Vec::new(),
        figures: vec![figure],
    }
}
