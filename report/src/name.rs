//! Names from the data, made safe to show and short enough for their place.

use std::borrow::Cow;

/// A name from the data, safe to show: control and bidirectional characters become `�`.
pub fn clean(name: &str) -> Cow<'_, str> {
    if !name.chars().any(is_disruptive) {
        return Cow::Borrowed(name);
    }
    let shown = |c| if is_disruptive(c) { '\u{fffd}' } else { c };
    Cow::Owned(name.chars().map(shown).collect())
}

/// Whether a character breaks a line or reorders the text after it. These are fewer than `is_special` in `common` has, which
/// logs escape: characters that are only invisible, such as a joiner in a name, are kept.
fn is_disruptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name from the data, made [`clean`] and cut to at most `most` characters.
pub fn cut(name: &str, most: usize) -> String {
    let name = clean(name);
    if name.chars().count() <= most {
        return name.into_owned();
    }
    let mut cut: String = name.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}
