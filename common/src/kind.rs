//! What a kind of job is ([`JobKind`]), its only law ([`Merge`]), and the one place where types are erased ([`Registry`]).

use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::chunk::Digest;
use crate::{Chunk, CutError, Format, Outlet, Seq};

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
pub trait JobKind: Send + Sync + 'static {
    /// The kind's name: the first word of its routing keys, `a-z` and `-` only.
    const NAME: &'static str;
    /// The version of its chunk and partial formats; a worker refuses another.
    const SCHEMA: u32;

    /// What is asked: inputs and every option that can change a byte of the report.
    type Request: Serialize + DeserializeOwned + Send;
    /// What `cut` learnt that no chunk carries; travels in the manifest.
    type Facts: Serialize + DeserializeOwned + Send;
    /// What `work` makes of one chunk.
    type Partial: Merge + Default + Serialize + DeserializeOwned + Send;
    /// What `conclude` makes of the job; as JSON it is `report.json`.
    type Report: Serialize + DeserializeOwned + Send + Sync + 'static;

    /// The files rendered from the report, beside `report.json`.
    const FILES: &'static [ReportFile<Self::Report>];

    /// The files and folders that a request names, as it names them: `cut` reads these, and the files right in these
    /// folders, and nothing else. `-` is standard input.
    fn inputs(request: &Self::Request) -> Vec<PathBuf>;

    /// Tells this request's input from any other, without reading all of it: the job's id is made of it.
    ///
    /// # Errors
    /// [`CutError::Refused`] for an input that cannot be read.
    fn fingerprint(request: &Self::Request) -> Result<Digest, CutError>;

    /// Cuts the input into chunks. Runs on a blocking thread; may start `outlet.threads()` threads of its own.
    ///
    /// # Errors
    /// [`CutError`]; whatever was already put is then dropped by the reducer.
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

    /// Makes the report of the whole job. `missing` names the chunks whose partial never came (normally none).
    ///
    /// # Errors
    /// [`ConcludeError`] where the facts and the partial cannot both be right.
    fn conclude(
        facts: Self::Facts,
        partial: Self::Partial,
        missing: &[Seq],
        laps: &mut Laps,
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
pub trait Merge: Sized {
    /// Adds `other` to `self`.
    ///
    /// # Errors
    /// [`Overflow`] where a sum leaves its type: partials come from outside, and outside is hostile.
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

/// What a finished cut leaves beside its chunks.
#[derive(Debug)]
pub struct Cut<Facts> {
    /// How many chunks each part has.
    pub chunks: Vec<u32>,
    /// How many pages each annex has.
    pub annexes: BTreeMap<String, u32>,
    /// What no chunk carries.
    pub facts: Facts,
    /// Why there is to be no report although the input was read to its end (too many rejects), in one sentence.
    pub refusal: Option<String>,
}

/// A file rendered from a report: its path below the results folder, and what writes it.
pub struct ReportFile<Report> {
    /// Relative, with `/`; fixed by the kind, never taken from data.
    pub path: &'static str,
    /// Writes all of it. A pure function of the report: written again, it has the same bytes.
    pub write: fn(&Report, &mut dyn io::Write) -> io::Result<()>,
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

/// What to do about an error: try again later, or bury what caused it with its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The world may change: try again.
    Again,
    /// It will never work: report it and go on.
    Bury,
}

/// How long each calculation of a report took; goes to `execution.json`, never into the report.
#[derive(Debug, Default)]
pub struct Laps(Vec<Lap>);

/// One calculation and how long it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Lap {
    /// What was calculated.
    pub name: String,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

impl Laps {
    /// Runs `calculation` and notes how long it took.
    pub fn time<T>(&mut self, name: &str, calculation: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = calculation();
        self.note(name, start.elapsed());
        result
    }

    /// Notes how long `name` took.
    pub fn note(&mut self, name: &str, took: Duration) {
        let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
        self.0.push(Lap {
            name: name.to_owned(),
            ms,
        });
    }

    /// All of them, in the order they were noted.
    pub fn into_vec(self) -> Vec<Lap> {
        self.0
    }
}

/// A [`JobKind`] whose types are erased: bytes of JSON in, bytes of JSON out.
pub trait Kind: Send + Sync {
    /// [`JobKind::NAME`].
    fn name(&self) -> &'static str;
    /// [`JobKind::SCHEMA`].
    fn schema(&self) -> u32;
    /// Both.
    fn format(&self) -> Format {
        Format::new(self.name(), self.schema())
    }
    /// [`JobKind::inputs`].
    ///
    /// # Errors
    /// [`CutError::Refused`] for a request that is not this kind's.
    fn inputs(&self, request: &RawValue) -> Result<Vec<PathBuf>, CutError>;
    /// [`JobKind::fingerprint`]; also refuses a request that is not this kind's.
    ///
    /// # Errors
    /// As there.
    fn fingerprint(&self, request: &RawValue) -> Result<Digest, CutError>;
    /// [`JobKind::cut`].
    ///
    /// # Errors
    /// As there.
    fn cut(&self, request: &RawValue, outlet: &Outlet) -> Result<Cut<Box<RawValue>>, CutError>;
    /// [`JobKind::work`].
    ///
    /// # Errors
    /// As there.
    fn work(&self, chunk: &Chunk) -> Result<Box<RawValue>, WorkError>;
    /// [`JobKind::show`].
    ///
    /// # Errors
    /// As there.
    fn show(&self, chunk: &Chunk, rows: usize) -> Result<String, WorkError>;
    /// An empty [`Tally`] to merge this kind's partials into.
    fn tally(&self) -> Box<dyn Tally>;
    /// The report in a `report.json`.
    ///
    /// # Errors
    /// [`ConcludeError`] where it cannot be read, or the JSON is no report of this kind.
    fn read(&self, report: &mut dyn io::Read) -> Result<Box<dyn Concluded>, ConcludeError>;
}

/// The merged partials of one job, their type erased.
pub trait Tally: Send {
    /// What a partial says, as a digest that is the same however it is written: blanks, the order of keys and what may
    /// be left out do not count.
    ///
    /// # Errors
    /// [`AddError::Unreadable`].
    fn digest(&self, partial: &RawValue) -> Result<Digest, AddError>;
    /// Merges one partial; its [digest](Tally::digest).
    ///
    /// # Errors
    /// [`AddError`], which says whether the tally can still be used.
    fn add(&mut self, partial: &RawValue) -> Result<Digest, AddError>;
    /// What was merged so far, as [`JobKind::weigh`] weighs it.
    fn weight(&self) -> u64;
    /// All that was merged so far, as one partial: adding it to an empty tally gives this one back.
    ///
    /// # Errors
    /// [`WorkError`] where it cannot be written as JSON.
    fn snapshot(&self) -> Result<Box<RawValue>, WorkError>;
    /// [`JobKind::conclude`].
    ///
    /// # Errors
    /// As there, and for a tally heavier than [`MAX_TALLY`].
    fn conclude(
        self: Box<Self>,
        facts: &RawValue,
        missing: &[Seq],
        laps: &mut Laps,
    ) -> Result<Box<dyn Concluded>, ConcludeError>;
}

/// A report, its type erased. Its files are written one by one, each straight to where it goes: none is ever whole in
/// memory.
pub trait Concluded: Send + Sync {
    /// The paths of the files rendered from the report: all but [`REPORT`].
    fn rendered(&self) -> Vec<&'static str>;
    /// Writes the file of that path, [`REPORT`] among them, as often as it is asked to.
    ///
    /// # Errors
    /// What `out` said; [`io::ErrorKind::NotFound`] for a path that is not one of the report's.
    fn write(&self, path: &str, out: &mut dyn io::Write) -> io::Result<()>;
}

/// The path of the report itself, among the files a report is made of.
pub const REPORT: &str = "report.json";

/// How much may be merged before the tally is weighed again, as a share of [`MAX_TALLY`]: weighing looks at all of it.
const WEIGHED_EVERY: u64 = 8;

struct Erased<K>(PhantomData<fn() -> K>);
struct Report<K: JobKind>(K::Report);
struct Merged<K: JobKind> {
    partial: K::Partial,
    /// What was merged since the tally was weighed.
    added: u64,
}

impl<K: JobKind> Erased<K> {
    fn request(request: &RawValue) -> Result<K::Request, CutError> {
        serde_json::from_str(request.get())
            .map_err(|error| CutError::Refused(format!("request for a {} job: {error}", K::NAME)))
    }
}

impl<K: JobKind> Kind for Erased<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn schema(&self) -> u32 {
        K::SCHEMA
    }

    fn inputs(&self, request: &RawValue) -> Result<Vec<PathBuf>, CutError> {
        Ok(K::inputs(&Self::request(request)?))
    }

    fn fingerprint(&self, request: &RawValue) -> Result<Digest, CutError> {
        K::fingerprint(&Self::request(request)?)
    }

    fn cut(&self, request: &RawValue, outlet: &Outlet) -> Result<Cut<Box<RawValue>>, CutError> {
        let Cut {
            chunks,
            annexes,
            facts,
            refusal,
        } = K::cut(&Self::request(request)?, outlet)?;
        let facts = serde_json::value::to_raw_value(&facts)
            .map_err(|error| CutError::Refused(format!("facts of a {} job: {error}", K::NAME)))?;
        Ok(Cut {
            chunks,
            annexes,
            facts,
            refusal,
        })
    }

    fn work(&self, chunk: &Chunk) -> Result<Box<RawValue>, WorkError> {
        let partial = K::work(chunk)?;
        serde_json::value::to_raw_value(&partial).map_err(|error| WorkError(error.to_string()))
    }

    fn show(&self, chunk: &Chunk, rows: usize) -> Result<String, WorkError> {
        K::show(chunk, rows)
    }

    fn tally(&self) -> Box<dyn Tally> {
        Box::new(Merged::<K> {
            partial: K::Partial::default(),
            added: 0,
        })
    }

    fn read(&self, report: &mut dyn io::Read) -> Result<Box<dyn Concluded>, ConcludeError> {
        let report = serde_json::from_reader(io::BufReader::new(report))
            .map_err(|error| ConcludeError(format!("report of a {} job: {error}", K::NAME)))?;
        Ok(Box::new(Report::<K>(report)))
    }
}

impl<K: JobKind> Merged<K> {
    fn check_weight(&self) -> Result<(), TooHeavy> {
        match self.weight() {
            found if found > MAX_TALLY => Err(TooHeavy { found }),
            _ => Ok(()),
        }
    }
}

impl<K: JobKind> Merged<K> {
    /// A partial, and its digest.
    fn read(partial: &RawValue) -> Result<(K::Partial, Digest), AddError> {
        let unreadable =
            |error| AddError::Unreadable(format!("partial of a {} job: {error}", K::NAME));
        let partial: K::Partial = serde_json::from_str(partial.get()).map_err(unreadable)?;
        let digest = Digest::of_json(&partial).map_err(unreadable)?;
        Ok((partial, digest))
    }
}

impl<K: JobKind> Tally for Merged<K> {
    fn digest(&self, partial: &RawValue) -> Result<Digest, AddError> {
        Self::read(partial).map(|(_, digest)| digest)
    }

    fn add(&mut self, partial: &RawValue) -> Result<Digest, AddError> {
        let (partial, digest) = Self::read(partial)?;
        self.added = self.added.saturating_add(K::weigh(&partial));
        self.partial.merge(partial)?;
        if self.added > MAX_TALLY / WEIGHED_EVERY {
            self.check_weight()?;
            self.added = 0;
        }
        Ok(digest)
    }

    fn weight(&self) -> u64 {
        K::weigh(&self.partial)
    }

    fn snapshot(&self) -> Result<Box<RawValue>, WorkError> {
        serde_json::value::to_raw_value(&self.partial).map_err(|error| WorkError(error.to_string()))
    }

    fn conclude(
        self: Box<Self>,
        facts: &RawValue,
        missing: &[Seq],
        laps: &mut Laps,
    ) -> Result<Box<dyn Concluded>, ConcludeError> {
        let facts = serde_json::from_str(facts.get())
            .map_err(|error| ConcludeError(format!("facts of a {} job: {error}", K::NAME)))?;
        self.check_weight()
            .map_err(|error| ConcludeError(error.to_string()))?;
        let report = K::conclude(facts, self.partial, missing, laps)?;
        Ok(Box::new(Report::<K>(report)))
    }
}

impl<K: JobKind> Concluded for Report<K> {
    fn rendered(&self) -> Vec<&'static str> {
        K::FILES.iter().map(|file| file.path).collect()
    }

    fn write(&self, path: &str, out: &mut dyn io::Write) -> io::Result<()> {
        if path == REPORT {
            serde_json::to_writer_pretty(&mut *out, &self.0)?;
            return out.write_all(b"\n");
        }
        match K::FILES.iter().find(|file| file.path == path) {
            Some(file) => (file.write)(&self.0, out),
            None => Err(io::Error::new(io::ErrorKind::NotFound, path.to_owned())),
        }
    }
}

