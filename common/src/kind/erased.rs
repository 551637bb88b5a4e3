//! Kinds with erased types: the roles hold bytes of JSON, and the [`Registry`] finds the kind that reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::marker::PhantomData;
use std::path::{Component, Path, PathBuf};

use serde_json::value::RawValue;

use super::{
    AddError, ConcludeError, Cut, JobKind, MAX_TALLY, Merge as _, ReportFile, Steps, TooHeavy,
    WorkError,
};
use crate::chunk::Digest;
use crate::results::{EXECUTION, is_kind_name};
use crate::settings::{self, Key, Settings};
use crate::{Chunk, CutError, Format, Outlet, Seq};

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
    /// [`JobKind::AT_ROOT`].
    fn at_root(&self) -> bool;
    /// [`JobKind::SETTINGS`].
    fn settings(&self) -> &'static [Key];
    /// [`JobKind::default_request`].
    ///
    /// # Errors
    /// [`CutError::Refused`] for a setting that cannot be used, and for a path that JSON cannot hold.
    fn default_request(
        &self,
        settings: &Settings,
        inputs: Vec<PathBuf>,
    ) -> Result<Option<Box<RawValue>>, CutError>;
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
    /// The digest of a partial's content, independent of its formatting: blanks, the order of keys and optional fields do
    /// not count.
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
    /// Everything merged so far, as one partial: adding it to an empty tally gives this tally.
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
        steps: &mut Steps<'_>,
    ) -> Result<Box<dyn Concluded>, ConcludeError>;
}

/// A report with its type erased. Its files are written one by one, each straight to its destination: none is ever whole
/// in memory.
pub trait Concluded: Send + Sync {
    /// The paths of the files rendered from the report: all but [`REPORT`]. Relative, plain, each of them once.
    fn rendered(&self) -> Vec<&str>;
    /// Writes the file of that path, which may be [`REPORT`]. May be called any number of times.
    ///
    /// # Errors
    /// What `out` said; [`io::ErrorKind::NotFound`] for a path that is not one of the report's.
    fn write(&self, path: &str, out: &mut dyn io::Write) -> io::Result<()>;
}

/// The path of the report itself, among the files a report is made of.
pub const REPORT: &str = "report.json";

/// How much may be merged before the tally is weighed again, as a share of [`MAX_TALLY`]: weighing looks at all of it.
const WEIGHED_EVERY: u64 = 8;

/// A request as it travels.
///
/// # Errors
/// [`CutError::Refused`] for a path that JSON cannot hold.
pub fn to_json<K: JobKind>(request: &K::Request) -> Result<Box<RawValue>, CutError> {
    serde_json::value::to_raw_value(request)
        .map_err(|error| CutError::Refused(format!("a path that is not UTF-8: {error}")))
}

struct Erased<K>(PhantomData<fn() -> K>);
struct Report<K: JobKind> {
    report: K::Report,
    files: Vec<ReportFile<K::Report>>,
}
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

    fn at_root(&self) -> bool {
        K::AT_ROOT
    }

    fn settings(&self) -> &'static [Key] {
        K::SETTINGS
    }

    fn default_request(
        &self,
        settings: &Settings,
        inputs: Vec<PathBuf>,
    ) -> Result<Option<Box<RawValue>>, CutError> {
        let request = K::default_request(settings, inputs)
            .map_err(|error| CutError::Refused(error.to_string()))?;
        request.map(|request| to_json::<K>(&request)).transpose()
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
        Report::<K>::of(report)
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
        steps: &mut Steps<'_>,
    ) -> Result<Box<dyn Concluded>, ConcludeError> {
        let facts = serde_json::from_str(facts.get())
            .map_err(|error| ConcludeError(format!("facts of a {} job: {error}", K::NAME)))?;
        self.check_weight()
            .map_err(|error| ConcludeError(error.to_string()))?;
        let report = K::conclude(facts, self.partial, missing, steps)?;
        Report::<K>::of(report)
    }
}

