//! Files that cannot be read, and files that can although they look odd: one test for each row of the table of bad input
//! that concerns a whole file.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use autoconnect_common::CutError;
use autoconnect_jobs::sales::columns::WANTED;
use autoconnect_tables::header;
use autoconnect_tables::input::{Encoding, Input, resolve, total_bytes};
use tempfile::TempDir;

const TABLE: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois\n\
    TX1,2024-01-01,Saint-Étienne,vente,BMW,100,\n";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    path
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("in memory")
}

fn utf16(text: &str, little: bool, mark: bool) -> Vec<u8> {
    let marked = text.encode_utf16();
    let units = mark.then_some(0xfeff).into_iter().chain(marked);
    units
        .flat_map(|unit| {
            if little {
                unit.to_le_bytes()
            } else {
                unit.to_be_bytes()
            }
        })
        .collect()
}

/// The whole text of a file, read in pieces of `step` bytes, to the end and through `finish`.
fn read_in(input: &Input, encoding: Encoding, step: usize) -> Result<Vec<u8>, CutError> {
    let mut opened = input.open(encoding)?;
    let (mut text, mut piece) = (Vec::new(), vec![0; step]);
    loop {
        match opened.read(&mut piece)? {
            0 => break,
            count => text.extend_from_slice(&piece[..count]),
        }
    }
    opened.finish()?;
    Ok(text)
}

