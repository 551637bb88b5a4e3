//! Names from the data, made safe to show and short enough for their place.

use std::borrow::Cow;

/// A name from the data, safe to show: control and bidirectional characters become `�`.
pub fn clean(name: &str) -> Cow<'_, str> {
    let odd = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}'
            )
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    if name.chars().any(odd) {
        Cow::Owned(
            name.chars()
                .map(|c| if odd(c) { '\u{fffd}' } else { c })
                .collect(),
        )
    } else {
        Cow::Borrowed(name)
    }
}

/// A name from the data, [`clean`] and at most so many characters long.
pub fn cut(name: &str, most: usize) -> String {
    let name = clean(name);
    if name.chars().count() <= most {
        return name.into_owned();
    }
    let mut cut: String = name.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
