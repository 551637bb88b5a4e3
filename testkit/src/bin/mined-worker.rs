//! `mined-worker`: the program `worker` with a fault that its environment sets: a chunk that harms it, or a moment at which
//! it is killed; see `autoconnect_testkit::mine`. For tests, in no release.

use std::env;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use autoconnect_common::program::{Failure, Role, connect, role};
use autoconnect_common::settings::{Settings, Worker};
use autoconnect_common::{Registry, Shutdown};
use autoconnect_jobs::sales::Sales;
use autoconnect_testkit::mine::{KILL, MINE, Mined, lay};
use autoconnect_worker::faults::{Faults, Point};
use autoconnect_worker::{Config, run};

const WORKER: Role = Role {
    name: "mined-worker",
    about: "Processes chunks as `worker` does, until one of them harms it",
    registry: autoconnect_jobs::registry,
};

fn main() -> ExitCode {
    role(&WORKER, async |settings, shutdown| {
        play(&settings, &shutdown).await
    })
}

async fn play(settings: &Settings, shutdown: &Shutdown) -> Result<(), Failure> {
    if let Ok(mine) = env::var(MINE) {
        lay(mine
            .parse()
            .map_err(|error: String| Failure::usage(error))?);
    }
    let Worker { name, prefetch } = settings.load()?;
    let registry = Arc::new(Registry::default().with::<Mined<Sales>>());
    let broker = connect(settings, &name, registry.formats())?;
    let config = Config {
        prefetch,
        faults: killer()?,
        ..Config::named(name)
    };
    tracing::info!(worker = config.name, "mined-worker started");
    run(&broker, &registry, &config, shutdown)
        .await
        .map_err(|error| Failure::of(&error))?;
    Ok(())
}

/// The faults that kill this process at the moment that [`KILL`] names.
fn killer() -> Result<Faults, Failure> {
    let Ok(text) = env::var(KILL) else {
        return Ok(Faults::default());
    };
    let number: u32 = text
        .parse()
        .map_err(|_| Failure::usage(format!("{KILL}={text:?}: expected a number")))?;
    let confirmed = AtomicU32::new(0);
    Ok(Faults::new(move |point| {
        if point == Point::Confirmed && confirmed.fetch_add(1, Ordering::Relaxed) + 1 == number {
            let pid = std::process::id().to_string();
            let _nothing_comes_back = Command::new("kill").args(["-KILL", &pid]).status();
            loop {
                std::thread::park();
            }
        }
        false
    }))
}
