//! Measured durations, sizes and shares as people write them, rounded to about three digits.
//!
//! They are for measurements, which differ from run to run. The figures of a report are exact and use [`crate::number`].
//!
//! ```
//! use autoconnect_report::lang::Lang;
//! use autoconnect_report::measure::{bytes, millis};
//!
//! assert_eq!(millis(12_345.6, Lang::Fr), "12,3\u{a0}s");
//! assert_eq!(bytes(12_345_678, Lang::En), "12.3\u{a0}MB");
//! ```

use std::time::Duration;

use crate::lang::Lang;
use crate::number;

/// A number with one decimal where it is small: `12,3`.
pub fn decimal(value: f64, lang: Lang) -> String {
    let value = if value.is_finite() {
        value.max(0.0)
    } else {
        0.0
    };
    if value >= 100.0 {
        return number::count(value.round() as u64, lang);
    }
    let text = format!("{value:.1}");
    lang.say(text.replace('.', ","), text)
}

/// A share in whole percent, rounded down, so that 100 means all: `42 %`.
pub fn percent(value: f64, lang: Lang) -> String {
    let whole = value.clamp(0.0, 100.0).floor() as u64;
    lang.say(format!("{whole}\u{202f}%"), format!("{whole}%"))
}

/// A count, abbreviated: `12,3 k`.
pub fn short(n: u64, lang: Lang) -> String {
    let (value, unit) = match n {
        0..10_000 => return number::count(n, lang),
        10_000..1_000_000 => (n as f64 / 1e3, "k"),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, "M"),
        _ => (n as f64 / 1e9, "G"),
    };
    let value = decimal(value, lang);
    let value = value.trim_end_matches(",0").trim_end_matches(".0");
    format!("{value}\u{202f}{unit}")
}

/// Bytes: `12,3 Mo`.
pub fn bytes(n: u64, lang: Lang) -> String {
    let (size, unit) = match n {
        0..1_000 => return format!("{n}\u{a0}{}", lang.say("o", "B")),
        1_000..1_000_000 => (1e3, lang.say("ko", "kB")),
        1_000_000..1_000_000_000 => (1e6, lang.say("Mo", "MB")),
        _ => (1e9, lang.say("Go", "GB")),
    };
    format!("{}\u{a0}{unit}", decimal(n as f64 / size, lang))
}

/// Milliseconds: `12 µs`, `850 ms`, `12,3 s`, `4 min 05 s`.
pub fn millis(ms: f64, lang: Lang) -> String {
    if ms < 0.9995 {
        return format!("{:.0}\u{a0}µs", (ms * 1000.0).max(0.0));
    }
    if ms < 999.5 {
        return format!("{}\u{a0}ms", decimal_or_whole(ms, lang));
    }
    if ms < 99_950.0 {
        return format!("{}\u{a0}s", decimal(ms / 1000.0, lang));
    }
    lasting(Duration::from_millis(ms.min(1e15) as u64))
}

fn decimal_or_whole(ms: f64, lang: Lang) -> String {
    if ms < 10.0 {
        decimal(ms, lang)
    } else {
        number::count(ms.round() as u64, lang)
    }
}

/// A duration in its two largest units: `12 s`, `4 min 05 s`, `3 h 20 min`.
pub fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => format!("{seconds}\u{a0}s"),
        60..3_600 => format!("{}\u{a0}min\u{a0}{:02}\u{a0}s", seconds / 60, seconds % 60),
        _ => format!(
            "{}\u{a0}h\u{a0}{:02}\u{a0}min",
            seconds / 3_600,
            seconds % 3_600 / 60
        ),
    }
}

/// The time since `at_ms`: `il y a 12 s`.
pub fn ago(at_ms: u64, now_ms: u64, lang: Lang) -> String {
    let ms = now_ms.saturating_sub(at_ms);
    if ms < 1_500 {
        return lang.say("à l’instant", "just now").to_owned();
    }
    if ms >= 48 * 3_600_000 {
        let days = number::count(ms / 86_400_000, lang);
        return lang.say(format!("il y a {days} jours"), format!("{days} days ago"));
    }
    let lasting = lasting(Duration::from_millis(ms));
    lang.say(format!("il y a {lasting}"), format!("{lasting} ago"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_in_the_language() {
        let plain = |text: String| text.replace(['\u{a0}', '\u{202f}'], " ");
        let (fr, en) = (Lang::Fr, Lang::En);
        assert_eq!(plain(bytes(999, fr)), "999 o");
        assert_eq!(plain(bytes(12_345_678, fr)), "12,3 Mo");
        assert_eq!(plain(bytes(1_500_000_000, en)), "1.5 GB");
        assert_eq!(plain(short(9_999, fr)), "9 999");
        assert_eq!(plain(short(20_000, en)), "20 k");
        assert_eq!(plain(short(1_250_000, fr)), "1,2 M");
        assert_eq!(plain(millis(0.0123, fr)), "12 µs");
        assert_eq!(plain(millis(1.25, fr)), "1,2 ms");
        assert_eq!(plain(millis(850.2, fr)), "850 ms");
        assert_eq!(plain(millis(12_340.0, en)), "12.3 s");
        assert_eq!(plain(millis(245_000.0, en)), "4 min 05 s");
        assert_eq!(plain(ago(0, 1_000, fr)), "à l’instant");
        assert_eq!(plain(ago(0, 12_000, fr)), "il y a 12 s");
        assert_eq!(plain(ago(0, 7_260_000, en)), "2 h 01 min ago");
        assert_eq!(plain(ago(0, 3 * 86_400_000, en)), "3 days ago");
        assert_eq!(plain(percent(99.97, fr)), "99 %");
        assert_eq!(plain(decimal(f64::NAN, fr)), "0,0");
    }
}
