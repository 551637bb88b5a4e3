//! The faults to survive, one test a row of the table in `docs/faults.md`: whatever happens, `report.json` has the
//! bytes of the run in one process, or says `complet: false` and names what is missing.
//!
//! Most of them play on a RabbitMQ node, with the real programs as processes of their own ([`stage`]); what the
//! embedded broker can suffer too plays on both ([`tasks`]). Each prints one line with what it saw.
//! `AUTOCONNECT_TEST_SEEDS` says how many seeds each plays; unset, as many as a quick run has time for.

mod case;
mod stage;
mod tasks;

mod brokers;
mod clocks;
mod disks;
mod jobs;
mod links;
mod poison;
mod producers;
mod queues;
mod reducers;
mod refusals;
mod requests;
mod workers;
