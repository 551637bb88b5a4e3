//! Charts of horizontal bars, one below another, each with its name and its value above it.

use super::{Chart, Mark, Scale, whole};
use crate::fixed::Fixed;
use crate::name::cut;

/// The distance from one bar to the next, in pixels: a line of text, a bar of [`THICK`] and a gap.
const PITCH: i64 = 36;
/// The base line of a name and the top of its bar, in pixels below the top of the row.
const NAME: i64 = 13;
const BAR: i64 = 20;
const THICK: i64 = 8;
/// The most characters of a name: with its value it fits the width of a phone.
const LETTERS: usize = 24;

/// A bar.
#[derive(Debug)]
pub struct Bar {
    /// The name above the bar.
    pub name: String,
    /// The value above the bar, as text.
    pub value: String,
    /// The pieces of the bar, from zero outwards: value, class, and tooltip.
    pub pieces: Vec<(i128, String, String)>,
}

/// The chart of these bars, on one scale from zero to the longest bar.
pub fn chart(desc: String, bars: Vec<Bar>) -> Chart {
    let ends = |bar: &Bar| {
        let sum = |side: fn(&i128) -> bool| -> i128 {
            let values = bar.pieces.iter().map(|piece| piece.0);
            values.filter(side).sum()
        };
        (sum(|v| *v < 0), sum(|v| *v > 0))
    };
    let low = bars.iter().map(|bar| ends(bar).0).min().unwrap_or(0);
    let high = bars.iter().map(|bar| ends(bar).1).max().unwrap_or(0);
    let scale = Scale::new((low, high), (0, 100));
    let height = PITCH * bars.len() as i64 - (PITCH - BAR - THICK);
    let mut marks = Vec::new();
    for (top, bar) in (0..).step_by(PITCH as usize).zip(bars) {
        draw(&mut marks, top, bar, &scale);
    }
    if low < 0 {
        let zero = scale.at(0);
        marks.push(Mark::Line {
            points: vec![(zero, whole(0)), (zero, whole(height))],
            class: "z".to_owned(),
            tip: String::new(),
        });
    }
    Chart {
        desc,
        height,
        ticks: Vec::new(),
        marks,
    }
}

fn draw(marks: &mut Vec<Mark>, top: i64, bar: Bar, scale: &Scale) {
    let text = |x, class, text| Mark::Text {
        x: whole(x),
        y: whole(top + NAME),
        class,
        text,
    };
    marks.push(text(0, "b", cut(&bar.name, LETTERS)));
    marks.push(text(100, "b e", bar.value));
    let (y, height) = (whole(top + BAR), whole(THICK));
    marks.push(Mark::Bar {
        x: Fixed(0),
        y,
        width: whole(100),
        height,
        class: "t".to_owned(),
        tip: String::new(),
    });
    let (mut above, mut below) = (0, 0);
    for (value, class, tip) in bar.pieces {
        let from = if value < 0 { &mut below } else { &mut above };
        let (x, width) = scale.span(*from, *from + value);
        *from += value;
        if width.0 > 0 {
            marks.push(Mark::Bar {
                x,
                y,
                width,
                height,
                class,
                tip,
            });
        }
    }
}
