//! The quality of the data: rows read, reasons, names in several spellings; as data one list of all that was counted.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use autoconnect_report::fixed::Percent;
use autoconnect_report::lang::Lang;
use autoconnect_report::table::column::{Align, Column};
use autoconnect_report::table::value::Value;
use autoconnect_report::table::{Table, csv};

use crate::sales::Report;
use crate::sales::reason::explain;
use crate::sales::report::Source;

pub(in crate::sales::render) const FILE: &str = "qualite.csv";

/// What is called so in French and in English, and how often it is there.
pub(in crate::sales::render) type Count = ([&'static str; 2], u64);

/// The rows that were read, and what became of them.
pub(in crate::sales::render) fn lignes(source: &Source) -> [Count; 4] {
    [
        (["lues", "read"], source.lignes),
        (["acceptées", "accepted"], source.acceptees),
        (["rejetées", "rejected"], source.rejetees),
        (["avertissements", "warnings"], source.avertissements),
    ]
}

/// The table of [`lignes`].
pub(in crate::sales::render) fn table_lignes<'r>(source: &Source) -> Table<'r, Count> {
    Table::new(
        FILE,
        [
            Column::new(
                "mesure",
                ["Lignes", "Rows"],
                Align::Left,
                |([fr, en], _): &Count| Value::words(*fr, *en),
            ),
            Column::count("nombre", ["Nombre", "Number"], |(_, n): &Count| *n),
            part(source.lignes, |(_, n): &Count| *n),
        ],
    )
}

/// A reason or a warning, and its rows.
type Motif<'r> = (&'r String, &'r u64);

/// Reasons or warnings, of the `read` rows that could have them.
pub(in crate::sales::render) fn motifs<'r>(read: u64) -> Table<'r, Motif<'r>> {
    Table::new(
        FILE,
        [
            Column::name("motif", ["Motif", "Reason"], |(word, _): &Motif<'r>| *word),
            Column::new(
                "explication",
                ["Ce que c’est", "What it is"],
                Align::Left,
                |(word, _): &Motif<'r>| {
                    let [fr, en] = [Lang::Fr, Lang::En].map(|lang| explain(word, lang));
                    Value::words(fr.unwrap_or_default(), en.unwrap_or_default())
                },
            ),
            Column::count("nombre", LIGNES, |(_, n): &Motif<'r>| **n),
            part(read, |(_, n): &Motif<'r>| **n),
        ],
    )
}

const LIGNES: [&str; 2] = ["Lignes", "Rows"];

/// The column of the share in all rows.
fn part<'r, R>(all: u64, of: impl Fn(&R) -> u64 + 'r) -> Column<'r, R> {
    Column::percent("part", ["Part", "Share"], move |row| rate(of(row), all))
}

/// `100 x n / all`.
pub(in crate::sales::render) fn rate(n: u64, all: u64) -> Option<Percent> {
    Percent::ratio(100 * i128::from(n), all.into())
}

/// A name, one of its spellings, and the rows that have it.
#[derive(Debug, Clone, Copy)]
pub(in crate::sales::render) struct Spelling<'r> {
    nom: &'r str,
    ecrit: &'r str,
    nombre: u64,
}

/// The names in several spellings, and how often each was written.
pub(in crate::sales::render) fn regroupements<'r>() -> Table<'r, Spelling<'r>> {
    Table::new(
        FILE,
        [
            Column::name("nom", ["Nom", "Name"], |row: &Spelling<'r>| row.nom),
            Column::name("ecrit", ["Écrit", "Written"], |row: &Spelling<'r>| {
                row.ecrit
            }),
            Column::count("nombre", LIGNES, |row: &Spelling<'r>| row.nombre),
        ],
    )
}

/// The spellings of cities, then of models.
pub(in crate::sales::render) fn spellings(report: &Report) -> impl Iterator<Item = Spelling<'_>> {
    let groups = &report.qualite.regroupements;
    [&groups.villes, &groups.modeles]
        .into_iter()
        .flat_map(of_names)
}

fn of_names(names: &BTreeMap<String, BTreeMap<String, u64>>) -> impl Iterator<Item = Spelling<'_>> {
    names.iter().flat_map(|(nom, spellings)| {
        spellings.iter().map(move |(ecrit, nombre)| Spelling {
            nom,
            ecrit,
            nombre: *nombre,
        })
    })
}

/// Something that was counted.
struct Line<'r> {
    mesure: &'static str,
    motif: Cow<'r, str>,
    nombre: Option<u64>,
}

impl<'r> Line<'r> {
    fn new(mesure: &'static str, motif: impl Into<Cow<'r, str>>, nombre: u64) -> Self {
        Self {
            mesure,
            motif: motif.into(),
            nombre: Some(nombre),
        }
    }
}

pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    let table = Table::new(
        FILE,
        [
            Column::name("mesure", ["Mesure", "Measure"], |line: &Line<'_>| {
                line.mesure
            }),
            Column::name("motif", ["Motif", "Reason"], |line: &Line<'_>| {
                line.motif.clone()
            }),
            Column::count("nombre", ["Nombre", "Number"], |line: &Line<'_>| {
                line.nombre
            }),
        ],
    );
    csv::write(&table, lines(report), out)
}

/// All that was counted.
fn lines(report: &Report) -> impl Iterator<Item = Line<'_>> {
    let source = &report.source;
    let rows = [
        ("lignes", source.lignes),
        ("acceptees", source.acceptees),
        ("rejetees", source.rejetees),
        ("hors_periode", source.hors_periode),
        ("avertissements", source.avertissements),
    ];
    let rows = rows.map(|(mesure, nombre)| Line::new(mesure, "", nombre));
    let qualite = &report.qualite;
    let words = [
        ("rejet", &qualite.par_motif),
        ("avertissement", &qualite.avertissements),
    ];
    let words = words.into_iter().flat_map(|(mesure, words)| {
        words
            .iter()
            .map(move |(word, n)| Line::new(mesure, word, *n))
    });
    let isoles = report.periode.isoles.iter();
    let isoles = isoles.map(|isole| Line::new("mois_isole", &isole.mois, isole.nombre));
    let groups = &qualite.regroupements;
    let names = [
        ("ville_regroupee", &groups.villes),
        ("modele_regroupe", &groups.modeles),
    ];
    let names = names.into_iter().flat_map(|(mesure, names)| {
        of_names(names)
            .map(move |of| Line::new(mesure, format!("{} = {}", of.nom, of.ecrit), of.nombre))
    });
    let perdus = qualite.chunks_perdus.iter().map(|seq| Line {
        mesure: "chunk_perdu",
        motif: seq.to_string().into(),
        nombre: None,
    });
    rows.into_iter()
        .chain(words)
        .chain(isoles)
        .chain(names)
        .chain(perdus)
}