fn read_as(path: &Path, encoding: Encoding) -> Result<String, CutError> {
    let inputs = resolve(&[path.to_owned()])?;
    let text = read_in(&inputs.files[0], encoding, 1 << 20)?;
    for step in [1, 7, 100_000] {
        if text.len() < 10_000 || step > 1000 {
            assert_eq!(
                read_in(&inputs.files[0], encoding, step)?,
                text,
                "in pieces of {step}"
            );
        }
    }
    header::read(&text, &inputs.files[0].name, None, &WANTED)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn read(path: &Path) -> Result<String, CutError> {
    read_as(path, Encoding::Utf8)
}

/// The one sentence with which something is refused.
fn sentence<T: std::fmt::Debug>(outcome: Result<T, CutError>) -> String {
    match outcome {
        Err(CutError::Refused(what)) => {
            assert!(
                !what.contains('\n') && !what.ends_with('.') && what.contains(": "),
                "{what}"
            );
            what
        }
        other => panic!("not refused but {other:?}"),
    }
}

fn refused_with(outcome: Result<String, CutError>, words: &str) {
    let what = sentence(outcome);
    assert!(what.contains(words), "{what:?} does not say {words:?}");
}

#[test]
fn a_missing_file_is_refused() {
    refused_with(
        read(&folder().path().join("none.csv")),
        "none.csv: no such file",
    );
}

#[test]
fn no_input_is_refused() {
    assert!(sentence(resolve(&[])).contains("no input"));
}

#[test]
fn a_folder_without_tables_is_refused() {
    let folder = folder();
    write(&folder, "a.json", "{}");
    write(&folder, ".hidden.csv", TABLE);
    fs::create_dir(folder.path().join("sub.csv")).expect("made");
    refused_with(
        read(folder.path()),
        "a folder without tables: found .hidden.csv, a.json, sub.csv/, expected",
    );
    refused_with(
        read(&folder.path().join("sub.csv")),
        "a folder without tables: found nothing",
    );
}

#[test]
fn a_folder_stands_for_its_tables_sorted_by_name() {
    let folder = folder();
    for name in [
        "b.csv",
        "a.tsv",
        "C.TXT",
        "d.csv.gz",
        "e.txt.zst",
        "csv",
        "x.gz",
        "y.csv.bak",
        ".z.csv",
    ] {
        write(&folder, name, TABLE);
    }
    let inputs = resolve(&[folder.path().to_owned()]).expect("tables");
    let names: Vec<&str> = inputs
        .files
        .iter()
        .map(|input| input.name.as_str())
        .collect();
    assert_eq!(names, ["C.TXT", "a.tsv", "b.csv", "d.csv.gz", "e.txt.zst"]);
    assert_eq!(total_bytes(&inputs.files), 5 * TABLE.len() as u64);
    assert_eq!(
        inputs.left_out.names,
        [".z.csv", "csv", "x.gz", "y.csv.bak"]
    );
}

#[test]
fn whatever_a_folder_leaves_out_is_named_and_counted() {
    let folder = folder();
    for name in ["janvier.csv", "FEVRIER.CSV.bz2", "mars.xlsx", ".DS_Store"] {
        write(&folder, name, TABLE);
    }
    fs::create_dir(folder.path().join("sous")).expect("made");
    write(&folder, "sous/avril.csv", TABLE);
    let of = |path: &Path| resolve(&[path.to_owned()]).expect("a table").left_out;
    let left_out = of(folder.path());
    assert_eq!(
        left_out.names,
        [".DS_Store", "FEVRIER.CSV.bz2", "mars.xlsx", "sous/"]
    );
    assert_eq!(left_out.count, 4);
    // a file that is named alone leaves out nothing
    assert_eq!(of(&folder.path().join("janvier.csv")).count, 0);
    // another thing that is left out is another report
    let digest = || {
        let inputs = resolve(&[folder.path().to_owned()]).expect("a table");
        inputs.fingerprint().expect("a digest")
    };
    let before = digest();
    write(&folder, "avril.ods", "");
    assert_ne!(digest(), before);
    for number in 0..1000 {
        write(&folder, &format!("{number}.pdf"), "");
    }
    let left_out = of(folder.path());
    assert_eq!((left_out.count, left_out.names.len()), (1005, 100));
}

#[cfg(unix)]
#[test]
fn a_fifo_a_socket_and_a_device_are_refused() {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    let folder = folder();
    let fifo = folder.path().join("fifo.csv");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let socket = folder.path().join("socket.csv");
    let _listener = UnixListener::bind(&socket).expect("bound");
    for path in [&fifo, &socket, Path::new("/dev/null")] {
        refused_with(read(path), "a pipe, socket or device");
    }
    // also in a folder
    refused_with(read(folder.path()), "a pipe, socket or device");
}

#[test]
fn an_empty_file_is_refused() {
    let folder = folder();
    let empties = [
        ("a.csv", Vec::new()),
        ("bom.csv", b"\xef\xbb\xbf".to_vec()),
        ("a.csv.gz", gzip(b"")),
        ("a.csv.zst", zstd(b"")),
    ];
    for (name, bytes) in empties {
        refused_with(read(&write(&folder, name, bytes)), "the file is empty");
    }
    refused_with(read(&write(&folder, "blank.csv", "\n\n\r\n")), "no header");
}

#[test]
fn a_binary_file_is_refused() {
    let folder = folder();
    let elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".repeat(100);
    refused_with(read(&write(&folder, "a.csv", elf)), "binary file");
    let zip = b"PK\x03\x04\x14\0\x06\0\x08\0\0\0!\0\xeei\n\x08\0\xff\n\"".repeat(100);
    refused_with(read(&write(&folder, "a.xlsx.csv", zip)), "binary file");
}

#[test]
fn a_wrong_header_is_refused() {
    let folder = folder();
    let wrong = TABLE.replace("prix", "montant");
    refused_with(
        read(&write(&folder, "a.csv", wrong)),
        "a.csv: line 1: missing column prix",
    );
}

#[test]
fn one_huge_line_is_refused() {
    let folder = folder();
    refused_with(
        read(&write(&folder, "a.csv", "x".repeat(3 << 20))),
        "longer than 1 MiB",
    );
}

#[test]
fn lone_carriage_returns_are_refused() {
    let folder = folder();
    refused_with(
        read(&write(&folder, "a.csv", TABLE.replace('\n', "\r"))),
        "carriage return",
    );
}

#[test]
fn a_byte_order_mark_is_accepted() {
    let folder = folder();
    let path = write(&folder, "a.csv", format!("\u{feff}{TABLE}"));
    assert_eq!(read(&path).expect("text"), TABLE);
}

#[test]
fn utf16_is_refused_unless_told() {
    let folder = folder();
    for (little, mark) in [(true, true), (false, true), (true, false), (false, false)] {
        let path = write(&folder, "a.csv", utf16(TABLE, little, mark));
        refused_with(read(&path), "--encoding utf-16");
        if little || mark {
            assert_eq!(read_as(&path, Encoding::Utf16).expect("text"), TABLE);
        }
        refused_with(read_as(&path, Encoding::Windows1252), "--encoding utf-16");
    }
    let utf32 = TABLE.chars().flat_map(|c| u32::from(c).to_le_bytes());
    let marked: Vec<u8> = [0xff, 0xfe, 0, 0].into_iter().chain(utf32).collect();
    refused_with(read(&write(&folder, "u32.csv", marked)), "UTF-32");
}

#[test]
fn what_is_not_utf16_is_refused_as_such() {
    let folder = folder();
    let path = write(&folder, "a.csv", TABLE);
    refused_with(read_as(&path, Encoding::Utf16), "not UTF-16");
    let path = write(&folder, "a.csv", format!("\u{feff}{TABLE}"));
    refused_with(read_as(&path, Encoding::Windows1252), "marked as UTF-8");
}

#[test]
fn broken_utf16_comes_out_as_bytes_that_are_no_text() {
    let folder = folder();
    let mut bytes = utf16(TABLE, true, true);
    let lone_surrogate = [0x00, 0xd8];
    bytes.extend_from_slice(&lone_surrogate);
    bytes.extend_from_slice(&utf16("é\n", true, false));
    bytes.push(b'x'); // half a unit
    let inputs = resolve(&[write(&folder, "a.csv", bytes)]).expect("a file");
    let expected = [TABLE.as_bytes(), b"\xff", "é\n".as_bytes(), b"\xff"].concat();
    for step in [1, 2, 3, 20, 1 << 20] {
        let text = read_in(&inputs.files[0], Encoding::Utf16, step).expect("text");
        assert_eq!(text, expected, "in pieces of {step}");
    }
}

#[test]
fn windows_1252_is_read_when_told() {
    let folder = folder();
    let text = TABLE.replace("BMW", "€ Œuvre’");
    let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(&text);
    let path = write(&folder, "a.csv", &bytes);
    assert_eq!(read_as(&path, Encoding::Windows1252).expect("text"), text);
}

#[test]
fn large_files_are_transcoded_whole() {
    let folder = folder();
    let text = format!("{TABLE}{}", "TX,é€🚗,\n".repeat(60_000));
    let path = write(&folder, "a.csv", utf16(&text, true, true));
    assert!(read_as(&path, Encoding::Utf16).expect("text") == text);
}

#[test]
fn gzip_and_zstd_are_told_by_their_first_bytes() {
    let folder = folder();
    for (name, bytes) in [
        ("a.csv.gz", gzip(TABLE.as_bytes())),
        ("a.csv", gzip(TABLE.as_bytes())),
        ("b.csv.zst", zstd(TABLE.as_bytes())),
        ("b.csv", zstd(TABLE.as_bytes())),
        ("plain.csv.gz", TABLE.as_bytes().to_vec()),
    ] {
        assert_eq!(
            read(&write(&folder, name, bytes)).expect("text"),
            TABLE,
            "{name}"
        );
    }
}

#[test]
fn gzip_members_and_zstd_frames_are_joined() {
    let folder = folder();
    let (first, second) = TABLE.as_bytes().split_at(70);
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd";
    for bytes in [
        [gzip(first), gzip(second)].concat(),
        [zstd(first), zstd(second)].concat(),
        [skippable.to_vec(), zstd(first), zstd(second)].concat(),
    ] {
        assert_eq!(read(&write(&folder, "a.csv", bytes)).expect("text"), TABLE);
    }
}

#[test]
fn compressed_utf16_is_read() {
    let folder = folder();
    let path = write(&folder, "a.csv.gz", gzip(&utf16(TABLE, false, true)));
    assert_eq!(read_as(&path, Encoding::Utf16).expect("text"), TABLE);
    refused_with(read(&path), "--encoding utf-16");
}

#[test]
fn truncated_gzip_and_zstd_are_refused() {
    let folder = folder();
    let text = format!(
        "{TABLE}{}",
        (0..200_000).map(|n| format!("{n},")).collect::<String>()
    );
    for (name, whole) in [
        ("a.csv.gz", gzip(text.as_bytes())),
        ("a.csv.zst", zstd(text.as_bytes())),
    ] {
        for len in [12, whole.len() / 2, whole.len() - 1] {
            let path = write(&folder, name, &whole[..len]);
            refused_with(read(&path), "data ends early");
        }
    }
}

#[test]
fn damaged_gzip_and_zstd_are_refused() {
    let folder = folder();
    let text = format!(
        "{TABLE}{}",
        (0..200_000).map(|n| format!("{n},")).collect::<String>()
    );
    for (name, mut bytes) in [
        ("a.csv.gz", gzip(text.as_bytes())),
        ("a.csv.zst", zstd(text.as_bytes())),
    ] {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xaa);
        refused_with(read(&write(&folder, name, bytes)), "data is damaged");
    }
    let joined = [gzip(TABLE.as_bytes()), b"rubbish".to_vec()].concat();
    refused_with(read(&write(&folder, "b.csv.gz", joined)), "data");
}

