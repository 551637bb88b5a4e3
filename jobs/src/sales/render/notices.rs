//! Sentences for the reader of a report on how its files were read.

use crate::sales::report::{
    Ignores, Isole, Lieu, LignesWindows1252, Periode, Qualite, Regroupements, Source, Trou,
};
use autoconnect_report::lang::Lang;
use autoconnect_report::name::cut;
use autoconnect_report::number;

/// Names that a sentence lists.
const NAMED: usize = 5;
/// Characters of a name.
const NAME: usize = 60;

/// The sentences about a report with this source, quality and period; none where all was as expected.
pub fn notices(source: &Source, qualite: &Qualite, periode: &Periode, lang: Lang) -> Vec<String> {
    let mut sentences = Vec::new();
    sentences.extend(asked(source, periode, lang));
    sentences.extend(
        periode
            .isoles
            .iter()
            .take(NAMED)
            .map(|isole| isolated(isole, lang)),
    );
    sentences.extend(more_isolated(&periode.isoles, lang));
    sentences.extend(periode.trous.iter().take(NAMED).map(|trou| gap(trou, lang)));
    sentences.extend(more_gaps(&periode.trous, lang));
    sentences.extend(regrouped(&qualite.regroupements, lang));
    sentences.extend(recognised(source, lang));
    let lignes = qualite.lignes_windows_1252.iter().take(NAMED);
    sentences.extend(lignes.map(|lignes| unreadable(lignes, lang)));
    sentences.extend(left_out(&source.ignores, lang));
    sentences
}

/// The requested period, and the rows outside it.
fn asked(source: &Source, periode: &Periode, lang: Lang) -> Option<String> {
    let (debut, fin) = periode.demandee.as_ref()?.split_once("..")?;
    let (debut, fin) = (number::mois(debut, lang), number::mois(fin, lang));
    let n = number::count(source.hors_periode, lang);
    Some(lang.say(
        format!("Période demandée\u{a0}: {debut} à {fin}. Lignes acceptées hors de cette période, comptées nulle part ailleurs\u{a0}: {n}."),
        format!("Period asked for: {debut} to {fin}. Accepted rows outside it, counted nowhere else: {n}."),
    ))
}

fn isolated(isole: &Isole, lang: Lang) -> String {
    let mois = number::mois(&isole.mois, lang);
    let n = number::count(isole.nombre, lang);
    let mut lignes: Vec<String> = isole.lignes.iter().map(|lieu| place(lieu, lang)).collect();
    if isole.nombre > lignes.len() as u64 {
        lignes.push("…".to_owned());
    }
    let lignes = lignes.join(", ");
    lang.say(
        format!("{mois} est à plus d’un an de tous les autres mois\u{a0}: une année fausse\u{a0}? Compté dans les totaux, hors de la période, des tendances et des indices. Lignes\u{a0}: {n} ({lignes})."),
        format!("{mois} is over a year from all other months: a wrong year? Counted in the totals, left out of the period, of trends and indices. Rows: {n} ({lignes})."),
    )
}

fn place(lieu: &Lieu, lang: Lang) -> String {
    let (fichier, ligne) = (cut(&lieu.fichier, NAME), lieu.ligne);
    lang.say(
        format!("{fichier} ligne\u{a0}{ligne}"),
        format!("{fichier} line\u{a0}{ligne}"),
    )
}

fn more_isolated(isoles: &[Isole], lang: Lang) -> Option<String> {
    let more = isoles.get(NAMED..).filter(|more| !more.is_empty())?;
    let (n, rows) = (
        number::count(more.len() as u64, lang),
        more.iter()
            .fold(0_u64, |sum, isole| sum.saturating_add(isole.nombre)),
    );
    let rows = number::count(rows, lang);
    Some(lang.say(
        format!("Autres mois isolés\u{a0}: {n}, de {rows} lignes en tout (periode.isoles de report.json)."),
        format!("Other isolated months: {n}, of {rows} rows in all (periode.isoles of report.json)."),
    ))
}

