//! What a kind of job is ([`JobKind`]), its only law ([`Merge`]), and the one place where types are erased ([`Registry`]).

mod erased;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::chunk::Digest;
use crate::settings::{Key, Settings, SettingsError};
use crate::{Chunk, CutError, Outlet, Seq};

pub use erased::{Concluded, Kind, REPORT, Registry, Tally, to_json};

/// A kind of job: a name and three acts, each played by one program.
///
/// | act | who plays it | what it is |
/// |---|---|---|
/// | [`cut`](JobKind::cut) | producer | request -> chunks, each with its routing key, and the facts no chunk carries |
/// | [`work`](JobKind::work) | worker | chunk -> partial |
/// | [`conclude`](JobKind::conclude) | reducer | facts + merged partial -> report |
///
/// `work` and `conclude` are pure: the same input gives the same output, on any machine, at any time. So is `cut`, of
/// the request and the input it names: the same request makes the same chunks, byte for byte, with any number of threads.
///
/// What the roles do with the kind of `docs/new-kind.md`, which counts words, by hand:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/wordcount.rs"));
/// # use autoconnect_common::{Merge as _, Shutdown};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let job: autoconnect_common::JobId = "words-1".parse()?;
/// // a producer: a chunk for each line
/// let (outlet, mut items) = Outlet::new(job.clone(), 8, 1, Default::default(), Shutdown::new());
/// let cut = WordCount::cut(&"la Clio\nla Zoé".to_owned(), &outlet)?;
/// assert_eq!(cut.chunks, [2]);
/// let mut merged = Words::default();
/// while let Ok(Item::Chunk { seq, key, rows, body }) = items.try_recv() {
///     // a worker knows nothing but its chunk
///     let (kind, schema) = (WordCount::NAME.to_owned(), WordCount::SCHEMA);
///     let chunk = Chunk { job: job.clone(), kind, schema, seq, key, rows, body: body.into() };
///     let partial = WordCount::work(&chunk)?;
///     // the reducer
///     merged.merge(partial)?;
/// }
/// let report = WordCount::conclude(cut.facts, merged, &[], &mut |_step| {})?;
/// assert_eq!(report["la"], 2);
/// # Ok(()) }
/// ```
pub trait JobKind: Send + Sync + 'static {
    /// The kind's name: the first word of its routing keys, and the name of the newest report of this kind in the folder
    /// of results. `a-z` and `-` only, and not `jobs`, where every job's own files are: another name does not compile.
    const NAME: &'static str;
    /// The version of its chunk and partial formats; a worker refuses another.
    const SCHEMA: u32;
    /// Whether the files of its newest report also stand at the root of the folder of results. Of the kinds of one
    /// registry at most one's do.
    const AT_ROOT: bool = false;

    /// What is asked: inputs and every option that can change a byte of the report.
    type Request: Serialize + DeserializeOwned + Send;
    /// What `cut` learnt that no chunk carries; travels in the manifest.
    type Facts: Serialize + DeserializeOwned + Send;
    /// The result of `work` on one chunk.
    type Partial: Merge + Default + Serialize + DeserializeOwned + Send;
    /// The result of `conclude`; as JSON it is `report.json`.
    type Report: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The keys of its settings, each of which begins with the kind's name and a dot; none where it has no settings.
    const SETTINGS: &'static [Key] = &[];

    /// The request for a report on `inputs` where nothing but the settings says how; `None` for a kind that must be given
    /// more than its inputs.
    ///
    /// # Errors
    /// [`SettingsError`] for a setting that cannot be used.
    fn default_request(
        settings: &Settings,
        inputs: Vec<PathBuf>,
    ) -> Result<Option<Self::Request>, SettingsError> {
        let _ = (settings, inputs);
        Ok(None)
    }

    /// The files rendered from a report, beside `report.json`; as many as the report says.
    fn files(report: &Self::Report) -> Vec<ReportFile<Self::Report>>;

    /// The files and folders that a request names, as it names them: `cut` reads these, and the files right in these
    /// folders, and nothing else. `-` is standard input.
    fn inputs(request: &Self::Request) -> Vec<PathBuf>;

    /// Identifies this request's input without reading all of it; part of the job's id.
    ///
    /// # Errors
    /// [`CutError::Refused`] for an input that cannot be read.
    fn fingerprint(request: &Self::Request) -> Result<Digest, CutError>;

    /// Cuts the input into chunks. Runs on a blocking thread; may start `outlet.threads()` threads of its own.
    ///
    /// # Errors
    /// [`CutError`]; the reducer then drops what was put.
    fn cut(request: &Self::Request, outlet: &Outlet) -> Result<Cut<Self::Facts>, CutError>;

    /// Turns a chunk into a partial. No I/O, no clock, no randomness that is not seeded by `chunk.seq`.
    ///
    /// # Errors
    /// [`WorkError`] for a chunk that can never be read: the reducer reports it missing.
    fn work(chunk: &Chunk) -> Result<Self::Partial, WorkError>;

    /// The first `rows` rows of a chunk as text, for a person. A kind whose chunks are not lines of text says how to
    /// read them.
    ///
    /// # Errors
    /// [`WorkError`] for a chunk that cannot be read.
    fn show(chunk: &Chunk, rows: usize) -> Result<String, WorkError> {
        let text = String::from_utf8_lossy(&chunk.body);
        Ok(text.split_inclusive('\n').take(rows).collect())
    }

    /// Makes the report of the whole job. `missing` names the chunks without a partial (normally none). Names each
    /// calculation to `steps` as it begins, so that the caller can time it.
    ///
    /// # Errors
    /// [`ConcludeError`] where the facts and the partial cannot both be right.
    fn conclude(
        facts: Self::Facts,
        partial: Self::Partial,
        missing: &[Seq],
        steps: &mut Steps<'_>,
    ) -> Result<Self::Report, ConcludeError>;

    /// About how many bytes of memory this partial takes, by the lengths of what is in it: the same for the same
    /// partial on every machine. A job whose merged partial is heavier than [`MAX_TALLY`] is refused.
    fn weigh(partial: &Self::Partial) -> u64;
}

