//! What tests share, and no release holds.
//!
//! * [`broker`]: the suite that every broker passes.
//! * [`node`]: a RabbitMQ node, where there is one.
//! * [`program`]: programs as a shell sees them.

pub mod broker;
pub mod node;
pub mod program;