#[test]
fn a_zip_bomb_is_refused() {
    let folder = folder();
    for (name, bytes) in [("a.csv.gz", bomb_gzip()), ("a.csv.zst", bomb_zstd())] {
        let inputs = resolve(&[write(&folder, name, bytes)]).expect("a file");
        let mut opened = inputs.files[0].open(Encoding::Utf8).expect("a header");
        let (mut piece, mut out) = (vec![0; 1 << 20], 0);
        let error = loop {
            match opened.read(&mut piece) {
                Ok(0) => panic!("read whole"),
                Ok(count) => out += count,
                Err(error) => break error,
            }
        };
        assert!(
            error.to_string().contains("grows more than 1000 times"),
            "{error}"
        );
        assert!(out <= 72 << 20, "{out}");
    }
}

fn bomb_gzip() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(TABLE.as_bytes()).expect("in memory");
    let zeros = vec![b'0'; 1 << 20];
    (0..72).for_each(|_| encoder.write_all(&zeros).expect("in memory"));
    encoder.finish().expect("in memory")
}

fn bomb_zstd() -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("in memory");
    encoder.write_all(TABLE.as_bytes()).expect("in memory");
    let zeros = vec![b'0'; 1 << 20];
    (0..72).for_each(|_| encoder.write_all(&zeros).expect("in memory"));
    encoder.finish().expect("in memory")
}

