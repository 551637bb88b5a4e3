//! Files in Windows-1252 without a declared encoding: read so where all of their bytes say so, never where some do not.

mod made;

use std::io::Write as _;

use autoconnect_jobs::sales::request::Encoding;
use autoconnect_jobs::sales::{Facts, Request};
use made::{HEADER, How, Made, REFERENCE, made, made_by, with_header};

/// A row with this id and city.
fn row(id: usize, ville: &str) -> String {
    format!("TX{id},2024-01-31,{ville},vente,BMW_X3,100,NULL\n")
}

fn windows_1252(text: &str) -> Vec<u8> {
    let (bytes, _, unmappable) = encoding_rs::WINDOWS_1252.encode(text);
    assert!(!unmappable);
    bytes.into_owned()
}

/// 95 rows of Lyon and 5 of this city, after `before` more of Lyon.
fn lines(before: usize, ville: &str) -> String {
    let lyon = (0..before + 95).map(|id| row(id, "Lyon"));
    let other = (0..5).map(|id| row(before + 95 + id, ville));
    lyon.chain(other).collect()
}

/// Ways to read that must not show.
const WAYS: [How; 4] = [
    REFERENCE,
    How {
        block: 1,
        hot_path: true,
        threads: 1,
    },
    How {
        block: 1000,
        hot_path: true,
        threads: 3,
    },
    How {
        block: 1 << 18,
        hot_path: true,
        threads: 2,
    },
];

/// What is known after a cut that is the same in every way.
fn facts(text: &[u8], encoding: Encoding) -> (Facts, String) {
    let ask = |request: &mut Request| request.encoding = encoding;
    let reference = made_by(text, REFERENCE, ask);
    for how in WAYS {
        assert_eq!(made_by(text, how, ask), reference, "{how:?}");
    }
    match reference {
        Made::Cut { facts, rejets, .. } => (*facts, rejets),
        Made::Refused(why) => panic!("{why}"),
    }
}

fn is_read_as_windows_1252(text: &[u8], ville: &str) {
    let (facts, _) = facts(text, Encoding::Auto);
    assert_eq!(facts.rejetees, 0, "{ville}: {:?}", facts.par_motif);
    assert!(
        facts.villes.values().any(|name| name == ville),
        "{:?}",
        facts.villes
    );
    let found: Vec<&str> = facts
        .encodages
        .iter()
        .map(|file| file.encodage.as_str())
        .collect();
    assert_eq!(found, ["windows-1252"]);
    assert!(facts.lignes_windows_1252.is_empty());
}

#[test]
fn five_percent_of_orleans_in_windows_1252_are_read_and_said() {
    let text = with_header(&windows_1252(&lines(0, "Orléans")));
    is_read_as_windows_1252(&text, "Orléans");
}

#[test]
fn letters_of_windows_1252_are_found_however_late_they_come_and_whichever_they_are() {
    for ville in ["L’Haÿ-les-Roses", "Pont-à-Mousson", "ÉPINAL", "Œuilly"] {
        is_read_as_windows_1252(&with_header(&windows_1252(&lines(3_000, ville))), ville);
    }
    // beyond every buffer that is read ahead
    let late = with_header(&windows_1252(&lines(40_000, "Orléans")));
    let Made::Cut { facts, .. } = made(&late, WAYS[3]) else {
        panic!("refused")
    };
    assert_eq!((facts.rejetees, facts.encodages.len()), (0, 1));
}

#[test]
fn a_compressed_file_and_a_header_in_windows_1252_are_read_so() {
    let header = format!("{HEADER},catégorie\n");
    let rows = lines(0, "Lyon").replace("NULL\n", "NULL,neuf\n");
    let text = windows_1252(&format!("{header}{rows}"));
    is_read_as_windows_1252(&text, "Lyon");
    let text = with_header(&windows_1252(&lines(2_000, "Orléans")));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).expect("in memory");
    is_read_as_windows_1252(&gzip.finish().expect("in memory"), "Orléans");
    is_read_as_windows_1252(
        &zstd::encode_all(&text[..], 3).expect("in memory"),
        "Orléans",
    );
}

