//! A report in one language, as a part of another page.

use autoconnect_report::lang::Lang;
use autoconnect_report::number::NONE;
use autoconnect_report::page::{Article, KeyFigure, Links};

use super::section::mois;
use super::view::View;
use super::{last_change, whole_article};
use crate::sales::Report;
use crate::sales::render::figures::monthly;

/// The requested part of a report; see [`Report::filtered`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Part<'a> {
    /// A city, spelled as in the report.
    pub ville: Option<&'a str>,
    /// A month of its period, `2024-03`.
    pub mois: Option<&'a str>,
}

/// This part of the report in one language.
///
/// With a month, the CA and the changes by month are those of that month; all else is about the whole period, as the
/// report does not have it by month.
pub fn article(report: &Report, part: Part<'_>, lang: Lang, links: Links) -> Article {
    let of_city;
    let report = match part.ville {
        Some(ville) => {
            of_city = report.filtered(Some(ville), None);
            &of_city
        }
        None => report,
    };
    let view = View::new(report, lang);
    let mut article = whole_article(&view);
    article.links = links;
    if let Some(mois) = part.mois {
        only_month(&view, mois, &mut article);
    }
    article
}

fn only_month(view: &View<'_>, month: &str, article: &mut Article) {
    for section in &mut article.sections {
        match section.id {
            "mois" => *section = mois::ca_du_mois(view, month),
            // the changes of the month stand beside its CA
            "saison" => section.figures.truncate(1),
            _ => {}
        }
    }
    let total = monthly(view.report).get(month).map(|ca| ca.total);
    let saison = view.report.saisonnalite.get(view.whole);
    let variation = saison.and_then(|saison| *saison.variations.get(month)?);
    let name = view.mois(month);
    let of_last_month = last_change(view);
    article
        .key_figures
        .retain(|figure| figure.name != of_last_month);
    article.key_figures.insert(
        0,
        KeyFigure {
            name: view.say("CA du mois", "Revenue of the month"),
            value: total.map_or_else(|| NONE.to_owned(), |total| view.euros_compact(total)),
            note: match variation {
                Some(_) => {
                    let variation = view.signed(variation);
                    view.say(
                        format!("{name}, {variation} contre le mois d’avant"),
                        format!("{name}, {variation} against the month before"),
                    )
                }
                None => name,
            },
        },
    );
}

#[cfg(test)]
mod tests {
    use super::super::tests::render;
    use super::*;
    use crate::sales::{conclude, sample};
    use autoconnect_report::page::STYLE;

    fn report() -> Report {
        let (facts, partial) = sample::sample(sample::Size {
            villes: 3,
            mois: 14,
            modeles: 8,
        });
        conclude::conclude(facts, partial, &[], &mut |_| {}).expect("a report")
    }

    fn tables() -> Links {
        Links {
            before: "tables/".to_owned(),
            label: "tables/".to_owned(),
            after: String::new(),
        }
    }

    #[test]
    fn the_whole_article_is_what_stands_in_the_file() {
        let report = report();
        let page = render(&report);
        assert!(page.contains(STYLE.trim_end()));
        for lang in [Lang::Fr, Lang::En] {
            let article = article(&report, Part::default(), lang, tables());
            assert!(page.contains(&article.sections()), "{lang:?}");
            assert!(page.contains(&article.terms()), "{lang:?}");
        }
    }

    #[test]
    fn links_lead_where_they_are_told_and_are_escaped() {
        let links = Links {
            before: "/t/".to_owned(),
            after: "?ville=A&mois=\"".to_owned(),
            label: String::new(),
        };
        let page = article(&report(), Part::default(), Lang::Fr, links).sections();
        assert!(page.contains("<a href=\"/t/marge.csv?ville=A&#38;mois=&#34;\">marge.csv</a>"));
        assert!(!page.contains("tables/marge.csv"));
    }

    #[test]
    fn a_city_is_alone_on_its_page() {
        let report = report();
        let [first, second, ..] = &report.comparatif[..] else {
            panic!("three cities");
        };
        let part = Part {
            ville: Some(&second.ville),
            mois: None,
        };
        let page = article(&report, part, Lang::Fr, tables());
        assert!(page.sections().contains(&second.ville));
        assert!(!page.sections().contains(&first.ville));
        assert!(
            !page
                .sections()
                .to_lowercase()
                .contains("toutes villes ensemble")
        );
        assert!(page.sections().contains("est au rang 2"));
    }

    #[test]
    fn a_month_shows_its_cities_and_leaves_the_period_as_it_is() {
        let report = report();
        let mois = report.periode.mois[3].as_str();
        let part = Part {
            ville: None,
            mois: Some(mois),
        };
        let [all, page] =
            [Part::default(), part].map(|part| article(&report, part, Lang::En, tables()));
        assert!(page.sections().contains("Revenue of the month"));
        assert!(!page.sections().contains("Last change"));
        assert_eq!((&page.period, page.terms()), (&all.period, all.terms()));
    }
}
