//! Numbers as the French write them: `1 234 567,89 €`, with narrow no-break spaces.

use autoconnect_report::fixed::{Euros, Percent};

/// U+202F: keeps a number on one line.
const SPACE: char = '\u{202f}';

/// A whole number: `12 345`.
pub(crate) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(SPACE);
        }
        grouped.push(digit);
    }
    grouped
}

/// Money, to the cent: `12 345,60 €`.
pub(crate) fn euros(euros: Euros) -> String {
    format!("{}{SPACE}€", hundredths(euros.0))
}

/// A share: `12,50 %`.
pub(crate) fn percent(percent: Percent) -> String {
    format!("{}{SPACE}%", hundredths(percent.0))
}

fn hundredths(count: i64) -> String {
    let sign = if count < 0 { "-" } else { "" };
    let count = count.unsigned_abs();
    format!("{sign}{},{:02}", whole(count / 100), count % 100)
}

/// A time: `850 µs`, `12,3 ms`, `4,56 s`, `3 min 20 s`.
pub(crate) fn time(ms: f64) -> String {
    let text = match ms {
        ms if ms < 1.0 => format!("{:.0}{SPACE}µs", ms * 1e3),
        ms if ms < 1e3 => format!("{ms:.1}{SPACE}ms"),
        ms if ms < 60e3 => format!("{:.2}{SPACE}s", ms / 1e3),
        ms => format!(
            "{:.0}{SPACE}min {:.0}{SPACE}s",
            (ms / 60e3).floor(),
            ms % 60e3 / 1e3
        ),
    };
    text.replace('.', ",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use autoconnect_report::fixed::Fixed;

    fn plain(text: String) -> String {
        text.replace(SPACE, " ")
    }

    #[test]
    fn numbers_are_grouped_by_three_with_a_decimal_comma() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1 000"),
            (1_234_567, "1 234 567"),
        ] {
            assert_eq!(plain(whole(number)), text);
        }
        assert_eq!(plain(euros(Fixed(123_456_789))), "1 234 567,89 €");
        assert_eq!(plain(euros(Fixed(-5))), "-0,05 €");
        assert_eq!(plain(percent(Fixed(1250))), "12,50 %");
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        for (ms, text) in [
            (0.85, "850 µs"),
            (12.34, "12,3 ms"),
            (4560.0, "4,56 s"),
            (200_000.0, "3 min 20 s"),
        ] {
            assert_eq!(plain(time(ms)), text);
        }
    }
}
