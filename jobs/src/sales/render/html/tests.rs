//! The page as a browser gets it: well formed, harmless, complete, the same in both languages, the same every time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use autoconnect_common::Seq;

use super::write;
use crate::sales::partial::{Jours, Partial, Ville};
use crate::sales::report::CaMois;
use crate::sales::request::Facts;
use crate::sales::{Report, conclude, sample};

/// The page, as text.
pub(super) fn render(report: &Report) -> String {
    let mut page = Vec::new();
    write(report, &mut page).expect("a vector takes every write");
    String::from_utf8(page).expect("UTF-8")
}

/// An element: its tag, its attributes, and all text in it.
#[derive(Debug, Default)]
struct Element {
    tag: String,
    attributes: BTreeMap<String, String>,
    text: String,
    /// The elements it stands in, from the outermost, as places in the list of all.
    inside: Vec<usize>,
}

/// Every element of the page, in the order they begin. Panics where the page is not well formed.
fn parse(page: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = page
        .strip_prefix("<!DOCTYPE html>")
        .expect("a document type");
    while let Some(start) = rest.find('<') {
        say(&mut elements, &open, &rest[..start]);
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("a tag ends");
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop().expect("an element to close");
            assert_eq!(elements[last].tag, name, "closes what is open");
            continue;
        }
        let (tag, alone) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, tag.starts_with("meta ")),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        elements.push(Element {
            tag: name.to_owned(),
            attributes: attributes_of(attributes),
            text: String::new(),
            inside: open.clone(),
        });
        if name == "style" {
            let end = rest.find("</style>").expect("the style ends");
            rest = &rest[end + "</style>".len()..];
        } else if !alone {
            open.push(elements.len() - 1);
        }
    }
    assert!(open.is_empty(), "all elements are closed: {open:?}");
    assert_eq!(rest.trim(), "", "nothing follows the page");
    elements
}

fn say(elements: &mut [Element], open: &[usize], text: &str) {
    assert!(!text.contains('>'), "escaped: {text:?}");
    for &element in open {
        elements[element].text.push_str(&unescape(text));
    }
}

fn attributes_of(mut text: &str) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (value, rest) = rest.split_once('"').expect("a quoted value");
        let first = attributes.insert(name.trim().to_owned(), unescape(value));
        assert!(first.is_none(), "{name} twice");
        text = rest;
    }
    assert_eq!(text.trim(), "", "every attribute has a quoted value");
    attributes
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').expect("an entity ends");
        let code = entity.strip_prefix('#').expect("an entity by number");
        let c = code.parse().ok().and_then(char::from_u32);
        out.push(c.expect("a character"));
        out.push_str(rest);
    }
    out
}

/// The bodies of the tables of one language: rows of cells.
fn tables(elements: &[Element], lang: &str) -> Vec<Vec<Vec<String>>> {
    let all = || elements.iter().enumerate();
    let article = all()
        .find(|(_, e)| e.tag == "article" && e.attributes["lang"] == lang)
        .expect("the language")
        .0;
    let inside = |tag: &'static str, of: usize| {
        all()
            .filter(move |(_, e)| e.tag == tag && e.inside.contains(&of))
            .map(|(i, _)| i)
    };
    inside("tbody", article)
        .map(|body| {
            inside("tr", body)
                .map(|row| {
                    let cells = elements.iter().filter(|e| {
                        e.inside.last() == Some(&row) && ["th", "td"].contains(&e.tag.as_str())
                    });
                    cells.map(|cell| cell.text.clone()).collect()
                })
                .collect()
        })
        .collect()
}

/// `1 234,56 €` or `€1,234.56` as cents.
fn cents(text: &str) -> i64 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let sign = if text.contains('−') { -1 } else { 1 };
    sign * digits.parse::<i64>().expect("an amount")
}

fn report_of((facts, partial): (Facts, Partial)) -> Report {
    conclude::conclude(facts, partial, &[], &mut |_| {}).expect("a report")
}

fn report(villes: usize, mois: i32, modeles: usize) -> Report {
    report_of(sample::sample(sample::Size {
        villes,
        mois,
        modeles,
    }))
}

/// More cities, months and models than a page shows; slow to make up, so made once.
static MANY: LazyLock<Report> = LazyLock::new(|| report(60, 64, 500));

