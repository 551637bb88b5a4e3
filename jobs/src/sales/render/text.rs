//! `analysis_report.txt`: the report in French, to read in a terminal or an e-mail; 78 columns where names allow.

use std::fmt::Write as _;
use std::io;

use super::figures;
use super::notices::notices;
use super::tables;

use crate::sales::Report;
use crate::sales::reason::explain;
use crate::sales::report::GLOBAL;
use autoconnect_report::lang::Lang;
use autoconnect_report::name::{clean, cut};
use autoconnect_report::number::{self, or_none};
use autoconnect_report::table::text::{self, NAME, ROWS};

const FR: Lang = Lang::Fr;
const WIDTH: usize = 78;
/// The most cities with a list of their own.
const VILLES: usize = 12;

/// Writes one numbered part of the text.
type Section = fn(&Report, &mut String);

/// The whole text: its tables are short, whatever the report.
pub(super) fn write(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    out.write_all(render(report).as_bytes())
}

fn render(report: &Report) -> String {
    let mut out = String::new();
    header(report, &mut out);
    let sections: [(&str, Section); 10] = [
        ("Classement des villes", classement),
        ("CA mensuel", ca_mensuel),
        ("Ventes et locations", repartition),
        ("Top 5 des modèles", top),
        ("CA par modèle", modeles),
        ("Saisonnalité", saisonnalite),
        ("Durée de location", rotation),
        ("Marge", marge),
        ("Tendance et prévision", tendance),
        ("Qualité des données", qualite),
    ];
    for (i, (title, section)) in (1..).zip(sections) {
        let _ = write!(out, "\n{i}. {title}\n{}\n", "-".repeat(WIDTH));
        section(report, &mut out);
    }
    let _ = write!(
        out,
        "\n{}\nLes tables complètes sont dans tables/*.csv, les lignes refusées dans rejets.csv.\n",
        "=".repeat(WIDTH)
    );
    out
}

fn header(report: &Report, out: &mut String) {
    let rule = "=".repeat(WIDTH);
    let fichiers: Vec<_> = report
        .source
        .fichiers
        .iter()
        .take(5)
        .map(|f| clean(f))
        .collect();
    let autres = report.source.fichiers.len().saturating_sub(5);
    let autres = if autres > 0 {
        format!(" et {autres} autres")
    } else {
        String::new()
    };
    let _ = write!(
        out,
        "{rule}\nAUTOCONNECT – RAPPORT COMMERCIAL\n{rule}\n\nPériode      {}\nSource       {}{autres}\nLignes       {} lues, {} acceptées, {} rejetées\nCA total     {}\n",
        figures::period(report, FR),
        fichiers.join(", "),
        number::count(report.source.lignes, FR),
        number::count(report.source.acceptees, FR),
        number::count(report.source.rejetees, FR),
        number::euros(report.ca_total, FR),
    );
    if !report.qualite.complet {
        let n = report.qualite.chunks_perdus.len();
        let _ = write!(
            out,
            "\nATTENTION : rapport incomplet, {n} lot(s) de lignes n’ont pas pu être comptés.\n"
        );
    }
    for notice in notices(&report.source, &report.qualite, &report.periode, FR) {
        out.push('\n');
        wrap(&notice, out);
    }
    out.push('\n');
    for sentence in figures::highlights(report, FR) {
        wrap(&sentence, out);
    }
}

