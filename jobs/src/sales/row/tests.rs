//! What the rules for one row accept and refuse.

use autoconnect_tables::header;
use autoconnect_tables::record::{Content, split};
use chrono::{Days, NaiveDate};
use proptest::prelude::*;

use super::*;
use crate::sales::columns::{WANTED, only};

const NAMES: &str = "transaction_id,date,ville,type,modele,prix,duree_location_mois,cout";
const VENTE: [&str; 8] = [
    "TX1",
    "2024-02-29",
    "Lyon",
    "vente",
    "BMW_X3",
    "100.5",
    "NULL",
    "",
];
const TODAY: i32 = 20_000;

fn header_by(delimiter: u8) -> Header {
    let text = NAMES.replace(',', &char::from(delimiter).to_string());
    header::read(text.as_bytes(), "a.csv", Some(delimiter), &WANTED).expect("a header")
}

/// A sale with some fields replaced.
fn with(changes: &[(usize, &str)]) -> ByteRecord {
    let mut fields = VENTE;
    for (at, field) in changes {
        fields[*at] = field;
    }
    ByteRecord::from(fields.to_vec())
}

fn location(changes: &[(usize, &str)]) -> ByteRecord {
    with(&[&[(3, "location"), (6, "12")], changes].concat())
}

/// The rule that a record broke.
fn refusal(record: &ByteRecord) -> (Rule, &'static str, String) {
    let refusal = check(record, &header_by(b','), TODAY).expect_err("refused");
    (rule_of(&refusal), refusal.field, refusal.value)
}

fn rule_of(refusal: &Refusal) -> Rule {
    match refusal.reason {
        Reason::Rule(rule) => rule,
        Reason::Structure(broken) => panic!("{broken:?}"),
    }
}

/// What broke a record.
fn broken(record: &ByteRecord) -> (Structure, &'static str, String) {
    let refusal = check(record, &header_by(b','), TODAY).expect_err("refused");
    match refusal.reason {
        Reason::Structure(broken) => (broken, refusal.field, refusal.value),
        Reason::Rule(rule) => panic!("{rule:?}"),
    }
}

fn warnings(record: &ByteRecord) -> Vec<Warning> {
    check(record, &header_by(b','), TODAY)
        .expect("accepted")
        .warnings
        .iter()
        .collect()
}

#[test]
fn a_sale_and_a_rental_are_read() {
    let header = header_by(b',');
    let sale = with(&[(2, " Saint-Étienne\u{a0}"), (4, " BMW "), (7, "80.25")]);
    let expected = Row {
        id: b"TX1",
        jour: 19_782,
        ville: "Saint-Étienne",
        location: false,
        modele: "BMW",
        prix: 10_050,
        duree: 0,
        amounts: only(Column::Cout, 8_025),
        warnings: Warnings::NONE,
    };
    assert_eq!(check(&sale, &header, TODAY), Ok(expected));
    let rental = location(&[(5, "350")]);
    let row = check(&rental, &header, TODAY).expect("accepted");
    assert_eq!(
        (row.location, row.duree, row.prix, row.amounts),
        (true, 12, 35_000, NO_AMOUNTS)
    );
}

#[test]
fn columns_are_found_where_the_header_has_them() {
    let text = b"cout;prix;duree_location_mois;x;modele;type;ville;date;transaction_id\n";
    let header = header::read(text, "a.csv", None, &WANTED).expect("a header");
    let record = ByteRecord::from(vec![
        "",
        "9,5",
        "24",
        "\u{1f697}",
        "Zoe",
        "location",
        "Paris",
        "1970-01-02",
        "7",
    ]);
    let row = check(&record, &header, TODAY).expect("accepted");
    assert_eq!(
        (row.id, row.jour, row.prix, row.duree),
        (&b"7"[..], 1, 950, 24)
    );
}

#[test]
fn a_name_without_a_visible_character_is_none() {
    for name in ["\u{200b}", "\u{ad}\u{a0}", "-", "_ _", "\u{301}"] {
        assert_eq!(refusal(&with(&[(2, name)])).0, Rule::VilleVide, "{name:?}");
        assert_eq!(refusal(&with(&[(4, name)])).0, Rule::ModeleVide, "{name:?}");
    }
    for name in ["?", "/", "\u{1f697}", "東京"] {
        assert!(check(&with(&[(2, name), (4, name)]), &header_by(b','), TODAY).is_ok());
    }
}

#[test]
fn a_wrong_field_count_is_rejected() {
    let short = ByteRecord::from(VENTE[..7].to_vec());
    assert_eq!(
        broken(&short),
        (Structure::MissingColumns, "", "7/8".to_owned())
    );
    let mut long = with(&[]);
    long.push_field(b"extra");
    assert_eq!(
        broken(&long),
        (Structure::ExtraColumns, "", "9/8".to_owned())
    );
}

