//! An operator's first aid to a cluster: [`dead`] messages, [`jobs`], and [`queues`].
//!
//! Everything goes through the broker, as somebody who may listen to events, tell the reducer something, send chunks and
//! take from the dead queues; nothing is declared but a listener's own queue. Only removing queues takes more: the rights
//! of the one who declares them.

pub(crate) mod dead;
pub(crate) mod jobs;
mod management;
pub(crate) mod queues;
