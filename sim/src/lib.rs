//! Deterministic simulation of whole clusters, each in one thread and drawn from a seed: the real producer, worker and reducer
//! with a simulated broker, a disk that loses unflushed data, and processes that die at any moment. `docs/simulation.md`
//! explains it.
//!
//! * [`history`]: one history, from its seed to its verdict. [`faults`]: the faults in it. [`judge`]: the verdict.
//! * [`cluster`]: processes, which a supervisor restarts. [`life`]: one life of a process.
//! * [`broker`], [`disk`], [`kind`]: the surroundings of the roles. [`world`], [`dice`]: clock, trace and random numbers.

pub mod broker;
pub mod cluster;
pub mod dice;
pub mod disk;
pub mod faults;
pub mod history;
pub mod judge;
pub mod kind;
pub mod life;
pub mod world;
