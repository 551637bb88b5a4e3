//! The program `reducer`, as a shell sees it.

use anyhow::Result;
use autoconnect_testkit::program;

const REDUCER: &str = env!("CARGO_BIN_EXE_reducer");

#[test]
fn it_behaves_as_every_role_does() -> Result<()> {
    program::behaves_as_a_role(REDUCER, "reducer")
}

#[test]
fn a_second_reducer_on_the_same_state_is_refused() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let reducer = || {
        let mut reducer = program::command(REDUCER, folder.path());
        reducer.env("AUTOCONNECT_BROKER__URI", "amqp://user:hush@127.0.0.1:1/v");
        reducer
    };
    let first = program::Running::start(reducer(), "state folder locked")?;
    let mut second = reducer();
    second.env("AUTOCONNECT_LOG__FILTER", "error");
    program::refuses(second, 1, "in use by another reducer")?;
    drop(first);
    let mut third = program::Running::start(reducer(), "state folder locked")?;
    assert_eq!(third.stop()?.code(), Some(0));
    Ok(())
}
