//! `ARCHITECTURE.md` names files that exist.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

#[test]
fn every_file_that_the_map_names_is_there() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let mut named = 0;
    // every other piece stands between two backquotes
    for code in page.split('`').skip(1).step_by(2) {
        if code.contains('/') && code.ends_with(".rs") {
            named += 1;
            let sales = root.join("jobs/src").join(code);
            let tables = code.replacen("tables/", "tables/src/", 1);
            ensure!(
                [root.join(code), sales, root.join(tables)]
                    .iter()
                    .any(|file| file.is_file()),
                "ARCHITECTURE.md names {code}, which is not there"
            );
        }
    }
    ensure!(
        named >= 30,
        "{named} files are named: the map is read wrongly"
    );
    Ok(())
}
