//! Files of rejects, page by page.

use std::path::Path;

use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_jobs::sales::reason::{Reason, Refusal, Rule};
use autoconnect_jobs::sales::{Report, ville};
use autoconnect_tables::reject::{self, RejectLog};

use super::file::Rejects;
use super::marks::MARKS;
use super::row::{Motif, Sought};
use super::source::Source;
use crate::params::Paging;

fn paging(page: u64, par_page: u64) -> Paging {
    Paging {
        page: page.to_string().try_into().expect("a page"),
        par_page: par_page.to_string().try_into().expect("a size"),
    }
}

/// A file of rejects in which every hundredth row has another reason and every tenth another line, and what a report says
/// of it.
fn written(folder: &Path, rows: u64) -> Report {
    let mut log = RejectLog::new();
    let mut bytes = Vec::new();
    for line in 0..rows {
        let rule = match line % 100 {
            7 => Rule::VilleVide,
            _ => Rule::PrixInvalide,
        };
        let text = match line % 10 {
            3 => "TX1;2024-02-31;\"LYON\" ;vente",
            _ => "a \"quoted\", long\r\nline",
        };
        let refusal = Refusal {
            reason: Reason::Rule(rule),
            field: "prix",
            value: "=1,\"2\"".to_owned(),
        };
        let row = reject::Reject::new(line, refusal, text.as_bytes());
        log.push("ventes.csv", &row);
    }
    let (pages, _, par_motif) = log.finish();
    for (_, page) in pages {
        bytes.extend_from_slice(&page);
    }
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(REJETS), bytes).expect("written");
    let mut report = Report::default();
    report.source.rejetees = rows;
    report.qualite.par_motif = par_motif;
    report
}

#[test]
fn any_page_of_any_reason_holds_the_rows_it_should() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = 40_000;
    let report = written(folder.path(), rows);
    let rejects = Rejects::read(&folder.path().join(REJETS)).expect("read");
    assert!(rejects.are_of(&report));
    assert!(rejects.all.stride > 1 && rejects.all.places.len() <= MARKS);
    let of = |reason, ville: Option<&str>, mois: Option<&str>| Sought {
        motif: reason,
        ville: ville.map(ville::key),
        mois: mois.map(str::to_owned),
    };
    let of_rule = |rule| of(Some(Motif(Reason::Rule(rule))), None, None);
    let every = |most: u64, which: u64| (0..rows).filter(move |line| line % most == which);
    let prix = Some(Motif(Reason::Rule(Rule::PrixInvalide)));
    for (asked, all) in [
        (Sought::default(), (0..rows).collect::<Vec<_>>()),
        (of_rule(Rule::VilleVide), every(100, 7).collect()),
        (of_rule(Rule::IdVide), Vec::new()),
        (of(None, Some("lyon"), None), every(10, 3).collect()),
        (of(prix, None, Some("2024-02")), every(10, 3).collect()),
        (of(None, Some("Lyon"), Some("2024-03")), Vec::new()),
        (of(None, Some("Lyo"), None), Vec::new()),
        (of(None, None, Some("2024-0")), Vec::new()),
    ] {
        for (page, par_page) in [
            (1, 50),
            (2, 50),
            (1, 500),
            (8, 50),
            (9, 50),
            (37, 499),
            (80, 500),
            (81, 500),
            (1_000_000_000, 500),
        ] {
            let paging = paging(page, par_page);
            let (found, total) = rejects.page(&asked, paging).expect("read");
            assert_eq!(total, all.len() as u64, "{asked:?}");
            let found: Vec<u64> = found.iter().map(|reject| reject.ligne).collect();
            assert_eq!(
                found,
                paging.of(all.iter().copied()),
                "{asked:?} {page} {par_page}"
            );
        }
    }
    let ville_vide = of_rule(Rule::VilleVide);
    let (page, _) = rejects.page(&ville_vide, paging(1, 1)).expect("read");
    let first = &page[0];
    assert_eq!((first.ligne, first.valeur.as_str()), (7, "'=1,\"2\""));
    assert_eq!(first.extrait, "a \"quoted\", long");
    assert_eq!(first.fichier, "ventes.csv");
}

#[test]
fn rejects_of_another_report_are_not_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let report = written(folder.path(), 30);
    let page = || {
        let source = Source::in_folder(folder.path());
        source.page(&report, &Sought::default(), paging(1, 500))
    };
    assert_eq!(page().expect("a page").0.len(), 30);
    written(folder.path(), 31);
    let lost = page().expect_err("lost");
    assert!(
        serde_json::to_string(&lost)
            .expect("JSON")
            .contains("Introuvable")
    );
}

#[test]
fn a_report_without_rejects_needs_no_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = Source::in_folder(folder.path());
    let page = source.page(&Report::default(), &Sought::default(), Paging::default());
    assert_eq!(page, Ok((Vec::new(), 0)));
}
