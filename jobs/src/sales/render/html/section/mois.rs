//! CA month by month: all cities stacked, and each.

use std::collections::BTreeMap;

use crate::sales::render::figures::{add, monthly};
use crate::sales::render::html::view::{BARS, View};
use crate::sales::render::tables;
use crate::sales::report::CaMois;
use autoconnect_report::chart::bars::{self, Bar};
use autoconnect_report::chart::columns::{Column, Piece, Plane};
use autoconnect_report::chart::{Chart, Mark};
use autoconnect_report::fixed::{Euros, Fixed};
use autoconnect_report::name::cut;
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::html::Shown;
use autoconnect_report::table::{Table, column};

/// CA per month and city.
pub(in crate::sales::render::html) fn ca_mensuel(view: &View<'_>) -> Section {
    let all = &view.report.periode.mois;
    let months = view.last_months(all);
    let totals = monthly(view.report);
    let mut notes = vec![view.last_of_months(all.len())];
    if months.iter().any(|mois| view.partial(mois)) {
        let partial = view.say(
            "Teinte claire\u{a0}: mois incomplet.",
            "Pale: a month that the data do not fully cover.",
        );
        notes.push(partial.to_owned());
    }
    if !view.report.periode.mois_sans_trous {
        let gaps = view.say(
            "La période est très longue\u{a0}: seuls ses mois avec des transactions sont montrés.",
            "The period is very long: only its months with transactions are shown.",
        );
        notes.push(gaps.to_owned());
    }
    notes.retain(|note| !note.is_empty());
    let mut stacked = Figure {
        title: view
            .say("CA par mois et par ville", "Revenue by month and city")
            .to_owned(),
        note: notes.join(" "),
        legend: view.legend(),
        chart: Some(stack(view, &months, &totals)),
        tables: vec![by_city(view, &months, &totals)],
        ..Figure::default()
    };
    let lines = side_by_side(view, &months, &totals);
    let figures = if lines.chart.is_some() {
        vec![stacked, lines]
    } else {
        stacked.tables.extend(lines.tables);
        vec![stacked]
    };
    Section {
        id: "mois",
        title: view.say("CA mensuel", "Monthly revenue"),
        text: Vec::new(),
        figures,
    }
}

/// CA of each city in one month.
pub(in crate::sales::render::html) fn ca_du_mois(view: &View<'_>, mois: &str) -> Section {
    let of = |ville: &str| {
        let ca = view.report.ca_mensuel.get(ville)?.get(mois).copied();
        Some(ca.unwrap_or_default())
    };
    let mut villes: Vec<(&str, CaMois)> = view
        .report
        .comparatif
        .iter()
        .filter_map(|city| Some((city.ville.as_str(), of(&city.ville)?)))
        .collect();
    villes.sort_by_key(|(ville, ca)| (std::cmp::Reverse(ca.total), *ville));
    let mut notes = vec![view.best_of_cities()];
    if view.partial(mois) {
        let partial = view.say(
            "Les données ne couvrent pas le mois en entier.",
            "The data do not cover the whole month.",
        );
        notes.push(partial.to_owned());
    }
    notes.retain(|note| !note.is_empty());
    let figure = Figure {
        title: view.pair(
            view.say("CA par ville", "Revenue by city"),
            &view.mois(mois),
        ),
        note: notes.join(" "),
        legend: view.types(),
        chart: Some(bars_du_mois(view, &villes)),
        tables: vec![Shown::first(
            &tables::ca_mensuel::table().without("mois"),
            tables::ca_mensuel::of_month(view.report, mois, villes),
            view.lang,
        )],
        ..Figure::default()
    };
    Section {
        id: "mois",
        title: view.say("CA du mois", "Revenue of the month"),
        text: Vec::new(),
        figures: vec![figure],
    }
}

