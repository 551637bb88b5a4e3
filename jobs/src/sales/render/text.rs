//! `analysis_report.txt`: the report in French, to read in a terminal or an e-mail; 78 columns where names allow.

use std::fmt::Write as _;
use std::io;

use super::figures;
use super::notices::notices;
use super::words;
use crate::sales::Report;
use crate::sales::partial::ParType;
use crate::sales::report::{GLOBAL, Marge, TopModele};
use autoconnect_report::fixed::{Euros, Percent};
use autoconnect_report::lang::Lang;
use autoconnect_report::name::{clean, cut};
use autoconnect_report::number::{self, or_none};

const FR: Lang = Lang::Fr;
const WIDTH: usize = 78;
/// The most rows of a table; the CSV has them all.
const ROWS: usize = 40;
/// The most cities with a list of their own.
const VILLES: usize = 12;
/// The most characters of a name in a table.
const NAME: usize = 24;

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

/// A table: the first columns are text, aligned left; the others are numbers, aligned right.
struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
    more: usize,
    csv: &'static str,
}

impl Table {
    fn new<const N: usize>(csv: &'static str, left: usize, columns: [&str; N]) -> Self {
        Self {
            left,
            rows: vec![columns.map(str::to_owned).to_vec()],
            more: 0,
            csv,
        }
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) {
        if self.rows.len() > ROWS {
            self.more += 1;
        } else {
            self.rows.push(cells.to_vec());
        }
    }

    fn write(self, out: &mut String) {
        if self.rows.len() == 1 {
            out.push_str("aucune donnée\n");
            return;
        }
        let columns = self.rows[0].len();
        let width = |i: usize| {
            self.rows
                .iter()
                .map(|row| row[i].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let gap = if i == 0 { "" } else { "  " };
                let _ = if i < self.left {
                    write!(line, "{gap}{cell:<width$}")
                } else {
                    write!(line, "{gap}{cell:>width$}")
                };
            }
            out.push_str(line.trim_end_matches(' '));
            out.push('\n');
        }
        if self.more > 0 {
            let _ = writeln!(
                out,
                "… et {} autres lignes : tables/{}",
                self.more, self.csv
            );
        }
    }
}

/// A name from the data, cut to the width of a column.
fn name(text: &str) -> String {
    cut(text, NAME)
}

fn ville(text: &str) -> String {
    if text == GLOBAL {
        "Toutes les villes".to_owned()
    } else {
        name(text)
    }
}

fn euros(value: Euros) -> String {
    number::euros(value, FR)
}

fn percent(value: Percent) -> String {
    number::percent(value, FR)
}

fn signed(value: Option<Percent>) -> String {
    or_none(value, |value| number::signed_percent(value, FR))
}

fn count(n: u64) -> String {
    number::count(n, FR)
}

fn classement(report: &Report, out: &mut String) {
    let mut table = Table::new(
        "comparatif.csv",
        2,
        ["#", "Ville", "CA", "Part", "Transactions", "Écart moy."],
    );
    for city in &report.comparatif {
        table.row([
            city.rang.to_string(),
            name(&city.ville),
            euros(city.ca),
            percent(city.part),
            count(city.transactions),
            signed(city.ecart_a_la_moyenne),
        ]);
    }
    table.write(out);
    out.push('\n');
    let columns = [
        "Ville",
        "Panier moyen",
        "Loyer moyen",
        "Crois. mens.",
        "Crois. trim.",
    ];
    let mut table = Table::new("comparatif.csv", 1, columns);
    for city in &report.comparatif {
        table.row([
            name(&city.ville),
            or_none(city.panier_moyen_vente, euros),
            or_none(city.loyer_moyen, euros),
            signed(city.croissance_mensuelle),
            signed(city.croissance_trimestrielle),
        ]);
    }
    table.write(out);
}

