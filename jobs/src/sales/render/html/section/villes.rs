//! The cities side by side: their ranking, and their sales and rentals.

use crate::sales::partial::ParType;
use crate::sales::render::html::view::View;
use crate::sales::report::Part;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::name::cut;
use autoconnect_report::number::{self, or_none};
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::{Table, row};

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
        tables: vec![comparatif(view)],
        ..Figure::default()
    };
    Section {
        id: "classement",
        title: view.say("Classement des villes", "Ranking of the cities"),
        text: Vec::new(),
        figures: vec![figure],
    }
}

fn comparatif(view: &View<'_>) -> Table {
    let columns = [
        view.say("Ville", "City"),
        view.say("Rang", "Rank"),
        view.say("CA", "Revenue"),
        view.say("Part", "Share"),
        "Transactions",
        view.say("Panier moyen", "Average sale"),
        view.say("Loyer moyen", "Average rent"),
        view.say("Croiss. mois", "Growth, month"),
        view.say("Croiss. trim.", "Growth, quarter"),
        view.say("Écart à la moy.", "Against mean"),
    ];
    let rows = view.report.comparatif.iter().map(|city| {
        row(
            &city.ville,
            [
                city.rang.to_string(),
                view.euros(city.ca),
                view.percent(city.part),
                view.count(city.transactions),
                or_none(city.panier_moyen_vente, |ca| view.euros(ca)),
                or_none(city.loyer_moyen, |ca| view.euros(ca)),
                view.signed(city.croissance_mensuelle),
                view.signed(city.croissance_trimestrielle),
                view.signed(city.ecart_a_la_moyenne),
            ],
        )
    });
    Table::new("comparatif.csv", 1, columns).rows(rows, view.lang)
}

/// The sales and rentals of a city.
fn parts(view: &View<'_>, ville: &str) -> ParType<Part> {
    let parts = view.report.repartition.get(ville);
    parts.copied().unwrap_or_default()
}

/// Sales and rentals of each city.
pub(in crate::sales::render::html) fn repartition(view: &View<'_>) -> Section {
    let share = |percent| number::fixed(percent, view.lang);
    let words = |ParType { vente, location }: ParType<Part>| {
        let (v, l) = (share(vente.pourcentage), share(location.pourcentage));
        view.say(format!("{v}\u{a0}% – {l}\u{a0}%"), format!("{v}% – {l}%"))
    };
    let bars = view.best().map(|city| {
        let both = parts(view, &city.ville);
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
                words(parts(view, &city.ville))
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
        tables: vec![sales_and_rentals(view)],
        ..Figure::default()
    };
    Section {
        id: "repartition",
        title: view.say("Ventes et locations", "Sales and rentals"),
        text: Vec::new(),
        figures: vec![figure],
    }
}

fn sales_and_rentals(view: &View<'_>) -> Table {
    let columns = [
        view.say("Ville", "City"),
        view.say("Ventes", "Sales"),
        "%",
        view.say("CA ventes", "Sales revenue"),
        view.say("Locations", "Rentals"),
        "%",
        view.say("CA locations", "Rental revenue"),
    ];
    let rows = view.report.comparatif.iter().map(|city| {
        let ParType { vente, location } = parts(view, &city.ville);
        let cells = [vente, location].map(|part| {
            [
                view.count(part.nombre),
                number::fixed(part.pourcentage, view.lang),
                view.euros(part.ca),
            ]
        });
        row(&city.ville, cells.into_iter().flatten())
    });
    Table::new("repartition.csv", 1, columns).rows(rows, view.lang)
}
