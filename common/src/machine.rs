//! What a role asks of the machine it runs on: the time of day, a thread for work that blocks, a random number.
//!
//! A simulation runs whole clusters in one thread, and the same history for the same seed. It decides these three itself
//! ([`simulate`]); waiting and idle times are tokio's clock, which it stops and moves. So that nothing else decides, every
//! `select!` of a role is `biased`, and maps whose order shows are `BTreeMap`s.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::rc::Rc;
use std::time::SystemTime;

use tokio::task::{JoinHandle, JoinSet};

/// The machine as a simulation plays it.
pub trait Simulated {
    /// The time of day.
    fn now(&self) -> SystemTime;
    /// When the turn of work comes that blocks; it then happens at once.
    fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// A random number.
    fn random(&self) -> u64;
}

thread_local! {
    static SIMULATED: RefCell<Option<Rc<dyn Simulated>>> = const { RefCell::new(None) };
}

/// Lets `machine` answer for everything that runs on this thread from now on; `None` ends the simulation.
pub fn simulate(machine: Option<Rc<dyn Simulated>>) {
    SIMULATED.with(|simulated| *simulated.borrow_mut() = machine);
}

/// Whether this thread belongs to a simulation.
pub fn is_simulated() -> bool {
    SIMULATED.with(|simulated| simulated.borrow().is_some())
}

fn simulated() -> Option<Rc<dyn Simulated>> {
    SIMULATED.with(|simulated| simulated.borrow().clone())
}

/// The time of day.
pub fn now() -> SystemTime {
    simulated().map_or_else(SystemTime::now, |machine| machine.now())
}

/// A random number, another one each time.
pub fn random() -> u64 {
    simulated().map_or_else(
        || RandomState::new().hash_one(0u8),
        |machine| machine.random(),
    )
}

/// Runs work that blocks on a thread of its own.
pub fn block<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match simulated() {
        None => tokio::task::spawn_blocking(work),
        Some(machine) => tokio::spawn(later(machine.turn(), work)),
    }
}

/// As [`block`], among the tasks of `set`.
pub fn block_in<T: Send + 'static>(
    set: &mut JoinSet<T>,
    work: impl FnOnce() -> T + Send + 'static,
) {
    match simulated() {
        None => set.spawn_blocking(work),
        Some(machine) => set.spawn(later(machine.turn(), work)),
    };
}

async fn later<T>(turn: impl Future<Output = ()>, work: impl FnOnce() -> T) -> T {
    turn.await;
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Still;

    impl Simulated for Still {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn turn(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
            Box::pin(async {})
        }

        fn random(&self) -> u64 {
            7
        }
    }

    #[tokio::test]
    async fn a_simulation_decides_for_its_own_thread_only() {
        let thread = || std::thread::current().id();
        simulate(Some(Rc::new(Still)));
        let (now, random, worked_on) = (now(), random(), block(thread).await);
        let elsewhere = std::thread::spawn(is_simulated).join();
        simulate(None);
        assert_eq!((now, random), (SystemTime::UNIX_EPOCH, 7));
        assert_eq!(worked_on.ok(), Some(thread()));
        assert_eq!(elsewhere.ok(), Some(false));
        assert_ne!(block(thread).await.ok(), Some(thread()));
    }
}
