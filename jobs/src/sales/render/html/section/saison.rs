//! Seasonality: an average year, and how each month compares with the one before.

use crate::sales::mois::Mois;
use crate::sales::render::figures::extremes;
use crate::sales::render::html::view::View;
use crate::sales::render::tables;
use crate::sales::report::Saison;
use autoconnect_report::chart::Chart;
use autoconnect_report::chart::columns::{Column, Piece, Plane};
use autoconnect_report::fixed::Percent;
use autoconnect_report::number;
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::html::{Shown, others};
use autoconnect_report::table::{Table, column};

/// An index of 100, and one percent, in hundredths.
const AVERAGE: i128 = 10_000;
const ONE: i128 = 100;

/// Indices and variations.
pub(in crate::sales::render::html) fn saisonnalite(view: &View<'_>) -> Section {
    let global = view.report.saisonnalite.get(view.whole);
    Section {
        id: "saison",
        title: view.say("Saisonnalité", "Seasonality"),
        text: Vec::new(),
        figures: vec![indices(view, global), variations(view, global)],
    }
}

fn indices(view: &View<'_>, global: Option<&Saison>) -> Figure {
    let shown = global.filter(|saison| extremes(saison).is_some());
    let note = if shown.is_some() {
        let together = view.together();
        view.say(
            format!("100 est un mois moyen\u{a0}; {together}."),
            format!("100 is an average month; {together}."),
        )
    } else {
        view.say(
            "Il faut des mois complets, et différents, pour dessiner une saison.",
            "It takes complete months, and different ones, to draw a season.",
        )
        .to_owned()
    };
    Figure {
        title: view
            .say(
                "Indice de chaque mois de l’année",
                "Index of each month of the year",
            )
            .to_owned(),
        note,
        chart: shown.map(|saison| index_chart(view, saison)),
        tables: vec![Shown::first(
            &tables::saisonnalite::table(),
            tables::saisonnalite::rows(view.report),
            view.lang,
        )],
        ..Figure::default()
    }
}

fn index_chart(view: &View<'_>, saison: &Saison) -> Chart {
    let known = || {
        saison
            .indices
            .values()
            .flatten()
            .map(|index| i128::from(index.0))
    };
    let ends = (
        known().min().unwrap_or(AVERAGE),
        known().max().unwrap_or(AVERAGE),
    );
    let plane = Plane::new(12, ends, AVERAGE, ONE, |value| {
        number::count((value / ONE) as u64, view.lang)
    });
    let mut said = Vec::new();
    let mut columns = Vec::new();
    for (month, index) in (1..).zip(saison.indices.values()) {
        let Some(index) = index else {
            columns.push(Column::default());
            continue;
        };
        let (name, words) = (
            number::mois_nom(month, view.lang),
            number::fixed(*index, view.lang),
        );
        said.push(format!("{name} {words}"));
        let value = i128::from(index.0) - AVERAGE;
        columns.push(Column {
            pieces: vec![Piece {
                value,
                class: if value < 0 { "low" } else { "high" }.to_owned(),
                tip: view.pair(name, &words),
            }],
            label: words,
        });
    }
    let mut marks = plane.columns(columns, AVERAGE);
    marks.extend(plane.calendar(view.lang));
    plane.chart(said.join(", "), marks)
}

fn variations(view: &View<'_>, global: Option<&Saison>) -> Figure {
    let all: Vec<&Mois> = global
        .map(|saison| saison.variations.keys().collect())
        .unwrap_or_default();
    let months = view.last_months(all.iter().copied());
    let value = |ville: &str, mois: &str| -> Option<Percent> {
        *view.report.saisonnalite.get(ville)?.variations.get(mois)?
    };
    let known: Vec<(&str, Percent)> = months
        .iter()
        .filter_map(|mois| Some((*mois, value(view.whole, mois)?)))
        .collect();
    let title = view
        .say(
            "Variation d’un mois à l’autre",
            "Change from month to month",
        )
        .to_owned();
    if known.is_empty() {
        let note = view.say(
            "Il faut deux mois complets qui se suivent.",
            "It takes two complete months in a row.",
        );
        return Figure {
            title,
            note: note.to_owned(),
            ..Figure::default()
        };
    }
    let together = view.together();
    let note = view.say(
        format!("CA de chaque mois complet contre le mois d’avant\u{a0}; {together}."),
        format!("Revenue of each complete month against the month before; {together}."),
    );
    Figure {
        title,
        note: format!("{note} {}", view.last_of_months(all.len())),
        chart: Some(variation_chart(view, &months, &known)),
        tables: vec![variation_table(view, &months, value)],
        ..Figure::default()
    }
}

fn variation_chart(view: &View<'_>, months: &[&str], known: &[(&str, Percent)]) -> Chart {
    let values = || known.iter().map(|(_, value)| i128::from(value.0));
    let ends = (values().min().unwrap_or(0), values().max().unwrap_or(0));
    let plane = Plane::new(months.len(), ends, 0, ONE, |value| {
        // ticks stand at multiples of one percent
        number::whole_percent((value / ONE) as i64, view.lang)
    });
    let few = months.len() <= 14;
    let mut known = known.iter().peekable();
    let columns = months.iter().map(|mois| {
        let Some((_, value)) = known.next_if(|(known, _)| known == mois) else {
            return Column::default();
        };
        let words = number::signed_percent(*value, view.lang);
        Column {
            pieces: vec![Piece {
                value: value.0.into(),
                class: if value.0 < 0 { "low" } else { "high" }.to_owned(),
                tip: view.pair(&view.mois(mois), &words),
            }],
            label: if few { words } else { String::new() },
        }
    });
    let mut marks = plane.columns(columns.collect(), 0);
    marks.extend(plane.months(months, view.lang));
    let desc = view.say(
        "Une colonne par mois, vers le haut pour une hausse, vers le bas pour une baisse.",
        "One column a month, upwards for a rise, downwards for a fall.",
    );
    plane.chart(desc.to_owned(), marks)
}

/// The changes of the whole and of each coloured city, by month.
fn variation_table(
    view: &View<'_>,
    months: &[&str],
    value: impl Fn(&str, &str) -> Option<Percent> + Copy,
) -> Shown {
    let coloured = view.coloured.iter().copied();
    let villes = std::iter::once(view.whole).chain(coloured.filter(|ville| *ville != view.whole));
    let villes = villes.map(|ville| {
        let title = view.column_title(ville);
        column::Column::change("variation", title, move |mois: &&str| value(ville, mois))
    });
    let mois = column::Column::month("mois", ["Mois", "Month"], |mois: &&str| *mois);
    let table = Table::new(tables::saisonnalite::FILE, [mois]).and(villes);
    let fold = view.say(
        "Variations de chaque mois et ville",
        "Changes of each month and city",
    );
    let mut shown = Shown::all(&table, months.iter().copied(), view.lang).folded(fold);
    shown.more = others(view.others(), view.lang);
    shown
}
