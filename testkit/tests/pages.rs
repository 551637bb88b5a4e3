//! Pages that show code show code that exists: every block of them stands in a file that they name, and nothing is left
//! out.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use autoconnect_jobs::sales::columns::{COLUMNS, REQUIRED};

/// `text` without indentation.
fn flat(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.join("\n")
}

/// Holds a page to `sources`: it shows what stands there, and `items` among it.
fn hold(page: &str, sources: &[&str], items: &[&str]) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| {
        fs::read_to_string(root.join(file)).with_context(|| format!("{page} speaks of {file}"))
    };
    let texts = sources.iter().map(|file| Ok(flat(&read(file)?)));
    let texts = texts.collect::<Result<Vec<_>>>()?;
    let mut shown = String::new();
    for block in read(page)?.split("```rust\n").skip(1) {
        let (code, _) = block.split_once("```").context("a block has an end")?;
        let code = flat(code.trim_end());
        ensure!(
            texts.iter().any(|text| text.contains(&code)),
            "{page} shows what is in none of {sources:?}:\n{code}"
        );
        shown.push_str(&code);
    }
    for item in items {
        ensure!(shown.contains(item), "{page} does not show {item}");
    }
    Ok(())
}

#[test]
fn a_new_kind_is_shown_as_it_is() -> Result<()> {
    hold(
        "docs/new-kind.md",
        &[
            "testkit/src/wordcount.rs",
            "testkit/src/jobs.rs",
            "testkit/tests/kinds/laws.rs",
            "testkit/tests/kinds/sameness.rs",
            "autoconnect/examples/wordcount.rs",
            "api/tests/cluster/wordcount.rs",
        ],
        &[
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
            "impl KindCommand",
            "impl ApiKind",
            ".with::<Words>()",
        ],
    )
}

#[test]
fn a_new_column_is_shown_as_it_is() -> Result<()> {
    hold(
        "docs/new-column.md",
        &[
            "jobs/src/sales/columns.rs",
            "jobs/src/sales/reason.rs",
            "jobs/src/sales/partial.rs",
            "jobs/src/sales/work.rs",
            "jobs/src/sales/conclude/comparatif.rs",
            "jobs/src/sales/render/tables/comparatif.rs",
        ],
        &[
            "Cout,",
            "optional(Column::Cout",
            "const SCHEMA",
            "CoutInvalide =",
            "\"cout_invalide\" =>",
            "pub valeur_contrats: i64",
            "self.valeur_contrats.merge",
            "amounts(Column::Cout)",
            "euros(ca)",
            "\"loyer_moyen\"",
        ],
    )
}

#[test]
fn every_column_is_named_where_columns_are_listed() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file)).with_context(|| file.to_owned());
    let names = |file: &str, name: String| {
        let page = read(file)?;
        ensure!(page.contains(&name), "{file} does not name {name}");
        Ok(())
    };
    let (always, optional) = COLUMNS.split_at(REQUIRED);
    let first_line: Vec<&str> = always.iter().map(|column| column.name).collect();
    names("README.md", format!("`{}`", first_line.join(",")))?;
    for column in optional {
        names("README.md", format!("`{}`", column.name))?;
        names("docs/new-column.md", format!("`{}`", column.name))?;
    }
    for column in COLUMNS.iter().filter(|column| !column.in_chunk.is_empty()) {
        names("docs/protocol.md", format!("`{}: ", column.in_chunk))?;
    }
    // the page about the shipped file has the columns of that file
    let shipped = read("data/transactions_autoconnect.csv")?;
    for name in shipped.lines().next().unwrap_or_default().split(',') {
        names("data/README.md", format!("| `{name}` |"))?;
    }
    Ok(())
}

#[test]
fn the_names_that_the_page_of_columns_promises_exist() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join("jobs/src/sales").join(file));
    let all = ["columns.rs", "chunk.rs", "fast.rs", "row.rs"].map(read);
    let all = all.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let page = fs::read_to_string(root.join("docs/new-column.md"))?;
    for name in [
        "WANTED",
        "COLUMNS",
        "ROW_BYTES",
        "MAX_ROWS",
        "MAX_CENTS",
        "MAX_NAME",
        "MAX_DUREE",
        "LONG_DUREE",
        "the_fullest_chunk_fits_a_message",
    ] {
        ensure!(page.contains(name) && all.contains(name), "{name}");
    }
    Ok(())
}
