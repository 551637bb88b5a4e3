//! The command as people meet it: what it prints, what it writes, what it says when something is wrong, and its exit code.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const HEADER: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois";
const GOOD: &str = "TX1,2024-01-31,Lyon,vente,BMW_X3,10000.50,NULL";
/// Somebody who may do nothing here.
const NOBODY: u32 = 65534;

/// A folder in which the command runs; it sees no settings but those in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    /// A folder with `in.csv`, which holds `bytes`.
    fn with(bytes: impl AsRef<[u8]>) -> Self {
        let folder = Self::new();
        folder.write("in.csv", bytes);
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, bytes).expect("written");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_autoconnect"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AUTOCONNECT_")) {
            command.env_remove(name);
        }
        command.args(arguments).current_dir(self.0.path());
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }
}

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(command: &mut Command) -> Self {
        // a program that was copied a moment ago may still be open in a child that another test just forked
        let output = loop {
            match command.output() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    std::thread::yield_now();
                }
                output => break output.expect("started"),
            }
        };
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    #[track_caller]
    fn done(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""));
        self
    }

    /// It ended with `code`, and said why in one sentence that has all these words in it.
    #[track_caller]
    fn refused(self, about: &str, code: i32, says: &[&str]) {
        let told = format!("{about}: exit code {:?}, said {:?}", self.code, self.err);
        assert_eq!(self.code, Some(code), "{told}");
        assert_eq!(self.err.lines().count(), 1, "{told}");
        let sentence = self.err.strip_prefix("error: ").expect(&told).trim_end();
        assert!(!sentence.ends_with('.') && sentence.len() > 10, "{told}");
        assert_eq!(self.out, "", "{told}");
        for words in says {
            assert!(sentence.contains(words), "{told}, not {words:?}");
        }
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn utf16(text: &str) -> Vec<u8> {
    let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// A table with these rows.
fn table(rows: &[&str]) -> String {
    let lines = [&[HEADER], rows].concat();
    lines.join("\n") + "\n"
}

// ---- files

/// A line of 72 MiB in a few kilobytes.
fn bomb() -> Vec<u8> {
    let line = vec![b'0'; 72 << 20];
    zstd::encode_all(&[table(&[GOOD]).as_bytes(), &line].concat()[..], 3).expect("in memory")
}

#[test]
fn a_file_that_cannot_be_used_is_refused_in_one_sentence() {
    let good = table(&[GOOD]);
    let whole = gzip(good.as_bytes());
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        (
            "empty",
            vec![],
            &["in.csv", "empty", "expected", "a header"],
        ),
        (
            "blank lines alone",
            b"\n\r\n\n".to_vec(),
            &["in.csv", "no header"],
        ),
        (
            "binary",
            (0..=255).cycle().take(5000).collect(),
            &["in.csv", "a binary file", "expected a table"],
        ),
        (
            "an image",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec(),
            &["in.csv: line 1: no header: found", "PNG"],
        ),
        (
            "one huge line",
            vec![b'a'; 3 << 20],
            &["in.csv: line 1", "longer than 1 MiB", "expected a header"],
        ),
        (
            "no header",
            format!("{GOOD}\n{GOOD}\n").into(),
            &["in.csv: line 1: no header", "TX1", "expected the columns"],
        ),
        (
            "another table",
            b"id;name\n1;x\n".to_vec(),
            &["in.csv: line 1", "found", "expected"],
        ),
        (
            "a column is missing",
            good.replace(",prix", "").into(),
            &["line 1", "missing column prix", "found transaction_id"],
        ),
        (
            "columns are missing",
            b"transaction_id,ville\nTX1,Lyon\n".to_vec(),
            &["missing columns date, type, modele"],
        ),
        (
            "a column twice",
            good.replace("prix,", "prix,prix,").into(),
            &[
                "line 1",
                "\"prix\" occurs twice",
                "expected each column once",
            ],
        ),
        (
            "wrong delimiter",
            good.replace(',', "|").into(),
            &["in.csv: line 1", "a comma, semicolon or tab"],
        ),
        (
            "lone carriage returns",
            good.replace('\n', "\r").into(),
            &["line 1", "carriage return alone", "expected LF or CRLF"],
        ),
        (
            "a quote of the header is open",
            good.replace("prix", "\"prix").into(),
            &["line 1", "a quote of the header is never closed"],
        ),
        (
            "UTF-16",
            utf16(&good),
            &["in.csv", "UTF-16", "--encoding utf-16"],
        ),
        (
            "truncated gzip",
            whole[..whole.len() - 9].to_vec(),
            &["in.csv", "gzip data ends early", "expected a whole file"],
        ),
        (
            "damaged gzip",
            damaged,
            &["in.csv", "the gzip data is damaged"],
        ),
        ("a bomb", bomb(), &["in.csv", "grows more than 1000 times"]),
        (
            "gzip twice",
            gzip(&whole),
            &["in.csv", "binary", "expected a table"],
        ),
    ];
    for (about, bytes, says) in cases {
        let folder = Folder::with(bytes);
        folder
            .run(&["run", "in.csv", "--out", "out"])
            .refused(about, 2, says);
        assert!(!folder.has("out/report.json"), "{about}");
    }
}

#[test]
fn a_flag_that_does_not_fit_the_file_is_refused() {
    let good = table(&[GOOD]);
    let cases: [(&[u8], [&str; 2], &[&str]); 3] = [
        (
            good.as_bytes(),
            ["--delimiter", ";"],
            &["separated by a comma", "expected a semicolon as asked for"],
        ),
        (
            good.as_bytes(),
            ["--encoding", "utf-16"],
            &["not UTF-16", "--encoding utf-8"],
        ),
        (
            b"\xef\xbb\xbfx",
            ["--encoding", "windows-1252"],
            &["marked as UTF-8", "--encoding utf-8"],
        ),
    ];
    for (bytes, [flag, value], says) in cases {
        Folder::with(bytes)
            .run(&["run", "in.csv", flag, value])
            .refused(flag, 2, says);
    }
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let folder = Folder::with(table(&[GOOD]));
    folder.write("folder/notes.md", "x");
    let made = Command::new("mkfifo").arg(folder.path("fifo.csv")).status();
    assert!(made.expect("mkfifo").success());
    let cases: [(&[&str], &[&str]); 8] = [
        (&["none.csv"], &["none.csv: no such file"]),
        (&["in.csv", "none.csv"], &["none.csv: no such file"]),
        (
            &["folder"],
            &["folder: a folder without tables", "expected files named"],
        ),
        (
            &["in.csv", "in.csv"],
            &["in.csv: the same file is given twice"],
        ),
        (
            &["in.csv", "./folder/../in.csv"],
            &["the same file is given twice"],
        ),
        (
            &["fifo.csv"],
            &["fifo.csv: a pipe, socket or device", "expected a file"],
        ),
        (&["/dev/null"], &["/dev/null: a pipe, socket or device"]),
        (&["-"], &["stdin: the file is empty"]),
    ];
    for (files, says) in cases {
        folder
            .run(&[&["run", "--out", "out"], files].concat())
            .refused(&files.join(" "), 2, says);
    }
    folder.run(&[]).refused(
        "nothing",
        2,
        &["data/transactions_autoconnect.csv: no such"],
    );
}

#[test]
fn a_file_that_changes_while_it_is_read_is_refused() {
    let folder = Folder::with(table(&[GOOD]) + &"\n".repeat(8 << 20));
    let mut command = folder.command(&["run", "in.csv", "--out", "out"]);
    let mut running = command.stderr(Stdio::piped()).spawn().expect("started");
    let mut file = File::options()
        .append(true)
        .open(folder.path("in.csv"))
        .expect("opened");
    // again and again, so that one change falls between its first look and its last
    while running.try_wait().expect("a child").is_none() {
        file.write_all(b"\n").expect("written");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    // between asking and reading, or while it is read
    ended(running).refused("changed", 2, &["in.csv: the ", " changed "]);
}

fn ended(child: Child) -> Ran {
    let output = child.wait_with_output().expect("ended");
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The command as a user without root's rights: root becomes the user `nobody`, with a copy of the program that it may
/// run.
fn bound(folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = folder.command(arguments);
    if folder.0.path().metadata().expect("a folder").uid() == 0 {
        let program = folder.path("autoconnect");
        fs::copy(env!("CARGO_BIN_EXE_autoconnect"), &program).expect("copied");
        let mut other = Command::new(program);
        other.args(arguments).current_dir(folder.0.path());
        other.env_clear().stdin(Stdio::null());
        allow(folder.0.path(), 0o755);
        other.uid(NOBODY).gid(NOBODY);
        command = other;
    }
    command
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("allowed");
}

#[test]
fn a_file_without_permission_and_a_folder_that_cannot_be_written_are_refused() {
    let folder = Folder::with(table(&[GOOD]));
    folder.write("closed/in.csv", table(&[GOOD]));
    folder.write("secret.csv", table(&[GOOD]));
    folder.write("results/report.json", "the report before");
    fs::create_dir(folder.path("open")).expect("made");
    allow(&folder.path("open"), 0o777);
    allow(&folder.path("closed"), 0o000);
    allow(&folder.path("secret.csv"), 0o000);
    allow(&folder.path("results"), 0o555);
    let cases: [(&[&str], &[&str]); 6] = [
        (
            &["secret.csv", "--out", "open"],
            &["secret.csv: permission denied", "expected a file"],
        ),
        (&["closed", "--out", "open"], &["closed: permission denied"]),
        (
            &["closed/in.csv", "--out", "open"],
            &["closed/in.csv: permission denied"],
        ),
        (
            &["in.csv"],
            &["results: cannot write the report there", "ermission denied"],
        ),
        (
            &["in.csv", "--out", "results/new"],
            &["results/new: cannot write the report there"],
        ),
        (
            &["in.csv", "--out", "in.csv"],
            &["in.csv: cannot write the report there"],
        ),
    ];
    for (arguments, says) in cases {
        let ran = Ran::of(&mut bound(&folder, &[&["run"], arguments].concat()));
        ran.refused(&arguments.join(" "), 2, says);
    }
    assert_eq!(folder.read("results/report.json"), "the report before");
    // so that the refusals above are about permissions
    Ran::of(&mut bound(
        &folder,
        &["run", "in.csv", "--out", "open", "--quiet"],
    ))
    .done();
    allow(&folder.path("closed"), 0o755);
}

// ---- arguments and settings

#[test]
fn an_argument_that_cannot_be_used_is_refused_in_one_sentence() {
    let folder = Folder::with(table(&[GOOD]));
    let run = |arguments: &[&'static str]| [&["run", "in.csv"], arguments].concat();
    let cases: Vec<(Vec<&str>, &[&str])> = vec![
        (vec!["report"], &["'report'"]),
        (
            run(&["--delimeter", ";"]),
            &["'--delimeter'", "--delimiter"],
        ),
        (
            run(&["--delimiter", "|"]),
            &["'|'", "expected , or ; or tab"],
        ),
        (
            run(&["--encoding", "latin1"]),
            &["'latin1'", "windows-1252"],
        ),
        (
            run(&["--chunk-rows", "0"]),
            &["'0'", "--chunk-rows", "expected"],
        ),
        (
            run(&["--chunk-rows", "many"]),
            &["'many'", "--chunk-rows", "expected"],
        ),
        (run(&["--workers", "0"]), &["'0'", "--workers", "expected"]),
        (run(&["--workers", "-1"]), &["'-1'"]),
        (
            run(&["--workers", "70000"]),
            &["'70000'", "--workers", "expected"],
        ),
        (
            run(&["--max-rejects", "101%"]),
            &["'101%'", "expected a whole number of rows"],
        ),
        (run(&["--max-rejects", "ten"]), &["'ten'", "10%"]),
        (
            run(&["--periode", "2024-01..2024-13"]),
            &["'2024-01..2024-13'", "expected two months as in"],
        ),
        (
            run(&["--periode", "2024-03..2024-01"]),
            &["'2024-03..2024-01'", "expected a first month"],
        ),
        (
            run(&["--today", "2025-02-30"]),
            &["'2025-02-30'", "expected a day as in"],
        ),
        (
            run(&["--today", "tomorrow"]),
            &["'tomorrow'", "expected a day as in"],
        ),
        (run(&["--quiet", "--json"]), &["--quiet", "--json"]),
        (run(&["--out"]), &["--out"]),
        (
            run(&["--config", "nowhere"]),
            &["nowhere/base.toml: no such file"],
        ),
        (
            run(&["--profile", "lyon"]),
            &["config/lyon.toml: no such file"],
        ),
        (
            run(&["--profile", "../lyon"]),
            &["profile \"../lyon\"", "expected a name"],
        ),
        (
            run(&["--log", "=="]),
            &["log.filter in the command line", "expected levels"],
        ),
        (
            run(&["--broker", "localhost"]),
            &["broker.uri", "expected addresses like amqp://"],
        ),
        (
            run(&["--broker", "http://u:secret@h/"]),
            &["broker.uri", "expected addresses like"],
        ),
        (
            run(&["--broker", "amqp://guest:guest@example.org/"]),
            &["guest is for this machine only"],
        ),
        (
            run(&[
                "--broker",
                "amqps://u:secret@127.0.0.1:1/",
                "--ca",
                "none.pem",
            ]),
            &["none.pem"],
        ),
        (vec!["completions", "cmd"], &["'cmd'", "bash"]),
        (vec!["generate"], &["FILE"]),
        (vec!["generate", "--rows", "x", "f.csv"], &["'x'", "--rows"]),
        (
            vec!["generate", "--cities", "0", "f.csv"],
            &["0 cities", "expected 1 to"],
        ),
        (
            vec!["generate", "--dirty", "2", "f.csv"],
            &["2 of the rows", "between 0 and 1"],
        ),
        (
            vec!["generate", "--dirty", "NaN", "f.csv"],
            &["between 0 and 1"],
        ),
    ];
    for (arguments, says) in cases {
        let ran = folder.run(&arguments);
        assert!(!ran.err.contains("secret"), "{ran:?}");
        ran.refused(&arguments.join(" "), 2, says);
    }
    assert!(!folder.has("results/report.json"));
}

#[test]
fn a_setting_that_cannot_be_used_is_refused_in_one_sentence() {
    let cases: [(&str, &[&str]); 7] = [
        (
            "[sales]\nrows = 3\n",
            &[
                "unknown key sales.rows in config/base.toml",
                "sales.chunk_rows",
            ],
        ),
        (
            "[ventes]\nx = 3\n",
            &["unknown key ventes.x", "one of the sections"],
        ),
        (
            "[sales]\nchunk_rows = 0\n",
            &[
                "sales.chunk_rows in config/base.toml",
                "found \"0\"",
                "expected a whole number",
            ],
        ),
        (
            "[sales]\nmarge_vente = 101\n",
            &["sales.marge_vente", "found \"101\"", "expected percent"],
        ),
        (
            "[sales]\nperiode = \"2024\"\n",
            &[
                "sales.periode",
                "found \"2024\"",
                "expected two months as in",
            ],
        ),
        ("[sales\n", &["config/base.toml"]),
        (
            "[broker]\nuri = \"mysecret\"\n",
            &[
                "broker.uri in config/base.toml",
                "expected addresses like amqp://",
            ],
        ),
    ];
    for (settings, says) in cases {
        let folder = Folder::with(table(&[GOOD]));
        folder.write("config/base.toml", settings);
        let ran = folder.run(&["run", "in.csv"]);
        assert!(!ran.err.contains("mysecret"), "{ran:?}");
        ran.refused(settings, 2, says);
    }
    let variables: [(&str, &str, &[&str]); 4] = [
        (
            "AUTOCONNECT_SALES__ROWS",
            "3",
            &["AUTOCONNECT_SALES__ROWS", "sales.chunk_rows"],
        ),
        (
            "AUTOCONNECT_CHUNK_ROWS",
            "3",
            &["AUTOCONNECT_CHUNK_ROWS", "expected one of"],
        ),
        (
            "AUTOCONNECT_SALES__CHUNK_ROWS",
            "many",
            &[
                "AUTOCONNECT_SALES__CHUNK_ROWS",
                "found \"many\"",
                "expected a whole number",
            ],
        ),
        (
            "AUTOCONNECT_CONFIG",
            "nowhere",
            &["nowhere/base.toml: no such file"],
        ),
    ];
    for (name, value, says) in variables {
        let folder = Folder::with(table(&[GOOD]));
        Ran::of(folder.command(&["run", "in.csv"]).env(name, value)).refused(name, 2, says);
    }
}

// ---- what fails on the way

#[test]
fn too_many_rejects_fail_the_job_and_leave_the_list_of_them() {
    let folder = Folder::with(table(&[
        GOOD,
        "TX2,2024-02-30,Lyon,vente,BMW_X3,1,NULL",
        "TX3",
    ]));
    folder.run(&["run", "in.csv"]).refused(
        "too many",
        1,
        &[
            "2 of 3 rows rejected",
            "expected at most 10 %",
            "rejets.csv",
        ],
    );
    let rejets = folder.read("results/rejets.csv");
    assert!(
        rejets.contains("\n3,date_invalide,date,2024-02-30,"),
        "{rejets}"
    );
    assert!(rejets.contains("\n4,colonnes_manquantes,"), "{rejets}");
    assert!(!folder.has("results/report.json"));
    folder
        .run(&["run", "in.csv", "--max-rejects", "1"])
        .refused("one", 1, &["2 of 3 rows rejected", "at most 1:"]);
    folder.run(&["run", "in.csv", "--max-rejects", "2"]).done();
    folder
        .run(&["run", "in.csv", "--max-rejects", "70%"])
        .done();
    assert!(folder.has("results/report.json"));
}

#[test]
fn a_period_is_asked_for_by_flag_or_setting_and_said_in_the_summary() {
    let row = |n: u32, day: &str| format!("TX{n},{day},Lyon,vente,Clio,100,");
    let rows = [
        row(1, "2024-01-31"),
        row(2, "2024-02-10"),
        row(3, "2024-03-01"),
    ];
    let folder = Folder::with(table(&rows.each_ref().map(String::as_str)));
    let ran = folder
        .run(&["run", "in.csv", "--periode", "2024-02..2024-02"])
        .done();
    assert!(ran.out.contains("Période demandée"), "{ran:?}");
    let report: serde_json::Value =
        serde_json::from_str(&folder.read("results/report.json")).expect("JSON");
    assert_eq!(report["source"]["hors_periode"], 2);
    assert_eq!(report["source"]["acceptees"], 3);
    assert_eq!(report["periode"]["mois"], serde_json::json!(["2024-02"]));
    assert_eq!(report["ca_total"], 100);
    assert!(
        folder
            .read("results/analysis_report.txt")
            .contains("Période demandée")
    );
}

#[test]
fn a_broker_that_does_not_answer_fails_the_job() {
    let folder = Folder::with(table(&[GOOD]));
    let ran = folder.run(&["run", "in.csv", "--broker", "amqp://u:secret@127.0.0.1:1/v"]);
    assert!(!ran.err.contains("secret"), "{ran:?}");
    ran.refused(
        "unreachable",
        1,
        &["broker", "127.0.0.1:1", "did not answer within 10 seconds"],
    );
    assert!(!folder.has("results/report.json"));
}

#[test]
fn a_file_that_cannot_be_written_fails_generate() {
    let folder = Folder::with("");
    folder
        .run(&["generate", "in.csv/made.csv"])
        .refused("below a file", 1, &["in.csv/made.csv"]);
    folder
        .run(&["generate", "--rows", "100000", "/dev/full"])
        .refused("a full disk", 1, &["/dev/full", "No space left"]);
}

// ---- rows

#[test]
fn a_partly_bad_file_gives_a_report_and_the_list_of_what_was_rejected() {
    let long = format!("TX2,2024-01-31,Lyon,vente,{},1,", "x".repeat(1 << 20));
    let city = format!("TX2,2024-01-31,{},vente,BMW,1,", "V".repeat(256));
    let cases: [(&[u8], &str); 24] = [
        (b"TX2,2024-01-31,Lyon", "colonnes_manquantes"),
        (b"TX2,2024-01-31,Lyon,vente,BMW,1,,x", "colonnes_en_trop"),
        (b",2024-01-31,Lyon,vente,BMW,1,", "id_vide"),
        (b"TX1,2024-01-31,Paris,vente,BMW,1,", "id_duplique"),
        (b"TX2,2023-02-29,Lyon,vente,BMW,1,", "date_invalide"),
        (b"TX2,31/01/2024,Lyon,vente,BMW,1,", "date_invalide"),
        (b"TX2,2024-01-31,  ,vente,BMW,1,", "ville_vide"),
        (city.as_bytes(), "ville_trop_longue"),
        (b"TX2,2024-01-31,Lyon,leasing,BMW,1,", "type_inconnu"),
        (b"TX2,2024-01-31,Lyon,vente,,1,", "modele_vide"),
        (b"TX2,2024-01-31,Lyon,vente,BMW,NULL,", "prix_manquant"),
        (b"TX2,2024-01-31,Lyon,vente,BMW,1e3,", "prix_invalide"),
        (b"TX2,2024-01-31,Lyon,vente,BMW,-1,", "prix_negatif"),
        (b"TX2,2024-01-31,Lyon,vente,BMW,1.005,", "prix_trop_precis"),
        (
            b"TX2,2024-01-31,Lyon,vente,BMW,10000000.01,",
            "prix_excessif",
        ),
        (b"TX2,2024-01-31,Lyon,location,BMW,1,", "duree_manquante"),
        (b"TX2,2024-01-31,Lyon,location,BMW,1,121", "duree_invalide"),
        // a byte that Windows-1252 has no character for either
        (b"TX2,2024-01-31,Lyon,vente,BMW\x81,1,", "encodage_invalide"),
        (b"TX2,2024-01-31,Lyon,vente,BMW\0,1,", "encodage_invalide"),
        (b"TX2,2024-01-31,Lyon,vente,B\"MW,1,", "guillemet_mal_place"),
        (b"TX2,2024-01-31,Lyon,vente,\"BMW,1,", "guillemet_non_ferme"),
        (HEADER.as_bytes(), "entete_repetee"),
        (long.as_bytes(), "ligne_trop_longue"),
        (b"TX2,2024-01-31,Lyon,vente,BMW\rTX3,1,", "colonnes_en_trop"),
    ];
    for (row, motif) in cases {
        if motif == "colonnes_en_trop" && row.contains(&b'\r') {
            // a carriage return alone in a row ends nothing: it is a character of the model
            let folder = Folder::with([HEADER.as_bytes(), b"\n", row, b"\n"].concat());
            folder.run(&["run", "in.csv", "--quiet"]).done();
            assert!(
                folder
                    .read("results/report.json")
                    .contains("caracteres_speciaux")
            );
            continue;
        }
        let folder = Folder::with([table(&[GOOD]).as_bytes(), row, b"\n"].concat());
        let ran = folder
            .run(&["run", "in.csv", "--max-rejects", "50%"])
            .done();
        assert!(ran.out.contains(motif), "{motif}: {}", ran.out);
        let rejets = folder.read("results/rejets.csv");
        let line = rejets.lines().nth(1).unwrap_or_default();
        assert!(
            line.starts_with(&format!("3,{motif},")),
            "{motif}: {rejets}"
        );
        let report: serde_json::Value =
            serde_json::from_str(&folder.read("results/report.json")).expect("JSON");
        assert_eq!(report["source"]["lignes"], 2, "{motif}");
        assert_eq!(report["source"]["acceptees"], 1, "{motif}");
        assert_eq!(report["qualite"]["par_motif"][motif], 1, "{motif}");
    }
}

#[test]
fn a_header_alone_gives_a_report_of_zeros() {
    let folder = Folder::with(HEADER);
    let ran = folder.run(&["run", "in.csv"]).done();
    assert!(ran.out.contains("0 lignes lues"), "{}", ran.out);
    let report: serde_json::Value =
        serde_json::from_str(&folder.read("results/report.json")).expect("JSON");
    assert_eq!(report["source"]["lignes"], 0);
    assert_eq!(report["ca_total"], 0);
}

// ---- what is printed and written

const FILES: [&str; 5] = [
    "report.json",
    "report.html",
    "analysis_report.txt",
    "rejets.csv",
    "execution.json",
];

/// Of two accepted rows and a rejected one.
fn small() -> Folder {
    let rental = "TX2,2024-02-29,Saint-Étienne,location,Audi_A4,399.99,12";
    Folder::with(table(&[GOOD, rental, "TX3"]))
}

#[test]
fn the_summary_tells_what_a_person_asks_first() {
    let folder = small();
    let ran = folder
        .run(&["run", "in.csv", "--max-rejects", "1", "--out", "deep/er"])
        .done();
    let said = ran.out.replace(['\u{202f}', '\u{a0}'], " ");
    for words in [
        "3 lignes lues : 2 acceptées, 1 rejetées",
        "CA total : 10 400,49 €",
        "1  Lyon           10 000,50 €",
        "2  Saint-Étienne     399,99 €",
        "colonnes_manquantes  1",
        "Fichiers écrits dans deep/er/",
        "Durée : ",
        "lecture et découpe",
        "tables/ (",
    ] {
        assert!(said.contains(words), "no {words:?} in\n{said}");
    }
    for name in FILES {
        assert!(folder.has(&format!("deep/er/{name}")), "no {name}");
        assert!(said.contains(name), "{name} is not told");
    }
    assert!(!folder.has("results"));
}

#[test]
fn warnings_are_in_the_summary() {
    let folder = Folder::with(table(&["TX1,1969-07-20,Lyon,vente,BMW_X3,0,12"]));
    let ran = folder.run(&["run", "in.csv"]).done();
    for warning in [
        "Avertissements",
        "prix_nul",
        "date_ancienne",
        "vente_avec_duree",
    ] {
        assert!(ran.out.contains(warning), "no {warning:?} in\n{}", ran.out);
    }
}

#[test]
fn quiet_prints_nothing_and_json_prints_one_object() {
    let folder = small();
    let quiet = folder
        .run(&["run", "in.csv", "--max-rejects", "1", "--quiet"])
        .done();
    assert_eq!(quiet.out, "");
    let ran = folder
        .run(&["run", "in.csv", "--max-rejects", "1", "--json"])
        .done();
    let told: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(
        (&told["status"], &told["exit_code"]),
        (&"done".into(), &0.into())
    );
    assert_eq!(told["report"], "results/report.json");
    assert_eq!(told["rows"]["acceptees"], 2);
    assert_eq!(told["rows"]["rejetees"], 1);
    assert!(told["times_ms"]["total"].is_number() && told["times_ms"]["cut"].is_number());
    let files = told["files"].as_array().expect("a list");
    for name in FILES {
        assert!(
            files.contains(&format!("results/{name}").into()),
            "no {name}: {files:?}"
        );
    }
}

#[test]
fn json_tells_of_a_failure_too() {
    let folder = small();
    for (arguments, code, reason) in [
        (&["run", "in.csv", "--json"][..], 1, "1 of 3 rows rejected"),
        (&["run", "none.csv", "--json"], 2, "none.csv: no such file"),
    ] {
        let ran = folder.run(arguments);
        let told: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
        assert_eq!(told["status"], "failed");
        assert_eq!(told["exit_code"], code);
        assert!(
            told["reason"].as_str().expect("text").contains(reason),
            "{told}"
        );
        assert_eq!(told["report"], serde_json::Value::Null);
        let silent = Ran {
            out: String::new(),
            ..ran
        };
        silent.refused("json", code, &[reason]);
    }
}

#[test]
fn standard_input_is_read() {
    let folder = Folder::new();
    let mut command = folder.command(&["run", "-", "--quiet"]);
    let mut running = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    let mut stdin = running.stdin.take().expect("a pipe");
    stdin
        .write_all(&gzip(table(&[GOOD]).as_bytes()))
        .expect("written");
    drop(stdin);
    ended(running).done();
    let report = folder.read("results/report.json");
    assert!(
        report.contains("\"stdin\"") && report.contains("10000.5"),
        "{report}"
    );
}

#[test]
fn standard_input_in_windows_1252_is_read_so_and_the_summary_says_it() {
    let orleans = GOOD.replace("TX1", "TX2").replace("Lyon", "Orl\u{fffd}ans");
    // the letter comes after more than is read ahead
    let rows: Vec<String> = (10..20_000)
        .map(|id| GOOD.replace("TX1", &format!("TX{id}")))
        .collect();
    let rows: Vec<&str> = rows.iter().map(String::as_str).chain([&*orleans]).collect();
    let text = table(&rows).replace('\u{fffd}', "é");
    let bytes: Vec<u8> = text.chars().map(|letter| letter as u8).collect();
    for bytes in [bytes.clone(), gzip(&bytes)] {
        let folder = Folder::new();
        let mut command = folder.command(&["run", "-"]);
        let mut running = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = running.stdin.take().expect("a pipe");
        stdin.write_all(&bytes).expect("written");
        drop(stdin);
        let said = ended(running).done().out;
        assert!(
            said.contains("stdin n’est pas en UTF-8") && said.contains("Windows-1252"),
            "{said}"
        );
        let report: serde_json::Value =
            serde_json::from_str(&folder.read("results/report.json")).expect("JSON");
        assert_eq!(report["villes"], serde_json::json!(["Lyon", "Orléans"]));
        assert_eq!(report["source"]["encodages"][0]["fichier"], "stdin");
        for name in ["report.html", "analysis_report.txt"] {
            assert!(
                folder
                    .read(&format!("results/{name}"))
                    .contains("n’est pas en UTF-8"),
                "{name}"
            );
        }
    }
}

#[test]
fn the_summary_names_what_a_folder_leaves_out() {
    let folder = Folder::new();
    folder.write("ventes/janvier.csv", table(&[GOOD]));
    for name in ["FEVRIER.CSV.bz2", "mars.xlsx", "sous/avril.csv"] {
        folder.write(&format!("ventes/{name}"), "x");
    }
    let said = folder.run(&["run", "ventes"]).done().out;
    assert!(said.contains("FEVRIER.CSV.bz2, mars.xlsx, sous/"), "{said}");
    let report: serde_json::Value =
        serde_json::from_str(&folder.read("results/report.json")).expect("JSON");
    assert_eq!(report["source"]["ignores"]["nombre"], 3);
}

#[test]
fn a_report_without_a_row_takes_the_place_of_the_newest_only_where_that_is_asked() {
    let folder = Folder::with(table(&[GOOD]));
    folder.write("vide.csv", table(&[]));
    let villes = || {
        let report = folder.read("results/report.json");
        let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
        report["villes"].clone()
    };
    folder.run(&["run", "in.csv", "--quiet"]).done();
    let said = folder.run(&["run", "vide.csv"]).done().out;
    assert_eq!(villes(), serde_json::json!(["Lyon"]));
    assert!(
        said.contains("Attention : ") && said.contains("no accepted row"),
        "{said}"
    );
    // its copy is kept, and named
    assert!(
        said.contains("Fichiers écrits dans results/jobs/sales-"),
        "{said}"
    );
    folder
        .run(&["run", "vide.csv", "--accept-incomplete", "--quiet"])
        .done();
    assert_eq!(villes(), serde_json::json!(["Lyon"]));
    let said = folder
        .run(&["run", "vide.csv", "--accept-empty"])
        .done()
        .out;
    assert!(!said.contains("Attention"), "{said}");
    assert_eq!(villes(), serde_json::json!([]));
    folder.run(&["run", "in.csv", "--quiet"]).done();
    assert_eq!(villes(), serde_json::json!(["Lyon"]));
}

#[test]
fn several_files_and_folders_are_one_job() {
    let folder = Folder::with(table(&[GOOD]));
    folder.write("more/b.csv", table(&[&GOOD.replace("TX1", "TX2")]));
    folder.write("more/a.csv", table(&[&GOOD.replace("TX1", "TX3")]));
    folder.run(&["run", "in.csv", "more", "--quiet"]).done();
    let report: serde_json::Value =
        serde_json::from_str(&folder.read("results/report.json")).expect("JSON");
    assert_eq!(
        report["source"]["fichiers"],
        serde_json::json!(["in.csv", "a.csv", "b.csv"])
    );
    assert_eq!(report["source"]["acceptees"], 3);
}

#[test]
fn without_a_look_for_duplicates_each_row_counts() {
    let folder = Folder::with(table(&[GOOD, GOOD]));
    folder
        .run(&["run", "in.csv", "--no-dedup", "--quiet"])
        .done();
    assert!(folder.read("results/report.json").contains("20001"));
}

#[test]
fn the_manual_names_every_flag_every_file_and_every_exit_code() {
    let folder = Folder::new();
    let manual = folder.run(&["run", "--help"]).done().out;
    for words in [
        "--out",
        "--delimiter",
        "--encoding",
        "--no-dedup",
        "--max-rejects",
        "--today",
        "--chunk-rows",
        "--accept-empty",
        "--accept-incomplete",
        "--workers",
        "--broker",
        "--ca",
        "--quiet",
        "--json",
        "--log",
        "--config",
        "--profile",
        "Examples:",
        "Exit codes:",
        "duree_location_mois",
        "where there is one: cout",
        "report.json",
        "rejets.csv",
        "AUTOCONNECT_BROKER__URI",
        "AUTOCONNECT_SALES__CHUNK_ROWS",
        "AUTOCONNECT_PROFILE",
    ] {
        assert!(manual.contains(words), "no {words:?} in\n{manual}");
    }
    let all = folder.run(&["--help"]).done().out;
    for words in [
        "run",
        "generate",
        "completions",
        "transactions_autoconnect.csv",
    ] {
        assert!(all.contains(words), "no {words:?} in\n{all}");
    }
    for line in [
        folder.run(&["-h"]),
        folder.run(&["run", "-h"]),
        folder.run(&["generate", "--help"]),
    ] {
        assert!(
            line.done()
                .out
                .lines()
                .all(|line| line.chars().count() <= 120)
        );
    }
    let version = folder.run(&["--version"]).done().out;
    assert_eq!(
        version,
        format!("autoconnect {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn completions_are_printed_for_every_shell() {
    for (shell, mark) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef autoconnect"),
        ("fish", "complete -c autoconnect"),
    ] {
        let script = Folder::new().run(&["completions", shell]).done().out;
        assert!(
            script.contains(mark) && script.contains("max-rejects"),
            "{shell}"
        );
    }
}
