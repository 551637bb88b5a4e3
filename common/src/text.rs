//! Text from outside, made safe to show: on one line of a log or a terminal, in a cell of a spreadsheet.

use std::borrow::Cow;

/// Whether a character can mislead the reader of a log: control characters, and those that reorder text or hide in it.
pub fn is_special(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Text without surrounding blanks of any kind, [special](is_special) characters and the soft hyphen included: text that
/// looks the same must compare as the same.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_special(c) || c == '\u{ad}')
}

/// Bytes as one line of text that is safe to show: lossy UTF-8, [special](is_special) characters spelled out, at most
/// `max` characters, the last being `…` where something was cut.
pub fn printable(bytes: &[u8], max: usize) -> String {
    // four bytes make at least one character, so this much is always enough
    let cut = &bytes[..bytes.len().min(4 * max + 4)];
    let text = String::from_utf8_lossy(cut);
    let mut shown = String::with_capacity(text.len().min(4 * max));
    let (mut length, mut last_fit) = (0, 0);
    for character in text.chars() {
        let before = shown.len();
        if is_special(character) {
            shown.extend(character.escape_default());
            length += shown.len() - before;
        } else {
            shown.push(character);
            length += 1;
        }
        if length > max {
            shown.truncate(last_fit);
            shown.push('…');
            return shown;
        }
        if length < max {
            last_fit = shown.len();
        }
    }
    shown
}

/// `text` without what stands between `://` and the last `@`: a login, in an address.
pub fn without_login(text: &str) -> Cow<'_, str> {
    let login = text
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1)));
    match login {
        Some((scheme, place)) => Cow::Owned(format!("{scheme}://***@{place}")),
        None => Cow::Borrowed(text),
    }
}

/// `text` as a cell that no spreadsheet evaluates as a formula: an apostrophe goes before `=`, `+`, `-`, `@` (full-width
/// ones too, for Japanese spreadsheets), tab, CR or LF at its beginning, and after each `;`, where a spreadsheet set to
/// French begins another cell, even within the quotes of a file with commas. For text only; numbers need none.
///
/// Source: OWASP, "CSV injection".
pub fn harmless(text: &str) -> Cow<'_, str> {
    let mut cells = text.split(';');
    let first = cells.next().unwrap_or_default();
    // quotes before a formula vanish where its cell begins after a semicolon
    let is_later_formula = |cell: &str| is_formula(cell.trim_start_matches('"'));
    if !is_formula(first) && !cells.clone().any(is_later_formula) {
        return Cow::Borrowed(text);
    }
    let apostrophe = |needed| if needed { "'" } else { "" };
    let mut shown = format!("{}{first}", apostrophe(is_formula(first)));
    for cell in cells {
        shown.push(';');
        shown.push_str(apostrophe(is_later_formula(cell)));
        shown.push_str(cell);
    }
    Cow::Owned(shown)
}

/// Whether a spreadsheet computes a cell that begins so.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_in_an_address_is_not_shown() {
        for (text, shown) in [
            ("s3://key:secret@bucket/x", "s3://***@bucket/x"),
            ("s3://key:sec@ret/x@bucket", "s3://***@bucket"),
            ("s3://bucket/x", "s3://bucket/x"),
            ("blobs@home", "blobs@home"),
            ("", ""),
        ] {
            assert_eq!(without_login(text), shown);
        }
    }

    #[test]
    fn control_and_bidirectional_characters_are_spelled_out() {
        assert_eq!(printable(b"a\x1b[31m\tb\0", 99), "a\\u{1b}[31m\\tb\\u{0}");
        assert_eq!(printable("a\u{202e}b".as_bytes(), 99), "a\\u{202e}b");
        assert_eq!(printable(b"Orl\xe9ans", 99), "Orl\u{fffd}ans");
        assert_eq!(printable("Besançon".as_bytes(), 99), "Besançon");
    }

    #[test]
    fn blanks_of_any_kind_are_trimmed_around_text_and_kept_within() {
        for blank in [
            " ", "\t", "\r\n", "\u{a0}", "\u{202f}", "\u{2007}", "\u{3000}", "\u{200b}",
            "\u{feff}", "\u{ad}",
        ] {
            assert_eq!(
                trimmed(&format!("{blank}a{blank}b{blank}{blank}")),
                format!("a{blank}b")
            );
            assert_eq!(trimmed(blank), "");
        }
        assert_eq!(trimmed("é"), "é");
    }

    #[test]
    fn long_text_is_cut_to_so_many_characters() {
        assert_eq!(printable(&[b'a'; 10], 10), "a".repeat(10));
        assert_eq!(printable(&[b'a'; 11], 10), format!("{}…", "a".repeat(9)));
        for bytes in [&b"\0"[..], "é".as_bytes(), b"\xff", "🚗".as_bytes()] {
            let shown = printable(&bytes.repeat(1 << 20), 200);
            assert!(shown.chars().count() <= 200 && shown.ends_with('…'));
        }
    }

    #[test]
    fn a_cell_never_begins_as_a_formula_does() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+33", "'+33"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\t=1"),
            ("\r=1", "'\r=1"),
            ("\n=1", "'\n=1"),
            ("＝1", "'＝1"),
            ("", ""),
            ("Lyon", "Lyon"),
            ("a=b", "a=b"),
            ("a;=1", "a;'=1"),
            ("a;;-5;b", "a;;'-5;b"),
            ("a;\"=1\"", "a;'\"=1\""),
            ("=1;=1", "'=1;'=1"),
            ("a;b", "a;b"),
            ("'=1", "'=1"),
        ] {
            assert_eq!(harmless(text), cell, "{text:?}");
        }
    }
}
