//! Judges a history: compares its outcome with the promises.
//!
//! | promise | how it is judged |
//! |---|---|
//! | no report is wrong | a `done` report is the truth of one version of its input, side file included: of the version that its job was named from, where the requester could read it |
//! | what is missing is named | an `incomplete` report is the truth without exactly the chunks that it names; the job's reason says why a harmful chunk is missing |
//! | requeued chunks count | a chunk that was requeued while its job was open, and does no more harm, is in the report |
//! | nothing is lost, nothing harmless is dead | a job without an excuse is `done`; one with a harmful chunk lacks exactly that chunk; no other message is dead |
//! | every job ends | once the faults stop, within a bounded time; a cancelled one even without workers |
//! | the newest results are of one job | at any moment, and never of an older job again |
//! | bounded | the files that one process has open at a time |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};

use autoconnect_common::Seq;
use autoconnect_common::broker::Queue;
use autoconnect_common::execution::Execution;
use autoconnect_common::kind::REPORT;
use autoconnect_common::message::{JobRequest, JobStage, Stage, Status};
use autoconnect_common::results::EXECUTION;

use crate::broker::Simulated;
use crate::cluster::{job_folder, results};
use crate::disk::Machine;
use crate::kind::{self, Does, Line, NAME, Report, chunks, pages, truth};
use crate::world::{World, lock, tell};

/// The most files that one process may have open at a time: far below 1,024, the default limit of Linux.
const OPEN_FILES: u64 = 64;

/// Why a job may end without a complete report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    /// It was cancelled.
    Cancelled,
    /// Its input was replaced, so two cuts of it may exist.
    Changed,
    /// A bit of its state flipped.
    Damaged,
    /// Messages of it were dropped for good.
    Purged,
    /// Its results were removed.
    Removed,
    /// It has a harmful chunk.
    Harmful,
    /// Its request kills producers.
    Deadly,
    /// Its input is refused.
    Refused,
}

/// A job that was requested.
pub struct Job {
    request: JobRequest,
    file: String,
    chunk_lines: usize,
    excuses: BTreeSet<Excuse>,
}

impl Job {
    /// A job on `lines`, the content of the file when the job is requested.
    pub fn new(request: JobRequest, file: &str, chunk_lines: usize, lines: &[Line]) -> Self {
        let mut excuses = BTreeSet::new();
        for line in lines {
            match line.does {
                Does::Count | Does::Reject => {}
                Does::Panic | Does::Kill => _ = excuses.insert(Excuse::Harmful),
                Does::KillProducer => _ = excuses.insert(Excuse::Deadly),
                Does::Refuse => _ = excuses.insert(Excuse::Refused),
            }
        }
        Self {
            request,
            file: file.to_owned(),
            chunk_lines,
            excuses,
        }
    }
}

/// How a job ended, as the reducer answers.
#[derive(Debug, Clone)]
struct Ended {
    status: Status,
    reason: Option<String>,
}

/// The facts by which a history is judged.
pub struct Judge {
    world: World,
    disk: Machine,
    inputs: BTreeMap<String, Vec<Vec<Line>>>,
    jobs: BTreeMap<String, Job>,
    ended: BTreeMap<String, Ended>,
    /// The jobs whose results were the newest, in order.
    newest: Vec<String>,
    away: bool,
    /// Whether harmful chunks do no more harm.
    mended: bool,
    /// Whether dead messages were requeued.
    requeued: bool,
    awaited: Awaited,
    /// Whether a queue of results lost its bindings, so that the reducer receives no dead letters.
    deaf: bool,
}

/// The requeued chunks that do no more harm, and for which their jobs wait: the job and number of each.
pub type Awaited = Arc<Mutex<BTreeSet<(String, String)>>>;

impl Judge {
    /// A judge without facts.
    pub fn new(world: World, disk: Machine) -> Self {
        Self {
            world,
            disk,
            inputs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            ended: BTreeMap::new(),
            newest: Vec::new(),
            away: false,
            mended: false,
            requeued: false,
            awaited: Awaited::default(),
            deaf: false,
        }
    }

