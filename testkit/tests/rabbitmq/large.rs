//! Bodies of 64 MB, where the broker refuses messages above 16: the messages carry claims.

use anyhow::{Result, ensure};
use autoconnect_common::blob::{Blobs, Place};
use autoconnect_common::message::Status;
use autoconnect_producer::name_job;
use autoconnect_testkit::broker::Home as _;
use autoconnect_testkit::cluster::Cluster;
use autoconnect_testkit::large::{Large, Request, check, registry};
use autoconnect_testkit::node::OnNode;

#[tokio::test(flavor = "multi_thread")]
async fn bodies_larger_than_any_message_are_worked_through_the_broker() -> Result<()> {
    let test = "bodies_larger_than_any_message_are_worked_through_the_broker";
    let Some(mut node) = OnNode::of(test) else {
        return Ok(());
    };
    node.options.formats = registry().formats();
    let (chunks, bytes) = (3, 64 << 20);
    let request = name_job::<Large>(&registry(), &Request { chunks, bytes }, None)?;
    let folder = tempfile::tempdir()?;
    let place = Place::folder(folder.path());
    let blobs = Blobs::open(&place, bytes as u64)?;
    let cluster = Cluster {
        blobs: Some(blobs.clone()),
        ..Cluster::of(registry(), 2)
    };
    let outcome = cluster.run(node.connect().await?, request).await?;
    ensure!(outcome.end.status == Status::Done, "{:?}", outcome.end);
    check(outcome.report()?, chunks, bytes, &[])?;
    let left = blobs.jobs().await?;
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}