/// A bar for each of the best cities of a month, of its sales and its rentals.
fn bars_du_mois(view: &View<'_>, villes: &[(&str, CaMois)]) -> Chart {
    let bars = villes.iter().take(BARS).map(|(ville, ca)| {
        let piece = |ca: Euros, class: &str, name| {
            let tip = view.pair(name, &view.whole_euros(ca));
            (ca.0.into(), class.to_owned(), tip)
        };
        Bar {
            name: (*ville).to_owned(),
            value: view.whole_euros(ca.total),
            pieces: vec![
                piece(ca.vente, "sale", view.say("Ventes", "Sales")),
                piece(ca.location, "rent", view.say("Locations", "Rentals")),
            ],
        }
    });
    let said: Vec<String> = villes
        .iter()
        .take(BARS)
        .map(|(ville, ca)| format!("{} {}", cut(ville, 40), view.whole_euros(ca.total)))
        .collect();
    bars::chart(said.join(", "), bars.collect())
}

/// The cities with a colour of their own, each on a line, and what their CA is made of. There is no chart where there
/// is nothing to compare.
fn side_by_side(view: &View<'_>, months: &[&str], totals: &BTreeMap<&str, CaMois>) -> Figure {
    let complete: Vec<&str> = months
        .iter()
        .copied()
        .filter(|mois| !view.partial(mois))
        .collect();
    let chart = match &complete[..] {
        [_, .., last] if view.coloured.len() > 1 => Some(lines(view, &complete, last)),
        _ => None,
    };
    let all = by_type(view, view.whole, months, |mois| totals.get(mois).copied());
    let mut tables = vec![all];
    for ville in view.coloured.iter().filter(|_| view.coloured.len() > 1) {
        let ca = view.report.ca_mensuel.get(*ville);
        let mut table = by_type(view, ville, months, |mois| ca?.get(mois).copied());
        table.screen = true;
        tables.push(table);
    }
    Figure {
        title: view
            .say("CA de chaque ville", "Revenue of each city")
            .to_owned(),
        note: view.say("Mois complets.", "Complete months.").to_owned(),
        legend: view.legend_of_coloured(),
        chart,
        tables,
        ..Figure::default()
    }
}

fn lines(view: &View<'_>, months: &[&str], last: &str) -> Chart {
    let of = |ville: &str, mois: &str| ca(view, ville, mois).unwrap_or_default();
    let all = view
        .coloured
        .iter()
        .flat_map(|ville| months.iter().map(|mois| of(ville, mois).0));
    let highest = all.max().unwrap_or(0);
    let plane = Plane::new(months.len(), (0, highest.into()), 0, 100, |cents| {
        view.on_axis(cents)
    });
    let line = |ville: &&str| Mark::Line {
        points: (0..)
            .zip(months)
            .map(|(slot, mois)| (plane.x(slot), plane.y(of(ville, mois).0.into())))
            .collect(),
        class: view.colour(ville).to_owned(),
        tip: cut(ville, 40),
    };
    let mut marks: Vec<Mark> = view.coloured.iter().map(line).collect();
    marks.extend(plane.months(months, view.lang));
    let said: Vec<String> = view
        .coloured
        .iter()
        .map(|ville| format!("{} {}", cut(ville, 40), view.whole_euros(of(ville, last))))
        .collect();
    plane.chart(view.pair(&view.mois(last), &said.join(", ")), marks)
}

/// The CA of a city in a month; `None` where the report does not say.
fn ca(view: &View<'_>, ville: &str, mois: &str) -> Option<Euros> {
    Some(view.report.ca_mensuel.get(ville)?.get(mois)?.total)
}

/// The CA of the cities without a colour of their own.
fn rest(view: &View<'_>, mois: &str, total: Euros) -> Euros {
    let coloured = view
        .coloured
        .iter()
        .filter_map(|ville| ca(view, ville, mois));
    let coloured = coloured.fold(Fixed(0), add);
    Fixed(total.0.saturating_sub(coloured.0))
}

