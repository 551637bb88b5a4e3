//! Rentals: how long they last, and what their contracts are worth.

use crate::sales::render::html::view::View;
use crate::sales::render::tables;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::name::cut;
use autoconnect_report::number::{self, or_none};
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::Table;
use autoconnect_report::table::column::Column;
use autoconnect_report::table::html::Shown;

/// Durations, rotations and contracts.
pub(in crate::sales::render::html) fn rotation(view: &View<'_>) -> Section {
    let rentals = view
        .report
        .rotation
        .values()
        .any(|rotation| rotation.contrats > 0);
    let (text, figures) = if rentals {
        (
            Vec::new(),
            vec![durees(view), contrats(view), par_modele(view)],
        )
    } else {
        let none = view.say("Aucune location.", "No rental.");
        (vec![none.to_owned()], Vec::new())
    };
    Section {
        id: "location",
        title: view.say("Durée et valeur des locations", "Rental length and value"),
        text,
        figures,
    }
}

fn durees(view: &View<'_>) -> Figure {
    let of = |ville: &str| view.report.rotation.get(ville);
    let words = |ville: &str| {
        let mean = of(ville).and_then(|rotation| rotation.duree_moyenne_mois);
        or_none(mean, |mean| {
            let mean = number::fixed(mean, view.lang);
            view.say(format!("{mean} mois"), format!("{mean} months"))
        })
    };
    let bars = view.best().map(|city| {
        let mean = of(&city.ville).and_then(|rotation| rotation.duree_moyenne_mois);
        Bar {
            name: city.ville.clone(),
            value: words(&city.ville),
            pieces: vec![(
                mean.map_or(0, |mean| mean.0.into()),
                view.colour(&city.ville).to_owned(),
                view.pair(&cut(&city.ville, 40), &words(&city.ville)),
            )],
        }
    });
    let said: Vec<String> = view
        .best()
        .map(|city| format!("{} {}", cut(&city.ville, 40), words(&city.ville)))
        .collect();
    Figure {
        title: view
            .say("Durée moyenne d’une location", "Average length of a rental")
            .to_owned(),
        note: view.best_of_cities(),
        chart: Some(bars::chart(said.join(", "), bars.collect())),
        tables: vec![Shown::first(
            &tables::rotation::table(),
            tables::rotation::rows(view.report),
            view.lang,
        )],
        narrow: true,
        ..Figure::default()
    }
}

fn contrats(view: &View<'_>) -> Figure {
    let of = |ville: &str| tables::rotation::valeur_of(view.report, ville);
    let bars = view.best().map(|city| {
        let words = view.whole_euros(of(&city.ville));
        Bar {
            name: city.ville.clone(),
            pieces: vec![(
                of(&city.ville).0.into(),
                view.colour(&city.ville).to_owned(),
                view.pair(&cut(&city.ville, 40), &words),
            )],
            value: words,
        }
    });
    let said: Vec<String> = view
        .best()
        .map(|city| {
            format!(
                "{} {}",
                cut(&city.ville, 40),
                view.whole_euros(of(&city.ville))
            )
        })
        .collect();
    Figure {
        title: view
            .say(
                "Valeur des contrats de location",
                "Value of rental contracts",
            )
            .to_owned(),
        note: view.best_of_cities(),
        chart: Some(bars::chart(said.join(", "), bars.collect())),
        tables: vec![Shown::first(
            &tables::rotation::table_valeur(),
            tables::rotation::rows_valeur(view.report),
            view.lang,
        )],
        narrow: true,
        ..Figure::default()
    }
}

fn par_modele(view: &View<'_>) -> Figure {
    let of = |ville: &str, modele: &str| {
        let rotation = view.report.rotation.get(ville)?;
        rotation.par_modele.get(modele).copied()
    };
    let modeles = &view.report.modeles;
    let rented = modeles.iter().filter(|modele| {
        let mut villes = view.coloured.iter();
        villes.any(|ville| of(ville, modele).is_some())
    });
    let villes = view.coloured.iter().map(|ville| {
        let title = view.column_title(ville);
        Column::number("duree", title, move |modele: &&String| of(ville, modele))
    });
    let modele = Column::name("modele", ["Modèle", "Model"], |modele: &&String| *modele);
    let table = Table::new(tables::rotation::FILE, [modele]).and(villes);
    Figure {
        title: view
            .say("Durée moyenne par modèle", "Average length by model")
            .to_owned(),
        note: view.say("En mois.", "In months.").to_owned(),
        tables: vec![
            Shown::first(&table, rented, view.lang)
                .folded(view.say("Les chiffres de chaque modèle", "The numbers of each model")),
        ],
        ..Figure::default()
    }
}
