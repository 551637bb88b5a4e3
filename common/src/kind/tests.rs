//! The registry, and what stands behind its erased types.

use serde_json::value::RawValue;

use super::*;

/// The weight whose second file would leave the job's folder.
const LEADS_OUT: u64 = 1001;

/// A kind whose partial is its own weight.
struct Heavy;

impl JobKind for Heavy {
    const NAME: &'static str = "heavy";
    const SCHEMA: u32 = 1;
    type Request = ();
    type Facts = ();
    type Partial = u64;
    type Report = u64;

    /// A heavy report has a second file, of the name that its weight says.
    fn files(report: &u64) -> Vec<ReportFile<u64>> {
        let mut files = vec![ReportFile::new("weight.txt", |report, out| {
            write!(out, "{report} bytes")
        })];
        let second = match *report {
            LEADS_OUT => Some("../weight.txt".to_owned()),
            weight if weight > 1000 => Some(format!("tables/{weight}.txt")),
            _ => None,
        };
        let write = |report: &u64, out: &mut dyn io::Write| write!(out, "{}", report * 2);
        files.extend(second.map(|path| ReportFile::new(path, write)));
        files
    }

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

    fn conclude(
        (): (),
        partial: u64,
        _: &[Seq],
        steps: &mut Steps<'_>,
    ) -> Result<u64, ConcludeError> {
        steps("weight");
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
        let concluded = tally.conclude(&facts, &[], &mut |_| {});
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

#[test]
fn a_report_says_itself_how_many_files_it_has() {
    let registry = Registry::default().with::<Heavy>();
    let kind = registry.newest("heavy").expect("a kind");
    let report = kind.read(&mut "2000".as_bytes()).expect("a report");
    assert_eq!(report.rendered(), ["weight.txt", "tables/2000.txt"]);
    let mut bytes = Vec::new();
    report
        .write("tables/2000.txt", &mut bytes)
        .expect("written");
    assert_eq!(bytes, b"4000");
}

#[test]
fn a_file_outside_of_the_jobs_folder_is_no_file_of_a_report() {
    let registry = Registry::default().with::<Heavy>();
    let kind = registry.newest("heavy").expect("a kind");
    let refused = kind.read(&mut LEADS_OUT.to_string().as_bytes()).err();
    let sentence = refused.expect("it leads out of the folder").to_string();
    assert!(sentence.contains("../weight.txt"), "{sentence}");
    for (path, plain) in [
        ("a.csv", true),
        ("tables/a.csv", true),
        ("", false),
        ("/a.csv", false),
        ("./a.csv", false),
        ("a/../b.csv", false),
        ("a//b.csv", false),
        ("a/", false),
        (".a.csv", false),
        ("tables/.a", false),
        ("a.tmp", false),
    ] {
        assert_eq!(erased::is_plain(path), plain, "{path:?}");
    }
}

#[test]
fn a_conclusion_names_its_steps_and_holds_no_clock() {
    let (tally, _) = tally_of(&[1]);
    let facts = RawValue::from_string("null".to_owned()).expect("JSON");
    let mut named = Vec::new();
    let concluded = tally.conclude(&facts, &[], &mut |step| named.push(step));
    assert!(concluded.is_ok());
    assert_eq!(named, ["weight"]);
}
