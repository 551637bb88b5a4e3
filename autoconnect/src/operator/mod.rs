//! The commands of a cluster's operator: [`dead`] messages, [`jobs`], and [`queues`].
//!
//! They reach the cluster through the broker alone. They need the rights to consume events and the dead queues and to
//! publish chunks, results and messages to the reducer, and declare nothing but the queue in which they listen to events.
//! Only removing queues needs more: the right to configure them.

pub(crate) mod dead;
pub(crate) mod jobs;
mod management;
pub(crate) mod queues;