fn empty() -> Report {
    report_of((Facts::default(), Partial::default()))
}

/// Three cities and their models, all with names that mean harm.
fn hostile() -> Report {
    let (mut facts, mut partial) = sample::sample(sample::Size {
        villes: 3,
        mois: 14,
        modeles: 3,
    });
    let names = [
        "<script>alert(1)</script>".to_owned(),
        "a\"b'c&amp;\u{202e}gnp.exe\u{7}</title>".to_owned(),
        "É".repeat(127),
    ];
    for (nom, name) in facts.villes.values_mut().zip(&names) {
        nom.clone_from(name);
    }
    for ville in partial.villes.values_mut() {
        ville.modeles = rename(&ville.modeles, &names);
        ville.durees = rename(&ville.durees, &names);
    }
    facts.fichiers = names.to_vec();
    report_of((facts, partial))
}

fn rename<T: Copy>(modeles: &BTreeMap<String, T>, names: &[String]) -> BTreeMap<String, T> {
    let kept = ["Citroën C3", "Peugeot 208", "Renault Clio"];
    kept.iter()
        .zip(names)
        .filter_map(|(modele, name)| Some((name.clone(), *modeles.get(*modele)?)))
        .collect()
}

/// One city, with one sale in each of these months (from January of year 0), at this price and cost in cents.
fn sales(months: &[i32], days: (i32, i32), price: i64, cost: i64) -> Report {
    let mut ville = Ville {
        jours: Some(Jours {
            premier: days.0,
            dernier: days.1,
        }),
        ..Ville::default()
    };
    let modele = ville.modeles.entry("208".to_owned()).or_default();
    for &month in months {
        for somme in [
            &mut modele.vente,
            &mut ville.mois.entry(month).or_default().vente,
        ] {
            somme.nombre += 1;
            somme.ca += price;
        }
        ville.marges.vente.nombre += 1;
        ville.marges.vente.ca += price;
        ville.marges.vente.cout += cost;
    }
    let rows = months.len() as u64;
    let facts = Facts {
        lignes: rows,
        acceptees: rows,
        villes: [("lyon".to_owned(), "Lyon".to_owned())].into(),
        ..Facts::default()
    };
    let partial = Partial {
        villes: [("lyon".to_owned(), ville)].into(),
    };
    report_of((facts, partial))
}

/// The largest amounts there are, sold at a loss, in January to April 1970.
fn enormous() -> Report {
    let (price, months) = (i64::MAX / 17, [23_640, 23_641, 23_642, 23_643]);
    sales(&months, (0, 119), price, i64::MAX / 16)
}

/// May of year 202, May 2024.
fn centuries() -> Report {
    sales(
        &[12 * 202 + 4, 12 * 2024 + 4],
        (-645_620, 19_858),
        1_000,
        900,
    )
}

fn everything() -> Vec<(&'static str, Report)> {
    vec![
        ("three cities", report(3, 36, 20)),
        ("one of each", report(1, 1, 1)),
        ("two months", report(2, 2, 2)),
        ("many", MANY.clone()),
        ("empty", empty()),
        ("hostile", hostile()),
        ("enormous", enormous()),
        ("centuries", centuries()),
    ]
}

#[test]
fn every_page_is_well_formed_and_its_anchors_hold() {
    for (name, report) in everything() {
        let elements = parse(&render(&report));
        let attribute =
            |name: &'static str| elements.iter().filter_map(move |e| e.attributes.get(name));
        let mut ids = BTreeSet::new();
        for id in attribute("id") {
            assert!(ids.insert(id.clone()), "{name}: {id} twice");
        }
        let anchors = attribute("href").filter_map(|href| Some(href.strip_prefix('#')?.to_owned()));
        let labels = attribute("aria-labelledby").flat_map(|ids| ids.split(' ').map(str::to_owned));
        for id in anchors.chain(labels) {
            assert!(ids.contains(&id), "{name}: no {id}");
        }
        for svg in elements
            .iter()
            .filter(|e| e.attributes.contains_key("role") && e.tag == "svg")
        {
            assert_eq!(svg.attributes["role"], "img", "{name}");
            let [title, desc] = ["title", "desc"].map(|tag| {
                let id = svg.attributes["aria-labelledby"].split(' ');
                let mut named = id.filter_map(|id| {
                    elements.iter().find(|e| {
                        e.tag == tag && e.attributes.get("id").is_some_and(|own| own == id)
                    })
                });
                named.next().expect("a name and a description").text.clone()
            });
            assert!(
                !title.is_empty() && !desc.is_empty(),
                "{name}: {title:?} {desc:?}"
            );
        }
    }
}

