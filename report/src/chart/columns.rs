//! Charts of columns and lines, with time or the months of a year from left to right.

use super::{Chart, Coord, Mark, Scale, Tick, ratio, round_values, whole};
use crate::fixed::Fixed;
use crate::lang::Lang;
use crate::number;

/// The bounds of the area of values, in pixels from the top of the chart.
const TOP: i64 = 18;
const BOTTOM: i64 = 238;
/// The base lines of the two rows of labels below, in pixels from the top: one line of text apart.
const FIRST_ROW: i64 = 256;
const SECOND_ROW: i64 = 272;
/// The largest width of a column, in percent of the chart: a chart of few months would have blocks instead of columns.
const WIDEST: i64 = 7;

/// A column.
#[derive(Debug, Default)]
pub struct Column {
    /// The pieces of the column, from the base outwards.
    pub pieces: Vec<Piece>,
    /// The label at the end of the column.
    pub label: String,
}

/// A piece of a column.
#[derive(Debug)]
pub struct Piece {
    /// The length of the piece; it goes downwards where this is negative.
    pub value: i128,
    /// The class in the style sheet.
    pub class: String,
    /// The tooltip.
    pub tip: String,
}

/// The plane of a chart: slots from left to right, values upwards.
#[derive(Debug)]
pub struct Plane {
    slots: i128,
    scale: Scale,
    ticks: Vec<Tick>,
}

impl Plane {
    /// A plane with `slots` slots and values from `low` to `high`, with labels at round values that are multiples of `least`.
    /// Bars start at `base`.
    pub fn new(
        slots: usize,
        (low, high): (i128, i128),
        base: i128,
        least: i128,
        label: impl Fn(i128) -> String,
    ) -> Self {
        let values = round_values(low.min(base), high.max(base), least);
        let ends = values.first().zip(values.last()).map(|(a, b)| (*a, *b));
        let scale = Scale::new(ends.unwrap_or((low, high)), (BOTTOM, TOP));
        let ticks = values.iter().map(|&value| Tick {
            y: scale.at(value),
            label: label(value),
            base: value == base,
        });
        Self {
            slots: (slots as i128).max(1),
            ticks: ticks.collect(),
            scale,
        }
    }

    /// The position of the middle of a slot.
    pub fn x(&self, slot: usize) -> Coord {
        ratio(100 * (2 * slot as i128 + 1), 2 * self.slots)
    }

    /// The position of a value.
    pub fn y(&self, value: i128) -> Coord {
        self.scale.at(value)
    }

    /// The chart of these marks on this plane.
    pub fn chart(self, desc: String, marks: Vec<Mark>) -> Chart {
        let rows = marks
            .iter()
            .any(|mark| matches!(mark, Mark::Text { y, .. } if *y == whole(SECOND_ROW)));
        Chart {
            desc,
            height: if rows { SECOND_ROW } else { FIRST_ROW } + 6,
            ticks: self.ticks,
            marks,
        }
    }

    /// Columns that start at `base`, one in each slot.
    pub fn columns(&self, columns: Vec<Column>, base: i128) -> Vec<Mark> {
        // a column fills 76 % of its slot: the gaps between columns are a third as wide as columns
        let width = ratio(76, self.slots).min(whole(WIDEST));
        let mut marks = Vec::new();
        for (slot, column) in columns.into_iter().enumerate() {
            let middle = self.x(slot);
            let x = Fixed(middle.0 - width.0 / 2);
            let (mut above, mut below) = (base, base);
            for piece in column.pieces {
                let from = if piece.value < 0 {
                    &mut below
                } else {
                    &mut above
                };
                let to = *from + piece.value;
                let (y, height) = self.scale.span(*from, to);
                *from = to;
                if height.0 > 0 {
                    marks.push(Mark::Bar {
                        x,
                        y,
                        width,
                        height,
                        class: piece.class,
                        tip: piece.tip,
                    });
                }
            }
            if !column.label.is_empty() {
                let y = if below < base {
                    Fixed(self.y(below).0 + whole(13).0)
                } else {
                    Fixed(self.y(above).0 - whole(5).0)
                };
                marks.push(Mark::Text {
                    x: middle,
                    y,
                    // hidden on a narrow screen (`w`), where a label of two decimals is wider than a column
                    class: "m v w",
                    text: column.label,
                });
            }
        }
        marks
    }

