//! What only RabbitMQ does to us, at the level of the broker: returns, limits, policies, full queues, removed queues.
//!
//! Each test needs a node, and says so where there is none. Those that set limits or policies start a node of their own.

mod credentials;
mod full;
mod large;
mod limits;
mod removed;
mod returns;
mod stage;