#[test]
fn marks_stay_inside_their_charts() {
    for (name, report) in everything() {
        let elements = parse(&render(&report));
        let number = |e: &Element, attribute: &str| -> f64 {
            let value = e
                .attributes
                .get(attribute)
                .map_or("0", |v| v.trim_end_matches('%'));
            value.parse().expect("a number")
        };
        let mut bars = 0;
        for e in elements.iter().filter(|e| e.tag == "rect") {
            let svg = &elements[*e.inside.last().expect("inside a chart")];
            let (right, bottom) = (
                number(e, "x") + number(e, "width"),
                number(e, "y") + number(e, "height"),
            );
            assert!(number(e, "x") >= 0.0 && right <= 100.05, "{name}: {e:?}");
            assert!(
                number(e, "y") >= 0.0 && bottom <= number(svg, "height") + 0.05,
                "{name}: {e:?}"
            );
            bars += 1;
        }
        for e in elements
            .iter()
            .filter(|e| e.tag == "text" || e.tag == "circle")
        {
            let svg = &elements[*e.inside.last().expect("inside a chart")];
            let y = number(e, "y").max(number(e, "cy"));
            assert!((0.0..=number(svg, "height")).contains(&y), "{name}: {e:?}");
        }
        assert_eq!(bars > 0, name != "empty", "{name}");
    }
}

#[test]
fn names_from_the_data_do_no_harm() {
    let page = render(&hostile());
    let elements = parse(&page);
    assert!(!elements.iter().any(|e| e.tag == "script"));
    assert!(!page.contains('\u{202e}') && !page.contains('\u{7}'));
    let shown = |name: &str| {
        elements
            .iter()
            .filter(|e| e.tag == "bdi" && e.text == name)
            .count()
    };
    assert!(shown("<script>alert(1)</script>") > 5);
    assert!(shown("a\"b'c&amp;\u{fffd}gnp.exe\u{fffd}</title>") > 5);
    assert!(shown(&format!("{}…", "É".repeat(39))) > 5);
    let whole = |e: &Element| {
        e.attributes
            .get("title")
            .is_some_and(|title| *title == "É".repeat(127))
    };
    assert!(elements.iter().any(whole), "a cut name is there as a whole");
}

#[test]
fn every_city_and_month_is_in_the_tables_to_the_cent() {
    let report = report(3, 36, 20);
    let elements = parse(&render(&report));
    let ranked: Vec<&str> = report.comparatif.iter().map(|c| c.ville.as_str()).collect();
    let months = &report.periode.mois;
    assert_eq!(months.len(), 36);
    let expected_by_city: Vec<Vec<i64>> = months
        .iter()
        .map(|mois| {
            let cas: Vec<i64> = ranked
                .iter()
                .map(|ville| report.ca_mensuel[*ville][mois.as_str()].total.0)
                .collect();
            vec![cas[0], cas[1], cas[2], cas.iter().sum()]
        })
        .collect();
    let expected_of = |ville: &str| -> Vec<Vec<i64>> {
        let cas = report.ca_mensuel[ville].values();
        cas.map(
            |CaMois {
                 vente,
                 location,
                 total,
             }| vec![vente.0, location.0, total.0],
        )
        .collect()
    };
    for lang in ["fr", "en"] {
        let amounts: Vec<Vec<Vec<i64>>> = tables(&elements, lang)
            .iter()
            .filter(|table| table.len() == 36)
            .map(|table| {
                let amounts = |cells: &Vec<String>| {
                    cells
                        .iter()
                        .filter(|c| c.contains('€'))
                        .map(|c| cents(c))
                        .collect()
                };
                table.iter().map(amounts).collect()
            })
            .collect();
        assert!(amounts.contains(&expected_by_city), "{lang}");
        for ville in &ranked {
            assert!(amounts.contains(&expected_of(ville)), "{lang}: {ville}");
        }
    }
}

