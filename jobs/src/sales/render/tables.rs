//! The tables of the report as CSV files for a spreadsheet: comma, UTF-8, decimal point, one header line.
//!
//! Text is made harmless by [`text::harmless`]; numbers stay numbers; `null` is an empty cell.

use std::fmt::Display;
use std::io::{self, Write};

use crate::sales::Report;
use crate::sales::report::{Comparatif, TopModele};
use autoconnect_common::text;

/// A CSV file in the making, on its way to where it is kept.
struct Table<'o> {
    writer: csv::Writer<&'o mut dyn Write>,
}

impl<'o> Table<'o> {
    fn new<const N: usize>(out: &'o mut dyn Write, columns: [&str; N]) -> io::Result<Self> {
        let mut table = Self {
            writer: csv::Writer::from_writer(out),
        };
        table.row(columns.map(str::to_owned))?;
        Ok(table)
    }

    fn row<const N: usize>(&mut self, cells: [String; N]) -> io::Result<()> {
        Ok(self.writer.write_record(&cells)?)
    }

    fn end(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn text(text: &str) -> String {
    text::harmless(text).into_owned()
}

fn num(number: impl Display) -> String {
    number.to_string()
}

fn opt(number: Option<impl Display>) -> String {
    number.map(num).unwrap_or_default()
}

pub(super) fn ca_mensuel(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["ville", "mois", "vente", "location", "total"])?;
    for (ville, months) in &report.ca_mensuel {
        for (mois, ca) in months {
            table.row([
                text(ville),
                text(mois),
                num(ca.vente),
                num(ca.location),
                num(ca.total),
            ])?;
        }
    }
    table.end()
}

pub(super) fn repartition(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["ville", "type", "nombre", "pourcentage", "ca"])?;
    for (ville, parts) in &report.repartition {
        for (type_, part) in [("vente", parts.vente), ("location", parts.location)] {
            table.row([
                text(ville),
                text(type_),
                num(part.nombre),
                num(part.pourcentage),
                num(part.ca),
            ])?;
        }
    }
    table.end()
}

pub(super) fn comparatif(report: &Report, out: &mut dyn Write) -> io::Result<()> {
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
    let mut table = Table::new(out, columns)?;
    for city in &report.comparatif {
        table.row(comparatif_row(city))?;
    }
    table.end()
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

pub(super) fn top_modeles(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["ville", "type", "rang", "modele", "nombre", "ca"])?;
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
                ])?;
            }
        }
    }
    table.end()
}

pub(super) fn ca_par_modele(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["modele", "ville", "ca"])?;
    for (modele, ca) in &report.ca_par_modele {
        for (ville, ca) in &ca.villes {
            table.row([text(modele), text(ville), num(ca)])?;
        }
    }
    table.end()
}

pub(super) fn saisonnalite(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["ville", "mesure", "mois", "valeur"])?;
    for (ville, saison) in &report.saisonnalite {
        for (mois, variation) in &saison.variations {
            table.row([text(ville), text("variation"), text(mois), opt(*variation)])?;
        }
        for (mois, indice) in &saison.indices {
            table.row([text(ville), text("indice"), text(mois), opt(*indice)])?;
        }
    }
    table.end()
}

pub(super) fn rotation(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        "ville",
        "modele",
        "contrats",
        "duree_moyenne_mois",
        "rotations_par_an",
    ];
    let mut table = Table::new(out, columns)?;
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
        ])?;
        for (modele, duree) in &rotation.par_modele {
            table.row([text(ville), text(modele), none(), num(duree), none()])?;
        }
    }
    table.end()
}

pub(super) fn valeur_contrats(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["ville", "valeur_contrats"])?;
    for (ville, valeur) in &report.valeur_contrats {
        table.row([text(ville), num(valeur)])?;
    }
    table.end()
}

pub(super) fn marge(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        "ville",
        "type",
        "taux_moyen",
        "marge_moyenne",
        "marge_totale",
        "hypothese",
        "nombre",
    ];
    let mut table = Table::new(out, columns)?;
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
            ])?;
        }
    }
    table.end()
}

pub(super) fn tendance(report: &Report, out: &mut dyn Write) -> io::Result<()> {
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
    let mut table = Table::new(out, columns)?;
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
        ])?;
    }
    table.end()
}

pub(super) fn qualite(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(out, ["mesure", "motif", "nombre"])?;
    let source = &report.source;
    for (mesure, nombre) in [
        ("lignes", source.lignes),
        ("acceptees", source.acceptees),
        ("rejetees", source.rejetees),
        ("hors_periode", source.hors_periode),
        ("avertissements", source.avertissements),
    ] {
        table.row([text(mesure), String::new(), num(nombre)])?;
    }
    for (motif, nombre) in &report.qualite.par_motif {
        table.row([text("rejet"), text(motif), num(nombre)])?;
    }
    for (mot, nombre) in &report.qualite.avertissements {
        table.row([text("avertissement"), text(mot), num(nombre)])?;
    }
    for isole in &report.periode.isoles {
        table.row([text("mois_isole"), text(&isole.mois), num(isole.nombre)])?;
    }
    let groups = &report.qualite.regroupements;
    for (mesure, names) in [
        ("ville_regroupee", &groups.villes),
        ("modele_regroupe", &groups.modeles),
    ] {
        for (name, spellings) in names {
            for (spelling, n) in spellings {
                let motif = format!("{name} = {spelling}");
                table.row([text(mesure), text(&motif), num(n)])?;
            }
        }
    }
    for seq in &report.qualite.chunks_perdus {
        table.row([text("chunk_perdu"), seq.to_string(), String::new()])?;
    }
    table.end()
}