/// The heaviest merged partial a job may have, in bytes as [`JobKind::weigh`] counts them. Concluding `sales` takes two
/// to three times as much (the sums, then the report made of them): 128 MiB leave room for that in a container of 512.
pub const MAX_TALLY: u64 = 128 << 20;

/// Exact merging: associative, commutative, with `Default` as its identity; equal means `==`, never "close".
///
/// Partials hold checked integers, and maps of them; never a sum of floats.
///
/// A struct merges field by field; integers and maps of them merge by themselves. So any order gives the same:
///
/// ```
/// use autoconnect_common::kind::{Merge, Overflow};
///
/// #[derive(Debug, Clone, Default, PartialEq)]
/// struct Text {
///     lines: u64,
///     words: std::collections::BTreeMap<String, u64>,
/// }
///
/// impl Merge for Text {
///     fn merge(&mut self, other: Self) -> Result<(), Overflow> {
///         self.lines.merge(other.lines)?;
///         self.words.merge(other.words)
///     }
/// }
///
/// let text = |word: &str, count| Text { lines: 1, words: [(word.to_owned(), count)].into() };
/// let (mut one, mut other) = (text("la", 2), text("la", 1));
/// one.merge(other.clone())?;
/// other.merge(text("la", 2))?;
/// assert_eq!((one.words["la"], &one), (3, &other));
/// # Ok::<(), Overflow>(())
/// ```
pub trait Merge: Sized {
    /// Adds `other` to `self`.
    ///
    /// # Errors
    /// [`Overflow`] where a sum leaves its type: partials come from outside, and may be hostile.
    fn merge(&mut self, other: Self) -> Result<(), Overflow>;
}

/// A sum left its integer type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a sum is larger than its integer type can hold")]
pub struct Overflow;

impl<K: Ord, V: Merge + Default> Merge for BTreeMap<K, V> {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        for (key, value) in other {
            self.entry(key).or_default().merge(value)?;
        }
        Ok(())
    }
}

macro_rules! merge_by_checked_addition {
    ($($integer:ty),*) => {$(
        impl Merge for $integer {
            fn merge(&mut self, other: Self) -> Result<(), Overflow> {
                *self = self.checked_add(other).ok_or(Overflow)?;
                Ok(())
            }
        }
    )*};
}
merge_by_checked_addition!(u32, u64, i64);

/// The result of a finished cut, beside its chunks.
#[derive(Debug)]
pub struct Cut<Facts> {
    /// How many chunks each part has.
    pub chunks: Vec<u32>,
    /// How many pages each annex has.
    pub annexes: BTreeMap<String, u32>,
    /// What no chunk carries.
    pub facts: Facts,
    /// Why there will be no report although the input was read to its end (too many rejects), in one sentence.
    pub refusal: Option<String>,
}

/// Takes the name of each calculation of a conclusion as the calculation begins; it lasts until the next one does.
/// [`JobKind::conclude`] holds no clock: the reducer times the steps, for `execution.json`.
pub type Steps<'s> = dyn FnMut(&'static str) + 's;

/// A file rendered from a report: its path below the job's folder of results, and what writes it.
pub struct ReportFile<Report> {
    path: Cow<'static, str>,
    write: Render<Report>,
}

/// Writes all of a file of a report.
type Render<Report> = Box<dyn Fn(&Report, &mut dyn io::Write) -> io::Result<()> + Send + Sync>;

impl<Report> ReportFile<Report> {
    /// The file at `path`, which is relative, with `/`, and made of the kind's own words and numbers, never of data.
    /// `write` writes all of it and is a pure function of the report: written again, the file has the same bytes.
    ///
    /// ```
    /// use autoconnect_common::kind::ReportFile;
    ///
    /// let file = ReportFile::new("total.txt", |total: &u64, out| writeln!(out, "{total}"));
    /// let mut bytes = Vec::new();
    /// file.write(&7, &mut bytes)?;
    /// assert_eq!((file.path(), &bytes[..]), ("total.txt", &b"7\n"[..]));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new(
        path: impl Into<Cow<'static, str>>,
        write: impl Fn(&Report, &mut dyn io::Write) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self {
            path: path.into(),
            write: Box::new(write),
        }
    }

    /// Its path below the job's folder of results.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// What `out` said.
    pub fn write(&self, report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
        (self.write)(report, out)
    }
}

/// A chunk that can never be worked: what was found and what was expected, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WorkError(pub String);

/// A partial that was not merged.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// It cannot be read; the tally is as it was.
    #[error("{0}")]
    Unreadable(String),
    /// A sum left its type; the tally is unusable.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// The tally is heavier than [`MAX_TALLY`].
    #[error(transparent)]
    TooHeavy(#[from] TooHeavy),
}

/// A job is too large for one report: it is refused before its figures or its report outgrow the reducer's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the job is too large for one report: its figures take {found} bytes of memory, expected at most {MAX_TALLY}; \
     ask for fewer files, so that there are fewer cities, months or models"
)]
pub struct TooHeavy {
    /// What the merged partial weighs, in bytes.
    pub found: u64,
}

/// A report that cannot be made: what is inconsistent, in one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConcludeError(pub String);

/// What to do about an error: retry later, or dead-letter its cause with the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A retry may succeed.
    Again,
    /// A retry fails as well: report it and go on.
    Bury,
}
