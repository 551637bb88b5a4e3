//! Which headers are found, and how others are refused.

use super::*;

/// Seven that must be there, and one that may.
const WANTED: [Wanted; 8] = {
    const fn column(name: &'static str, required: bool) -> Wanted {
        Wanted { name, required }
    }
    [
        column("transaction_id", true),
        column("date", true),
        column("ville", true),
        column("type", true),
        column("modele", true),
        column("prix", true),
        column("duree_location_mois", true),
        column("cout", false),
    ]
};
const HEADER: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois";

fn header(text: &str) -> Result<Header, String> {
    read(text.as_bytes(), "a.csv", None, &WANTED).map_err(|error| match error {
        CutError::Refused(what) => what,
        other => format!("not refused but {other:?}"),
    })
}

fn refusal(text: &str) -> String {
    let what = header(text).expect_err("refused");
    assert!(
        what.starts_with("a.csv: ") && !what.contains('\n') && !what.ends_with('.'),
        "{what}"
    );
    what
}

#[test]
fn the_delimiter_is_told_from_the_header() {
    for delimiter in [',', ';', '\t'] {
        let text = format!("{}\nx", HEADER.replace(',', &delimiter.to_string()));
        let found = header(&text).expect("a header");
        assert_eq!(char::from(found.delimiter), delimiter);
        assert_eq!(
            (found.columns, found.len, found.lines),
            (7, text.len() - 1, 1)
        );
    }
}

#[test]
fn reordered_and_extra_columns_are_accepted() {
    let found =
        header("note,prix,ville,cout,modele,type,date,,duree_location_mois,transaction_id,\r\n")
            .expect("a header");
    let at = [9, 6, 2, 5, 4, 1, 8, 3].map(Some);
    assert_eq!(found.positions, at);
    assert_eq!(found.columns, 11);
    assert_eq!(
        (found.name_of(1), found.name_of(0), found.name_of(99)),
        ("prix", "", "")
    );
}

#[test]
fn names_may_be_quoted_have_blanks_capitals_and_a_byte_order_mark() {
    let text = "\u{feff}\"transaction_id\", Date,VILLE ,type,\"modele\",prix,duree_location_mois";
    assert_eq!(
        header(text).expect("a header").positions[..7],
        [0, 1, 2, 3, 4, 5, 6].map(Some)
    );
    let odd = format!("\"remarque, \"\"libre\"\"\",{HEADER}\n");
    assert_eq!(header(&odd).expect("a header").columns, 8);
}

#[test]
fn blank_lines_before_the_header_are_skipped_and_counted() {
    let found = header(&format!("\n\r\n{HEADER}\r\nrow")).expect("a header");
    assert_eq!((found.lines, found.len), (3, 3 + HEADER.len() + 2));
}

#[test]
fn a_header_only_file_is_accepted() {
    assert_eq!(header(HEADER).expect("a header").len, HEADER.len());
}

#[test]
fn a_missing_required_column_is_refused() {
    let what = refusal(&HEADER.replace("prix,", ""));
    assert!(
        what.contains("line 1: missing column prix: found transaction_id, date"),
        "{what}"
    );
    let what = refusal("\ntransaction_id,ville\n");
    assert!(
        what.contains("line 2: missing columns date, type, modele"),
        "{what}"
    );
}

#[test]
fn the_optional_column_may_be_missing() {
    assert_eq!(header(HEADER).expect("a header").positions[7], None);
}

#[test]
fn a_duplicate_column_is_refused() {
    assert!(refusal(&format!("{HEADER},Prix")).contains("column \"prix\" occurs twice"));
    assert!(refusal(&format!("{HEADER},note,note")).contains("\"note\""));
}

#[test]
fn a_wrong_delimiter_is_refused() {
    assert!(refusal(&HEADER.replace(',', "|")).contains("with a comma, semicolon or tab"));
    let asked = |delimiter| {
        read(HEADER.as_bytes(), "a.csv", Some(delimiter), &WANTED)
            .expect_err("refused")
            .to_string()
    };
    assert!(asked(b';').contains("separated by a comma, expected a semicolon as asked for"));
    assert!(asked(b'|').contains("separated by a comma"));
    let bars = HEADER.replace(',', "|");
    assert!(read(bars.as_bytes(), "a.csv", Some(b'|'), &WANTED).is_ok());
    let what = read(b"a,b\n", "a.csv", Some(b';'), &WANTED)
        .expect_err("refused")
        .to_string();
    assert!(what.contains("with a semicolon between them"), "{what}");
}

#[test]
fn a_file_with_no_header_is_refused() {
    let what = refusal("TX1,2024-01-01,Lyon,vente,BMW,1000,\n");
    assert!(
        what.contains("line 1: no header: found \"TX1,2024-01-01,Lyon"),
        "{what}"
    );
    assert!(refusal("").contains("no header"));
    assert!(refusal("\n\r\n\n").contains("no header"));
}

#[test]
fn lone_carriage_returns_are_refused() {
    for text in [
        format!("{HEADER}\rTX1,x\r"),
        "\r\r".to_owned(),
        HEADER.replace("id,", "\"id\"\r,"),
    ] {
        assert!(refusal(&text).contains("carriage return"), "{text:?}");
    }
    assert!(header(&format!("{HEADER}\r")).is_ok());
    assert!(header(&format!("\"a\rb\",{HEADER}\n")).is_ok());
}

#[test]
fn a_binary_file_is_refused() {
    assert!(refusal("\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\"\n\0").contains("binary"));
    assert!(refusal(&"\0".repeat(3 << 20)).contains("binary"));
}

#[test]
fn a_header_without_end_is_refused() {
    assert!(refusal(&"a,".repeat(1 << 20)).contains("longer than 1 MiB"));
    assert!(refusal(&format!("\"{HEADER}")).contains("never closed"));
    assert!(refusal(&format!("a\"b,{HEADER}")).contains("quote inside"));
}

#[test]
fn a_repeated_header_is_known() {
    let found = header(&format!("{HEADER}\n")).expect("a header");
    let record = |text: &str| ByteRecord::from(text.split(',').collect::<Vec<_>>());
    assert!(found.is_repeated_by(&record(HEADER)));
    assert!(found.is_repeated_by(&record(&format!("\u{feff}{}", HEADER.to_uppercase()))));
    assert!(!found.is_repeated_by(&record(&HEADER.replace("date", "2024-01-01"))));
    assert!(!found.is_repeated_by(&record(&format!("{HEADER},"))));
}

#[test]
fn columns_are_found_whatever_the_spelling_of_their_names() {
    for text in [
        "Transaction ID,Date,Ville,Type,Modèle,Prix,Durée location mois\n",
        "TRANSACTION-ID,DATE,VILLE,TYPE,MODELE,PRIX,DUREE\u{a0}LOCATION\u{a0}MOIS\n",
        "transaction_id,date,ville\u{200b},type,mode\u{300}le,prix,duree__location_mois\n",
    ] {
        let expected: Vec<Option<usize>> = (0..7).map(Some).chain([None]).collect();
        assert_eq!(header(text).expect(text).positions, expected, "{text}");
    }
    let twice = "transaction_id,Transaction ID,date,ville,type,modele,prix,duree_location_mois\n";
    let refused = refusal(twice);
    assert!(
        refused.contains("\"transaction id\" occurs twice"),
        "{refused}"
    );
    // unwanted columns may look alike
    let others = format!("{HEADER},Prix HT,prix_ht\n");
    assert!(header(&others).is_ok());
}
