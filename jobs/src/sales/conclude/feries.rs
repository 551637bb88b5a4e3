//! The days on which a French dealer is closed: Sundays and the public holidays of all departments.

use chrono::{Datelike, Days, NaiveDate, Weekday};

/// The holidays that are the same day every year: month and day.
const FIXED: [(u32, u32); 8] = [
    (1, 1),
    (5, 1),
    (5, 8),
    (7, 14),
    (8, 15),
    (11, 1),
    (11, 11),
    (12, 25),
];
/// Easter Monday, Ascension and Whit Monday, in days after Easter.
const AFTER_EASTER: [u64; 3] = [1, 39, 50];

/// Whether a day is a Sunday or a public holiday (Code du travail, article L3133-1; those of Alsace and Moselle are not).
pub(super) fn is_closed(day: NaiveDate) -> bool {
    day.weekday() == Weekday::Sun
        || FIXED.contains(&(day.month(), day.day()))
        || easter(day.year()).is_some_and(|easter| {
            AFTER_EASTER
                .iter()
                .any(|&days| easter.checked_add_days(Days::new(days)) == Some(day))
        })
}

/// Easter Sunday of the Gregorian calendar (Anonymous, Nature, 1876; Meeus, Astronomical Algorithms, chapter 8).
fn easter(year: i32) -> Option<NaiveDate> {
    let (a, century, of_century) = (
        year.rem_euclid(19),
        year.div_euclid(100),
        year.rem_euclid(100),
    );
    let (leap, rest) = (century / 4, century % 4);
    let correction = (century - (century + 8) / 25 + 1) / 3;
    let moon = (19 * a + century - leap - correction + 15).rem_euclid(30);
    let weekday = (32 + 2 * rest + 2 * (of_century / 4) - moon - of_century % 4).rem_euclid(7);
    let late = (a + 11 * moon + 22 * weekday) / 451;
    let day = moon + weekday - 7 * late + 114;
    NaiveDate::from_ymd_opt(
        year,
        (day / 31).unsigned_abs(),
        (day % 31).unsigned_abs() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a date")
    }

    #[test]
    fn easter_is_where_the_almanacs_have_it() {
        for text in [
            "1961-04-02",
            "1818-03-22",
            "1943-04-25",
            "2000-04-23",
            "2008-03-23",
            "2011-04-24",
            "2019-04-21",
            "2022-04-17",
            "2023-04-09",
            "2024-03-31",
            "2025-04-20",
            "2026-04-05",
            "2038-04-25",
            "2285-03-22",
        ] {
            let expected = day(text);
            assert_eq!(easter(expected.year()), Some(expected));
        }
        assert!(
            (0..=9999).all(|year| easter(year).is_some_and(|day| day.weekday() == Weekday::Sun))
        );
    }

    #[test]
    fn the_eleven_holidays_and_sundays_are_closed() {
        for closed in [
            "2024-01-01",
            "2024-04-01",
            "2024-05-01",
            "2024-05-08",
            "2024-05-09",
            "2024-05-20",
            "2024-07-14",
            "2024-08-15",
            "2024-11-01",
            "2024-11-11",
            "2024-12-25",
            "2024-03-31",
            "2023-04-10",
            "2023-05-18",
            "2023-05-29",
        ] {
            assert!(is_closed(day(closed)), "{closed}");
        }
        // Good Friday and 26 December are holidays of Alsace and Moselle alone
        for open in [
            "2024-03-29",
            "2024-12-26",
            "2024-01-02",
            "2024-03-30",
            "2023-04-01",
            "2024-05-21",
        ] {
            assert!(!is_closed(day(open)), "{open}");
        }
    }
}
