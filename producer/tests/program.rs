//! The program `producer`, as a shell sees it.

use anyhow::Result;
use autoconnect_testkit::program;

const PRODUCER: &str = env!("CARGO_BIN_EXE_producer");

#[test]
fn it_behaves_as_every_role_does() -> Result<()> {
    program::behaves_as_a_role(PRODUCER, "producer")
}

#[test]
fn an_input_that_is_not_there_is_refused_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut producer = program::command(PRODUCER, folder.path());
    producer
        .env("AUTOCONNECT_BROKER__URI", "amqp://user:hush@127.0.0.1:1/v")
        .env("AUTOCONNECT_PRODUCER__INPUT", "none.csv");
    program::refuses(producer, 2, "none.csv")
}
