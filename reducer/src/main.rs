//! `reducer`: merges partials and writes the reports until shutdown. See `reducer --help`.

use std::process::ExitCode;

use autoconnect_common::program::{Role, role};

const REDUCER: Role = Role {
    name: "reducer",
    about: "Merges AutoConnect's partials and writes the reports; one works, others stand by",
    registry: autoconnect_jobs::registry,
};

fn main() -> ExitCode {
    role(&REDUCER, async |settings, shutdown| {
        autoconnect_reducer::play(&settings, &autoconnect_jobs::registry(), shutdown).await
    })
}
