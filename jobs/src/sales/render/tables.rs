//! The tables of the report as CSV files for a spreadsheet: comma, UTF-8, decimal point, one header line.
//!
//! Text is made harmless by [`cell::harmless`]; numbers stay numbers; `null` is an empty cell.

use std::fmt::Display;

use autoconnect_common::kind::ReportFile;

use crate::sales::Report;
use crate::sales::report::{Comparatif, TopModele};
use crate::table::cell;

/// All tables.
pub fn render(report: &Report) -> Vec<ReportFile> {
    vec![
        ca_mensuel(report),
        repartition(report),
        comparatif(report),
        top_modeles(report),
        ca_par_modele(report),
        saisonnalite(report),
        rotation(report),
        valeur_contrats(report),
        marge(report),
        tendance(report),
        qualite(report),
    ]
}

/// A CSV file in the making.
struct Table {
    path: &'static str,
    writer: csv::Writer<Vec<u8>>,
}

impl Table {
    fn new<const N: usize>(path: &'static str, columns: [&str; N]) -> Self {
        let mut table = Self {
            path,
            writer: csv::Writer::from_writer(Vec::new()),
        };
        table.row(columns.map(str::to_owned));
        table
    }

    /// One row. A vector takes every write and all rows have as many cells as the header, so there is no error to tell.
    fn row<const N: usize>(&mut self, cells: [String; N]) {
        let written = self.writer.write_record(&cells);
        debug_assert!(written.is_ok(), "{written:?}");
    }

    fn file(self) -> ReportFile {
        ReportFile {
            path: self.path,
            bytes: self.writer.into_inner().unwrap_or_default(),
        }
    }
}

fn text(text: &str) -> String {
    cell::harmless(text).into_owned()
}

fn num(number: impl Display) -> String {
    number.to_string()
}

fn opt(number: Option<impl Display>) -> String {
    number.map(num).unwrap_or_default()
}

fn ca_mensuel(report: &Report) -> ReportFile {
    let mut table = Table::new(
        "tables/ca_mensuel.csv",
        ["ville", "mois", "vente", "location", "total"],
    );
    for (ville, months) in &report.ca_mensuel {
        for (mois, ca) in months {
            table.row([
                text(ville),
                text(mois),
                num(ca.vente),
                num(ca.location),
                num(ca.total),
            ]);
        }
    }
    table.file()
}

fn repartition(report: &Report) -> ReportFile {
    let mut table = Table::new(
        "tables/repartition.csv",
        ["ville", "type", "nombre", "pourcentage", "ca"],
    );
    for (ville, parts) in &report.repartition {
        for (type_, part) in [("vente", parts.vente), ("location", parts.location)] {
            table.row([
                text(ville),
                text(type_),
                num(part.nombre),
                num(part.pourcentage),
                num(part.ca),
            ]);
        }
    }
    table.file()
}

fn comparatif(report: &Report) -> ReportFile {
    let columns = [
        "rang",
        "ville",
        "ca",
        "part",
        "transactions",
        "panier_moyen_vente",
        "loyer_moyen",
        "croissance_mensuelle",
        "croissance_trimestrielle",
        "ecart_a_la_moyenne",
    ];
    let mut table = Table::new("tables/comparatif.csv", columns);
    for city in &report.comparatif {
        table.row(comparatif_row(city));
    }
    table.file()
}

fn comparatif_row(city: &Comparatif) -> [String; 10] {
    [
        num(city.rang),
        text(&city.ville),
        num(city.ca),
        num(city.part),
        num(city.transactions),
        opt(city.panier_moyen_vente),
        opt(city.loyer_moyen),
        opt(city.croissance_mensuelle),
        opt(city.croissance_trimestrielle),
        opt(city.ecart_a_la_moyenne),
    ]
}

fn top_modeles(report: &Report) -> ReportFile {
    let mut table = Table::new(
        "tables/top_modeles.csv",
        ["ville", "type", "rang", "modele", "nombre", "ca"],
    );
    for (ville, top) in &report.top_modeles {
        for (type_, modeles) in [
            ("vente", &top.vente),
            ("location", &top.location),
            ("total", &top.total),
        ] {
            for (rang, TopModele { modele, nombre, ca }) in (1_u32..).zip(modeles) {
                table.row([
                    text(ville),
                    text(type_),
                    num(rang),
                    text(modele),
                    num(nombre),
                    num(ca),
                ]);
            }
        }
    }
    table.file()
}

