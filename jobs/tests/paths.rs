//! The hot path, the reference path, any block size and any number of threads cut the same input into the same chunks.

mod made;

use std::io::Write;
use std::sync::Arc;

use autoconnect_common::cut::{Item, Progress};
use autoconnect_common::{Chunk, JobKind as _, Outlet, Shutdown};
use autoconnect_jobs::sales::columns::optional_columns;
use autoconnect_jobs::sales::{Partial, Request, Sales, cut, work};
use made::{HEADER, How, Made, REFERENCE, made, request, with_header};
use proptest::prelude::*;

/// Lines that are nearly right: each field mostly plain, now and then from the zoo.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let zoo = |plain: &'static str| {
        prop_oneof![
            12 => proptest::string::string_regex(plain).expect("a pattern").prop_map(String::into_bytes),
            1 => proptest::sample::select(vec![
                &b""[..], b"NULL", b"NaN", b" ", b"\"a,b\"", b"\"x\ny\"", b"\"\"\"\"", b"\"", b"a\"b", b"\xff", b"\0", b"\r",
                b"-1", b"0", b"1.234", b"99999999999", b"1e3", b"49", b"121", b"2999-01-01", b"1969-12-31", b"=cmd", b"\xe2\x80\xae",
                b" Lyon ", b"LYON", b"a;b", b"Orl\xe9ans", "Nîmes".as_bytes(), b"12,5", b"\"vente\"", b"\"12\"x", b"Lyon\0",
            ])
            .prop_map(<[u8]>::to_vec),
        ]
    };
    let fields = (
        zoo("TX00[0-9]{2}|[A-F]{5,9}|7|( |\t|\u{a0}|\u{202f})?TX001[0-3]( |\u{200b})?|\"TX0012 \""),
        zoo("202[0-5]-(0[1-9]|1[0-3])-[0-3][0-9]"),
        zoo("Lyon|Paris|Saint-Étienne"),
        zoo("vente|location"),
        zoo("BMW_X3|Audi_A4|Tesla_Model_3"),
        zoo("[0-9]{1,6}(\\.[0-9]{1,2})?"),
        zoo("NULL||[1-9]|[1-4][0-8]"),
    );
    let end = prop_oneof![8 => Just(&b"\n"[..]), 1 => Just(&b"\r\n"[..]), 1 => Just(&b",x\n"[..]), 1 => Just(&b"\n\n"[..])];
    (fields, end)
        .prop_map(|((a, b, c, d, e, f, g), end)| [&[a, b, c, d, e, f, g].join(&b','), end].concat())
}

/// The same lines, with a field for each optional column: an amount, none, or neither.
fn line_with_amounts() -> impl Strategy<Value = Vec<u8>> {
    let amount = prop_oneof![
        4 => proptest::string::string_regex("[0-9]{1,6}(\\.[0-9]{1,2})?").expect("a pattern").prop_map(String::into_bytes),
        2 => Just(Vec::new()),
        1 => proptest::sample::select(vec![
            &b"NULL"[..], b" ", b"x", b"-1", b"0", b"1.234", b"99999999999", b"\"7\"", b"\"1,5\"", b"\xff",
        ])
        .prop_map(<[u8]>::to_vec),
    ];
    let amounts = proptest::collection::vec(amount, optional_columns().len());
    (line(), amounts).prop_map(|(mut line, amounts)| {
        let last = line.iter().rposition(|byte| !b"\r\n".contains(byte));
        let end = line.split_off(last.map_or(0, |last| last + 1));
        [&line[..], b",", &amounts.join(&b','), &end].concat()
    })
}