fn ca_mensuel(report: &Report, out: &mut String) {
    let months = figures::monthly(report);
    let variations = report
        .saisonnalite
        .get(GLOBAL)
        .map(|saison| &saison.variations);
    let skipped = months.len().saturating_sub(ROWS);
    let mut table = Table::new(
        "ca_mensuel.csv",
        1,
        ["Mois", "Ventes", "Locations", "Total", "Variation"],
    );
    for (mois, ca) in months.iter().skip(skipped) {
        let partiel = report.periode.mois_partiels.iter().any(|p| p == mois);
        let variation = variations.and_then(|variations| *variations.get(*mois)?);
        table.row([
            number::mois(mois, FR),
            euros(ca.vente),
            euros(ca.location),
            euros(ca.total),
            if partiel {
                "partiel".to_owned()
            } else if figures::is_isolated(report, mois) {
                "isolé".to_owned()
            } else {
                signed(variation)
            },
        ]);
    }
    table.write(out);
    if skipped > 0 {
        let _ = writeln!(
            out,
            "Les {skipped} mois d’avant, et chaque ville : tables/ca_mensuel.csv"
        );
    }
}

fn repartition(report: &Report, out: &mut String) {
    let columns = [
        "Ville",
        "Ventes",
        "%",
        "CA ventes",
        "Loc.",
        "%",
        "CA locations",
    ];
    let mut table = Table::new("repartition.csv", 1, columns);
    for city in &report.comparatif {
        let Some(ParType { vente, location }) = report.repartition.get(&city.ville) else {
            continue;
        };
        table.row([
            name(&city.ville),
            count(vente.nombre),
            number::fixed(vente.pourcentage, FR),
            euros(vente.ca),
            count(location.nombre),
            number::fixed(location.pourcentage, FR),
            euros(location.ca),
        ]);
    }
    table.write(out);
}