#[test]
fn a_file_that_mixes_both_is_utf8_and_the_other_rows_are_named() {
    let other = windows_1252(&lines(0, "Orléans"));
    let utf8 = row(500, "Nîmes");
    // whichever comes first
    for text in [
        [&other, utf8.as_bytes()].concat(),
        [utf8.as_bytes(), &other].concat(),
    ] {
        let (facts, rejets) = facts(&with_header(&text), Encoding::Auto);
        assert_eq!((facts.acceptees, facts.rejetees), (96, 5));
        assert!(
            facts.villes.values().any(|name| name == "Nîmes"),
            "{:?}",
            facts.villes
        );
        assert!(facts.encodages.is_empty());
        let [lignes] = &facts.lignes_windows_1252[..] else {
            panic!("{facts:?}")
        };
        assert_eq!(lignes.nombre, 5);
        assert!(rejets.contains(&format!("\n{},encodage_invalide,", lignes.premiere)));
    }
}

#[test]
fn a_file_in_another_encoding_is_no_windows_1252() {
    let orleans = |ville: &[u8]| {
        let text = lines(0, "@").into_bytes();
        let parts: Vec<&[u8]> = text.split(|&byte| byte == b'@').collect();
        with_header(&parts.join(ville))
    };
    for (what, ville) in [
        ("Mac OS Roman", &b"Orl\x8eans"[..]),
        ("code page 850", b"Orl\x82ans"),
        ("Cyrillic", b"\xcc\xee\xf1\xea\xe2\xe0"),
    ] {
        let (facts, _) = facts(&orleans(ville), Encoding::Auto);
        assert!(
            facts.encodages.is_empty() && facts.lignes_windows_1252.is_empty(),
            "{what}"
        );
        assert!(facts.par_motif["encodage_invalide"] > 0, "{what}");
    }
}

#[test]
fn what_is_asked_for_overrules_what_the_bytes_say() {
    let text = with_header(&windows_1252(&lines(0, "Orléans")));
    let (strict, _) = facts(&text, Encoding::Utf8);
    assert_eq!(strict.par_motif["encodage_invalide"], 5);
    assert!(strict.encodages.is_empty());
    assert_eq!(strict.lignes_windows_1252[0].nombre, 5);
    let (told, _) = facts(&text, Encoding::Windows1252);
    assert_eq!(told.rejetees, 0);
    // a requested encoding is not reported
    assert!(told.encodages.is_empty());
}

#[test]
fn a_refusal_for_too_many_rejects_says_what_helps() {
    use autoconnect_common::cut::Progress;
    use autoconnect_common::{Outlet, Shutdown};
    use autoconnect_jobs::sales::request::MaxRejects;
    use autoconnect_jobs::sales::{Request, cut};
    use autoconnect_report::fixed::Percent;

    let text = [
        row(900, "Nîmes").into_bytes(),
        windows_1252(&lines(0, "Orléans")),
    ]
    .concat();
    let mut file = tempfile::NamedTempFile::with_suffix(".csv").expect("a file");
    file.write_all(&with_header(&text)).expect("written");
    let request = Request {
        max_rejects: MaxRejects::Percent(Percent::default()),
        ..made::request(file.path())
    };
    let job = "sales-test".parse().expect("a job id");
    let (outlet, _items) = Outlet::new(
        job,
        1 << 16,
        1,
        std::sync::Arc::new(Progress::default()),
        Shutdown::new(),
    );
    let refusal = cut::cut(&request, &outlet)
        .expect("cut")
        .refusal
        .expect("refused");
    assert!(
        refusal.contains("5 of them read as Windows-1252, the first on line 98 of ")
            && refusal.ends_with("try --encoding windows-1252"),
        "{refusal}"
    );
}
