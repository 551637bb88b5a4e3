//! What tests share, and no release holds.
//!
//! * [`broker`]: the suite that every broker passes.
//! * [`node`]: a RabbitMQ node, where there is one.

pub mod broker;
pub mod node;