fn how() -> impl Strategy<Value = How> {
    (
        proptest::sample::select(vec![1, 17, 64, 200, 1 << 18]),
        any::<bool>(),
        1..4_usize,
    )
        .prop_map(|(block, hot_path, threads)| How {
            block,
            hot_path,
            threads,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn both_paths_agree_on_lines_that_are_nearly_right(lines in proptest::collection::vec(line(), 0..40), how in how()) {
        let text = with_header(&lines.concat());
        prop_assert_eq!(made(&text, how), made(&text, REFERENCE));
    }

    #[test]
    fn both_paths_agree_on_lines_with_optional_columns(lines in proptest::collection::vec(line_with_amounts(), 0..40), how in how()) {
        let optional = optional_columns().iter().map(|column| column.name);
        let header: Vec<&str> = [HEADER].into_iter().chain(optional).collect();
        let text = [header.join(",").as_bytes(), b"\n", &lines.concat()].concat();
        prop_assert_eq!(made(&text, how), made(&text, REFERENCE));
    }

    #[test]
    fn both_paths_agree_on_arbitrary_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), how in how()) {
        let text = with_header(&bytes);
        prop_assert_eq!(made(&text, how), made(&text, REFERENCE));
        // the header must be in a file's first block
        let how = How { block: 1 << 18, ..how };
        prop_assert_eq!(made(&bytes, how), made(&bytes, REFERENCE));
    }

    #[test]
    fn both_paths_agree_on_separators_alone(text in "[,\"\na\r]{0,200}", how in how()) {
        let text = with_header(text.as_bytes());
        prop_assert_eq!(made(&text, how), made(&text, REFERENCE));
    }

    #[test]
    fn every_row_is_accepted_or_rejected_and_every_accepted_row_is_in_a_chunk(lines in proptest::collection::vec(line(), 0..40)) {
        let Made::Cut { facts, chunks, rejets } = made(&with_header(&lines.concat()), How { block: 100, hot_path: true, threads: 2 }) else {
            return Err(TestCaseError::fail("refused"));
        };
        prop_assert_eq!(facts.lignes, facts.acceptees + facts.rejetees);
        let in_chunks: u64 = chunks.values().map(|(_, rows, _)| u64::from(*rows)).sum();
        prop_assert_eq!(in_chunks, facts.acceptees);
        let listed = csv::Reader::from_reader(rejets.as_bytes()).into_records().count();
        prop_assert_eq!(listed as u64, facts.rejetees);
        prop_assert_eq!(facts.par_motif.values().sum::<u64>(), facts.rejetees);
    }
}

fn partial_of(text: &[u8], how: How) -> Partial {
    use autoconnect_common::Merge;
    let Made::Cut { chunks, .. } = made(text, how) else {
        panic!("refused")
    };
    chunks
        .into_iter()
        .fold(Partial::default(), |mut sum, (seq, (key, rows, body))| {
            let job = "sales-test".parse().expect("a job id");
            let chunk = Chunk {
                job,
                kind: Sales::NAME.to_owned(),
                schema: Sales::SCHEMA,
                seq,
                key,
                rows,
                body: body.into(),
            };
            sum.merge(work::work(&chunk).expect("worked"))
                .expect("no overflow");
            sum
        })
}

#[test]
fn a_small_file_gives_the_sums_one_adds_up_by_hand() {
    let text = with_header(
        "TX1,2024-01-31,Lyon,vente,BMW_X3,10000.5,NULL\n\
         TX2,2024-02-01,lyon,location,BMW_X3,300,12\n\
         TX3,2024-02-29, LYON ,location,Audi_A4,200.25,24\n\
         TX1,2024-03-01,Lyon,vente,BMW_X3,99999,NULL\n\
         TX4,2024-03-01,Saint-Étienne,vente,BMW_X3,1,\n"
            .as_bytes(),
    );
    let partial = partial_of(&text, REFERENCE);
    assert_eq!(
        partial,
        partial_of(
            &text,
            How {
                block: 30,
                hot_path: true,
                threads: 3
            }
        )
    );
    let lyon = &partial.villes["lyon"];
    assert_eq!(lyon.mois[&(2024 * 12)].vente.ca, 1_000_050);
    assert_eq!(lyon.mois[&(2024 * 12 + 1)].location.ca, 50_025);
    assert_eq!(lyon.modeles["BMW_X3"].location.nombre, 1);
    assert_eq!(lyon.durees["Audi_A4"], 24);
    assert_eq!(lyon.valeur_contrats, 30_000 * 12 + 20_025 * 24);
    assert_eq!(
        partial.villes["saint-etienne"].mois[&(2024 * 12 + 2)]
            .vente
            .ca,
        100
    );
}

#[test]
fn ids_that_differ_in_blanks_around_them_are_one_id() {
    let row = |id: &str| format!("{id},2024-01-31,Lyon,vente,BMW_X3,100,NULL\n");
    for same in [
        "TX1 ",
        " TX1",
        "\tTX1",
        "\"TX1 \"",
        "TX1\u{a0}",
        "TX1\u{202f}",
        "\u{feff}TX1",
        "TX1\u{200b}",
    ] {
        for ids in [["TX1", same], [same, "TX1"]] {
            let text = with_header(ids.map(row).concat().as_bytes());
            for how in [
                REFERENCE,
                How {
                    block: 1,
                    hot_path: true,
                    threads: 1,
                },
                How {
                    block: 1 << 18,
                    hot_path: true,
                    threads: 2,
                },
            ] {
                let Made::Cut { facts, rejets, .. } = made(&text, how) else {
                    panic!("refused")
                };
                assert_eq!((facts.acceptees, facts.rejetees), (1, 1), "{ids:?} {how:?}");
                assert!(
                    rejets.contains("\n3,id_duplique,transaction_id,TX1,"),
                    "{rejets}"
                );
            }
        }
    }
    // blanks within an id, letters and leading zeros do distinguish ids
    let others = ["TX1", "TX 1", "TX01", "tx1", "TX1-"].map(row).concat();
    let Made::Cut { facts, .. } = made(&with_header(others.as_bytes()), REFERENCE) else {
        panic!("refused")
    };
    assert_eq!(facts.acceptees, 5);
    // one of invisible characters alone is none
    let Made::Cut { facts, .. } = made(&with_header(row("\u{200b}\u{a0}").as_bytes()), REFERENCE)
    else {
        panic!("refused")
    };
    assert_eq!(facts.par_motif["id_vide"], 1);
}

