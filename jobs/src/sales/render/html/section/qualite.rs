//! The quality of the data: what was read, what was refused and why, what was odd.

use std::collections::BTreeMap;

use crate::fixed::Percent;
use crate::sales::render::html::bars::{self, Bar};
use crate::sales::render::html::page::{Cell, Figure, Legend, Section, Table};
use crate::sales::render::html::view::View;
use crate::sales::render::number::or_none;
use crate::sales::render::words;

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
    Section {
        id: "qualite",
        title: view.say("Qualité des données", "Quality of the data"),
        text: Vec::new(),
        figures,
    }
}

fn lignes(view: &View<'_>) -> Figure {
    let source = &view.report.source;
    let [all, good, bad, odd] = [
        source.lignes,
        source.acceptees,
        source.rejetees,
        source.avertissements,
    ]
    .map(|n| view.count(n));
    let (good_words, bad_words) = (
        view.say("acceptées", "accepted"),
        view.say("rejetées", "rejected"),
    );
    let rate = or_none(rate(source.rejetees, source.lignes), |rate| {
        view.percent(rate)
    });
    let said = view.say(
        format!(
            "{all} lignes lues, {good} acceptées, {bad} rejetées ({rate}), {odd} avertissements."
        ),
        format!("{all} rows read, {good} accepted, {bad} rejected ({rate}), {odd} warnings."),
    );
    let bar = Bar {
        name: view.say(format!("{good} acceptées"), format!("{good} accepted")),
        value: view.say(format!("{bad} rejetées"), format!("{bad} rejected")),
        pieces: [
            (source.acceptees, "good", good_words, &good),
            (source.rejetees, "bad", bad_words, &bad),
        ]
        .map(|(n, class, words, count)| (n.into(), class.to_owned(), view.pair(words, count)))
        .into(),
    };
    let legend = [("good", good_words), ("bad", bad_words)].map(|(class, label)| Legend {
        class,
        label: label.to_owned(),
    });
    let shown = source.lignes > 0;
    Figure {
        title: view.say("Lignes lues", "Rows read").to_owned(),
        note: said.clone(),
        legend: if shown { legend.into() } else { Vec::new() },
        chart: shown.then(|| bars::chart(said, vec![bar], 0)),
        ..Figure::default()
    }
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
