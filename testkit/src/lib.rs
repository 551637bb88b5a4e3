//! What tests share, and no release holds.
//!
//! * [`broker`]: the suite that every broker passes.
//! * [`chaos`]: a broker that misbehaves within its promises.
//! * [`cluster`]: a whole cluster in one process, over any broker.
//! * [`laws`]: the laws of `Merge`.
//! * [`node`]: a RabbitMQ node, where there is one.
//! * [`program`]: programs as a shell sees them.
//! * [`record`]: a broker that notes what became of every message.
//! * [`wordcount`]: a second, tiny kind.

pub mod broker;
pub mod chaos;
pub mod cluster;
pub mod laws;
pub mod node;
pub mod program;
pub mod record;
pub mod wordcount;
