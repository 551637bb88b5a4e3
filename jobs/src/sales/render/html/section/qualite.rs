//! The quality of the data: what was read, what was refused and why, what was odd.

use std::collections::BTreeMap;

use crate::sales::render::html::view::View;
use crate::sales::render::words;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::fixed::Percent;
use autoconnect_report::number::or_none;
use autoconnect_report::page::{Figure, Legend, Section};
use autoconnect_report::table::{Cell, Table, row};

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
    let lines = [
        (view.say("lues", "read"), source.lignes),
        (good, source.acceptees),
        (bad, source.rejetees),
        (
            view.say("avertissements", "warnings"),
            source.avertissements,
        ),
    ];
    let counted = |words: &str, n: u64| view.pair(words, &view.count(n));
    let said = lines.map(|(words, n)| counted(words, n)).join(", ");
    let bar = Bar {
        name: counted(good, source.acceptees),
        value: counted(bad, source.rejetees),
        pieces: vec![
            piece(source.acceptees, "good", counted(good, source.acceptees)),
            piece(source.rejetees, "bad", counted(bad, source.rejetees)),
        ],
    };
    let columns = [
        view.say("Lignes", "Rows"),
        view.say("Nombre", "Number"),
        view.say("Part", "Share"),
    ];
    let rows = lines.map(|(words, n)| {
        let share = or_none(rate(n, source.lignes), |rate| view.percent(rate));
        row(words, [view.count(n), share])
    });
    let shown = source.lignes > 0;
    let legend = [("good", good), ("bad", bad)].map(|(class, label)| Legend {
        class,
        label: label.to_owned(),
    });
    Figure {
        title: view.say("Lignes lues", "Rows read").to_owned(),
        legend: if shown { legend.into() } else { Vec::new() },
        chart: shown.then(|| bars::chart(said, vec![bar])),
        tables: vec![Table::new("qualite.csv", 1, columns).rows(rows, view.lang)],
        ..Figure::default()
    }
}

fn piece(n: u64, class: &str, tip: String) -> (i128, String, String) {
    (n.into(), class.to_owned(), tip)
}

fn motifs(view: &View<'_>, title: &str, words: &BTreeMap<String, u64>, whole: u64) -> Figure {
    let columns = [
        view.say("Motif", "Reason"),
        view.say("Ce que c’est", "What it is"),
        view.say("Lignes", "Rows"),
        view.say("Part", "Share"),
    ];
    let rows = words.iter().map(|(word, n)| {
        let explained = words::explain(word, view.lang).unwrap_or_default();
        let share = or_none(rate(*n, whole), |rate| view.percent(rate));
        let mut cells = vec![Cell::name(word)];
        cells.extend([explained.to_owned(), view.count(*n), share].map(Cell::from));
        cells
    });
    Figure {
        title: title.to_owned(),
        tables: vec![Table::new("qualite.csv", 2, columns).rows(rows, view.lang)],
        ..Figure::default()
    }
}

fn rate(n: u64, whole: u64) -> Option<Percent> {
    Percent::ratio(100 * i128::from(n), whole.into())
}

/// The names in several spellings, and how often each was written.
fn regroupements(view: &View<'_>) -> Option<Figure> {
    let groups = &view.report.qualite.regroupements;
    if groups.villes.is_empty() && groups.modeles.is_empty() {
        return None;
    }
    let columns = [
        view.say("Nom", "Name"),
        view.say("Écrit", "Written"),
        view.say("Lignes", "Rows"),
    ];
    let names = groups.villes.iter().chain(&groups.modeles);
    let rows = names.flat_map(|(name, spellings)| {
        spellings.iter().map(|(spelling, n)| {
            vec![
                Cell::name(name),
                Cell::name(spelling),
                Cell::from(view.count(*n)),
            ]
        })
    });
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
        tables: vec![Table::new("qualite.csv", 2, columns).rows(rows, view.lang)],
        ..Figure::default()
    })
}
