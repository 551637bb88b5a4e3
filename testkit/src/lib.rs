//! What tests share; not part of a release.
//!
//! * [`broker`]: the suite that every broker passes.
//! * [`chaos`]: a broker that misbehaves within its promises.
//! * [`cluster`]: a whole cluster in one process, over any broker.
//! * [`jobs`]: jobs that tests ask for.
//! * [`join`]: a kind that matches the rows of two inputs.
//! * [`laws`]: the laws of `Merge`.
//! * [`mine`]: a chunk that harms its worker.
//! * [`missing`]: what a test says where it cannot run.
//! * [`node`]: a RabbitMQ node, where there is one.
//! * [`program`]: programs as a shell sees them.
//! * [`proxy`]: a network that misbehaves on command.
//! * [`record`]: a broker that records what became of every message.
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