/// The kinds a program knows, each in one version of its formats or in several.
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, BTreeMap<u32, Box<dyn Kind>>>);

impl Registry {
    /// This registry and one kind more, or one more version of a kind.
    #[must_use]
    pub fn with<K: JobKind>(mut self) -> Self {
        let versions = self.0.entry(K::NAME).or_default();
        versions.insert(K::SCHEMA, Box::new(Erased::<K>(PhantomData)));
        self
    }

    /// The kind of that name, in the newest version known here: for a request that is made now.
    pub fn newest(&self, name: &str) -> Option<&dyn Kind> {
        let (_, kind) = self.0.get(name)?.last_key_value()?;
        Some(kind.as_ref())
    }

    /// The kind of that name in that version, if it is known here.
    pub fn get(&self, name: &str, schema: u32) -> Option<&dyn Kind> {
        self.0.get(name)?.get(&schema).map(AsRef::as_ref)
    }

    /// As [`Registry::get`].
    ///
    /// # Errors
    /// One sentence, for a kind or a version that is not known here.
    pub fn known(&self, name: &str, schema: u32) -> Result<&dyn Kind, String> {
        if let Some(kind) = self.get(name, schema) {
            return Ok(kind);
        }
        Err(match self.0.get(name) {
            Some(versions) => {
                let known: Vec<String> = versions.keys().map(u32::to_string).collect();
                format!(
                    "schema {schema} of kind {name}, expected {}",
                    known.join(" or ")
                )
            }
            None => {
                let found: String = name.chars().take(40).collect();
                let known = self.names().collect::<Vec<_>>().join(", ");
                format!("kind of job {found:?}, expected one of {known}")
            }
        })
    }

