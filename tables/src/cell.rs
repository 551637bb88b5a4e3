//! Cells of the CSV files we write: text that a spreadsheet would run as a formula is made harmless.

use std::borrow::Cow;

/// `text` as a cell that no spreadsheet takes for a formula: an apostrophe goes before `=`, `+`, `-`, `@`, tab, CR or LF at
/// its beginning. For text only; a number stays as it is, whatever its sign.
///
/// Source: OWASP, "CSV injection".
pub fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            ("'=1", "'=1"),
        ] {
            assert_eq!(harmless(text), cell, "{text:?}");
        }
    }
}
