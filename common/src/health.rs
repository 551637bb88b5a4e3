//! Health: what keeps a program from making progress, and the file in which it reports that.
//!
//! Health asks "did anything move that could?", not "is it connected?". Code that waits for something outside the program
//! [raises](Health::raise) a trouble under a name and [clears](Health::clear) it once the wait is over. The broker clients
//! also count unacked deliveries, and record every delivery, verdict and confirm as a movement. `--health` and `/readyz`
//! show the troubles that last; each is logged once when it shows and once when it ends.
//!
//! A program writes its [`Health`] into a file every few seconds. The file's age shows that the program and its threads
//! run; its text says what is wrong. It needs no port.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::broker::Broker;
use crate::message::Event;
use crate::settings;

/// How often a program writes its health: a small file, and soon enough for a check every few seconds.
const EVERY: Duration = Duration::from_secs(2);
/// The age of the file at which the program counts as dead: five times [`EVERY`], so that a busy machine does not look
/// like a dead program.
const STALE: Duration = Duration::from_secs(10);
/// How long a trouble lasts before it shows: a restart of the broker, or a queue that is full for a moment, must not.
const LASTS: Duration = Duration::from_secs(10);
/// How long deliveries may be unacked without any movement: half the broker's consumer timeout of 30 minutes.
const STUCK: Duration = Duration::from_secs(15 * 60);
/// The most troubles that are shown, because they are read in one line.
const MOST: usize = 20;
/// How often troubles are published; the API forgets them after [`TOLD`].
const TELL: Duration = Duration::from_secs(5);
/// How long the API keeps a program's troubles without another event of it: three of its intervals.
pub const TOLD: Duration = Duration::from_secs(15);
/// The text of the file of a program without a trouble.
const WELL: &str = "well";

/// What keeps one program from making progress. Clones share it.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    troubles: BTreeMap<String, Trouble>,
    /// Unacked deliveries.
    in_hand: usize,
    /// When the last delivery, verdict or confirm happened.
    moved: Instant,
}

#[derive(Debug)]
struct Trouble {
    why: String,
    since: Instant,
    /// How long it lasts before it shows.
    after: Duration,
    /// Whether it was logged.
    logged: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            troubles: BTreeMap::new(),
            in_hand: 0,
            moved: Instant::now(),
        })))
    }
}

impl Health {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Raises a trouble; it shows once it has lasted a while. `name` identifies it, `why` is one sentence. Raised
    /// again, it keeps its start, shows another `why`, and is not logged again.
    pub fn raise(&self, name: &str, why: impl Into<String>) {
        self.raise_after(LASTS, name, why.into());
    }

    /// As [`Health::raise`], for a trouble that shows at once.
    pub fn alarm(&self, name: &str, why: impl Into<String>) {
        self.raise_after(Duration::ZERO, name, why.into());
    }

    /// As [`Health::alarm`], for a trouble that is expected for now and not logged.
    pub fn expect(&self, name: &str, why: impl Into<String>) {
        let trouble = Trouble {
            why: why.into(),
            since: Instant::now(),
            after: Duration::ZERO,
            logged: false,
        };
        self.state().troubles.insert(name.to_owned(), trouble);
    }

    fn raise_after(&self, after: Duration, name: &str, why: String) {
        let mut state = self.state();
        let known = state.troubles.get(name);
        if known.is_some_and(|known| known.why == why) {
            return;
        }
        // a reason that changes, as that of a full queue does with the routing key, is shown and not logged again
        let is_new = !known.is_some_and(|known| known.logged);
        let trouble = Trouble {
            why: why.clone(),
            since: known.map_or_else(Instant::now, |known| known.since),
            after,
            logged: true,
        };
        state.troubles.insert(name.to_owned(), trouble);
        drop(state);
        if is_new {
            tracing::warn!(trouble = name, why, "no progress");
        }
    }

    /// Whether there is a trouble of this name, shown or not.
    pub fn is_raised(&self, name: &str) -> bool {
        self.state().troubles.contains_key(name)
    }

    /// Clears the trouble.
    pub fn clear(&self, name: &str) {
        let ended = self.state().troubles.remove(name);
        if let Some(trouble) = ended.filter(|trouble| trouble.logged) {
            let lasted = trouble.since.elapsed();
            tracing::info!(trouble = name, ?lasted, "progress again");
        }
    }

