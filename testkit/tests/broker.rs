//! Both brokers pass the suite; RabbitMQ where a node is there, and otherwise each test says that it did not run.

use anyhow::Result;
use autoconnect_common::broker::embedded::Embedded;
use autoconnect_testkit::broker::{Features, Home};
use autoconnect_testkit::broker_suite;
use autoconnect_testkit::node::OnNode;

/// One embedded broker; its connections are clones of it.
struct InProcess(Embedded);

impl Home for InProcess {
    type Broker = Embedded;

    async fn connect(&self) -> Result<Embedded> {
        Ok(self.0.clone())
    }

    fn features(&self) -> Features {
        Features {
            independent_connections: false,
            jobs_bytes: 4 << 20,
        }
    }
}

broker_suite!(embedded, |_| Some(InProcess(Embedded::new())));
broker_suite!(rabbitmq, OnNode::of);
