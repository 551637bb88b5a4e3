//! The parts of a chart: marks on a plane that is 100 % wide and a number of pixels high, and the scales that place them.
//!
//! Horizontal positions are percentages, so a chart fills its column on a phone and on a large screen while its text keeps
//! its size. Vertical positions are pixels. Both have two decimals and are computed in integers, so the same report gives
//! the same bytes.

pub mod bars;
pub mod columns;
pub mod draw;

use crate::fixed::Fixed;

/// A position or a length: horizontally in percent of the width, vertically in pixels from the top.
pub type Coord = Fixed<2>;

/// A chart. The figure around it has the title.
#[derive(Debug, Default)]
pub struct Chart {
    /// A description for readers who cannot see the chart.
    pub desc: String,
    /// The height in pixels.
    pub height: i64,
    /// Horizontal lines with a label in the margin; a chart without any has no margin.
    pub ticks: Vec<Tick>,
    /// The marks, in the order in which they are drawn.
    pub marks: Vec<Mark>,
}

/// A horizontal line at a round value.
#[derive(Debug)]
pub struct Tick {
    /// The position.
    pub y: Coord,
    /// The value, as text.
    pub label: String,
    /// Whether bars start here.
    pub base: bool,
}

/// A mark of a chart. A `class` is one of the style sheet; a `tip` is a tooltip.
#[derive(Debug)]
pub enum Mark {
    /// A bar.
    #[expect(missing_docs, reason = "a rectangle's fields need no words")]
    Bar {
        x: Coord,
        y: Coord,
        width: Coord,
        height: Coord,
        class: String,
        tip: String,
    },
    /// A line through points.
    Line {
        /// The points: horizontal and vertical position.
        points: Vec<(Coord, Coord)>,
        /// The class in the style sheet.
        class: String,
        /// The tooltip; empty for none.
        tip: String,
    },
    /// A point.
    #[expect(missing_docs, reason = "a point's fields need no words")]
    Dot {
        x: Coord,
        y: Coord,
        class: &'static str,
        tip: String,
    },
    /// Text; its class also says on which side of `x` it is.
    #[expect(missing_docs, reason = "a point's fields need no words")]
    Text {
        x: Coord,
        y: Coord,
        class: &'static str,
        text: String,
    },
}

/// A position in whole pixels or whole percent.
pub fn whole(units: i64) -> Coord {
    Coord::from_units(units)
}

/// `numerator / denominator` as a position; zero where the quotient does not exist.
pub fn ratio(numerator: i128, denominator: i128) -> Coord {
    Coord::ratio(numerator, denominator).unwrap_or_default()
}

/// Maps values to positions between `start` and `end`.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    low: i128,
    high: i128,
    start: i64,
    end: i64,
}

impl Scale {
    /// A scale with `low` at `start` and `high` at `end`.
    pub fn new((low, high): (i128, i128), (start, end): (i64, i64)) -> Self {
        Self {
            low,
            high,
            start,
            end,
        }
    }

    /// The position of a value; `start` where `low` is `high`.
    pub fn at(&self, value: i128) -> Coord {
        let stretch = i128::from(self.end) - i128::from(self.start);
        let way = ratio((value - self.low) * stretch, self.high - self.low);
        Fixed(way.0.saturating_add(whole(self.start).0))
    }

    /// The smaller position of two values, and the distance between them.
    pub fn span(&self, a: i128, b: i128) -> (Coord, Coord) {
        let (a, b) = (self.at(a), self.at(b));
        (a.min(b), Fixed((a.0 - b.0).abs()))
    }
}

/// At most six round values that enclose `low` and `high`. Their distance is 1, 2 or 5 times a power of ten, and at least
/// `least`.
pub fn round_values(low: i128, high: i128, least: i128) -> Vec<i128> {
    let high = high.max(low + 1);
    let step = std::iter::successors(Some(least), |unit| unit.checked_mul(10))
        .flat_map(|unit| [unit, 2 * unit, 5 * unit])
        .find(|step| high - low <= 4 * step)
        .unwrap_or(high - low);
    let (first, last) = (low.div_euclid(step), (high + step - 1).div_euclid(step));
    (first..=last).map(|n| n * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_values_enclose_and_are_few() {
        for (low, high, least, expected) in [
            (0, 0, 100, vec![0, 100]),
            (0, 950, 100, vec![0, 500, 1000]),
            (0, 400, 100, vec![0, 100, 200, 300, 400]),
            (0, 1_100, 100, vec![0, 500, 1000, 1500]),
            (-250, 700, 100, vec![-500, 0, 500, 1000]),
            (-700, -200, 100, vec![-800, -600, -400, -200]),
        ] {
            assert_eq!(round_values(low, high, least), expected, "{low} to {high}");
        }
        let most = i128::from(i64::MAX);
        let values = round_values(-most, most, 1);
        assert!(values.len() <= 6, "{values:?}");
        assert!(values[0] <= -most && values[values.len() - 1] >= most);
    }

    #[test]
    fn a_scale_maps_ends_to_ends_either_way_up() {
        let scale = Scale::new((-10, 30), (200, 0));
        assert_eq!(scale.at(-10), whole(200));
        assert_eq!(scale.at(30), whole(0));
        assert_eq!(scale.span(0, 10), (whole(100), whole(50)));
        assert_eq!(scale.span(10, 0), (whole(100), whole(50)));
        assert_eq!(Scale::new((5, 5), (7, 9)).at(5), whole(7));
    }
}