/// A change to a file: its name, and the function that makes it.
type Change<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn a_file_changed_while_read_is_refused() {
    let folder = folder();
    let changes: [Change<'_>; 4] = [
        ("longer", &|path| {
            let mut file = File::options().append(true).open(path).expect("opened");
            file.write_all(b"TX2\n").expect("written");
        }),
        ("shorter", &|path| {
            let file = File::options().write(true).open(path).expect("opened");
            file.set_len(70).expect("cut");
        }),
        ("replaced", &|path| {
            let other = path.with_extension("new");
            fs::write(&other, TABLE).expect("written");
            let modified = fs::metadata(path)
                .and_then(|old| old.modified())
                .expect("a time");
            File::options()
                .write(true)
                .open(&other)
                .and_then(|new| new.set_modified(modified))
                .expect("set");
            fs::rename(&other, path).expect("renamed");
        }),
        ("gone", &|path| fs::remove_file(path).expect("removed")),
    ];
    for (name, change) in changes {
        let path = write(&folder, name, TABLE);
        let inputs = resolve(std::slice::from_ref(&path)).expect("a file");
        let mut opened = inputs.files[0].open(Encoding::Utf8).expect("a file");
        let mut piece = vec![0; 50];
        opened.read(&mut piece).expect("text");
        change(&path);
        while opened.read(&mut piece).expect("text") > 0 {}
        refused_with(
            opened.finish().map(|()| String::new()),
            "changed while it was read",
        );
    }
    let path = write(&folder, "same.csv", TABLE);
    assert!(read(&path).is_ok());
}

#[test]
fn the_same_file_given_twice_is_refused() {
    let folder = folder();
    let path = write(&folder, "a.csv", TABLE);
    let other = write(&folder, "b.csv", TABLE);
    assert!(resolve(&[path.clone(), other]).is_ok());
    let twice = |second: PathBuf| sentence(resolve(&[path.clone(), second]));
    assert!(twice(path.clone()).contains("given twice"));
    assert!(twice(folder.path().to_owned()).contains("given twice"));
    assert!(twice(folder.path().join("./a.csv")).contains("given twice"));
    let linked = folder.path().join("link.csv");
    fs::hard_link(&path, &linked).expect("linked");
    assert!(twice(linked).contains("given twice"));
    assert!(sentence(resolve(&["-".into(), "-".into()])).contains("given twice"));
}