#[test]
fn invalid_utf8_and_nul_are_rejected() {
    for bad in [
        &b"Orl\xe9ans"[..],
        b"\xff",
        b"\xed\xa0\x80",
        b"a\0b",
        b"\xe2\x82",
    ] {
        let fields = VENTE.map(str::as_bytes);
        let record: ByteRecord = (0..8)
            .map(|at| if at == 2 { bad } else { fields[at] })
            .collect();
        let (reason, field, _) = broken(&record);
        assert_eq!((reason, field), (Structure::InvalidEncoding, "ville"));
    }
    // two halves of one character, which only the delimiter keeps apart
    let halves: ByteRecord = (0..8)
        .map(|at| match at {
            1 => &b"\xc3"[..],
            2 => b"\xa9",
            at => VENTE[at].as_bytes(),
        })
        .collect();
    assert_eq!(broken(&halves).0, Structure::InvalidEncoding);
}

#[test]
fn a_header_line_repeated_is_rejected() {
    let again = ByteRecord::from(NAMES.split(',').collect::<Vec<_>>());
    assert_eq!(
        broken(&again),
        (Structure::RepeatedHeader, "", String::new())
    );
}

#[test]
fn an_empty_id_is_rejected() {
    for none in ["", "  ", "NULL", "null", "NaN", " NULL "] {
        assert_eq!(
            refusal(&with(&[(0, none)])),
            (Rule::IdVide, "transaction_id", none.to_owned())
        );
    }
    for id in ["nan", "Null", "0", "-", "null1"] {
        assert!(check(&with(&[(0, id)]), &header_by(b','), TODAY).is_ok());
    }
}

#[test]
fn an_impossible_date_is_rejected() {
    for bad in [
        "2024-13-01",
        "2023-02-29",
        "1900-02-29",
        "2024-00-10",
        "2024-04-31",
        "2024-01-00",
        "0000-01-01",
        "20240115",
        "15/01/2024",
        "",
        "NULL",
        "2024-1-1",
        " 2024-01-01",
        "2024-01-01T00:00",
        "2024-01-0१",
        "+024-01-01",
        "24-01-01",
    ] {
        assert_eq!(
            refusal(&with(&[(1, bad)])),
            (Rule::DateInvalide, "date", bad.to_owned())
        );
    }
}

#[test]
fn a_date_in_the_future_or_before_1970_is_accepted_with_a_warning() {
    assert_eq!(day(b"2024-10-04"), Some(TODAY));
    assert_eq!(warnings(&with(&[(1, "2024-10-04")])), []);
    assert_eq!(warnings(&with(&[(1, "2024-10-05")])), [Warning::DateFuture]);
    assert_eq!(warnings(&with(&[(1, "1970-01-01")])), []);
    assert_eq!(
        warnings(&with(&[(1, "1969-12-31")])),
        [Warning::DateAncienne]
    );
}

#[test]
fn an_empty_city_is_rejected() {
    for none in ["", "  ", "NULL", "null", "NaN", "\u{a0}", " NULL\u{a0}"] {
        let (reason, field, _) = refusal(&with(&[(2, none)]));
        assert_eq!((reason, field), (Rule::VilleVide, "ville"));
    }
}

#[test]
fn a_city_or_model_over_255_bytes_is_rejected() {
    for (at, reason, field) in [
        (2, Rule::VilleTropLongue, "ville"),
        (4, Rule::ModeleTropLong, "modele"),
    ] {
        assert!(check(&with(&[(at, &"é".repeat(127))]), &header_by(b','), TODAY).is_ok());
        let (found, name, value) = refusal(&with(&[(at, &"é".repeat(128))]));
        assert_eq!(
            (found, name, value.chars().count()),
            (reason, field, MAX_VALUE)
        );
    }
}

#[test]
fn an_unknown_type_is_rejected() {
    for bad in [
        "leasing",
        "",
        "NULL",
        "ventes",
        "Vente",
        " vente",
        "location ",
    ] {
        assert_eq!(
            refusal(&with(&[(3, bad)])),
            (Rule::TypeInconnu, "type", bad.to_owned())
        );
    }
}

#[test]
fn an_empty_model_is_rejected() {
    for none in ["", "  ", "NULL", "null", "NaN"] {
        assert_eq!(
            refusal(&with(&[(4, none)])),
            (Rule::ModeleVide, "modele", none.to_owned())
        );
    }
}

