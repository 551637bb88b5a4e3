//! Which layer wins, what is refused and how, and what never prints.

use std::fs;
use std::path::Path;

use super::*;
use crate::broker::rabbitmq::Options;

/// A folder of settings files that is gone after the test.
struct Folder(PathBuf);

impl Folder {
    fn with(name: &str, files: &[(&str, &str)]) -> Self {
        let folder =
            std::env::temp_dir().join(format!("autoconnect-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("made");
        for (file, text) in files {
            fs::write(folder.join(file), text).expect("written");
        }
        Self(folder)
    }

    fn sources(&self, profile: Option<&str>, variables: &[(&str, &str)]) -> Sources {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        Sources::new(
            Some(self.0.clone()),
            profile.map(str::to_owned),
            variables.iter().map(owned).collect(),
        )
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn refusal(sources: &Sources) -> String {
    let read = sources.read(&[KEYS]).and_then(|settings| {
        settings.load::<Broker>()?;
        settings.load::<Log>()?;
        settings.load::<Producer>()?;
        settings.load::<Worker>()?;
        settings.load::<Reducer>()?;
        settings.load::<Api>().map(|_| ())
    });
    read.expect_err("refused").to_string()
}

#[test]
fn each_layer_is_stronger_than_the_one_before() {
    let folder = Folder::with(
        "layers",
        &[
            (
                "base.toml",
                "worker.prefetch = 3\nworker.name = 'base'\nlog.filter = 'warn'\nreducer.state = 's'",
            ),
            (
                "site.toml",
                "[worker]\nprefetch = 4\nname = 'site'\n[log]\nfilter = 'debug'",
            ),
        ],
    );
    let variables = [
        ("AUTOCONNECT_WORKER__PREFETCH", "5"),
        ("AUTOCONNECT_WORKER__NAME", "variable"),
        ("AUTOCONNECT_REDUCER__RESULTS", ""),
    ];
    let settings = folder
        .sources(Some("site"), &variables)
        .flag("worker.prefetch", Some(6))
        .flag("worker.name", None::<String>)
        .read(&[KEYS])
        .expect("read");
    let worker: Worker = settings.load().expect("checked");
    assert_eq!((worker.name.as_str(), worker.prefetch), ("variable", 6));
    assert_eq!(settings.load::<Log>().expect("checked").filter, "debug");
    let reducer: Reducer = settings.load().expect("checked");
    assert_eq!(reducer.state, Path::new("s"));
    assert_eq!(reducer.results, Path::new("results"));
}

#[test]
fn without_any_file_the_defaults_hold() {
    let sources = Sources::new(None, None, Vec::new());
    let settings = Sources {
        folder: PathBuf::from("no/such/folder"),
        ..sources
    }
    .read(&[KEYS])
    .expect("read");
    assert_eq!(settings.load::<Worker>().expect("checked").prefetch, 2);
    assert_eq!(settings.load::<Broker>().expect("checked").uri, None);
}

#[test]
fn an_unknown_key_is_refused_by_name_source_and_what_was_expected() {
    let folder = Folder::with("unknown", &[("base.toml", "[worker]\nprefech = 3")]);
    let said = refusal(&folder.sources(None, &[]));
    assert!(
        said.starts_with("settings: unknown key worker.prefech in "),
        "{said}"
    );
    assert!(
        said.ends_with("base.toml, expected one of worker.name, worker.prefetch"),
        "{said}"
    );

    let folder = Folder::with("unknown-variable", &[("base.toml", "")]);
    let said = refusal(&folder.sources(None, &[("AUTOCONNECT_WORKERS__NAME", "a")]));
    assert_eq!(
        said,
        "settings: unknown key workers.name in AUTOCONNECT_WORKERS__NAME, expected one of the sections broker, log, health, \
         producer, worker, reducer, blobs, api"
    );
    let said = refusal(&folder.sources(None, &[("AUTOCONNECT_BROKER", "amqp://a")]));
    assert!(
        said.contains("unknown key broker in AUTOCONNECT_BROKER"),
        "{said}"
    );
}

#[test]
fn a_bad_value_is_refused_by_name_source_and_what_was_expected() {
    let folder = Folder::with("bad", &[("base.toml", "")]);
    for (variable, value, said) in [
        (
            "AUTOCONNECT_WORKER__PREFETCH",
            "0",
            "found \"0\", expected a whole number from 1 to 65535",
        ),
        (
            "AUTOCONNECT_LOG__FORMAT",
            "xml",
            "found \"xml\", expected text or json",
        ),
        (
            "AUTOCONNECT_PRODUCER__THREADS",
            "many",
            "expected a whole number from 0",
        ),
        (
            "AUTOCONNECT_WORKER__NAME",
            "a b",
            "expected 1 to 64 letters",
        ),
        (
            "AUTOCONNECT_REDUCER__ABANDON_AFTER",
            "1 hour",
            "found \"1 hour\", expected a time from 1 second, as in 90s, 30m or 1h",
        ),
        (
            "AUTOCONNECT_API__HOSTS",
            "reports.example,",
            "found \"reports.example,\", expected names with commas between them",
        ),
        (
            "AUTOCONNECT_BROKER__URI_FILE",
            "/no/such/file",
            "(No such file",
        ),
    ] {
        let refused = refusal(&folder.sources(None, &[(variable, value)]));
        assert!(
            refused.contains(variable) && refused.contains(said),
            "{refused}"
        );
        assert!(!refused.contains('\n'), "{refused}");
    }
    let folder = Folder::with("bad-list", &[("base.toml", "worker.name = ['a']")]);
    assert!(refusal(&folder.sources(None, &[])).contains("found \"a table or list\""));
}

#[test]
fn a_time_is_written_with_its_unit_or_in_seconds() {
    let folder = Folder::with("times", &[("base.toml", "")]);
    let read = |text: &str| {
        let sources = folder.sources(None, &[("AUTOCONNECT_REDUCER__ABANDON_AFTER", text)]);
        let settings = sources.read(&[KEYS]).expect("read");
        let reducer = settings.load::<Reducer>();
        reducer.map(|reducer| reducer.abandon_after.as_secs()).ok()
    };
    for (text, seconds) in [("90", 90), ("90s", 90), ("30m", 1800), ("1h", 3600)] {
        assert_eq!(read(text), Some(seconds), "{text}");
    }
    for bad in [
        "0",
        "0h",
        "-1",
        "1.5h",
        "1d",
        "h",
        "1hm",
        "1 h",
        "99999999999",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_in_one_line() {
    let folder = Folder::with("syntax", &[("base.toml", "[worker]\nname = = 'a'")]);
    let said = refusal(&folder.sources(None, &[]));
    assert!(
        said.contains("base.toml") && said.contains("line 2"),
        "{said}"
    );
    assert!(!said.contains('\n') && !said.contains('|'), "{said}");
}

#[test]
fn a_profile_or_folder_that_is_asked_for_must_exist() {
    let folder = Folder::with("profiles", &[("base.toml", "")]);
    assert!(refusal(&folder.sources(Some("site"), &[])).ends_with("site.toml: no such file"));
    assert!(refusal(&folder.sources(Some("../site"), &[])).contains("expected a name of letters"));
    let named = Sources::new(None, None, vec![(CONFIG.to_owned(), "/no/such".to_owned())]);
    assert_eq!(
        refusal(&named),
        "settings: /no/such/base.toml: no such file"
    );
}

#[test]
fn the_variables_of_the_test_suite_are_not_settings() {
    let folder = Folder::with("suite", &[("base.toml", "")]);
    let sources = folder.sources(None, &[("AUTOCONNECT_TEST_BROKER", "amqp://a")]);
    assert!(sources.read(&[KEYS]).is_ok());
}

#[test]
fn a_secret_never_prints() {
    let folder = Folder::with("secret", &[("base.toml", "")]);
    fs::write(folder.0.join("uri"), "amqp://user:hush@host/v\n").expect("written");
    let file = folder.0.join("uri").display().to_string();
    let settings = folder
        .sources(None, &[("AUTOCONNECT_BROKER__URI_FILE", &file)])
        .read(&[KEYS])
        .expect("read");
    let broker: Broker = settings.load().expect("checked");
    let uri = broker.uri.clone().expect("set");
    assert_eq!(uri.expose(), "amqp://user:hush@host/v");
    assert!(
        !format!(
            "{broker:?} {uri} {:?}",
            Options::of(&broker, "a", Vec::new())
        )
        .contains("hush")
    );
    assert_eq!(
        Options::of(&broker, "a", Vec::new()).uris,
        ["amqp://user:hush@host/v"]
    );

    let sources = folder.sources(
        None,
        &[("AUTOCONNECT_BROKER__URI", "http://user:hush@host")],
    );
    assert!(!format!("{:?}", sources.read(&[KEYS]).expect("read")).contains("hush"));
    let said = refusal(&sources);
    assert!(
        said.contains("AUTOCONNECT_BROKER__URI") && !said.contains("hush"),
        "{said}"
    );
    assert!(!format!("{sources:?}").contains("hush"));
}

#[test]
fn the_shipped_file_says_every_default_and_names_every_key() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/base.toml");
    let text = fs::read_to_string(&shipped).expect("shipped");
    let without_kinds: String = text.split("[sales]").take(1).collect();
    for key in KEYS {
        let (_, name) = key.path.split_once('.').expect("section.key");
        let line = |line: &str| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{name} ="))
        };
        assert!(without_kinds.lines().any(line), "{}", key.path);
    }
    let folder = Folder::with("shipped", &[("base.toml", &without_kinds)]);
    let written = folder.sources(None, &[]).read(&[KEYS]).expect("read");
    let empty = Settings {
        found: BTreeMap::new(),
        keys: KEYS.to_vec(),
    };
    let same = |a: &dyn std::fmt::Debug, b: &dyn std::fmt::Debug| {
        assert_eq!(format!("{a:?}"), format!("{b:?}"));
    };
    same(&written.load::<Broker>(), &empty.load::<Broker>());
    same(&written.load::<Log>(), &empty.load::<Log>());
    same(&written.load::<Producer>(), &empty.load::<Producer>());
    same(&written.load::<Worker>(), &empty.load::<Worker>());
    same(&written.load::<Reducer>(), &empty.load::<Reducer>());
}