#[test]
fn standard_input_has_a_name_and_another_fingerprint_every_time() {
    let inputs = resolve(&["-".into()]).expect("standard input");
    assert_eq!(
        (inputs.files[0].name.as_str(), total_bytes(&inputs.files)),
        ("stdin", 0)
    );
    let first = inputs.fingerprint().expect("a digest");
    assert_ne!(first, inputs.fingerprint().expect("a digest"));
}

/// Lets the clock of the file system, which may tick every 10 milliseconds, go on.
fn tick() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

#[test]
fn a_fingerprint_changes_with_the_name_the_time_and_every_edit_also_where_the_time_is_put_back() {
    let folder = folder();
    let path = write(&folder, "a.csv", TABLE);
    let stamp = fs::metadata(&path)
        .and_then(|data| data.modified())
        .expect("a time");
    let of = |path: &Path| {
        resolve(&[path.to_owned()])
            .expect("a file")
            .fingerprint()
            .expect("a digest")
    };
    let first = of(&path);
    assert_eq!(first, of(&path));
    let retimed = |path: &Path| {
        File::options()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(stamp))
            .expect("set");
    };
    fs::write(&path, TABLE.replace("100", "101")).expect("written");
    retimed(&path);
    tick();
    assert_ne!(first, of(&path));
    // the same bytes, size and time of modification, but another time of change
    fs::write(&path, TABLE).expect("written");
    retimed(&path);
    tick();
    assert_ne!(first, of(&path));
    let second = of(&path);
    // another file under the same name
    fs::copy(&path, folder.path().join("copy")).expect("copied");
    retimed(&folder.path().join("copy"));
    fs::rename(folder.path().join("copy"), &path).expect("renamed");
    assert_ne!(second, of(&path));
    assert_eq!(of(&path), of(&path));
    tick();
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_modified(stamp + std::time::Duration::from_nanos(4_000_000)))
        .expect("set");
    assert_ne!(first, of(&path));
    let other = write(&folder, "b.csv", TABLE);
    retimed(&other);
    assert_ne!(first, of(&other));
}

#[test]
fn the_ends_of_a_large_file_are_in_its_fingerprint() {
    let folder = folder();
    let mut bytes = vec![b'a'; 3 << 20];
    let path = write(&folder, "a.csv", &bytes);
    let stamp = fs::metadata(&path)
        .and_then(|data| data.modified())
        .expect("a time");
    let mut seen = std::collections::HashSet::new();
    for at in [0, 1 << 20, (3 << 20) - 1] {
        bytes[at] = b'b';
        fs::write(&path, &bytes).expect("written");
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(stamp))
            .expect("set");
        tick();
        let inputs = resolve(std::slice::from_ref(&path)).expect("a file");
        seen.insert(inputs.fingerprint().expect("a digest").to_string());
    }
    // the middle one may lie between two samples: the time of change differs
    assert_eq!(seen.len(), 3, "{seen:?}");
}

#[test]
fn bytes_read_are_counted_on_disk() {
    let folder = folder();
    for bytes in [
        TABLE.repeat(3000).into_bytes(),
        gzip(TABLE.repeat(3000).as_bytes()),
    ] {
        let path = write(&folder, "a.csv", &bytes);
        let inputs = resolve(&[path]).expect("a file");
        let mut opened = inputs.files[0].open(Encoding::Utf8).expect("a file");
        let mut piece = vec![0; 1 << 16];
        while opened.read(&mut piece).expect("text") > 0 {}
        assert_eq!(opened.consumed(), bytes.len() as u64);
        assert_eq!(opened.consumed(), total_bytes(&inputs.files));
    }
}

#[test]
fn names_that_would_mislead_a_terminal_are_spelled_out() {
    let folder = folder();
    let path = write(&folder, "a\u{1b}[31m\u{202e}.csv", TABLE);
    let inputs = resolve(&[path]).expect("a file");
    assert_eq!(inputs.files[0].name, "a\\u{1b}[31m\\u{202e}.csv");
}