fn ca_par_modele(report: &Report) -> ReportFile {
    let mut table = Table::new("tables/ca_par_modele.csv", ["modele", "ville", "ca"]);
    for (modele, ca) in &report.ca_par_modele {
        for (ville, ca) in &ca.villes {
            table.row([text(modele), text(ville), num(ca)]);
        }
    }
    table.file()
}

fn saisonnalite(report: &Report) -> ReportFile {
    let mut table = Table::new(
        "tables/saisonnalite.csv",
        ["ville", "mesure", "mois", "valeur"],
    );
    for (ville, saison) in &report.saisonnalite {
        for (mois, variation) in &saison.variations {
            table.row([text(ville), text("variation"), text(mois), opt(*variation)]);
        }
        for (mois, indice) in &saison.indices {
            table.row([text(ville), text("indice"), text(mois), opt(*indice)]);
        }
    }
    table.file()
}

fn rotation(report: &Report) -> ReportFile {
    let columns = [
        "ville",
        "modele",
        "contrats",
        "duree_moyenne_mois",
        "rotations_par_an",
    ];
    let mut table = Table::new("tables/rotation.csv", columns);
    for (ville, rotation) in &report.rotation {
        let none = String::new;
        let (duree, rotations) = (
            opt(rotation.duree_moyenne_mois),
            opt(rotation.rotations_par_an),
        );
        table.row([
            text(ville),
            none(),
            num(rotation.contrats),
            duree,
            rotations,
        ]);
        for (modele, duree) in &rotation.par_modele {
            table.row([text(ville), text(modele), none(), num(duree), none()]);
        }
    }
    table.file()
}

fn valeur_contrats(report: &Report) -> ReportFile {
    let mut table = Table::new("tables/valeur_contrats.csv", ["ville", "valeur_contrats"]);
    for (ville, valeur) in &report.valeur_contrats {
        table.row([text(ville), num(valeur)]);
    }
    table.file()
}

fn marge(report: &Report) -> ReportFile {
    let columns = [
        "ville",
        "type",
        "taux_moyen",
        "marge_moyenne",
        "marge_totale",
        "hypothese",
        "nombre",
    ];
    let mut table = Table::new("tables/marge.csv", columns);
    for (ville, marges) in &report.marge {
        for (type_, marge) in [("vente", marges.vente), ("location", marges.location)] {
            table.row([
                text(ville),
                text(type_),
                opt(marge.taux_moyen),
                opt(marge.marge_moyenne),
                num(marge.marge_totale),
                num(marge.hypothese),
                num(marge.nombre),
            ]);
        }
    }
    table.file()
}

fn tendance(report: &Report) -> ReportFile {
    let columns = [
        "ville",
        "mois_1",
        "mois_2",
        "mois_3",
        "ca_1",
        "ca_2",
        "ca_3",
        "pente",
        "ordonnee",
        "r2",
        "mois_prevu",
        "ca_prevu",
    ];
    let mut table = Table::new("tables/tendance.csv", columns);
    for (ville, tendance) in &report.tendance {
        let [m1, m2, m3] = &tendance.mois;
        let [ca1, ca2, ca3] = tendance.ca;
        table.row([
            text(ville),
            text(m1),
            text(m2),
            text(m3),
            num(ca1),
            num(ca2),
            num(ca3),
            num(tendance.pente),
            num(tendance.ordonnee),
            opt(tendance.r2),
            text(&tendance.prevision.mois),
            num(tendance.prevision.ca),
        ]);
    }
    table.file()
}

fn qualite(report: &Report) -> ReportFile {
    let mut table = Table::new("tables/qualite.csv", ["mesure", "motif", "nombre"]);
    let source = &report.source;
    for (mesure, nombre) in [
        ("lignes", source.lignes),
        ("acceptees", source.acceptees),
        ("rejetees", source.rejetees),
        ("avertissements", source.avertissements),
    ] {
        table.row([text(mesure), String::new(), num(nombre)]);
    }
    for (motif, nombre) in &report.qualite.par_motif {
        table.row([text("rejet"), text(motif), num(nombre)]);
    }
    for (mot, nombre) in &report.qualite.avertissements {
        table.row([text("avertissement"), text(mot), num(nombre)]);
    }
    for seq in &report.qualite.chunks_perdus {
        table.row([text("chunk_perdu"), seq.to_string(), String::new()]);
    }
    table.file()
}
