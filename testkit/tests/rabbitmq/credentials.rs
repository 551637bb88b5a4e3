//! Credentials that change while a client runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{Broker, BrokerError, Queue};
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::{message, next, sales, soon};
use autoconnect_testkit::node::{OnNode, OwnNode};

use crate::stage::until;

/// A node with the user `rotated`, and the options of a client that reads its address from a file.
fn rotating(test: &str) -> Result<Option<(OwnNode, Options, tempfile::NamedTempFile, String)>> {
    let Some(node) = OwnNode::of(test, None)? else {
        return Ok(None);
    };
    let ctl = node.ctl();
    ctl.run(&["add_user", "rotated", "first"])?;
    ctl.run(&["set_permissions", "rotated", ".*", ".*", ".*"])?;
    let host = node.uri().rsplit_once('@').context("a host")?.1.to_owned();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), format!("amqp://rotated:first@{host}\n"))?;
    let options = Options {
        uris: vec![format!("amqp://rotated:first@{host}")],
        uri_file: Some(file.path().to_owned()),
        ..OnNode::at(node.uri().to_owned(), test).options.clone()
    };
    Ok(Some((node, options, file, host)))
}

fn rotate(node: &OwnNode) -> Result<()> {
    let ctl = node.ctl();
    ctl.run(&["change_password", "rotated", "second"])?;
    ctl.run(&["close_all_connections", "rotated"])?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_password_is_read_from_the_file_without_a_new_start() -> Result<()> {
    let test = "a_rotated_password_is_read_from_the_file_without_a_new_start";
    let Some((node, options, file, host)) = rotating(test)? else {
        return Ok(());
    };
    let broker = RabbitMq::connect(options)?;
    let mut jobs = broker.subscribe(Queue::Jobs(sales()), 1).await?;
    rotate(&node)?;
    until("word of the refused login", async || {
        let troubles = broker.health().troubles();
        Ok(troubles
            .iter()
            .any(|why| why.contains("wrong user or password: ACCESS_REFUSED")))
    })
    .await?;
    let said = broker.health().troubles().join(" ");
    ensure!(!said.contains("first"), "{said}");
    // A file that is being written is a refusal that passes.
    std::fs::write(file.path(), "")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    std::fs::write(file.path(), format!("amqp://rotated:second@{host}\n"))?;
    let sent = broker.publish(message(Exchange::Jobs, sales().to_string(), "1", "x"));
    soon("the message to be taken", sent).await??;
    next(&mut jobs).await?.ack();
    broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_stays_refused_ends_the_client_when_the_settings_say() -> Result<()> {
    let test = "a_login_that_stays_refused_ends_the_client_when_the_settings_say";
    let Some((node, options, _file, _)) = rotating(test)? else {
        return Ok(());
    };
    let broker = RabbitMq::connect(Options {
        refused_login_for: Some(Duration::from_secs(3)),
        ..options
    })?;
    broker.reach().await?;
    rotate(&node)?;
    let publishing = async {
        loop {
            let job = message(Exchange::Jobs, sales().to_string(), "1", "x");
            if let Err(error) = broker.publish(job).await {
                break error;
            }
        }
    };
    let error = soon("the client to give up", publishing).await?;
    let BrokerError::Refused(why) = error else {
        anyhow::bail!("{error:?}");
    };
    ensure!(why.contains("wrong user or password"), "{why}");
    ensure!(!why.contains("first"), "{why}");
    broker.close().await;
    Ok(())
}
