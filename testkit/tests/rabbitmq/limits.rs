//! Limits of the broker that never lift: every client says so in the broker's own words, and gives up in time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use autoconnect_common::broker::rabbitmq::{Options, RabbitMq};
use autoconnect_common::broker::{Broker, BrokerError, Queue};
use autoconnect_common::message::Exchange;
use autoconnect_testkit::broker::{Home as _, message, next, sales, soon};
use autoconnect_testkit::node::{OnNode, OwnNode};

use crate::stage::until;

/// How long a client may take to give up.
const GIVES_UP: Duration = Duration::from_secs(60);

/// A node of its own with this in its configuration file.
fn own(test: &str, conf: &str) -> Result<Option<(OwnNode, OnNode)>> {
    let Some(node) = OwnNode::with_conf(test, conf)? else {
        return Ok(None);
    };
    // it listens a moment before it takes orders
    node.ctl().run(&["await_startup"])?;
    let queues = OnNode::at(node.uri().to_owned(), test);
    Ok(Some((node, queues)))
}

/// Checks that a client gives up in time, and in whose words.
async fn gives_up(options: Options, expected: &[&str]) -> Result<()> {
    let broker = RabbitMq::connect(options)?;
    let since = Instant::now();
    let refused = tokio::time::timeout(2 * GIVES_UP, async {
        for queue in [
            Queue::Results(sales()),
            Queue::Jobs(sales()),
            Queue::DeadChunks,
            Queue::DeadResults,
        ] {
            // Each has a channel; they are kept.
            std::mem::forget(broker.subscribe(queue, 1).await?);
        }
        // a refusal after the subscription began is returned to the next request
        loop {
            broker.waiting(Queue::Jobs(sales())).await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        #[expect(unreachable_code, reason = "it names the type of the error")]
        Ok::<(), BrokerError>(())
    })
    .await
    .context("it did not give up")?;
    let Err(BrokerError::Refused(why)) = refused else {
        anyhow::bail!("{refused:?}");
    };
    for word in expected {
        ensure!(why.contains(word), "{word:?} is not in {why:?}");
    }
    let took = since.elapsed();
    println!("gave up after {:.1} s", took.as_secs_f64());
    // a loaded machine is no defect: see `make test-faults`
    let judged = std::env::var("AUTOCONNECT_TEST_FIGURES").is_ok_and(|on| on == "1");
    ensure!(!judged || took < GIVES_UP, "gave up after {took:?}");
    let troubles = broker.health().troubles();
    ensure!(!troubles.is_empty(), "its health says nothing");
    broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_channels_on_a_connection() -> Result<()> {
    let test = "too_few_channels_on_a_connection";
    let Some((_node, queues)) = own(test, "channel_max = 2")? else {
        return Ok(());
    };
    gives_up(queues.options.clone(), &["channel_max"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_to_a_virtual_host() -> Result<()> {
    let test = "no_more_connections_to_a_virtual_host";
    let Some((node, queues)) = own(test, "")? else {
        return Ok(());
    };
    let limit = r#"{"max-connections":0}"#;
    node.ctl().run(&["set_vhost_limits", "-p", "/", limit])?;
    gives_up(
        queues.options.clone(),
        &["connection limit", "a limit of the broker"],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_or_channels_of_a_user() -> Result<()> {
    let test = "no_more_connections_or_channels_of_a_user";
    let Some((node, queues)) = own(test, "")? else {
        return Ok(());
    };
    let users = node.ctl().run(&["list_users", "--quiet"])?;
    let user = users
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(user, _)| user)
        .find(|user| *user != "user")
        .context("a user")?
        .to_owned();
    // fewer than are used side by side where there may be more
    let few = r#"{"max-channels":3}"#;
    node.ctl().run(&["set_user_limits", &user, few])?;
    let broker = queues.connect().await?;
    soon("a broker that allows few channels", broker.reach()).await??;
    broker.close().await;
    for (limit, said) in [
        (r#"{"max-channels":1}"#, "channel"),
        (r#"{"max-connections":0}"#, "connection limit"),
    ] {
        node.ctl().run(&["set_user_limits", &user, limit])?;
        gives_up(queues.options.clone(), &[said, "limit"]).await?;
        node.ctl().run(&["clear_user_limits", &user, "all"])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_limit_that_lifts_is_waited_for() -> Result<()> {
    let test = "a_connection_limit_that_lifts_is_waited_for";
    let Some((node, queues)) = own(test, "")? else {
        return Ok(());
    };
    let limit = r#"{"max-connections":0}"#;
    node.ctl().run(&["set_vhost_limits", "-p", "/", limit])?;
    let broker = queues.connect().await?;
    let reaching = {
        let broker = broker.clone();
        tokio::spawn(async move { broker.reach().await })
    };
    until("the limit to be met", async || {
        ensure!(!reaching.is_finished(), "it gave up at once");
        Ok(!broker.health().troubles().is_empty())
    })
    .await?;
    node.ctl().run(&["clear_vhost_limits", "-p", "/"])?;
    soon("the broker to be reached", reaching).await???;
    broker.close().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_queues_in_a_virtual_host() -> Result<()> {
    let test = "no_more_queues_in_a_virtual_host";
    let Some((node, queues)) = own(test, "")? else {
        return Ok(());
    };
    let limit = r#"{"max-queues":2}"#;
    node.ctl().run(&["set_vhost_limits", "-p", "/", limit])?;
    gives_up(
        queues.options.clone(),
        &["queue limit", "cannot be declared"],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_that_is_missing() -> Result<()> {
    let test = "a_permission_that_is_missing";
    let Some((node, queues)) = own(test, "")? else {
        return Ok(());
    };
    let ctl = node.ctl();
    ctl.run(&["add_user", "poor", "poor"])?;
    ctl.run(&["set_permissions", "poor", "^$", "^$", "^$"])?;
    let port = node.uri().rsplit_once('@').context("a host")?.1.to_owned();
    let options = Options {
        uris: vec![format!("amqp://poor:poor@{port}")],
        ..queues.options.clone()
    };
    gives_up(
        options.clone(),
        &["ACCESS_REFUSED", "refused for user 'poor'"],
    )
    .await?;
    // The same where it does not declare: consuming is refused.
    queues.connect().await?.reach().await?;
    let options = Options {
        declare: false,
        ..options
    };
    gives_up(options, &["ACCESS_REFUSED", "refused for user 'poor'"]).await
}

/// Only the message that is too large is refused, in the broker's words; those that were on the wire with it go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_large_for_the_broker_is_refused_alone() -> Result<()> {
    let test = "a_message_too_large_for_the_broker_is_refused_alone";
    let Some((_node, queues)) = own(test, "max_message_size = 1500")? else {
        return Ok(());
    };
    let broker = queues.connect().await?;
    let publish = |id: String, bytes: usize| {
        let (broker, body) = (broker.clone(), vec![7u8; bytes]);
        tokio::spawn(async move {
            let message = message(Exchange::Jobs, sales().to_string(), &id, body);
            broker.publish(message).await
        })
    };
    let mut good = Vec::new();
    let mut large = Vec::new();
    for number in 0..20 {
        good.push(publish(format!("good/{number}"), 1000));
        if number % 7 == 3 {
            large.push(publish(format!("large/{number}"), 2000));
        }
    }
    for sent in good {
        soon("a message to be taken", sent).await???;
    }
    for sent in large {
        let sent = soon("an answer", sent).await??;
        let Err(BrokerError::Unsendable(why)) = sent else {
            anyhow::bail!("{sent:?}");
        };
        ensure!(
            why.contains("max size 1500") && why.contains("large/"),
            "{why}"
        );
    }
    broker
        .publish(message(Exchange::Jobs, sales().to_string(), "after", "x"))
        .await?;
    let mut jobs = broker.subscribe(Queue::Jobs(sales()), 100).await?;
    let mut there = std::collections::BTreeSet::new();
    while there.len() < 21 {
        let delivery = next(&mut jobs).await?;
        there.insert(delivery.message.id.clone());
        delivery.ack();
    }
    broker.close().await;
    Ok(())
}

/// Headers that do not fit into a frame of the broker are refused alone.
#[tokio::test(flavor = "multi_thread")]
async fn headers_too_large_for_a_frame_are_refused_alone() -> Result<()> {
    let test = "headers_too_large_for_a_frame_are_refused_alone";
    let Some((_node, queues)) = own(test, "frame_max = 8192")? else {
        return Ok(());
    };
    let broker = queues.connect().await?;
    for bytes in [7900, 8050, 8100, 8150, 8192, 60_000] {
        let mut crowded = message(
            Exchange::Jobs,
            sales().to_string(),
            "crowded",
            vec![1u8; 30_000],
        );
        crowded.headers.insert("much".to_owned(), "x".repeat(bytes));
        let sent = soon("an answer", broker.publish(crowded)).await?;
        match sent {
            Ok(()) => ensure!(bytes < 8192, "{bytes} were taken"),
            Err(BrokerError::Unsendable(why)) => {
                ensure!(bytes > 7900 && why.contains("frame_max"), "{bytes}: {why}");
            }
            Err(error) => anyhow::bail!("{error}"),
        }
        let good = message(Exchange::Jobs, sales().to_string(), "good", "x");
        soon("a good message to be taken", broker.publish(good)).await??;
    }
    broker.close().await;
    Ok(())
}
