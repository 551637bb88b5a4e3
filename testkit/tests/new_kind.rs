//! `docs/new-kind.md` shows code that exists: every block of it stands in the file it speaks of, and every act is shown.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Where the page's code comes from.
const SOURCES: [&str; 4] = [
    "testkit/src/wordcount.rs",
    "testkit/src/jobs.rs",
    "testkit/tests/kinds/laws.rs",
    "testkit/tests/kinds/sameness.rs",
];

/// `text` without indentation.
fn flat(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("\n")
}

#[test]
fn every_block_of_the_page_is_code_that_exists() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/new-kind.md"))?;
    let sources = SOURCES.map(|file| fs::read_to_string(root.join(file)));
    let sources = sources.into_iter().collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<String> = sources.iter().map(|source| flat(source)).collect();
    let mut shown = String::new();
    for block in page.split("```rust\n").skip(1) {
        let (code, _) = block.split_once("```").context("a block has an end")?;
        let code = flat(code.trim_end());
        ensure!(
            sources.iter().any(|source| source.contains(&code)),
            "docs/new-kind.md shows what is in none of {SOURCES:?}:\n{code}"
        );
        shown.push_str(&code);
    }
    for item in [
        "const NAME",
        "const SCHEMA",
        "struct Request",
        "struct Facts",
        "type Words",
        "struct Report",
        "fn inputs",
        "fn fingerprint",
        "fn cut",
        "fn work",
        "Ok(Report",
        "ReportFile",
        ".with::<WordCount>()",
        "hold_for",
    ] {
        ensure!(
            shown.contains(item),
            "docs/new-kind.md does not show {item}"
        );
    }
    Ok(())
}
