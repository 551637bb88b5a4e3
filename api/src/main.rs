//! `api`: the HTTP API and the dashboard of a cluster, until shutdown. See `api --help`.

use std::process::ExitCode;

use autoconnect_common::program::{Role, role};

const API: Role = Role {
    name: "api",
    about: "AutoConnect's HTTP API and dashboard: the activity of the cluster, and the reports of its jobs",
    registry: autoconnect_jobs::registry,
};

fn main() -> ExitCode {
    role(&API, async |settings, shutdown| {
        autoconnect_api::play(&settings, &shutdown).await
    })
}