impl<K: JobKind> Report<K> {
    /// A report and its files, if they can stand beside each other in one folder.
    fn of(report: K::Report) -> Result<Box<dyn Concluded>, ConcludeError> {
        let files = K::files(&report);
        let mut paths = BTreeSet::from([REPORT, EXECUTION]);
        for file in &files {
            if !is_plain(file.path()) || !paths.insert(file.path()) {
                return Err(ConcludeError(format!(
                    "file {:?} of a {} report: expected a relative path of its own, of plain names",
                    file.path(),
                    K::NAME
                )));
            }
        }
        Ok(Box::new(Self { report, files }))
    }
}

/// Whether a path leads to a place below the folder that it is joined to, through no hidden or temporary name.
pub(super) fn is_plain(path: &str) -> bool {
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => {
            let name = name.to_string_lossy();
            !name.starts_with('.') && !name.ends_with(".tmp")
        }
        _ => false,
    };
    // `components` passes over what is empty
    !path.is_empty()
        && !path.ends_with('/')
        && !path.contains("//")
        && Path::new(path).components().all(plain)
}

impl<K: JobKind> Concluded for Report<K> {
    fn rendered(&self) -> Vec<&str> {
        self.files.iter().map(ReportFile::path).collect()
    }

    fn write(&self, path: &str, out: &mut dyn io::Write) -> io::Result<()> {
        if path == REPORT {
            serde_json::to_writer_pretty(&mut *out, &self.report)?;
            return out.write_all(b"\n");
        }
        match self.files.iter().find(|file| file.path() == path) {
            Some(file) => file.write(&self.report, out),
            None => Err(io::Error::new(io::ErrorKind::NotFound, path.to_owned())),
        }
    }
}

/// The kinds a program knows, each in one version of its formats or in several.
///
/// A role holds JSON alone; the registry finds the kind that reads it:
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/wordcount.rs"));
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use autoconnect_common::Registry;
/// use autoconnect_common::kind::REPORT;
///
/// let registry = Registry::default().with::<WordCount>();
/// let kind = registry.known("wordcount", 1)?;
/// let mut tally = kind.tally();
/// for partial in [r#"{"la": 2}"#, r#"{"la": 1, "Zoé": 1}"#] {
///     tally.add(serde_json::from_str(partial)?)?;
/// }
/// let report = tally.conclude(serde_json::from_str("null")?, &[], &mut |_step| {})?;
/// let mut json = Vec::new();
/// report.write(REPORT, &mut json)?;
/// assert_eq!(serde_json::from_slice::<Words>(&json)?["la"], 3);
/// assert_eq!(report.rendered(), ["words.txt"]);
///
/// let refused = registry.known("wordcount", 2).err();
/// assert_eq!(refused.as_deref(), Some("schema 2 of kind wordcount, expected 1"));
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Registry(BTreeMap<&'static str, BTreeMap<u32, Box<dyn Kind>>>);

impl Registry {
    /// This registry and one kind more, or one more version of a kind.
    #[must_use]
    pub fn with<K: JobKind>(mut self) -> Self {
        const { assert!(is_kind_name(K::NAME), "a-z and - only, and not jobs") };
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

    /// The kind whose newest report's files also stand at the root of the folder of results, if there is one.
    pub fn at_root(&self) -> Option<&'static str> {
        let kinds = self.0.values().flat_map(BTreeMap::values);
        let mut at_root = kinds.filter(|kind| kind.at_root());
        at_root.next().map(|kind| kind.name())
    }

    /// The names of all kinds known here, sorted.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    /// Every key of the settings: those that all programs share, then those of each kind in its newest version.
    pub fn catalogue(&self) -> Vec<&'static [Key]> {
        let newest = self.0.values().filter_map(BTreeMap::last_key_value);
        let kinds = newest.map(|(_, kind)| kind.settings());
        std::iter::once(settings::KEYS).chain(kinds).collect()
    }

    /// Every format known here: each kind in each of its versions, sorted.
    pub fn formats(&self) -> Vec<Format> {
        let kinds = self.0.values().flat_map(BTreeMap::values);
        kinds.map(|kind| kind.format()).collect()
    }
}
