//! The trend: the last months, the line through the last three, and where it leads.

use crate::sales::render::figures::{monthly, no_trend, running};
use crate::sales::render::html::view::View;
use crate::sales::render::tables;
use crate::sales::report::Tendance;
use autoconnect_report::chart::columns::Plane;
use autoconnect_report::chart::{Chart, Coord, Mark};
use autoconnect_report::fixed::{Euros, Fixed};
use autoconnect_report::page::{Figure, Section};
use autoconnect_report::table::html::Shown;

/// The most months before the forecast.
const MONTHS: usize = 12;

/// A place in the chart.
type Point = (Coord, Coord);

/// Trend and forecast.
pub(in crate::sales::render::html) fn tendance(view: &View<'_>) -> Section {
    let (text, figures) = match view.report.tendance.get(view.whole) {
        Some(global) => (Vec::new(), vec![figure(view, global)]),
        None => (vec![no_trend(view.lang).to_owned()], Vec::new()),
    };
    Section {
        id: "tendance",
        title: view.say("Tendance et prévision", "Trend and forecast"),
        text,
        figures,
    }
}

fn figure(view: &View<'_>, global: &Tendance) -> Figure {
    let [debut, _, fin] = &global.mois;
    let (debut, fin) = (view.mois(debut), view.mois(fin));
    let prevu = running(
        &view.mois(&global.prevision.mois),
        global.prevision.en_cours,
        view.lang,
    );
    let whole = capital(&view.together());
    let note = view.say(
        format!("{whole}\u{a0}: mois complets, et la droite des moindres carrés de {debut} à {fin}, prolongée à {prevu}."),
        format!("{whole}: complete months, and the least squares line from {debut} to {fin}, extended to {prevu}."),
    );
    Figure {
        title: view
            .say(
                "CA des derniers mois et prévision",
                "Revenue of the last months and forecast",
            )
            .to_owned(),
        note,
        chart: Some(chart(view, global)),
        tables: vec![Shown::first(
            &tables::tendance::table(),
            tables::tendance::rows(view.report),
            view.lang,
        )],
        ..Figure::default()
    }
}

/// The same at the start of a sentence.
fn capital(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters.by_ref()).collect()
}

fn chart(view: &View<'_>, global: &Tendance) -> Chart {
    let totals = monthly(view.report);
    let known = history(view, global, |mois| totals.get(mois).map(|ca| ca.total));
    let forecast = &global.prevision;
    let line = [global.ordonnee, forecast.ca].map(|ca| i128::from(ca.0));
    let values = || known.iter().map(|(_, ca)| i128::from(ca.0)).chain(line);
    let high = values().max().unwrap_or(0);
    let low = values().min().unwrap_or(0).min(0);
    let plane = Plane::new(known.len() + 1, (low, high), 0, 100, |cents| {
        view.on_axis(cents)
    });

    let end = (plane.x(known.len()), plane.y(line[1]));
    let mut marks = vec![Mark::Line {
        points: vec![(plane.x(known.len() - 3), plane.y(line[0])), end],
        class: "fit".to_owned(),
        tip: String::new(),
    }];
    let points: Vec<Point> = (0..)
        .zip(&known)
        .map(|(slot, (_, ca))| (plane.x(slot), plane.y(ca.0.into())))
        .collect();
    marks.extend(known_months(view, &known, &points));
    let label = view.pair(
        &running(
            view.say("prévision", "forecast"),
            forecast.en_cours,
            view.lang,
        ),
        &view.euros(forecast.ca),
    );
    let rises = end.1 < points[points.len() - 1].1;
    marks.extend(forecast_month(view, &forecast.mois, &label, end, rises));
    let months: Vec<&str> = known
        .iter()
        .map(|(mois, _)| *mois)
        .chain([forecast.mois.as_str()])
        .collect();
    marks.extend(plane.months(&months, view.lang));
    plane.chart(format!("{} {label}.", view.mois(&forecast.mois)), marks)
}

/// The line through the known months, and a dot on each.
fn known_months(view: &View<'_>, known: &[(&str, Euros)], points: &[Point]) -> Vec<Mark> {
    let mut marks = vec![Mark::Line {
        points: points.to_vec(),
        class: "real".to_owned(),
        tip: String::new(),
    }];
    for (&(x, y), (mois, ca)) in points.iter().zip(known) {
        let tip = view.pair(&view.mois(mois), &view.whole_euros(*ca));
        marks.push(Mark::Dot {
            x,
            y,
            class: "real",
            tip,
        });
    }
    marks
}

/// The dot of the forecast, and its label: above it where the line `rises` to it, below it otherwise, so that the line does
/// not cross the words.
fn forecast_month(
    view: &View<'_>,
    mois: &str,
    label: &str,
    (x, y): Point,
    rises: bool,
) -> [Mark; 2] {
    let away = if rises { -12 } else { 24 };
    let beside = Coord::from_units(away).0 + y.0;
    let dot = Mark::Dot {
        x,
        y,
        class: "fore",
        tip: view.pair(&view.mois(mois), label),
    };
    let text = Mark::Text {
        x: Coord::from_units(100),
        y: Fixed(beside.clamp(1_000, 23_000)),
        class: "e v strong",
        text: label.to_owned(),
    };
    [dot, text]
}

/// The months that lead to the forecast: complete ones, the last three at least.
fn history<'a>(
    view: &View<'a>,
    global: &'a Tendance,
    ca: impl Fn(&str) -> Option<Euros>,
) -> Vec<(&'a str, Euros)> {
    let periode = &view.report.periode;
    let mut known: Vec<(&str, Euros)> = if periode.mois_sans_trous {
        let complete = periode.mois.iter().filter(|mois| !view.partial(mois));
        let before = complete.filter(|mois| **mois < global.mois[0]);
        before
            .filter_map(|mois| Some((mois.as_str(), ca(mois)?)))
            .collect()
    } else {
        Vec::new()
    };
    known.drain(..known.len().saturating_sub(MONTHS - 3));
    known.extend(global.mois.iter().map(String::as_str).zip(global.ca));
    known
}