    /// Records a movement.
    pub fn moved(&self) {
        self.state().moved = Instant::now();
    }

    /// Records a delivery.
    pub fn took(&self) {
        let mut state = self.state();
        state.in_hand += 1;
        state.moved = Instant::now();
    }

    /// Records that a delivery was settled.
    pub fn settled(&self) {
        let mut state = self.state();
        state.in_hand = state.in_hand.saturating_sub(1);
        state.moved = Instant::now();
    }

    /// The troubles that last, one sentence each; none for a program that makes progress or has nothing to do.
    pub fn troubles(&self) -> Vec<String> {
        let state = self.state();
        let lasting = state.troubles.values();
        let lasting = lasting.filter(|trouble| trouble.since.elapsed() >= trouble.after);
        let mut troubles: Vec<String> = lasting.map(|trouble| trouble.why.clone()).collect();
        let more = troubles.len().saturating_sub(MOST);
        if more > 0 {
            troubles.truncate(MOST);
            troubles.push(format!("and {more} more troubles"));
        }
        let (held, still) = (state.in_hand, state.moved.elapsed());
        if held > 0 && still >= STUCK {
            let minutes = still.as_secs() / 60;
            troubles.push(format!(
                "{held} messages are in hand, and nothing moved for {minutes} minutes"
            ));
        }
        troubles
    }

    /// Publishes the troubles while they last, and once that they are over; never returns. While the broker is down
    /// nothing is published: the API notices that itself.
    pub(crate) async fn tell<B: Broker>(&self, broker: &B, program: &str) {
        let program = format!(
            "{program} ({}, process {})",
            settings::host(),
            std::process::id()
        );
        let mut told = false;
        for stamp in 0.. {
            tokio::time::sleep(TELL).await;
            let troubles = self.troubles();
            if troubles.is_empty() && !told {
                continue;
            }
            told = !troubles.is_empty();
            let program = program.clone();
            let event = Event::Troubles { program, troubles };
            if let Ok(message) = event.to_message(stamp) {
                let _lost = tokio::time::timeout(TELL, broker.publish(message)).await;
            }
        }
    }

    /// Writes itself into `file` every few seconds; never returns.
    pub(crate) async fn show(&self, file: &Path) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            if let Err(error) = fs::write(file, written(&self.troubles())) {
                tracing::warn!(file = %file.display(), %error, "health cannot be shown");
            }
        }
    }
}

/// The text of the file.
fn written(troubles: &[String]) -> String {
    let lines = troubles.iter().map(|why| why.replace('\n', " "));
    let lines = lines.collect::<Vec<_>>().join("\n");
    let lines = if lines.is_empty() { WELL } else { &lines };
    format!("{lines}\n")
}

/// Reads the file of a running program.
///
/// # Errors
/// One sentence, where the program is dead or does not make progress.
pub(crate) fn look(file: &Path) -> Result<(), String> {
    let name = file.display();
    let touched = fs::metadata(file).and_then(|file| file.modified());
    let touched = touched.map_err(|error| format!("not well yet: {name}: {error}"))?;
    // a clock that was set back makes the file look new
    let age = SystemTime::now()
        .duration_since(touched)
        .unwrap_or_default();
    if age > STALE {
        let (age, stale) = (age.as_secs(), STALE.as_secs());
        return Err(format!(
            "not well for {age} s: {name} is written every few seconds, expected within {stale} s"
        ));
    }
    let said = said(file).map_err(|error| format!("{name}: {error}"))?;
    if said == WELL {
        return Ok(());
    }
    Err(format!("not well: {}", said.replace('\n', "; ")))
}

