//! Removes uploads that no job needs: those of ended jobs, and abandoned ones.

use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use autoconnect_common::JobId;
use tokio::sync::broadcast::error::RecvError;

use super::file::{UNFINISHED, remove, uploads};
use crate::activity::JobState;
use crate::app::Shared;

/// How often uploads are swept, besides at the end of each job: once a minute, because what it removes is a day old.
const LOOK: Duration = Duration::from_secs(60);
/// How old an upload of an unknown job may become: a week, because a cluster may be down over holidays.
const STALE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an unfinished upload may receive nothing: a day, because its connection is closed after 30 seconds.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Removes uploads that no job needs, for as long as it is polled.
pub(crate) async fn sweep(app: &Shared) -> Infallible {
    let mut changes = app.activity.changes();
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = tick.tick() => sweep_all(app).await,
            change = changes.recv() => match change {
                Ok(job) if job.status.has_ended() => {
                    let folder = uploads(app).join(job.job_id.as_str());
                    let _died = tokio::task::spawn_blocking(move || remove(&folder)).await;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => sweep_all(app).await,
                Err(RecvError::Closed) => std::future::pending().await,
            },
        }
    }
}

async fn sweep_all(app: &Shared) {
    let app = Arc::clone(app);
    let sweeping = tokio::task::spawn_blocking(move || {
        let Ok(folders) = fs::read_dir(uploads(&app)) else {
            return;
        };
        for folder in folders.flatten() {
            let is_folder = folder.file_type().is_ok_and(|file| file.is_dir());
            let name = folder.file_name();
            let Some(Ok(job)) = name.to_str().map(str::parse::<JobId>) else {
                continue;
            };
            let state = app.activity.job(&job).map(|job| job.status);
            if is_folder && is_done_with(&folder.path(), state) {
                remove(&folder.path());
            }
        }
    });
    let _died = sweeping.await;
}

/// Whether no job needs an upload any more.
fn is_done_with(folder: &Path, state: Option<JobState>) -> bool {
    match state {
        Some(state) => state.has_ended(),
        None => {
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            let unfinished = files
                .map(|file| file.path())
                .find(|path| path.extension().is_some_and(|ending| ending == UNFINISHED));
            match unfinished {
                Some(file) => is_older(&file, ABANDONED),
                None => is_older(folder, STALE),
            }
        }
    }
}

fn is_older(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|file| file.modified());
    let since = modified.map(|then| SystemTime::now().duration_since(then).unwrap_or_default());
    since.is_ok_and(|since| since > age)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_has_become_old_is_done_with() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("a.csv.part");
        let at = |age: Duration| {
            let modified = SystemTime::now() - age;
            fs::File::create(&file)?.set_modified(modified)
        };
        let done = |state| is_done_with(folder.path(), state);
        at(ABANDONED / 2)?;
        assert!(!done(None));
        at(ABANDONED * 2)?;
        assert!(done(None));
        assert!(!done(Some(JobState::Processing)));
        fs::rename(&file, folder.path().join("a.csv"))?;
        assert!(!done(None));
        assert!(done(Some(JobState::Cancelled)));
        Ok(())
    }
}
