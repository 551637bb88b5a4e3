//! The code that tests share; it is not part of a release.
//!
//! * [`broker`]: the suite that every broker passes.
//! * [`chaos`]: a broker that misbehaves within its promises.
//! * [`cluster`]: a whole cluster in one process, over any broker.
//! * [`jobs`]: requests and inputs for tests.
//! * [`join`]: a kind that joins two inputs.
//! * [`laws`]: the laws of `Merge`.
//! * [`mine`]: a chunk that harms its worker.
//! * [`missing`]: reports that a test cannot run.
//! * [`node`]: a RabbitMQ node, if one is available.
//! * [`program`]: runs programs, as a shell does.
//! * [`proxy`]: a network that misbehaves on command.
//! * [`record`]: a broker that records the verdict of every message.
//! * [`wordcount`]: a second, tiny kind. [`wordcount2`]: the same in a second version.

pub mod broker;
pub mod chaos;
pub mod cluster;
pub mod jobs;
pub mod join;
pub mod large;
pub mod laws;
pub mod mine;
pub mod missing;
pub mod node;
pub mod program;
pub mod proxy;
pub mod record;
pub mod wordcount;
pub mod wordcount2;