fn top(report: &Report, out: &mut String) {
    for city in report.comparatif.iter().take(VILLES) {
        let Some(top) = report.top_modeles.get(&city.ville) else {
            continue;
        };
        let _ = writeln!(out, "{}", name(&city.ville));
        let columns = ["  ", "Ventes", "", "Locations", "", "Ensemble", ""];
        let mut table = Table::new("top_modeles.csv", 7, columns);
        let cell = |list: &[TopModele], i: usize| {
            list.get(i)
                .map_or_else(Default::default, |m| (name(&m.modele), count(m.nombre)))
        };
        for i in 0..top.total.len() {
            let (v, l, t) = (
                cell(&top.vente, i),
                cell(&top.location, i),
                cell(&top.total, i),
            );
            table.row([format!("{}.", i + 1), v.0, v.1, l.0, l.1, t.0, t.1]);
        }
        table.write(out);
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
    let mut modeles: Vec<_> = report.ca_par_modele.iter().collect();
    modeles.sort_by_key(|(modele, ca)| (std::cmp::Reverse(ca.total), *modele));
    let mut table = Table::new("ca_par_modele.csv", 1, ["Modèle", "CA", "Part", "Villes"]);
    for (modele, ca) in modeles {
        table.row([
            name(modele),
            euros(ca.total),
            or_none(figures::share(ca.total.0, report.ca_total.0), percent),
            ca.villes.len().to_string(),
        ]);
    }
    table.write(out);
}

fn saisonnalite(report: &Report, out: &mut String) {
    out.push_str("Indice de chaque mois de l’année : 100 est un mois moyen.\n\n");
    // twelve columns of two decimals are wider than a page
    half_year(report, 0, out);
    out.push('\n');
    half_year(report, 6, out);
}

/// The indices of the six months after the first `skipped` ones.
fn half_year(report: &Report, skipped: usize, out: &mut String) {
    let columns: [&str; 7] = std::array::from_fn(|i| match i {
        0 => "Ville",
        _ => number::mois_abrege(skipped + i, FR),
    });
    let mut table = Table::new("saisonnalite.csv", 1, columns);
    let villes =
        std::iter::once(GLOBAL).chain(report.comparatif.iter().map(|city| city.ville.as_str()));
    for nom in villes {
        let Some(saison) = report.saisonnalite.get(nom) else {
            continue;
        };
        let mut indices = saison.indices.values().skip(skipped);
        table.row(std::array::from_fn::<_, 7, _>(|i| {
            if i == 0 {
                return ville(nom);
            }
            or_none(indices.next().copied().flatten(), |index| {
                number::fixed(index, FR)
            })
        }));
    }
    table.write(out);
}

fn rotation(report: &Report, out: &mut String) {
    let columns = [
        "Ville",
        "Contrats",
        "Durée (mois)",
        "Rotations/an",
        "Valeur des contrats",
    ];
    let mut table = Table::new("rotation.csv", 1, columns);
    for city in &report.comparatif {
        let Some(rotation) = report.rotation.get(&city.ville) else {
            continue;
        };
        let valeur = report
            .valeur_contrats
            .get(&city.ville)
            .copied()
            .unwrap_or_default();
        table.row([
            name(&city.ville),
            count(rotation.contrats),
            or_none(rotation.duree_moyenne_mois, |mois| number::fixed(mois, FR)),
            or_none(rotation.rotations_par_an, |n| number::fixed(n, FR)),
            euros(valeur),
        ]);
    }
    table.write(out);
}

fn marge(report: &Report, out: &mut String) {
    let mut table = Table::new(
        "marge.csv",
        2,
        ["Ville", "Type", "Taux", "Marge moyenne", "Marge totale"],
    );
    let mut hypothese = false;
    for city in &report.comparatif {
        let Some(marges) = report.marge.get(&city.ville) else {
            continue;
        };
        for (type_, marge) in [("vente", marges.vente), ("location", marges.location)] {
            hypothese |= marge.hypothese;
            table.row(marge_row(&city.ville, type_, &marge));
        }
    }
    table.write(out);
    if hypothese {
        out.push_str("* Taux supposé (réglages) : le fichier n’a pas de coût pour ces lignes.\n");
    }
}

fn marge_row(ville: &str, type_: &str, marge: &Marge) -> [String; 5] {
    let star = if marge.hypothese { " *" } else { "" };
    [
        name(ville),
        format!("{type_}{star}"),
        or_none(marge.taux_moyen, percent),
        or_none(marge.marge_moyenne, euros),
        euros(marge.marge_totale),
    ]
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
    let mut table = Table::new(
        "tendance.csv",
        1,
        ["Ville", "Pente par mois", "R²", "Dernier mois", "Prévision"],
    );
    let villes =
        std::iter::once(GLOBAL).chain(report.comparatif.iter().map(|city| city.ville.as_str()));
    for nom in villes {
        let Some(tendance) = report.tendance.get(nom) else {
            continue;
        };
        table.row([
            ville(nom),
            euros(tendance.pente),
            or_none(tendance.r2, |r2| number::fixed(r2, FR)),
            euros(tendance.ca[2]),
            euros(tendance.prevision.ca),
        ]);
    }
    table.write(out);
}

fn qualite(report: &Report, out: &mut String) {
    let source = &report.source;
    let taux = Percent::ratio(100 * i128::from(source.rejetees), source.lignes.into());
    let _ = writeln!(
        out,
        "{} lignes lues = {} acceptées + {} rejetées ({}) ; {} avertissements.",
        count(source.lignes),
        count(source.acceptees),
        count(source.rejetees),
        or_none(taux, percent),
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
            let explained = words::explain(mot, FR).unwrap_or_default();
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
    let mut table = Table::new("qualite.csv", 2, ["Nom", "Écrit", "Lignes"]);
    for (nom, spellings) in groups.villes.iter().chain(&groups.modeles) {
        for (spelling, n) in spellings {
            table.row([name(nom), name(spelling), count(*n)]);
        }
    }
    table.write(out);
    if groups.autres > 0 {
        let _ = writeln!(out, "… et {} autres façons d’écrire", count(groups.autres));
    }
}
