//! Whole clusters in one thread, under a world that follows from a seed: the real producer, worker and reducer, a broker
//! that decides every delivery, a disk that forgets, and processes that die anywhere. `docs/simulation.md` is the page
//! about it.
//!
//! * [`history`]: one history, from its seed to its verdict. [`faults`]: what can happen in it. [`judge`]: the verdict.
//! * [`cluster`]: processes that are started again. [`life`]: one of their lives.
//! * [`broker`], [`disk`], [`kind`]: what the roles see. [`world`], [`dice`]: what decides.

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