    /// Records the new content of an input.
    pub fn input(&mut self, file: &str, lines: Vec<Line>) {
        self.inputs.entry(file.to_owned()).or_default().push(lines);
    }

    /// The current content of an input.
    pub fn newest(&self, file: &str) -> Vec<Line> {
        let versions = self.inputs.get(file);
        versions
            .and_then(|versions| versions.last())
            .cloned()
            .unwrap_or_default()
    }

    /// Records a request for a job.
    pub fn asked(&mut self, job: Job) {
        self.jobs.entry(job.request.job.to_string()).or_insert(job);
    }

    /// How many jobs were requested.
    pub fn number(&self) -> usize {
        self.jobs.len()
    }

    /// A random one of the files.
    pub fn any_file(&self) -> Option<String> {
        let place = self.world.roll(|dice| dice.index(self.inputs.len()));
        self.inputs.keys().nth(place).cloned()
    }

    /// A random one of the requests.
    pub fn any_request(&self) -> Option<JobRequest> {
        let place = self.world.roll(|dice| dice.index(self.jobs.len()));
        self.jobs.values().nth(place).map(|job| job.request.clone())
    }

    /// A random one of the requests whose input only producers can read, and that input.
    pub fn any_unseen(&self) -> Option<(JobRequest, String)> {
        let unseen = |job: &&Job| job.request.fingerprint.is_none();
        let unseen: Vec<&Job> = self.jobs.values().filter(unseen).collect();
        let place = self.world.roll(|dice| dice.index(unseen.len()));
        let job = unseen.get(place)?;
        Some((job.request.clone(), job.file.clone()))
    }