    /// The labels below for the months of the year; a narrow screen shows every second one.
    pub fn calendar(&self, lang: Lang) -> Vec<Mark> {
        let class = |month: usize| if month.is_multiple_of(2) { "m w" } else { "m" };
        (1..=12)
            .map(|month| self.below(month - 1, FIRST_ROW, class(month), short(month, lang)))
            .collect()
    }

    /// The labels below for months (`2024-03`): as many as fit, fewer on a narrow screen. The years are in a second row.
    pub fn months(&self, months: &[&str], lang: Lang) -> Vec<Mark> {
        let every = match months.len() {
            0..=14 => 1,
            15..=40 => 3,
            _ => 6,
        };
        let mut marks = Vec::new();
        for (slot, label) in months.iter().enumerate() {
            let Some(month) = calendar_month(label) else {
                continue;
            };
            if every > 1 && (month - 1) % every != 0 {
                continue;
            }
            // a narrow screen shows every second label or, where already some are left out, none
            let class = if every > 1 || slot % 2 == 1 {
                "m w"
            } else {
                "m"
            };
            marks.push(self.below(slot, FIRST_ROW, class, short(month, lang)));
        }
        for slot in year_slots(months) {
            let year = months[slot].split('-').next().unwrap_or_default();
            marks.push(self.below(slot, SECOND_ROW, "m", year.to_owned()));
        }
        marks
    }

    fn below(&self, slot: usize, y: i64, class: &'static str, text: String) -> Mark {
        Mark::Text {
            x: self.x(slot),
            y: whole(y),
            class,
            text,
        }
    }
}

/// The short name of a month without its full stop, as in `janv`, for lack of room.
fn short(month: usize, lang: Lang) -> String {
    number::mois_abrege(month, lang)
        .trim_end_matches('.')
        .to_owned()
}

/// The calendar month of `2024-03`, from 1.
pub fn calendar_month(label: &str) -> Option<usize> {
    label.rsplit_once('-')?.1.parse().ok()
}

/// The slots where a year begins, without those whose label would touch the next: labels are at least a sixth of the months
/// apart.
fn year_slots(months: &[&str]) -> Vec<usize> {
    let apart = months.len().div_ceil(6);
    let year = |slot: usize| months[slot].split('-').next();
    let begins: Vec<usize> = (0..months.len())
        .filter(|&slot| slot == 0 || year(slot) != year(slot - 1))
        .collect();
    let mut slots: Vec<usize> = Vec::new();
    for (i, &slot) in begins.iter().enumerate() {
        let far = slots.last().is_none_or(|last| slot - last >= apart);
        // the label of the year in which the period begins gives way to that of the next year
        let yields = i == 0 && begins.get(1).is_some_and(|next| next - slot < apart);
        if far && !yields {
            slots.push(slot);
        }
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_labelled_where_they_begin_and_never_touch() {
        let months: Vec<String> = (0..36)
            .map(|m| format!("{}-{:02}", 2021 + (m + 10) / 12, (m + 10) % 12 + 1))
            .collect();
        let months: Vec<&str> = months.iter().map(String::as_str).collect();
        assert_eq!(year_slots(&months), [2, 14, 26]);
        assert_eq!(year_slots(&months[..2]), [0]);
        assert_eq!(year_slots(&months[..3]), [0, 2]);
        assert_eq!(year_slots(&["0202-05", "1999-01", "2024-03"]), [0, 1, 2]);
        assert!(year_slots(&[]).is_empty());
    }

    #[test]
    fn pieces_stack_upwards_and_downwards_from_the_base() {
        let plane = Plane::new(1, (-10, 10), 0, 1, |v| v.to_string());
        let piece = |value| Piece {
            value,
            class: String::new(),
            tip: String::new(),
        };
        let column = Column {
            pieces: vec![piece(5), piece(5), piece(-10), piece(0)],
            label: String::new(),
        };
        let ends: Vec<(Coord, Coord)> = plane
            .columns(vec![column], 0)
            .into_iter()
            .map(|mark| match mark {
                Mark::Bar { y, height, .. } => (y, height),
                other => panic!("{other:?}"),
            })
            .collect();
        let [middle, quarter] = [128, 55].map(whole);
        assert_eq!(
            ends,
            [
                (Fixed(middle.0 - quarter.0), quarter),
                (whole(18), quarter),
                (middle, whole(110)),
            ]
        );
    }
}