/// A sentence as a list item, broken at spaces so that it stays within the width.
fn wrap(sentence: &str, out: &mut String) {
    let mut column = 0;
    for word in sentence.split(' ') {
        let length = word.chars().count();
        if column == 0 {
            out.push_str("* ");
            column = 2;
        } else if column + 1 + length > WIDTH {
            out.push_str("\n  ");
            column = 2;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
}

fn count(n: u64) -> String {
    number::count(n, FR)
}

fn classement(report: &Report, out: &mut String) {
    text::write(&tables::comparatif::table(), &report.comparatif, out);
}

fn ca_mensuel(report: &Report, out: &mut String) {
    let months = figures::monthly(report);
    let skipped = months.len().saturating_sub(ROWS);
    let last = months.into_iter().skip(skipped);
    let rows = tables::ca_mensuel::of_city(report, GLOBAL, last);
    text::write(&tables::ca_mensuel::table().without("ville"), rows, out);
    if skipped > 0 {
        let _ = writeln!(
            out,
            "Les {skipped} mois d’avant, et chaque ville : tables/ca_mensuel.csv"
        );
    }
}

fn repartition(report: &Report, out: &mut String) {
    let rows = tables::repartition::rows(report);
    text::write(&tables::repartition::table(), rows, out);
}

fn top(report: &Report, out: &mut String) {
    for city in report.comparatif.iter().take(VILLES) {
        let Some(top) = report.top_modeles.get(&city.ville) else {
            continue;
        };
        let _ = writeln!(out, "{}", cut(&city.ville, NAME));
        let table = tables::top_modeles::side_by_side();
        text::write(&table, tables::top_modeles::lines(top), out);
        out.push('\n');
    }
    match report.comparatif.len().saturating_sub(VILLES) {
        0 if report.comparatif.is_empty() => out.push_str("aucune donnée\n"),
        0 => {
            out.pop();
        }
        more => {
            let _ = writeln!(out, "… et {more} autres villes : tables/top_modeles.csv");
        }
    }
}

fn modeles(report: &Report, out: &mut String) {
    let rows = tables::modeles::rows(report);
    text::write(&tables::modeles::table(report), rows, out);
}

fn saisonnalite(report: &Report, out: &mut String) {
    out.push_str("Indice de chaque mois de l’année : 100 est un mois moyen.\n\n");
    let rows = tables::saisonnalite::rows(report);
    text::write(&tables::saisonnalite::table(), rows, out);
}

fn rotation(report: &Report, out: &mut String) {
    let rows = tables::rotation::rows(report);
    text::write(&tables::rotation::table(), rows, out);
}

fn marge(report: &Report, out: &mut String) {
    let rows = tables::marge::rows(report);
    text::write(&tables::marge::table(), rows, out);
    if tables::marge::is_assumed(report) {
        out.push_str("* Taux supposé (réglages) : le fichier n’a pas de coût pour ces lignes.\n");
    }
}

fn tendance(report: &Report, out: &mut String) {
    let Some(global) = report.tendance.get(GLOBAL) else {
        let _ = writeln!(out, "{}", figures::no_trend(FR));
        return;
    };
    let [debut, _, fin] = &global.mois;
    let _ = write!(
        out,
        "Droite des moindres carrés de {} à {}, prolongée à {}.\n\n",
        number::mois(debut, FR),
        number::mois(fin, FR),
        figures::running(
            &number::mois(&global.prevision.mois, FR),
            global.prevision.en_cours,
            FR
        ),
    );
    let rows = tables::tendance::rows(report);
    text::write(&tables::tendance::table(), rows, out);
}

fn qualite(report: &Report, out: &mut String) {
    let source = &report.source;
    let taux = tables::qualite::rate(source.rejetees, source.lignes);
    let _ = writeln!(
        out,
        "{} lignes lues = {} acceptées + {} rejetées ({}) ; {} avertissements.",
        count(source.lignes),
        count(source.acceptees),
        count(source.rejetees),
        or_none(taux, |taux| number::percent(taux, FR)),
        count(source.avertissements),
    );
    for (title, words) in [
        ("Rejets", &report.qualite.par_motif),
        (
            "Avertissements (lignes acceptées)",
            &report.qualite.avertissements,
        ),
    ] {
        if words.is_empty() {
            continue;
        }
        let _ = write!(out, "\n{title}\n");
        for (mot, n) in words {
            let explained = explain(mot, FR).unwrap_or_default();
            let line = format!("{:>9}  {:<20}  {explained}", count(*n), clean(mot));
            out.push_str(line.trim_end());
            out.push('\n');
        }
    }
    regroupements(report, out);
    if !report.qualite.complet {
        let lost: Vec<String> = report
            .qualite
            .chunks_perdus
            .iter()
            .take(20)
            .map(ToString::to_string)
            .collect();
        let _ = write!(out, "\nLots perdus : {}\n", lost.join(", "));
    }
}

/// The names in several spellings, and how often each was written.
fn regroupements(report: &Report, out: &mut String) {
    let groups = &report.qualite.regroupements;
    if groups.villes.is_empty() && groups.modeles.is_empty() {
        return;
    }
    out.push_str("\nNoms écrits de plusieurs façons, comptés sous un seul\n");
    let rows = tables::qualite::spellings(report);
    text::write(&tables::qualite::regroupements(), rows, out);
    if groups.autres > 0 {
        let _ = writeln!(out, "… et {} autres façons d’écrire", count(groups.autres));
    }
}
