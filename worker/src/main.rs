//! `worker`: turns chunks into partials until shutdown. See `worker --help`.

use std::process::ExitCode;

use autoconnect_common::program::{Role, role};

const WORKER: Role = Role {
    name: "worker",
    about: "Turns AutoConnect's chunks into partials; start as many as there is work for",
    registry: autoconnect_jobs::registry,
};

fn main() -> ExitCode {
    role(&WORKER, async |settings, shutdown| {
        autoconnect_worker::play(&settings, autoconnect_jobs::registry(), &shutdown).await
    })
}