#[test]
fn a_nul_is_refused_also_where_the_rest_of_the_field_is_known() {
    let good = "TX1,2024-01-31,Lyon,vente,BMW_X3,100,NULL\n";
    for (old, new) in [
        ("Lyon", "\0"),
        ("Lyon", "Lyon\0"),
        ("BMW_X3", "\0"),
        ("BMW_X3", "BMW_X3\0\0"),
    ] {
        let bad = good.replace("TX1", "TX2").replace(old, new);
        let text = with_header(format!("{good}{bad}").as_bytes());
        // the first row in a block before the second: what it taught is known by then
        let how = How {
            block: 1,
            hot_path: true,
            threads: 1,
        };
        let Made::Cut { facts, .. } = made(&text, how) else {
            panic!("refused")
        };
        assert_eq!(facts.par_motif["encodage_invalide"], 1, "{new:?}");
        assert_eq!(made(&text, how), made(&text, REFERENCE), "{new:?}");
    }
}

#[test]
fn a_cost_column_is_summed_where_it_is_filled() {
    let text = format!(
        "{HEADER},cout\nTX1,2024-01-31,Lyon,vente,BMW_X3,100,NULL,60.5\nTX2,2024-01-31,Lyon,vente,BMW_X3,100,NULL,\nTX3,2024-01-31,Lyon,location,BMW_X3,10,12,4\n"
    );
    for how in [
        REFERENCE,
        How {
            block: 64,
            hot_path: true,
            threads: 1,
        },
    ] {
        let marges = partial_of(text.as_bytes(), how).villes["lyon"].marges;
        assert_eq!(
            (marges.vente.nombre, marges.vente.ca, marges.vente.cout),
            (1, 10_000, 6_050)
        );
        assert_eq!(
            (
                marges.location.nombre,
                marges.location.ca,
                marges.location.cout
            ),
            (1, 1_000, 400)
        );
    }
}

#[test]
fn a_line_over_the_limit_is_one_reject_and_reading_goes_on_after_it() {
    let good = "TX1,2024-01-31,Lyon,vente,BMW_X3,100,NULL\n";
    for size in [1 << 20, (1 << 20) + 1, 3 << 20] {
        let text = with_header(
            &[
                good.as_bytes(),
                &vec![b'a'; size],
                b"\n",
                good.replace("TX1", "TX2").as_bytes(),
            ]
            .concat(),
        );
        for how in [
            REFERENCE,
            How {
                block: 1000,
                hot_path: true,
                threads: 2,
            },
            How {
                block: 1 << 18,
                hot_path: true,
                threads: 2,
            },
        ] {
            let Made::Cut { facts, .. } = made(&text, how) else {
                panic!("refused")
            };
            assert_eq!((facts.acceptees, facts.rejetees), (2, 1), "{size} {how:?}");
            assert_eq!(facts.par_motif["ligne_trop_longue"], 1);
        }
    }
}

#[test]
fn chunks_of_many_long_model_names_stay_below_the_cap() {
    let lines: String = (0..30_000)
        .map(|i| format!("TX{i},2024-01-31,Lyon,vente,{i:0>200},100,NULL\n"))
        .collect();
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&with_header(lines.as_bytes()))
        .expect("written");
    let job = "sales-test".parse().expect("a job id");
    let (outlet, mut items) = Outlet::new(
        job,
        1 << 16,
        2,
        Arc::new(Progress::default()),
        Shutdown::new(),
    );
    let request = Request {
        chunk_rows: 100_000,
        ..request(file.path())
    };
    cut::cut(&request, &outlet).expect("cut");
    drop(outlet);
    let mut rows_in_all = 0;
    while let Ok(item) = items.try_recv() {
        if let Item::Chunk { rows, body, .. } = item {
            assert!(
                body.len() <= autoconnect_common::chunk::MAX_BODY,
                "{} bytes",
                body.len()
            );
            rows_in_all += rows;
        }
    }
    assert_eq!(rows_in_all, 30_000);
}
