//! Charts for pages that are no report, in the same style: values over time, and bars. They are SVG, styled by
//! [`STYLE`](crate::page::STYLE).

use askama::Template;

use super::bars::{self, Bar};
use super::{Chart, Mark, Scale, Tick, ratio, round_values, whole};
use crate::page::rendered;

/// The top of the area of values, in pixels.
const TOP: i64 = 8;

/// A chart on a page that is no report.
#[derive(Template)]
#[template(path = "chart.svg", ext = "html")]
struct Drawing<'a> {
    /// The prefix of the anchors in the chart.
    id: &'a str,
    title: &'a str,
    chart: Chart,
}

/// The title and description of a chart.
#[derive(Debug, Clone, Copy)]
pub struct Caption<'a> {
    /// The prefix of its anchors on the page.
    pub id: &'a str,
    /// The title.
    pub title: &'a str,
    /// A description for readers who cannot see the chart.
    pub desc: &'a str,
}

/// A line through values at equal intervals, with the newest at the right edge and zero at the bottom. `class` is one of the
/// style sheet, `label` writes a value on the axis, `below` are the labels under both ends.
pub fn line(
    caption: Caption<'_>,
    values: &[u64],
    (height, slots): (u16, usize),
    class: &str,
    label: impl Fn(u64) -> String,
    below: [String; 2],
) -> String {
    let bottom = i64::from(height) - 24;
    let highest = values.iter().copied().max().unwrap_or(0);
    let round = round_values(0, highest.into(), 1);
    let top = round.last().copied().unwrap_or(1);
    let scale = Scale::new((0, top), (bottom, TOP));
    let ticks = round.iter().map(|&value| Tick {
        y: scale.at(value),
        label: label(u64::try_from(value).unwrap_or(0)),
        base: value == 0,
    });
    let slots = slots.max(values.len()).max(2);
    let first = slots - values.len();
    let points: Vec<_> = (first..)
        .zip(values)
        .map(|(slot, &value)| {
            let x = ratio(100 * slot as i128, slots as i128 - 1);
            (x, scale.at(value.into()))
        })
        .collect();
    let mut marks = vec![Mark::Line {
        points,
        class: class.to_owned(),
        tip: String::new(),
    }];
    for ((x, class), text) in [(0, "s"), (100, "e")].into_iter().zip(below) {
        marks.push(Mark::Text {
            x: whole(x),
            y: whole(bottom + 18),
            class,
            text,
        });
    }
    drawn(
        caption,
        Chart {
            desc: caption.desc.to_owned(),
            height: height.into(),
            ticks: ticks.collect(),
            marks,
        },
    )
}

/// A chart of bars, one below another, on one scale.
pub fn bars(caption: Caption<'_>, bars: Vec<Bar>) -> String {
    drawn(caption, bars::chart(caption.desc.to_owned(), bars))
}

fn drawn(caption: Caption<'_>, chart: Chart) -> String {
    let drawing = Drawing {
        id: caption.id,
        title: caption.title,
        chart,
    };
    rendered(&drawing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTION: Caption<'_> = Caption {
        id: "x",
        title: "<Title>",
        desc: "said",
    };

    fn words() -> [String; 2] {
        ["before", "now"].map(str::to_owned)
    }

    #[test]
    fn the_newest_value_is_at_the_right_edge_whatever_their_number() {
        for values in [vec![], vec![7], vec![0, 0], (0..300).collect()] {
            let svg = line(
                CAPTION,
                &values,
                (120, 300),
                "high",
                |n| n.to_string(),
                words(),
            );
            let points = svg.split_once("points=\"").expect("a line").1;
            let points = points.split_once('"').expect("its end").0.trim();
            assert_eq!(points.split_whitespace().count(), values.len());
            assert!(
                values.is_empty()
                    || points
                        .rsplit(' ')
                        .next()
                        .is_some_and(|p| p.starts_with("100,"))
            );
        }
    }

    #[test]
    fn values_beyond_all_measure_are_drawn() {
        let svg = line(
            CAPTION,
            &[u64::MAX, 0],
            (120, 2),
            "high",
            |n| n.to_string(),
            words(),
        );
        assert!(svg.contains(">18446744073709551615<") || svg.contains("points="));
    }

    #[test]
    fn words_are_escaped() {
        let bar = Bar {
            name: "<b>".to_owned(),
            value: "1".to_owned(),
            pieces: vec![(1, "sale".to_owned(), "&".to_owned())],
        };
        let svg = bars(CAPTION, vec![bar]);
        assert!(svg.contains("&#60;Title&#62;") && svg.contains("&#60;b&#62;"));
        assert!(!svg.contains("<b>"));
    }
}
