//! Disks that are full, and folders that cannot be written: the old report stays, and nothing is acknowledged that is
//! not safe. A disk is a small file system in memory, which only root can mount.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use autoconnect_common::broker::Queue;
use autoconnect_testkit::broker::queue;
use autoconnect_testkit::cluster::results_of;
use autoconnect_testkit::jobs;
use autoconnect_testkit::missing::not_run;
use autoconnect_testkit::node::Ctl;
use autoconnect_testkit::program;

use crate::case::{Case, Line};
use crate::stage::{LONG, Stage, until, whole};

/// What an old job left where the newest report is.
const OLD: &[u8] = b"the report of the job before";

/// A small file system of a test's own, unmounted with this value.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one of `kib` KiB at `folder`, where we may.
    fn mount(folder: PathBuf, kib: u32, test: &str) -> Result<Option<Self>> {
        fs::create_dir_all(&folder)?;
        let size = format!("size={kib}k");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder);
        let mounted = mount.output().is_ok_and(|output| output.status.success());
        if !mounted {
            not_run(test, "needs a small disk: only root may mount one");
        }
        Ok(mounted.then_some(Self(folder)))
    }

    /// Takes all the room there is.
    fn fill(&self) -> Result<()> {
        let mut file = fs::File::create(self.0.join("filling"))?;
        while file.write_all(&[0; 4096]).is_ok() {}
        Ok(())
    }

    /// Makes room again.
    fn clear(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("filling"))?)
    }

    /// Remounts the file system read-only, or writable again.
    fn remount(&self, how: &str) -> Result<()> {
        let options = format!("remount,{how}");
        let mut mount = Command::new("mount");
        mount.args(["-o", &options]).arg(&self.0);
        ensure!(mount.status()?.success(), "{mount:?}");
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _mounted_until_now = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Puts an old report where the newest is.
fn put_old(results: &Path) -> Result<()> {
    fs::create_dir_all(results)?;
    Ok(fs::write(results.join("report.json"), OLD)?)
}

/// Plays a job while the reducer cannot write its report; `mend` makes that it can.
async fn results_that_cannot_be_written(
    test: &str,
    fault: &str,
    harm: impl Fn(&Disk) -> Result<()>,
    mend: impl Fn(&Disk) -> Result<()>,
) -> Result<()> {
    let case = Case::sales(1_000, 20).await?;
    let Some(stage) = Stage::of(test).await? else {
        return Ok(());
    };
    let Some(disk) = Disk::mount(stage.results(), 4_096, test)? else {
        return Ok(());
    };
    put_old(&stage.results())?;
    harm(&disk)?;
    let line = Line::of(23, fault, None);
    let mut reducer = stage.start("reducer")?;
    let _others = (stage.start("producer")?, stage.start("worker")?);
    stage.ask(&case.request).await?;
    reducer.logs("report not published")?;
    ensure!(fs::read(stage.results().join("report.json"))? == OLD);
    ensure!(!stage.is_over(&case), "it says that it ended");
    mend(&disk)?;
    let execution = stage.done(&case).await?;
    line.ends(&execution);
    // no program may write there when it is unmounted
    reducer.stop()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_full_disk_for_results() -> Result<()> {
    let test = "row_23_a_full_disk_for_results";
    results_that_cannot_be_written(test, "results disk full", Disk::fill, Disk::clear).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_23_read_only_results() -> Result<()> {
    let test = "row_23_read_only_results";
    let harm = |disk: &Disk| disk.remount("ro");
    let mend = |disk: &Disk| disk.remount("rw");
    results_that_cannot_be_written(test, "read-only results", harm, mend).await
}

#[tokio::test(flavor = "multi_thread")]
async fn row_23_a_full_disk_for_the_journal() -> Result<()> {
    let test = "row_23_a_full_disk_for_the_journal";
    let case = Case::sales(1_000, 20).await?;
    let (Some(stage), Some(ctl)) = (Stage::of(test).await?, Ctl::of(test)) else {
        return Ok(());
    };
    let Some(disk) = Disk::mount(stage.path("state"), 1_024, test)? else {
        return Ok(());
    };
    put_old(&stage.results())?;
    let mut reducer = stage.start("reducer")?;
    disk.fill()?;
    let line = Line::of(23, "journal disk full", None);
    let _others = (stage.start("producer")?, stage.start("worker")?);
    stage.ask(&case.request).await?;
    reducer.logs("state not written; nothing is acknowledged")?;
    // in the end the broker has all there ever was
    let all = results_of(jobs::registry(), &case.request).await?.len() as u64;
    let waiting = async || {
        stage
            .messages(&ctl)
            .is_ok_and(|counts| counts.get(&queue(Queue::Results)) == Some(&all))
    };
    until("all results to wait", LONG, waiting).await?;
    whole(&stage.results(), Some(OLD), &case)?;
    disk.clear()?;
    let execution = stage.done(&case).await?;
    line.saw(all, "results waiting, none acknowledged")
        .ends(&execution);
    reducer.stop()?;
    Ok(())
}

#[test]
fn row_23_the_command_says_that_its_disk_is_full() -> Result<()> {
    let test = "row_23_the_command_says_that_its_disk_is_full";
    let folder = tempfile::tempdir()?;
    let Some(disk) = Disk::mount(folder.path().join("out"), 512, test)? else {
        return Ok(());
    };
    put_old(&disk.0)?;
    // room for the probe that every run makes first, and for no report
    fs::write(disk.0.join("room"), [0; 32 << 10])?;
    disk.fill()?;
    fs::remove_file(disk.0.join("room"))?;
    let line = Line::of(23, "results disk full under autoconnect run", None);
    let program = program::sibling(env!("CARGO_BIN_EXE_mined-worker"), "autoconnect")?;
    let file = jobs::dirty(folder.path(), 3_000)?;
    let mut run = program::command(program, folder.path());
    run.arg("run").arg(file).args(["--out", "out", "--quiet"]);
    run.args(["--max-rejects", "100%"]);
    program::refuses(run, 1, "No space left on device")?;
    ensure!(fs::read(disk.0.join("report.json"))? == OLD);
    line.saw(1, "sentence and exit code 1, the old report intact")
        .print();
    Ok(())
}
