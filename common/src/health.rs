//! Whether a program that runs is well: it touches a file while it is, and `<program> --health` looks at that file.
//!
//! The file's age says both that the program lives, threads and all, and that the broker serves it. It needs no port.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::broker::rabbitmq::RabbitMq;

/// How often a program that is well says so.
const EVERY: Duration = Duration::from_secs(2);
/// After how long it is taken for unwell: longer than the wait between two tries to reach the broker.
const STALE: Duration = Duration::from_secs(10);

/// Touches `file` for as long as the broker serves us; never returns.
pub(crate) async fn show(file: &Path, broker: &RabbitMq) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        if broker.is_up()
            && let Err(error) = fs::write(file, b"")
        {
            tracing::warn!(file = %file.display(), %error, "health cannot be shown");
        }
    }
}

/// Looks at the file of a program that runs.
///
/// # Errors
/// One sentence, where the program was not well within the last seconds.
pub(crate) fn look(file: &Path) -> Result<(), String> {
    let name = file.display();
    let touched = fs::metadata(file).and_then(|file| file.modified());
    let touched = touched.map_err(|error| format!("not well yet: {name}: {error}"))?;
    // a clock that was set back makes it young
    let age = SystemTime::now()
        .duration_since(touched)
        .unwrap_or_default();
    if age <= STALE {
        return Ok(());
    }
    let (age, stale) = (age.as_secs(), STALE.as_secs());
    Err(format!(
        "not well for {age} s: {name} is touched every few seconds, expected within {stale} s"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_well_while_its_file_is_young() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("health");
        assert!(look(&file).is_err_and(|why| why.starts_with("not well yet")));
        fs::write(&file, b"")?;
        assert_eq!(look(&file), Ok(()));
        let touch = |age| {
            fs::File::options()
                .write(true)
                .open(&file)?
                .set_modified(SystemTime::now() - age)
        };
        touch(STALE + EVERY)?;
        assert!(look(&file).is_err_and(|why| why.starts_with("not well for 12 s")));
        touch(STALE - EVERY)?;
        assert_eq!(look(&file), Ok(()));
        Ok(())
    }
}