fn gap(trou: &Trou, lang: Lang) -> String {
    let (debut, fin) = (
        number::mois(&trou.debut, lang),
        number::mois(&trou.fin, lang),
    );
    let n = number::count(trou.mois.into(), lang);
    lang.say(
        format!("Mois sans aucune transaction à l’intérieur de la période\u{a0}: {n} ({debut} à {fin}). Une année fausse\u{a0}? Les tendances et les indices en tiennent compte\u{a0}; l’option --periode dit quels mois compter."),
        format!("Months without any transaction inside the period: {n} ({debut} to {fin}). A wrong year? Trends and indices count them; the option --periode says which months to count."),
    )
}

fn more_gaps(trous: &[Trou], lang: Lang) -> Option<String> {
    let more = trous.get(NAMED..).filter(|more| !more.is_empty())?;
    let n = number::count(more.len() as u64, lang);
    Some(lang.say(
        format!("Autres intervalles de plus d’un an sans transaction\u{a0}: {n} (periode.trous de report.json)."),
        format!("Other gaps of over a year without a transaction: {n} (periode.trous of report.json)."),
    ))
}

fn regrouped(groups: &Regroupements, lang: Lang) -> Option<String> {
    let names = groups.villes.len() + groups.modeles.len();
    if names == 0 {
        return None;
    }
    let listed = named(
        groups.villes.keys().chain(groups.modeles.keys()),
        names as u64,
    );
    let n = number::count(names as u64, lang);
    Some(lang.say(
        format!("Noms écrits de plusieurs façons et comptés sous une seule\u{a0}: {n} ({listed}). Voir tables/qualite.csv."),
        format!("Names written in several ways and counted under one: {n} ({listed}). See tables/qualite.csv."),
    ))
}