/// The text of the file, which the program may be writing at this moment: it ends with a newline once it is whole.
fn said(file: &Path) -> std::io::Result<String> {
    let mut text = fs::read_to_string(file)?;
    for _ in 0..20 {
        if text.ends_with('\n') {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        text = fs::read_to_string(file)?;
    }
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_well_while_its_file_is_young_and_says_so()
    -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("health");
        assert!(look(&file).is_err_and(|why| why.starts_with("not well yet")));
        fs::write(&file, written(&[]))?;
        assert_eq!(look(&file), Ok(()));
        let touch = |age| {
            fs::File::options()
                .write(true)
                .open(&file)?
                .set_modified(SystemTime::now() - age)
        };
        touch(STALE + EVERY)?;
        assert!(look(&file).is_err_and(|why| why.starts_with("not well for 12 s")));
        touch(STALE - EVERY)?;
        assert_eq!(look(&file), Ok(()));
        let troubles = ["q.a is full".to_owned(), "a\nb".to_owned()];
        fs::write(&file, written(&troubles))?;
        assert_eq!(look(&file), Err("not well: q.a is full; a b".to_owned()));
        Ok(())
    }

    #[test]
    fn a_file_that_says_nothing_is_not_well() -> Result<(), Box<dyn std::error::Error>> {
        let file = tempfile::NamedTempFile::new()?;
        assert!(look(file.path()).is_err());
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn a_trouble_shows_once_it_lasts_and_until_it_ends() {
        let health = Health::default();
        health.raise("queue", "the queue is full");
        assert!(health.troubles().is_empty());
        tokio::time::advance(LASTS / 2).await;
        health.raise("queue", "the queue is very full");
        tokio::time::advance(LASTS / 2).await;
        assert_eq!(health.troubles(), ["the queue is very full"]);
        health.alarm("disk", "the disk is full");
        assert_eq!(health.troubles().len(), 2);
        health.clear("queue");
        assert_eq!(health.troubles(), ["the disk is full"]);
        health.clear("disk");
        health.clear("disk");
        assert!(health.troubles().is_empty());
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_that_changes_is_shown_and_not_logged_again() {
        let (health, log) = (Health::default(), Log::default());
        let writer = log.clone();
        let logs = tracing_subscriber::fmt().with_writer(move || writer.clone());
        tracing::subscriber::with_default(logs.finish(), || {
            health.expect("publish", "a wait");
            for key in ["sales.v1.lyon", "sales.v1.paris", "sales.v1.lyon"] {
                health.raise("publish", format!("the queue of x.chunks, {key}, is full"));
            }
        });
        tokio::time::advance(LASTS).await;
        let shown = health.troubles().join("\n");
        assert!(shown.contains("sales.v1.lyon"), "{shown}");
        let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("text");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("sales.v1.lyon"), "{log}");
    }

    #[tokio::test(start_paused = true)]
    async fn troubles_are_told_while_they_last_and_once_that_they_are_over() {
        let broker = crate::broker::embedded::Embedded::new();
        let listening = broker.subscribe(crate::broker::Queue::AllEvents, 8);
        let mut events = listening.await.expect("open");
        let health = Health::default();
        let telling = {
            let (health, broker) = (health.clone(), broker.clone());
            tokio::spawn(async move { health.tell(&broker, "worker-1").await })
        };
        let mut heard = async || {
            let event = events.next().await.expect("open");
            let Ok(Event::Troubles { program, troubles }) = Event::from_message(&event.message)
            else {
                panic!("{event:?}");
            };
            event.ack();
            assert!(program.starts_with("worker-1 ("), "{program}");
            troubles
        };
        health.alarm("disk", "the disk is full");
        assert_eq!(heard().await, ["the disk is full"]);
        assert_eq!(heard().await, ["the disk is full"]);
        health.clear("disk");
        assert!(heard().await.is_empty());
        let silent = tokio::time::timeout(10 * TELL, heard()).await;
        assert!(silent.is_err(), "{silent:?}");
        telling.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_hand_must_move_and_an_idle_program_is_well() {
        let health = Health::default();
        tokio::time::advance(2 * STUCK).await;
        assert!(health.troubles().is_empty(), "nothing to do");
        health.took();
        health.took();
        tokio::time::advance(STUCK).await;
        let said = health.troubles().join("");
        assert!(said.starts_with("2 messages are in hand"), "{said}");
        // a confirm of another message shows that the program works
        health.moved();
        assert!(health.troubles().is_empty());
        tokio::time::advance(STUCK).await;
        health.settled();
        health.settled();
        tokio::time::advance(STUCK).await;
        assert!(health.troubles().is_empty());
    }
}