#[test]
fn amounts_are_exact_cents() {
    for (text, cents) in [
        ("0", 0),
        ("0.0", 0),
        ("0.00", 0),
        ("12", 1200),
        ("12.5", 1250),
        ("12.05", 1205),
        ("007.50", 750),
        ("10000000", MAX_CENTS),
        ("10000000.00", MAX_CENTS),
        ("00000000000000000000000000001", 100),
    ] {
        assert_eq!(amount(text.as_bytes(), false), Ok(cents), "{text}");
    }
}

#[test]
fn an_amount_that_is_no_plain_number_is_rejected() {
    for (reason, texts) in [
        (Rule::PrixManquant, &["", "  ", "NULL", "null", "NaN"][..]),
        (
            Rule::PrixInvalide,
            &[
                "abc", "12.3.4", "N/A", "45 000", "--", "-", "12EUR", "€12", "12 ", " 12", "1e3",
                "+1", "inf", "-inf", "Infinity", "nan", "0x10", "1,5", "1'000", "12.", ".5", ".",
                "-.5", "--1", "1_000", "१२", "-NaN",
            ],
        ),
        (
            Rule::PrixNegatif,
            &["-1", "-0", "-12.5", "-12.345", "-99999999999999999999"],
        ),
        (
            Rule::PrixTropPrecis,
            &["12.500", "0.001", "12.345", "99999999999.999"],
        ),
        (
            Rule::PrixExcessif,
            &[
                "10000000.01",
                "10000001",
                "42949672.96",
                "18446744073709551616",
                "184467440737095516.16",
            ],
        ),
    ] {
        for text in texts {
            assert_eq!(amount(text.as_bytes(), false), Err(reason), "{text:?}");
            assert_eq!(
                refusal(&with(&[(5, text)])),
                (reason, "prix", (*text).to_owned())
            );
        }
    }
    assert_eq!(
        amount(&b"9".repeat(1 << 20), false),
        Err(Rule::PrixExcessif)
    );
}

#[test]
fn a_decimal_comma_is_accepted_where_the_delimiter_is_another() {
    for (delimiter, outcome) in [
        (b';', Ok(1250)),
        (b'\t', Ok(1250)),
        (b',', Err(Rule::PrixInvalide)),
    ] {
        let record = with(&[(5, "12,5")]);
        let found = check(&record, &header_by(delimiter), TODAY);
        assert_eq!(
            found
                .map(|row| row.prix)
                .map_err(|refusal| rule_of(&refusal)),
            outcome
        );
    }
    assert_eq!(amount(b"12.5", true), Ok(1250));
    assert_eq!(amount(b"1,234", true), Err(Rule::PrixTropPrecis));
    assert_eq!(amount(b"1.234,5", true), Err(Rule::PrixInvalide));
}

#[test]
fn a_price_of_zero_is_accepted_with_a_warning() {
    assert_eq!(warnings(&with(&[(5, "0.00")])), [Warning::PrixNul]);
}

#[test]
fn a_rental_needs_a_duration_from_1_to_120() {
    for none in ["", " ", "NULL", "null", "NaN"] {
        assert_eq!(
            refusal(&location(&[(6, none)])),
            (Rule::DureeManquante, "duree_location_mois", none.to_owned())
        );
    }
    for bad in [
        "0",
        "121",
        "-1",
        "12.0",
        "12.5",
        "abc",
        "1e1",
        " 12",
        "256",
        "300",
        "99999999999",
    ] {
        assert_eq!(
            refusal(&location(&[(6, bad)])),
            (Rule::DureeInvalide, "duree_location_mois", bad.to_owned())
        );
    }
    for (text, months) in [("1", 1), ("012", 12), ("120", 120)] {
        let record = location(&[(6, text)]);
        assert_eq!(
            check(&record, &header_by(b','), TODAY)
                .expect("accepted")
                .duree,
            months
        );
    }
}

#[test]
fn a_rental_over_48_months_is_accepted_with_a_warning() {
    assert_eq!(warnings(&location(&[(6, "48")])), []);
    assert_eq!(warnings(&location(&[(6, "49")])), [Warning::LocationLongue]);
}

#[test]
fn a_sale_with_a_duration_is_accepted_with_a_warning() {
    for none in ["", "NULL", "null", "NaN", "0", "00"] {
        assert_eq!(warnings(&with(&[(6, none)])), [], "{none:?}");
    }
    for odd in ["12", "999", "abc", "-1"] {
        assert_eq!(
            warnings(&with(&[(6, odd)])),
            [Warning::VenteAvecDuree],
            "{odd:?}"
        );
    }
}

#[test]
fn a_cost_that_is_no_amount_is_ignored_with_a_warning() {
    for none in ["", "NULL", "NaN"] {
        assert_eq!(warnings(&with(&[(7, none)])), []);
    }
    for bad in ["abc", "-1", "1.234", "99999999"] {
        let record = with(&[(7, bad)]);
        let row = check(&record, &header_by(b','), TODAY).expect("accepted");
        assert_eq!(
            (row.amounts, row.warnings.contains(Warning::CoutInvalide)),
            (NO_AMOUNTS, true)
        );
    }
}

