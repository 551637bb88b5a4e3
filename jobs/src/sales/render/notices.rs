//! What whoever reads a report should know of how its files were read, in whole sentences.

use super::figures::cut;
use super::number::{self, Lang};
use crate::sales::report::{Ignores, LignesWindows1252, Qualite, Source};

/// Names that a sentence lists.
const NAMED: usize = 5;
/// Characters of a name.
const NAME: usize = 60;

/// The sentences about a report with this source and this quality; none where all was as expected.
pub fn notices(source: &Source, qualite: &Qualite, lang: Lang) -> Vec<String> {
    let mut sentences = Vec::new();
    sentences.extend(recognised(source, lang));
    let lignes = qualite.lignes_windows_1252.iter().take(NAMED);
    sentences.extend(lignes.map(|lignes| unreadable(lignes, lang)));
    sentences.extend(left_out(&source.ignores, lang));
    sentences
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
            notices(&Source::default(), &Qualite::default(), Lang::Fr),
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
        let said = notices(&source, &qualite, Lang::En);
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
        let said = notices(&source, &qualite, Lang::Fr);
        assert!(said[0].contains("20 fichiers"), "{said:?}");
        assert!(said[0].ends_with("4.csv, …."), "{said:?}");
    }
}
