//! The shipped data are what the generator makes.

use std::path::Path;

use autoconnect_generate::{Options, generate};

#[test]
fn the_shipped_file_is_what_its_command_makes() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let made = folder.path().join("made.csv");
    let options = Options {
        rows: 10_000,
        cities: 3,
        dirty: 0.0,
        seed: 42,
        truth: false,
    };
    generate(&options, &made)?;
    let shipped =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/transactions_autoconnect.csv");
    assert!(
        std::fs::read(shipped)? == std::fs::read(made)?,
        "data/transactions_autoconnect.csv is not what `make data` makes"
    );
    Ok(())
}