/// The first of some names, of `all` that there are.
fn named<'n>(names: impl Iterator<Item = &'n String>, all: u64) -> String {
    let mut shown: Vec<String> = names.take(NAMED).map(|name| cut(name, NAME)).collect();
    if all > shown.len() as u64 {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

fn recognised(source: &Source, lang: Lang) -> Option<String> {
    let all = source.encodages.len() as u64;
    let names = named(source.encodages.iter().map(|file| &file.fichier), all);
    let n = number::count(all, lang);
    Some(match all {
        0 => return None,
        1 => lang.say(
            format!("{names} n’est pas en UTF-8\u{a0}: ses octets sont des lettres de Windows-1252, et il a été lu ainsi."),
            format!("{names} is not UTF-8: its bytes are letters of Windows-1252, and it was read so."),
        ),
        _ => lang.say(
            format!("{n} fichiers ne sont pas en UTF-8\u{a0}: leurs octets sont des lettres de Windows-1252, et ils ont été lus ainsi\u{a0}: {names}."),
            format!("{n} files are not UTF-8: their bytes are letters of Windows-1252, and they were read so: {names}."),
        ),
    })
}

fn unreadable(lignes: &LignesWindows1252, lang: Lang) -> String {
    let (name, n) = (
        cut(&lignes.fichier, NAME),
        number::count(lignes.nombre, lang),
    );
    let first = number::count(lignes.premiere, lang);
    lang.say(
        format!("Lignes de {name} rejetées parce qu’elles ne sont pas en UTF-8\u{a0}: {n}, la première à la ligne {first}. Elles se lisent en Windows-1252\u{a0}: enregistrez le fichier dans un seul encodage, ou relisez-le avec --encoding windows-1252."),
        format!("Rows of {name} rejected because they are not UTF-8: {n}, the first on line {first}. They read as Windows-1252: save the file in one encoding, or read it again with --encoding windows-1252."),
    )
}

fn left_out(ignores: &Ignores, lang: Lang) -> Option<String> {
    if ignores.is_empty() {
        return None;
    }
    let names = named(ignores.noms.iter(), ignores.nombre);
    let n = number::count(ignores.nombre, lang);
    Some(lang.say(
        format!("Laissés de côté dans le dossier, parce que ce ne sont pas des fichiers .csv, .tsv ou .txt\u{a0}: {n} ({names})."),
        format!("Left out of the folder, because they are no .csv, .tsv or .txt files: {n} ({names})."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sales::report::Encodage;

    #[test]
    fn a_report_with_nothing_to_say_has_no_notice() {
        assert_eq!(
            notices(
                &Source::default(),
                &Qualite::default(),
                &Periode::default(),
                Lang::Fr
            ),
            [""; 0]
        );
    }

    #[test]
    fn each_notice_names_its_files_and_bounds_them() {
        let encodage = |n: usize| Encodage {
            fichier: format!("{n}.csv"),
            encodage: "windows-1252".to_owned(),
        };
        let mut source = Source {
            encodages: vec![encodage(1)],
            ignores: Ignores {
                nombre: 1_000,
                noms: ["mars.xlsx", "sous/"].map(str::to_owned).into(),
            },
            ..Source::default()
        };
        let qualite = Qualite {
            lignes_windows_1252: vec![LignesWindows1252 {
                fichier: "b.csv".to_owned(),
                nombre: 12,
                premiere: 40,
            }],
            ..Qualite::default()
        };
        let said = notices(&source, &qualite, &Periode::default(), Lang::En);
        assert_eq!(
            said,
            [
                "1.csv is not UTF-8: its bytes are letters of Windows-1252, and it was read so.",
                "Rows of b.csv rejected because they are not UTF-8: 12, the first on line 40. They read as Windows-1252: \
                 save the file in one encoding, or read it again with --encoding windows-1252.",
                "Left out of the folder, because they are no .csv, .tsv or .txt files: 1,000 (mars.xlsx, sous/, …).",
            ]
        );
        source.encodages = (0..20).map(encodage).collect();
        let said = notices(&source, &qualite, &Periode::default(), Lang::Fr);
        assert!(said[0].contains("20 fichiers"), "{said:?}");
        assert!(said[0].ends_with("4.csv, …."), "{said:?}");
    }

    #[test]
    fn a_year_without_a_transaction_is_said() {
        let trou = Trou {
            debut: "2024-04".to_owned(),
            fin: "2042-04".to_owned(),
            mois: 217,
        };
        let mut periode = Periode {
            trous: vec![trou.clone()],
            ..Periode::default()
        };
        let said = |periode: &Periode, lang| {
            notices(&Source::default(), &Qualite::default(), periode, lang)
        };
        assert_eq!(
            said(&periode, Lang::En),
            [
                "Months without any transaction inside the period: 217 (April\u{a0}2024 to April\u{a0}2042). A wrong year? \
              Trends and indices count them; the option --periode says which months to count."
            ]
        );
        periode.trous = vec![trou; 8];
        let said = said(&periode, Lang::Fr);
        assert!(
            said[0].contains("217 (avril\u{a0}2024 à avril\u{a0}2042)"),
            "{said:?}"
        );
        assert!(said[5].contains("sans transaction\u{a0}: 3"), "{said:?}");
    }

    #[test]
    fn what_was_asked_isolated_and_regrouped_is_said() {
        let isole = |year: i32, nombre| Isole {
            mois: format!("{year}-05"),
            nombre,
            lignes: vec![Lieu {
                fichier: "a.csv".to_owned(),
                ligne: 38,
            }],
            ..Isole::default()
        };
        let mut periode = Periode {
            demandee: Some("2024-01..2024-03".to_owned()),
            isoles: vec![isole(2042, 1)],
            ..Periode::default()
        };
        let source = Source {
            hors_periode: 1_200,
            ..Source::default()
        };
        let mut qualite = Qualite::default();
        let spellings = [("Le Mans".to_owned(), 3), ("LE MANS".to_owned(), 1)];
        qualite
            .regroupements
            .villes
            .insert("Le Mans".to_owned(), spellings.into());
        let said = notices(&source, &qualite, &periode, Lang::En);
        assert_eq!(
            said,
            [
                "Period asked for: January\u{a0}2024 to March\u{a0}2024. Accepted rows outside it, counted nowhere else: 1,200.",
                "May\u{a0}2042 is over a year from all other months: a wrong year? Counted in the totals, left out of the \
                 period, of trends and indices. Rows: 1 (a.csv line\u{a0}38).",
                "Names written in several ways and counted under one: 1 (Le Mans). See tables/qualite.csv.",
            ]
        );
        periode.isoles = (2040..2050).map(|year| isole(year, 2)).collect();
        let said = notices(&source, &qualite, &periode, Lang::Fr);
        assert!(
            said[1].ends_with("Lignes\u{a0}: 2 (a.csv ligne\u{a0}38, …)."),
            "{said:?}"
        );
        assert!(
            said[6].starts_with("Autres mois isolés\u{a0}: 5, de 10 lignes"),
            "{said:?}"
        );
    }
}