/// All cities, stacked.
fn stack(view: &View<'_>, months: &[&str], totals: &BTreeMap<&str, CaMois>) -> Chart {
    let total = |mois: &str| totals.get(mois).map_or(Fixed(0), |ca| ca.total);
    let highest = months
        .iter()
        .map(|mois| total(mois))
        .max()
        .unwrap_or_default();
    let plane = Plane::new(months.len(), (0, highest.0.into()), 0, 100, |cents| {
        view.on_axis(cents)
    });
    let column = |mois: &&str| {
        let piece = |name: &str, class: &str, ca: Euros| {
            let name = format!("{}, {}", view.mois_court(mois), cut(name, 40));
            Piece {
                value: ca.0.into(),
                class: if view.partial(mois) {
                    format!("{class} pale")
                } else {
                    class.to_owned()
                },
                tip: view.pair(&name, &view.whole_euros(ca)),
            }
        };
        let known = |ville: &&str| ca(view, ville, mois).unwrap_or_default();
        let mut pieces: Vec<Piece> = view
            .coloured
            .iter()
            .map(|ville| piece(ville, view.colour(ville), known(ville)))
            .collect();
        if view.others() > 0 {
            pieces.push(piece(
                &view.other_cities(),
                view.colour(""),
                rest(view, mois, total(mois)),
            ));
        }
        Column {
            pieces,
            label: String::new(),
        }
    };
    let mut marks = plane.columns(months.iter().map(column).collect(), 0);
    marks.extend(plane.months(months, view.lang));
    plane.chart(desc(view, months, total), marks)
}

fn desc(view: &View<'_>, months: &[&str], total: impl Fn(&str) -> Euros) -> String {
    let (Some(first), Some(last)) = (months.first(), months.last()) else {
        return String::new();
    };
    let (a, b) = (view.mois(first), view.mois(last));
    let (x, y) = (
        view.whole_euros(total(first)),
        view.whole_euros(total(last)),
    );
    view.say(
        format!("Une colonne par mois, de {a} ({x}) à {b} ({y}), empilée par ville."),
        format!("One column a month, from {a} ({x}) to {b} ({y}), stacked by city."),
    )
}

/// The CA of each coloured city, of the others and of all, by month.
fn by_city(view: &View<'_>, months: &[&str], totals: &BTreeMap<&str, CaMois>) -> Shown {
    let total = |mois: &str| totals.get(mois).map_or(Fixed(0), |ca| ca.total);
    let villes = view.coloured.iter().map(|ville| {
        let title = view.column_title(ville);
        column::Column::euros("ca", title, move |mois: &&str| ca(view, ville, mois))
    });
    let others = (view.others() > 0).then(|| {
        column::Column::euros("ca", view.other_cities(), move |mois: &&str| {
            rest(view, mois, total(mois))
        })
    });
    let total = column::Column::euros("ca", "Total", move |mois: &&str| total(mois));
    let mois = column::Column::month("mois", ["Mois", "Month"], |mois: &&str| *mois);
    let table =
        Table::new(tables::ca_mensuel::FILE, [mois]).and(villes.chain(others).chain([total]));
    let fold = view.say(
        "CA de chaque mois et ville",
        "Revenue of each month and city",
    );
    Shown::all(&table, months.iter().copied(), view.lang).folded(fold)
}

/// Sales, rentals and growth of one city, or of all.
fn by_type<'v>(
    view: &View<'v>,
    ville: &'v str,
    months: &[&'v str],
    ca: impl Fn(&str) -> Option<CaMois>,
) -> Shown {
    let months = months.iter().filter_map(|mois| Some((*mois, ca(mois)?)));
    let rows = tables::ca_mensuel::of_city(view.report, ville, months);
    let name = cut(view.ville(ville), 40);
    let words = view.say("ventes, locations, variation", "sales, rentals, change");
    let table = tables::ca_mensuel::table().without("ville");
    Shown::all(&table, rows, view.lang).folded(view.pair(&name, words))
}
