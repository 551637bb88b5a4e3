//! What a person reads first at the end of a `sales` job: rows, CA, ranking, rejects, warnings, notices.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use autoconnect_jobs::sales::render;
use autoconnect_jobs::sales::report::{Periode, Qualite, Source};
use autoconnect_report::fixed::{Euros, Percent};
use autoconnect_report::lang::Lang;
use autoconnect_report::number;
use serde::Deserialize;

use crate::print::printable;

/// The language of the summary.
const FR: Lang = Lang::Fr;
/// The most characters of a city's name that are shown: a longer one would push CA and share off a terminal's line.
const NAME: usize = 60;
/// The most cities in the ranking, so that it fits on a terminal of 24 lines; the report has all of them.
const CITIES: usize = 15;

/// The part of `report.json` that is shown; whatever else is in it is ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Shown {
    pub(super) source: Source,
    qualite: Qualite,
    #[serde(default)]
    periode: Periode,
    ca_total: Euros,
    #[serde(default)]
    comparatif: Vec<City>,
}

#[derive(Debug, Deserialize)]
struct City {
    rang: u64,
    ville: String,
    ca: Euros,
    part: Option<Percent>,
}

impl Shown {
    /// The summary.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        let Source {
            lignes,
            acceptees,
            rejetees,
            ..
        } = self.source;
        line(
            text,
            format_args!(
                "{} lignes lues : {} acceptées, {} rejetées\n",
                number::count(lignes, FR),
                number::count(acceptees, FR),
                number::count(rejetees, FR)
            ),
        );
        line(
            text,
            format_args!("CA total : {}\n", number::euros(self.ca_total, FR)),
        );
        self.ranking(text);
        counts(text, "Rejets (rejets.csv)", &self.qualite.par_motif);
        counts(text, "Avertissements", &self.qualite.avertissements);
        notices(
            text,
            &render::notices(&self.source, &self.qualite, &self.periode, FR),
        );
    }

    fn ranking(&self, text: &mut String) {
        let rows: Vec<[String; 4]> = self
            .comparatif
            .iter()
            .take(CITIES)
            .map(|city| {
                [
                    city.rang.to_string(),
                    printable(city.ville.as_bytes(), NAME),
                    number::euros(city.ca, FR),
                    number::or_none(city.part, |part| number::percent(part, FR)),
                ]
            })
            .collect();
        if rows.is_empty() {
            return;
        }
        let titles = ["Rang", "Ville", "CA", "Part"];
        let width = |column: usize| {
            let longest = rows.iter().map(|row| row[column].chars().count()).max();
            longest.unwrap_or(0).max(titles[column].len())
        };
        let (rank, city, ca, part) = (width(0), width(1), width(2), width(3));
        let mut row = |[a, b, c, d]: [&str; 4]| {
            line(
                text,
                format_args!("  {a:>rank$}  {b:<city$}  {c:>ca$}  {d:>part$}"),
            );
        };
        row(titles);
        for cells in &rows {
            row(cells.each_ref().map(String::as_str));
        }
        if let Some(more) = self.comparatif.len().checked_sub(CITIES + 1) {
            line(
                text,
                format_args!(
                    "  … et {} autres villes",
                    number::count(more as u64 + 1, FR)
                ),
            );
        }
        text.push('\n');
    }
}

fn counts(text: &mut String, title: &str, counts: &BTreeMap<String, u64>) {
    let mut counts: Vec<(&String, u64)> = counts.iter().map(|(name, &n)| (name, n)).collect();
    counts.retain(|&(_, count)| count > 0);
    if counts.is_empty() {
        return;
    }
    counts.sort_by_key(|&(name, count)| (std::cmp::Reverse(count), name));
    line(text, format_args!("{title}"));
    let longest = counts.iter().map(|(name, _)| name.chars().count()).max();
    let width = longest.unwrap_or(0);
    for (name, count) in counts {
        line(
            text,
            format_args!("  {name:<width$}  {}", number::count(count, FR)),
        );
    }
    text.push('\n');
}

fn notices(text: &mut String, sentences: &[String]) {
    if sentences.is_empty() {
        return;
    }
    line(text, format_args!("À savoir"));
    for sentence in sentences {
        line(text, format_args!("  {sentence}"));
    }
    text.push('\n');
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // writing to a String cannot fail
    let _ = writeln!(text, "{arguments}");
}
