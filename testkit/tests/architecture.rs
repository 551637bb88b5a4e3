//! `ARCHITECTURE.md` and the page of a new column name files that exist.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

/// Holds a page to the files that it names, `least` or more of them, each below the root, `tables/src` or one of `folders`.
fn hold(page: &str, folders: &[&str], least: usize) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(root.join(page)).with_context(|| page.to_owned())?;
    let mut named = 0;
    // every other piece stands between two backquotes
    for code in text.split('`').skip(1).step_by(2) {
        if code.contains('/') && code.ends_with(".rs") {
            named += 1;
            let tables = code.replacen("tables/", "tables/src/", 1);
            let inside = folders.iter().map(|folder| root.join(folder).join(code));
            let mut places = [root.join(code), root.join(tables)]
                .into_iter()
                .chain(inside);
            ensure!(
                places.any(|file| file.is_file()),
                "{page} names {code}, which is not there"
            );
        }
    }
    ensure!(
        named >= least,
        "{page} names {named} files: it is read wrongly"
    );
    Ok(())
}

#[test]
fn every_file_that_the_map_names_is_there() -> Result<()> {
    hold("ARCHITECTURE.md", &["jobs/src"], 30)
}

#[test]
fn every_file_that_the_page_of_a_column_names_is_there() -> Result<()> {
    hold("docs/new-column.md", &["jobs/src/sales"], 10)
}
