//! The program `worker`, as a shell sees it.

use anyhow::Result;
use autoconnect_testkit::program;

const WORKER: &str = env!("CARGO_BIN_EXE_worker");

#[test]
fn it_behaves_as_every_role_does() -> Result<()> {
    program::behaves_as_a_role(WORKER, "worker")
}