    /// The names of all kinds known here, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Every format known here: each kind in each of its versions, sorted.
    pub fn formats(&self) -> Vec<Format> {
        let kinds = self.0.values().flat_map(BTreeMap::values);
        kinds.map(|kind| kind.format()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind whose partial is its own weight.
    struct Heavy;

    impl JobKind for Heavy {
        const NAME: &'static str = "heavy";
        const SCHEMA: u32 = 1;
        type Request = ();
        type Facts = ();
        type Partial = u64;
        type Report = u64;

        const FILES: &'static [ReportFile<u64>] = &[ReportFile {
            path: "weight.txt",
            write: |report, out| write!(out, "{report} bytes"),
        }];

        fn inputs((): &()) -> Vec<PathBuf> {
            Vec::new()
        }

        fn fingerprint((): &()) -> Result<Digest, CutError> {
            Err(CutError::Cancelled)
        }

        fn cut((): &(), _: &Outlet) -> Result<Cut<()>, CutError> {
            Err(CutError::Cancelled)
        }

        fn work(_: &Chunk) -> Result<u64, WorkError> {
            Ok(0)
        }

        fn conclude((): (), partial: u64, _: &[Seq], _: &mut Laps) -> Result<u64, ConcludeError> {
            Ok(partial)
        }

        fn weigh(partial: &u64) -> u64 {
            *partial
        }
    }

