//! The quality of the data: what was read, what was refused and why, what was odd.

use std::collections::BTreeMap;

use crate::sales::render::html::view::View;
use crate::sales::render::tables;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::page::{Figure, Legend, Section};
use autoconnect_report::table::html::Shown;

/// Rows read, accepted and rejected.
pub(in crate::sales::render::html) fn qualite(view: &View<'_>) -> Section {
    let qualite = &view.report.qualite;
    let mut figures = vec![lignes(view)];
    for (title, words, whole) in [
        (
            view.say("Lignes rejetées, par motif", "Rejected rows, by reason"),
            &qualite.par_motif,
            view.report.source.lignes,
        ),
        (
            view.say(
                "Avertissements sur des lignes acceptées",
                "Warnings about accepted rows",
            ),
            &qualite.avertissements,
            view.report.source.acceptees,
        ),
    ] {
        if !words.is_empty() {
            figures.push(motifs(view, title, words, whole));
        }
    }
    figures.extend(regroupements(view));
    Section {
        id: "qualite",
        title: view.say("Qualité des données", "Quality of the data"),
        text: Vec::new(),
        figures,
    }
}

fn lignes(view: &View<'_>) -> Figure {
    let source = &view.report.source;
    let good = view.say("acceptées", "accepted");
    let bad = view.say("rejetées", "rejected");
    let rows = tables::qualite::lignes(source);
    let counted = |words: &str, n: u64| view.pair(words, &view.count(n));
    let said = rows.map(|([fr, en], n)| counted(view.say(fr, en), n));
    let bar = Bar {
        name: counted(good, source.acceptees),
        value: counted(bad, source.rejetees),
        pieces: vec![
            piece(source.acceptees, "good", counted(good, source.acceptees)),
            piece(source.rejetees, "bad", counted(bad, source.rejetees)),
        ],
    };
    let shown = source.lignes > 0;
    let legend = [("good", good), ("bad", bad)].map(|(class, label)| Legend {
        class,
        label: label.to_owned(),
    });
    Figure {
        title: view.say("Lignes lues", "Rows read").to_owned(),
        legend: if shown { legend.into() } else { Vec::new() },
        chart: shown.then(|| bars::chart(said.join(", "), vec![bar])),
        tables: vec![Shown::first(
            &tables::qualite::table_lignes(source),
            rows,
            view.lang,
        )],
        ..Figure::default()
    }
}

fn piece(n: u64, class: &str, tip: String) -> (i128, String, String) {
    (n.into(), class.to_owned(), tip)
}

fn motifs(view: &View<'_>, title: &str, words: &BTreeMap<String, u64>, whole: u64) -> Figure {
    let table = tables::qualite::motifs(whole);
    Figure {
        title: title.to_owned(),
        tables: vec![Shown::first(&table, words, view.lang)],
        ..Figure::default()
    }
}

/// The names in several spellings, and how often each was written.
fn regroupements(view: &View<'_>) -> Option<Figure> {
    let groups = &view.report.qualite.regroupements;
    if groups.villes.is_empty() && groups.modeles.is_empty() {
        return None;
    }
    let others = view.count(groups.autres);
    Some(Figure {
        title: view
            .say(
                "Noms écrits de plusieurs façons, comptés sous une seule",
                "Names written in several ways, counted under one",
            )
            .to_owned(),
        note: match groups.autres {
            0 => String::new(),
            _ => view.say(
                format!("Autres façons d’écrire, non listées\u{a0}: {others}."),
                format!("Other ways of writing, not listed: {others}."),
            ),
        },
        tables: vec![Shown::first(
            &tables::qualite::regroupements(),
            tables::qualite::spellings(view.report),
            view.lang,
        )],
        ..Figure::default()
    })
}