#[test]
fn both_languages_say_the_same_numbers() {
    let page = render(&report(3, 36, 20));
    let elements = parse(&page);
    for (lang, title) in [("fr", "Rapport commercial"), ("en", "Sales report")] {
        let article = elements
            .iter()
            .find(|e| e.tag == "article" && e.attributes["lang"] == lang);
        let article = article.expect("the language");
        assert_eq!(article.attributes["id"], lang);
        assert!(article.text.contains(title));
    }
    let digits = |lang| -> Vec<String> {
        let cells = tables(&elements, lang)
            .into_iter()
            .flatten()
            .flat_map(|row| row.into_iter().skip(1));
        cells
            .map(|cell| cell.chars().filter(char::is_ascii_digit).collect())
            .collect()
    };
    let (fr, en) = (digits("fr"), digits("en"));
    assert!(fr.len() > 1_000);
    assert_eq!(fr, en);
}

#[test]
fn what_is_not_shown_is_counted() {
    let elements = parse(&render(&MANY));
    for (lang, first, more, months) in [
        (
            "fr",
            "Les 12 premières villes sur 60.",
            "… et 20 autres\u{a0}: tables/comparatif.csv",
            "Les 60 derniers mois sur 64.",
        ),
        (
            "en",
            "The first 12 of 60 cities.",
            "… and 20 others: tables/comparatif.csv",
            "The last 60 of 64 months.",
        ),
    ] {
        let article = elements
            .iter()
            .find(|e| e.tag == "article" && e.attributes["lang"] == lang);
        let text = &article.expect("the language").text;
        for words in [first, more, months] {
            assert!(text.contains(words), "{words}");
        }
        let tables = tables(&elements, lang);
        assert!(tables.iter().any(|table| table.len() == 40));
        assert!(
            tables
                .iter()
                .all(|table| table.len() <= 60 && table.iter().all(|row| row.len() <= 13))
        );
    }
}

#[test]
fn an_empty_report_says_so() {
    let elements = parse(&render(&empty()));
    let main = elements.iter().find(|e| e.tag == "main").expect("the page");
    assert!(main.text.contains("aucune transaction") && main.text.contains("no transaction"));
    assert!(!elements.iter().any(|e| e.tag == "svg"));
    assert!(
        elements
            .iter()
            .any(|e| e.attributes.get("id").is_some_and(|id| id == "fr-qualite"))
    );
}

#[test]
fn an_incomplete_report_names_what_is_lost() {
    let mut report = report(2, 3, 2);
    assert!(!render(&report).contains("class=\"incomplete\""));
    report.qualite.complet = false;
    report.qualite.chunks_perdus = (0..30).map(|number| Seq { part: 0, number }).collect();
    let elements = parse(&render(&report));
    let said: Vec<&str> = elements
        .iter()
        .filter(|e| {
            e.attributes
                .get("class")
                .is_some_and(|class| class == "incomplete")
        })
        .map(|e| e.text.as_str())
        .collect();
    assert_eq!(said.len(), 2);
    assert!(
        said[0].contains("30 lot(s)") && said[0].contains("0.19, et 10 autres"),
        "{said:?}"
    );
    assert!(
        said[1].contains("30 chunk(s)") && said[1].contains("0.19, and 10 others"),
        "{said:?}"
    );
}

#[test]
fn a_report_that_was_written_and_read_again_is_the_same_page() {
    for (name, report) in everything() {
        let json = serde_json::to_vec(&report).expect("written");
        let again: Report = serde_json::from_slice(&json).expect("read");
        assert!(render(&report) == render(&again), "{name}");
    }
}

#[test]
fn the_page_needs_nothing_else_and_is_light() {
    let page = render(&report(3, 36, 20));
    assert!(page.len() < 300_000, "{}", page.len());
    for word in [
        "http:",
        "https:",
        "//",
        "src=",
        "url(",
        "@import",
        "<script",
        "<link",
        "javascript:",
    ] {
        assert!(!page.contains(word), "{word}");
    }
    for e in parse(&page) {
        let odd = e
            .attributes
            .keys()
            .find(|name| name.starts_with("on") || *name == "style");
        assert_eq!(odd, None, "{e:?}");
    }
}