    fn tally_of(partials: &[u64]) -> (Box<dyn Tally>, Vec<Result<Digest, AddError>>) {
        let registry = Registry::default().with::<Heavy>();
        let mut tally = registry.newest("heavy").expect("a kind").tally();
        let added = partials
            .iter()
            .map(|partial| {
                let json = RawValue::from_string(partial.to_string()).expect("JSON");
                tally.add(&json)
            })
            .collect();
        (tally, added)
    }

    #[test]
    fn a_tally_is_refused_before_it_outgrows_its_bound() {
        let (_, added) = tally_of(&[MAX_TALLY / 2; 4]);
        let refused = added.iter().position(Result::is_err).expect("too heavy");
        assert_eq!(refused, 2);
        let sentence = added[refused].as_ref().expect_err("too heavy").to_string();
        let found = (MAX_TALLY / 2 * 3).to_string();
        assert!(
            sentence.contains(&found) && sentence.contains(&MAX_TALLY.to_string()),
            "{sentence}"
        );
    }

    #[test]
    fn whether_a_job_is_too_heavy_does_not_depend_on_how_its_partials_came() {
        let conclude = |partials: &[u64]| {
            let (tally, added) = tally_of(partials);
            let facts = RawValue::from_string("null".to_owned()).expect("JSON");
            let concluded = tally.conclude(&facts, &[], &mut Laps::default());
            added.iter().all(Result::is_ok) && concluded.is_ok()
        };
        // the last ones are light, and are not weighed as they come
        assert!(conclude(&[MAX_TALLY - 2, 1, 1]));
        assert!(conclude(&[1, 1, MAX_TALLY - 2]));
        assert!(!conclude(&[MAX_TALLY - 2, 1, 2]));
        assert!(!conclude(&[1, 2, MAX_TALLY - 2]));
    }

    #[test]
    fn a_report_writes_its_files_one_by_one_and_as_often_as_it_is_asked() {
        let registry = Registry::default().with::<Heavy>();
        let kind = registry.newest("heavy").expect("a kind");
        let report = kind.read(&mut "7".as_bytes()).expect("a report");
        let write = |path: &str| {
            let mut bytes = Vec::new();
            let written = report.write(path, &mut bytes);
            written.map(|()| String::from_utf8(bytes).expect("text"))
        };
        assert_eq!(report.rendered(), ["weight.txt"]);
        for _ in 0..2 {
            assert_eq!(write("weight.txt").expect("written"), "7 bytes");
            assert_eq!(write(REPORT).expect("written"), "7\n");
        }
        let unknown = write("other.txt").expect_err("not one of its files");
        assert_eq!(unknown.kind(), io::ErrorKind::NotFound);
    }
}