    /// Records an excuse of a job.
    pub fn excuse(&mut self, job: &str, excuse: Excuse) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.excuses.insert(excuse);
        }
    }

    /// Records an excuse of every job that was requested so far.
    pub fn excuse_all(&mut self, excuse: Excuse) {
        for job in self.jobs.values_mut() {
            job.excuses.insert(excuse);
        }
    }

    /// Records an excuse of the jobs on a file.
    pub fn excuse_file(&mut self, file: &str, excuse: Excuse) {
        for job in self.jobs.values_mut().filter(|job| job.file == file) {
            job.excuses.insert(excuse);
        }
    }

    /// Records an excuse of the job that a path of the state belongs to.
    pub fn excuse_path(&mut self, path: &Path, excuse: Excuse) {
        let path = path.to_string_lossy();
        let ours: Vec<String> = self
            .jobs
            .keys()
            .filter(|job| path.contains(*job))
            .cloned()
            .collect();
        for job in ours {
            self.excuse(&job, excuse);
        }
    }

    /// Records that the folder of results is moved away, or back.
    pub fn results_away(&mut self, away: bool) {
        self.away = away;
        self.excuse_all(Excuse::Removed);
    }

    /// Records that harmful chunks do no more harm.
    pub fn mended(&mut self) {
        self.mended = true;
    }

    /// Records a requeue of the dead messages, and returns where to record the awaited chunks. Only the first requeue is
    /// judged: of several copies of a chunk, a later requeue may send one that was dead-lettered before another.
    pub fn requeues(&mut self) -> Option<Awaited> {
        let is_first = !std::mem::replace(&mut self.requeued, true);
        (is_first && self.mended).then(|| Arc::clone(&self.awaited))
    }

    /// Records that a queue loses its bindings.
    pub fn unbound(&mut self, queue: &Queue) {
        self.deaf |= matches!(queue, Queue::Results(_));
    }

    /// Whether the folder of results is moved away.
    pub fn are_results_away(&self) -> bool {
        self.away
    }

    /// Checks the newest results, which a reader may open at any moment.
    pub fn look(&mut self) {
        let root = results();
        let Some(target) = self.disk.look_at_link(&root.join(NAME)) else {
            return;
        };
        let Some(job) = target
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
        else {
            return self.world.violation("the newest results have no name");
        };
        if self.newest.last() != Some(&job) {
            tell!(self.world, "the newest results are of {job}");
            let again = self.newest.contains(&job);
            let removed = self
                .jobs
                .get(&job)
                .is_some_and(|j| j.excuses.contains(&Excuse::Removed));
            if again && !removed {
                self.world
                    .violation(format_args!("the newest results are {job}'s again"));
            }
            self.newest.push(job.clone());
        }
        if self.away {
            return;
        }
        for file in self.disk.look_in(&root) {
            if ["jobs", NAME].contains(&file.as_str()) || file.ends_with(".tmp") {
                continue;
            }
            let (read, own) = (root.join(&file), job_folder(&job).join(&file));
            if self.disk.look(&read) != self.disk.look(&own) {
                self.world.violation(format_args!(
                    "{file} is not {job}'s, whose the newest results are"
                ));
            }
        }
    }

    /// Takes the reducer's answer about its jobs; returns whether every job ended.
    pub fn hears(&mut self, stages: Vec<JobStage>) -> bool {
        let mut open = BTreeSet::new();
        for JobStage { job, stage, .. } in stages {
            match stage {
                Stage::Ended { status, reason, .. } => {
                    let ended = Ended { status, reason };
                    self.ended.insert(job.to_string(), ended);
                }
                _ => {
                    open.insert(job.to_string());
                }
            }
        }
        self.jobs.iter().all(|(name, job)| {
            let lost =
                job.excuses.contains(&Excuse::Purged) || job.excuses.contains(&Excuse::Harmful);
            !open.contains(name) && (self.ended.contains_key(name) || lost)
        })
    }

    /// Takes the reducer's answer about its jobs; returns whether the cancelled ones that nothing reopened have ended.
    pub fn hears_of_cancelled(&mut self, stages: Vec<JobStage>) -> bool {
        stages.iter().all(|JobStage { job, stage, .. }| {
            let excuses = self.jobs.get(job.as_str()).map(|job| &job.excuses);
            let has = |excuse| excuses.is_some_and(|excuses| excuses.contains(excuse));
            let ended = matches!(stage, Stage::Ended { .. });
            let again = has(&Excuse::Removed) || has(&Excuse::Damaged);
            ended || again || !has(&Excuse::Cancelled)
        })
    }

    /// Records as violations the jobs that have not ended in time.
    pub fn never_ended(&self) {
        for name in self
            .jobs
            .keys()
            .filter(|name| !self.ended.contains_key(*name))
        {
            self.world.violation(format_args!("{name} never ended"));
        }
        self.world.violation("not every job ended");
    }

    /// Judges the outcome of the history.
    pub fn judge(&mut self, broker: &Simulated) {
        self.look();
        let mut dead = broker.look(&Queue::DeadChunks);
        let dead = dead.iter_mut().filter_map(|m| m.headers.remove("job"));
        let dead: BTreeSet<String> = dead.collect();
        for (name, job) in &self.jobs {
            match self.ended.get(name) {
                Some(ended) => self.judge_job(name, job, ended, &dead),
                None => tell!(self.world, "{name} is not known: {:?}", job.excuses),
            }
        }
        self.judge_dead(broker);
        self.judge_newest();
        let open = self.disk.most_open();
        if open > OPEN_FILES {
            self.world
                .violation(format_args!("{open} files are open at a time"));
        }
    }

    /// Judges a job; some chunks of those named in `dead` are in the dead queue.
    fn judge_job(&self, name: &str, job: &Job, ended: &Ended, dead: &BTreeSet<String>) {
        tell!(
            self.world,
            "{name} ended: {ended:?}, excuses {:?}",
            job.excuses
        );
        let wrong = |what: &str| {
            self.world.violation(format_args!(
                "{name} is {:?} ({}): {what}",
                ended.status,
                ended.reason.as_deref().unwrap_or("no reason")
            ));
        };
        let excuses: &[Excuse] = match ended.status {
            Status::Done | Status::Incomplete => {
                let has_report = self.disk.look(&job_folder(name).join(REPORT)).is_some();
                if !has_report && job.excuses.contains(&Excuse::Removed) {
                    return;
                }
                if let Err(what) = self.judge_report(name, job, ended.status) {
                    return wrong(&what);
                }
                if let Err(what) = self.judge_reason(name, job, ended, dead) {
                    wrong(what);
                }
                &[
                    Excuse::Harmful,
                    Excuse::Purged,
                    Excuse::Damaged,
                    Excuse::Changed,
                ]
            }
            Status::Cancelled => &[Excuse::Cancelled],
            Status::Failed => &[
                Excuse::Changed,
                Excuse::Damaged,
                Excuse::Purged,
                Excuse::Deadly,
                Excuse::Refused,
            ],
        };
        let is_excused = excuses.iter().any(|excuse| job.excuses.contains(excuse));
        if ended.status != Status::Done && !is_excused {
            wrong("nothing happened to it");
        }
    }

    /// For a job whose only excuse is a harmful chunk: checks that this chunk is in the dead queue, and in the reason.
    fn judge_reason(
        &self,
        name: &str,
        job: &Job,
        ended: &Ended,
        dead: &BTreeSet<String>,
    ) -> Result<(), &'static str> {
        let reason = ended.reason.as_deref().unwrap_or_default();
        let only_harmful = job.excuses.iter().all(|excuse| *excuse == Excuse::Harmful);
        if !only_harmful || !reason.contains("no partial came") {
            return Ok(());
        }
        // a reducer that receives no dead letters cannot give the reason, but the chunk must be in the dead queue
        match (dead.contains(name), self.deaf) {
            (false, _) => Err("what did harm is nowhere"),
            (true, false) => Err("what did harm was forgotten"),
            (true, true) => Ok(()),
        }
    }

    /// Whether a report is the truth of one version of its input.
    fn judge_report(&self, name: &str, job: &Job, status: Status) -> Result<(), String> {
        let folder = job_folder(name);
        let bytes = self
            .disk
            .look(&folder.join(REPORT))
            .ok_or("there is no report")?;
        let report: Report = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let versions = self
            .inputs
            .get(&job.file)
            .map(Vec::as_slice)
            .unwrap_or_default();
        if report.schema != job.request.schema {
            return Err(format!("the report is of version {}", report.schema));
        }
        let named_from = |lines: &Vec<Line>| {
            let named = job.request.fingerprint;
            named.is_none_or(|fingerprint| fingerprint == kind::digest(lines))
        };
        let is_right = |lines: &&Vec<Line>| {
            report == truth(report.schema, lines, job.chunk_lines, &report.missing)
        };
        let mut versions = versions.iter().filter(|lines| named_from(lines));
        let lines = versions
            .find(is_right)
            .ok_or_else(|| format!("the report is not that of its input: {report:?}"))?;
        if lines.iter().any(|line| line.does == Does::Refuse) {
            return Err("its input is refused".to_owned());
        }
        self.judge_rejects(name, job, status, lines, &report)?;
        self.judge_missing(name, job, lines, &report)
    }

    /// Whether the list of rejects is that of `lines`, and chunks are missing exactly if the job is incomplete.
    fn judge_rejects(
        &self,
        name: &str,
        job: &Job,
        status: Status,
        lines: &[Line],
        report: &Report,
    ) -> Result<(), String> {
        let rejects = self.disk.look(&job_folder(name).join(kind::REJECTS));
        let pages = pages(lines);
        let whole = (!pages.is_empty()).then(|| pages.concat());
        if rejects.is_some() && rejects != whole {
            return Err(format!("{} is not that of its input", kind::REJECTS));
        }
        if status == Status::Done && rejects != whole {
            return Err(format!("{} is missing", kind::REJECTS));
        }
        if status == Status::Done && !report.missing.is_empty() {
            return Err("it is done, and lacks chunks".to_owned());
        }
        // an earlier attempt may have written the side file before its copy in the state was damaged
        let damaged = job.excuses.contains(&Excuse::Damaged);
        let whole = report.missing.is_empty() && rejects == whole;
        if status == Status::Incomplete && whole && !damaged {
            return Err("nothing is missing".to_owned());
        }
        Ok(())
    }

    /// Whether the missing chunks are the harmful ones.
    fn judge_missing(
        &self,
        name: &str,
        job: &Job,
        lines: &[Line],
        report: &Report,
    ) -> Result<(), String> {
        let only_harmful = job.excuses.iter().all(|excuse| *excuse == Excuse::Harmful);
        let harmful = harmful(lines, job.chunk_lines);
        let is_missing = |seq: &Seq| report.missing.contains(seq);
        let all_missing = self.mended || harmful.iter().all(is_missing);
        let none_else = report.missing.iter().all(|seq| harmful.contains(seq));
        let awaited = lock(&self.awaited);
        let is_awaited = |seq: &&Seq| awaited.contains(&(name.to_owned(), seq.to_string()));
        if let Some(seq) = report.missing.iter().find(is_awaited)
            && only_harmful
        {
            return Err(format!("it lacks {seq}, which was sent once more"));
        }
        if only_harmful && !(all_missing && none_else) {
            return Err(format!(
                "it lacks {:?}, and {harmful:?} do harm",
                report.missing
            ));
        }
        Ok(())
    }

    /// Checks that only harmful messages are dead.
    fn judge_dead(&self, broker: &Simulated) {
        for queue in [Queue::DeadChunks, Queue::DeadResults, Queue::DeadJobs] {
            for message in broker.look(&queue) {
                let of = message
                    .headers
                    .get("job")
                    .map(String::as_str)
                    .unwrap_or_default();
                let Some(job) = self.jobs.get(of) else {
                    if !message.id.starts_with("question") {
                        self.world
                            .violation(format_args!("{} is dead, and of no job", message.id));
                    }
                    continue;
                };
                let does_harm = message.headers.get("seq").is_some_and(|seq| {
                    let versions = self.inputs.get(&job.file).into_iter().flatten();
                    let mut harmful = versions.flat_map(|lines| harmful(lines, job.chunk_lines));
                    harmful.any(|harmful| harmful.to_string() == *seq)
                });
                let excuses = [
                    Excuse::Changed,
                    Excuse::Damaged,
                    Excuse::Cancelled,
                    Excuse::Deadly,
                ];
                let excused = excuses.iter().any(|excuse| job.excuses.contains(excuse));
                if !does_harm && !excused {
                    let reason = message.headers.get("reason").map(String::as_str);
                    self.world.violation(format_args!(
                        "{} is in {queue:?}, innocent: {}",
                        message.id,
                        reason.unwrap_or("no reason")
                    ));
                }
            }
        }
    }

    /// Checks that the newest results are those of the job whose end was decided last, among the jobs with a complete report.
    fn judge_newest(&self) {
        let removed = |job: &Job| job.excuses.contains(&Excuse::Removed);
        if self.jobs.values().any(removed) {
            return;
        }
        let done = self
            .ended
            .iter()
            .filter(|(_, ended)| ended.status == Status::Done);
        let Some(last) = done.filter_map(|(job, _)| self.order(job)).max() else {
            return;
        };
        match self.newest.last() {
            None => self
                .world
                .violation("jobs are done, and no results are the newest"),
            Some(newest) if self.order(newest).is_none_or(|(order, _)| order < last.0) => {
                self.world.violation(format_args!(
                    "the newest results are {newest}'s, and those of {} are newer",
                    last.1
                ));
            }
            Some(_) => {}
        }
    }

    /// The position of a job's end in the order of ends; `None` for a job without a report, or with one without rows.
    fn order(&self, job: &str) -> Option<(u64, String)> {
        let folder = job_folder(job);
        let report: Report = serde_json::from_slice(&self.disk.look(&folder.join(REPORT))?).ok()?;
        let execution = Execution::read(&self.disk.look(&folder.join(EXECUTION))?).ok()?;
        (!report.sums.is_empty()).then(|| (execution.order, job.to_owned()))
    }
}

/// The chunks of a text that do harm.
fn harmful(lines: &[Line], chunk_lines: usize) -> Vec<Seq> {
    let chunks = (0u32..).zip(chunks(lines, chunk_lines));
    let harmful = chunks.filter(|(_, (_, lines))| {
        let harms = |line: &Line| matches!(line.does, Does::Panic | Does::Kill);
        lines.iter().any(harms)
    });
    harmful.map(|(number, _)| Seq::first_part(number)).collect()
}