#[test]
fn control_and_bidirectional_characters_are_accepted_with_a_warning() {
    assert_eq!(
        warnings(&with(&[(2, "Ly\u{202e}on")])),
        [Warning::CaracteresSpeciaux]
    );
    assert_eq!(
        warnings(&with(&[(4, "Golf\nGTI")])),
        [Warning::CaracteresSpeciaux]
    );
    assert_eq!(warnings(&with(&[(2, "=cmd"), (4, "<b>Zoé</b>")])), []);
}

#[test]
fn the_first_rule_broken_names_the_reason() {
    let all_bad = with(&[(0, ""), (1, "x"), (2, ""), (3, "x"), (4, ""), (5, "x")]);
    let mut fields: Vec<&str> = vec!["", "x", "", "x", "", "x", "x", ""];
    assert_eq!(refusal(&all_bad).0, Rule::IdVide);
    for (at, reason) in [
        (0, Rule::DateInvalide),
        (1, Rule::VilleVide),
        (2, Rule::TypeInconnu),
        (3, Rule::ModeleVide),
        (4, Rule::PrixInvalide),
    ] {
        fields[at] = VENTE[at];
        assert_eq!(refusal(&ByteRecord::from(fields.clone())).0, reason);
    }
}

#[test]
fn days_agree_with_the_calendar_from_year_1_to_9999() {
    let epoch = NaiveDate::from_ymd_opt(1970, 1, 1).expect("a day");
    let mut date = NaiveDate::from_ymd_opt(1, 1, 1).expect("a day");
    let last = NaiveDate::from_ymd_opt(9999, 12, 31).expect("a day");
    loop {
        let text = date.format("%Y-%m-%d").to_string();
        let expected = i32::try_from((date - epoch).num_days()).expect("small");
        assert_eq!(day(text.as_bytes()), Some(expected), "{text}");
        if date == last {
            return;
        }
        // eleven days at a time visit every day of the month, and every month's end within a few years
        date = date
            .checked_add_days(Days::new(11))
            .map_or(last, |next| next.min(last));
    }
}

proptest! {
    #[test]
    fn dates_agree_with_the_calendar(year in 0_u32..10_000, month in 0_u32..14, number in 0_u32..33) {
        let text = format!("{year:04}-{month:02}-{number:02}");
        let expected = i32::try_from(year).ok().filter(|year| *year > 0)
            .and_then(|year| NaiveDate::from_ymd_opt(year, month, number))
            .map(|date| i32::try_from((date - NaiveDate::default()).num_days()).expect("small"));
        prop_assert_eq!(day(text.as_bytes()), expected);
    }

    #[test]
    fn amounts_agree_with_exact_decimals(text in "-?[0-9]{0,12}[.]?[0-9]{0,4}") {
        use autoconnect_report::fixed::Fixed;
        if let Ok(cents) = amount(text.as_bytes(), false) {
            prop_assert_eq!(text.parse::<Fixed<2>>().expect("a number"), Fixed(i64::from(cents)));
        } else if let Ok(number) = text.parse::<Fixed<2>>() {
            prop_assert!(text.starts_with('-') || number.0 > i64::from(MAX_CENTS), "{}", text);
        }
    }

    #[test]
    fn arbitrary_records_are_accepted_or_refused_but_never_panic(
        fields in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![&b""[..], b"NULL", b"TX1", b"2024-01-01", b"Lyon", b"vente", b"location", b"12", b"1.5"])
                .prop_map(<[u8]>::to_vec),
            prop::collection::vec(any::<u8>(), 0..12),
        ], 0..10),
        today in any::<i32>(),
    ) {
        let record: ByteRecord = fields.iter().collect();
        if let Ok(row) = check(&record, &header_by(b','), today) {
            prop_assert!(row.prix <= MAX_CENTS && row.duree <= MAX_DUREE && row.location == (row.duree > 0));
            prop_assert!(!row.ville.trim().is_empty() && row.ville.len() <= MAX_NAME);
        }
    }

    #[test]
    fn arbitrary_texts_make_headers_or_sentences(text in prop::collection::vec(any::<u8>(), 0..300), fixed in any::<Option<u8>>()) {
        let delimiter = fixed.filter(|byte| !b"\"\r\n".contains(byte));
        if let Err(error) = header::read(&text, "a.csv", delimiter, &WANTED) {
            prop_assert!(!error.to_string().contains('\n'));
        }
        if let Some(record) = split(&text, b';', true) && let Content::Fields(fields) = record.content {
            let _ = check(&fields, &header_by(b';'), TODAY);
        }
    }
}
