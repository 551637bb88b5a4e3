//! The models: the five best of each city, and CA of each model.

use crate::sales::render::figures::add;
use crate::sales::render::html::view::{BARS, View};
use crate::sales::render::tables;
use crate::sales::render::tables::modeles::Row;
use crate::sales::report::{CaModele, TopModele};
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::fixed::{Euros, Fixed};
use autoconnect_report::name::cut;
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::column::Column;
use autoconnect_report::table::html::Shown;

/// The five best models of each city.
pub(in crate::sales::render::html) fn top(view: &View<'_>) -> Section {
    let mut figures = Vec::new();
    for city in view.best() {
        let Some(top) = view.report.top_modeles.get(&city.ville) else {
            continue;
        };
        for (name, class, list) in [
            (view.say("ventes", "sales"), "sale", &top.vente),
            (view.say("locations", "rentals"), "rent", &top.location),
            (view.say("ensemble", "both"), "both", &top.total),
        ] {
            let title = view.pair(&cut(&city.ville, 30), name);
            figures.push(top_figure(view, title, class, list));
        }
    }
    let mut text = vec![
        view.say(
            "Les cinq modèles les plus vendus et les plus loués, en nombre de transactions.",
            "The five models most sold and most rented, by number of transactions.",
        )
        .to_owned(),
    ];
    let cut = view.best_of_cities();
    if !cut.is_empty() {
        let rest = view.say(
            "Toutes\u{a0}: tables/top_modeles.csv",
            "All: tables/top_modeles.csv",
        );
        text.push(format!("{cut} {rest}"));
    }
    Section {
        id: "top",
        title: view.say("Top 5 des modèles", "Top 5 models"),
        text,
        figures,
    }
}

fn top_figure(view: &View<'_>, title: String, class: &str, list: &[TopModele]) -> Figure {
    let said: Vec<String> = list
        .iter()
        .map(|top| format!("{} {}", cut(&top.modele, 40), view.count(top.nombre)))
        .collect();
    let bars = list.iter().map(|top| Bar {
        name: top.modele.clone(),
        value: view.count(top.nombre),
        pieces: vec![(
            top.nombre.into(),
            class.to_owned(),
            view.pair(&cut(&top.modele, 40), &view.whole_euros(top.ca)),
        )],
    });
    let table = Shown::first(&tables::top_modeles::table(), list, view.lang)
        .folded(view.say("Les chiffres", "The numbers"));
    let none = view
        .say("Aucune transaction.", "No transaction.")
        .to_owned();
    Figure {
        title,
        note: if list.is_empty() { none } else { String::new() },
        chart: (!list.is_empty()).then(|| bars::chart(said.join(", "), bars.collect())),
        tables: if list.is_empty() {
            Vec::new()
        } else {
            vec![table]
        },
        narrow: true,
        ..Figure::default()
    }
}

/// CA of each model, by city.
pub(in crate::sales::render::html) fn modeles(view: &View<'_>) -> Section {
    let modeles = tables::modeles::rows(view.report);
    let all = modeles.len();
    let note = if all > BARS {
        view.say(
            format!("Les {BARS} premiers modèles sur {all}."),
            format!("The first {BARS} of {all} models."),
        )
    } else {
        String::new()
    };
    let best = || modeles.iter().take(BARS);
    let said: Vec<String> = best()
        .map(|(modele, ca)| format!("{} {}", cut(modele, 40), view.whole_euros(ca.total)))
        .collect();
    let bars = best().map(|(modele, ca)| Bar {
        name: (*modele).to_owned(),
        value: view.whole_euros(ca.total),
        pieces: pieces(view, ca),
    });
    let figure = Figure {
        title: view
            .say("CA par modèle et par ville", "Revenue by model and city")
            .to_owned(),
        note,
        legend: view.legend(),
        chart: Some(bars::chart(said.join(", "), bars.collect())),
        tables: vec![table(view, &modeles)],
        ..Figure::default()
    };
    Section {
        id: "modeles",
        title: view.say("CA par modèle", "Revenue by model"),
        text: Vec::new(),
        figures: vec![figure],
    }
}

/// The CA of a model in the cities with a colour of their own, and in the others.
fn by_city(view: &View<'_>, ca: &CaModele) -> (Vec<Option<Euros>>, Euros) {
    let own: Vec<Option<Euros>> = view
        .coloured
        .iter()
        .map(|ville| ca.villes.get(*ville).copied())
        .collect();
    let sum = own.iter().flatten().copied().fold(Fixed(0), add);
    (own, Fixed(ca.total.0.saturating_sub(sum.0)))
}

fn pieces(view: &View<'_>, ca: &CaModele) -> Vec<(i128, String, String)> {
    let (own, rest) = by_city(view, ca);
    let others = view.other_cities();
    let own = view
        .coloured
        .iter()
        .copied()
        .zip(own.into_iter().map(Option::unwrap_or_default));
    own.map(|(ville, ca)| (ville, view.colour(ville), ca))
        .chain([(others.as_str(), view.colour(""), rest)])
        .map(|(ville, class, ca)| {
            let tip = view.pair(&cut(ville, 40), &view.whole_euros(ca));
            (ca.0.into(), class.to_owned(), tip)
        })
        .collect()
}

/// The CA of each model, and what each coloured city and the others have of it.
fn table(view: &View<'_>, modeles: &[Row<'_>]) -> Shown {
    let villes = view.coloured.iter().map(|ville| {
        Column::euros("ca", view.column_title(ville), move |(_, ca): &Row<'_>| {
            ca.villes.get(*ville).copied()
        })
    });
    let others = (view.others() > 0).then(|| {
        Column::euros("ca", view.other_cities(), move |(_, ca): &Row<'_>| {
            by_city(view, ca).1
        })
    });
    let table = tables::modeles::table(view.report).and(villes.chain(others));
    Shown::first(&table, modeles.iter().copied(), view.lang)
        .folded(view.say("Les chiffres de chaque modèle", "The numbers of each model"))
}
