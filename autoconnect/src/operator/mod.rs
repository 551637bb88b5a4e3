//! An operator's first aid to a cluster: [`dead`] messages, [`jobs`], and [`queues`].
//!
//! Everything goes through the broker, with the rights to consume events and the dead queues and to publish chunks and
//! messages to the reducer; nothing is declared but a listener's own queue. Only removing queues needs more: the right to
//! configure them.

pub(crate) mod dead;
pub(crate) mod jobs;
mod management;
pub(crate) mod queues;
