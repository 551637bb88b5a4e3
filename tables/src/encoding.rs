//! How a file's bytes spell text: the mark at their start, the runs beyond ASCII in them, and their decoder.
//!
//! A file without a given encoding is UTF-8, unless its bytes say otherwise ([`Runs::are_windows_1252`]): every run of bytes
//! beyond ASCII in it is no UTF-8, and reads as Windows-1252 letters where it stands. The verdict needs the whole file, and
//! depends on nothing else. One run of valid UTF-8 is enough for UTF-8: a file that mixes both is never read as Windows-1252.

use autoconnect_common::CutError;
use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};
use serde::{Deserialize, Serialize};

/// How much is decoded at once.
const PIECE: usize = 64 * 1024;
/// The longest run of bytes beyond ASCII that is looked at as a whole. A name in French has two or three in a row, one in
/// Greek as many as it has letters, twice; 64 is beyond any word.
const LONGEST_RUN: usize = 64;

/// How a file's bytes spell text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// UTF-8, unless every byte beyond ASCII says Windows-1252.
    #[default]
    Auto,
    /// UTF-8, with or without byte order mark.
    #[serde(rename = "utf-8")]
    Utf8,
    /// The encoding of old Windows exports.
    #[serde(rename = "windows-1252")]
    Windows1252,
    /// UTF-16, its byte order given by its mark (little endian without one).
    #[serde(rename = "utf-16")]
    Utf16,
}

impl Encoding {
    /// Its name, as on the command line and in a request.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Utf8 => "utf-8",
            Self::Windows1252 => "windows-1252",
            Self::Utf16 => "utf-16",
        }
    }

    /// The encoding of this [name](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::Auto, Self::Utf8, Self::Windows1252, Self::Utf16];
        all.into_iter().find(|encoding| encoding.name() == name)
    }

    /// The encoding with this label, as a `charset` says it: `latin1` is Windows-1252, as browsers have it. `None` for one that is
    /// not read here.
    pub fn of_label(label: &str) -> Option<Self> {
        let found = encoding_rs::Encoding::for_label(label.as_bytes())?;
        [
            (encoding_rs::UTF_8, Self::Utf8),
            (WINDOWS_1252, Self::Windows1252),
            (UTF_16LE, Self::Utf16),
            (UTF_16BE, Self::Utf16),
        ]
        .into_iter()
        .find_map(|(known, encoding)| (known == found).then_some(encoding))
    }
}

/// How many runs of bytes beyond ASCII a text has, by what they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Runs {
    /// Valid UTF-8.
    pub utf8: u64,
    /// No UTF-8, and letters or signs that Windows-1252 has in such a place.
    pub windows_1252: u64,
    /// Bytes that are neither.
    pub neither: u64,
}

impl Runs {
    /// The runs of a text that is whole.
    pub fn of(text: &[u8]) -> Self {
        let mut survey = Survey::default();
        survey.take(text);
        survey.finish()
    }

    /// Whether a text with these runs is Windows-1252, all of it.
    pub fn are_windows_1252(self) -> bool {
        self.windows_1252 > 0 && self.utf8 == 0 && self.neither == 0
    }
}

/// Counts [`Runs`] in a text that comes piece by piece; what it finds does not depend on the pieces.
#[derive(Debug, Default)]
pub(super) struct Survey {
    runs: Runs,
    /// The byte before the open run, or before the next byte.
    before: u8,
    /// The run that is open, at most one byte longer than [`LONGEST_RUN`].
    run: Vec<u8>,
}

impl Survey {
    /// A survey of a text that continues after this byte.
    pub(super) fn after(before: u8) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// Takes the next piece.
    pub(super) fn take(&mut self, mut piece: &[u8]) {
        loop {
            let high = piece.iter().take_while(|byte| !byte.is_ascii()).count();
            let room = (LONGEST_RUN + 1).saturating_sub(self.run.len());
            self.run.extend_from_slice(&piece[..high.min(room)]);
            piece = &piece[high..];
            let Some(&after) = piece.first() else { return };
            self.close(after);
            let ascii = beyond_ascii(piece).unwrap_or(piece.len());
            if let Some(&last) = piece[..ascii].last() {
                self.before = last;
            }
            piece = &piece[ascii..];
        }
    }

    /// What there was in all.
    pub(super) fn finish(mut self) -> Runs {
        self.close(b'\n');
        self.runs
    }

    /// Ends the open run, if there is one, before this byte.
    fn close(&mut self, after: u8) {
        if self.run.is_empty() {
            return;
        }
        let runs = &mut self.runs;
        let count = if self.run.len() > LONGEST_RUN {
            &mut runs.neither
        } else if std::str::from_utf8(&self.run).is_ok() {
            &mut runs.utf8
        } else if reads_as_windows_1252(self.before, &self.run, after) {
            &mut runs.windows_1252
        } else {
            &mut runs.neither
        };
        *count += 1;
        self.run.clear();
    }
}

/// Where the first byte beyond ASCII is.
pub(super) fn beyond_ascii(bytes: &[u8]) -> Option<usize> {
    // `is_ascii` of some hundred bytes looks at many of them at once
    const STEP: usize = 512;
    let steps = bytes.chunks(STEP).position(|step| !step.is_ascii())?;
    let rest = &bytes[steps * STEP..];
    let within = rest.iter().position(|byte| !byte.is_ascii())?;
    Some(steps * STEP + within)
}

/// Whether the run at the start of `text` is UTF-8. `text` has at least [`LONGEST_RUN`] bytes, or is all there is.
pub(super) fn begins_in_utf8(text: &[u8]) -> bool {
    let run = text
        .iter()
        .take(LONGEST_RUN)
        .take_while(|byte| !byte.is_ascii());
    let run = &text[..run.count()];
    match std::str::from_utf8(run) {
        Ok(_) => true,
        // a longer run may be cut within a character
        Err(error) => run.len() == LONGEST_RUN && error.error_len().is_none(),
    }
}

/// What a byte is in Windows-1252.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sign {
    Upper,
    Lower,
    /// May stand anywhere, also between two letters: an apostrophe, a dash, a middle dot, a no-break space.
    Joint,
    /// Stands beside letters, never between two of them: a quote, a currency, a degree.
    Beside,
    /// Anything else in ASCII.
    Other,
    /// Nothing that a name or a figure has.
    Odd,
}

impl Sign {
    fn of(byte: u8) -> Self {
        match byte {
            b'A'..=b'Z' => Self::Upper,
            b'a'..=b'z' => Self::Lower,
            0..=0x7f => Self::Other,
            // Š Œ Ž Ÿ, then À to Þ without the sign ×
            0x8a | 0x8c | 0x8e | 0x9f | 0xc0..=0xd6 | 0xd8..=0xde => Self::Upper,
            // š œ ž, then ß to ÿ without the sign ÷
            0x9a | 0x9c | 0x9e | 0xdf..=0xf6 | 0xf8..=0xff => Self::Lower,
            // ’ – — no-break space, soft hyphen, ·
            0x92 | 0x96 | 0x97 | 0xa0 | 0xad | 0xb7 => Self::Joint,
            // € “ ” • ™ « » £ § © ª ® ° ± ² ³ µ ¹ º ¼ ½ ¾ ×
            0x80
            | 0x93
            | 0x94
            | 0x95
            | 0x99
            | 0xa3
            | 0xa7
            | 0xa9..=0xab
            | 0xae
            | 0xb0..=0xb3
            | 0xb5
            | 0xb9..=0xbe
            | 0xd7 => Self::Beside,
            _ => Self::Odd,
        }
    }

    fn is_letter(self) -> bool {
        matches!(self, Self::Upper | Self::Lower)
    }
}

/// Whether people write such a run, between these two bytes of ASCII, in Windows-1252.
///
/// A letter stands in a word (`à` alone), at most two of them in a row, and no capital behind a small letter, nor between
/// a capital and a small letter: other encodings of the same names (Mac OS Roman, code page 850, Cyrillic, UTF-8 cut in a character) break one of these.
fn reads_as_windows_1252(before: u8, run: &[u8], after: u8) -> bool {
    const A_GRAVE: [u8; 2] = [0xc0, 0xe0];
    let at = |index: usize| match index {
        0 => Sign::of(before),
        _ => run
            .get(index - 1)
            .map_or_else(|| Sign::of(after), |&byte| Sign::of(byte)),
    };
    let fits = |index: usize| {
        let [left, this, right] = [at(index - 1), at(index), at(index + 1)];
        match this {
            Sign::Upper | Sign::Lower => {
                (left.is_letter() || right.is_letter() || A_GRAVE.contains(&run[index - 1]))
                    && !(this == Sign::Upper
                        && [left, right].contains(&Sign::Lower)
                        && left.is_letter())
            }
            Sign::Joint => true,
            Sign::Beside => !(left.is_letter() && right.is_letter()),
            Sign::Other | Sign::Odd => false,
        }
    };
    let three_in_a_row = run
        .windows(3)
        .any(|three| three.iter().all(|&byte| Sign::of(byte).is_letter()));
    !three_in_a_row && (1..=run.len()).all(fits)
}

/// What the first bytes say of the encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    Utf8,
    Utf16Le,
    Utf16Be,
    LooksUtf16Le,
    LooksUtf16Be,
    Utf32,
}

impl Mark {
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0xef, 0xbb, 0xbf, ..] => Self::Utf8,
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Self::Utf32,
            [0xff, 0xfe, ..] => Self::Utf16Le,
            [0xfe, 0xff, ..] => Self::Utf16Be,
            _ => Self::without_mark(bytes),
        }
    }

    /// In UTF-16, the names of a header have a NUL in every other byte.
    fn without_mark(bytes: &[u8]) -> Self {
        let header = &bytes[..bytes.len().min(512)];
        let nuls = |odd: usize| {
            let half = header.iter().skip(odd).step_by(2);
            (
                half.clone().filter(|byte| **byte == 0).count(),
                half.count(),
            )
        };
        let most = |(zeros, all): (usize, usize)| all > 0 && zeros * 10 >= all * 8;
        let few = |(zeros, all): (usize, usize)| zeros * 10 <= all;
        match (nuls(0), nuls(1)) {
            (even, odd) if most(odd) && few(even) => Self::LooksUtf16Le,
            (even, odd) if most(even) && few(odd) => Self::LooksUtf16Be,
            _ => Self::None,
        }
    }

    /// Bytes of the mark itself.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Utf8 => 3,
            Self::Utf16Le | Self::Utf16Be => 2,
            _ => 0,
        }
    }

    /// What decodes a file `name` that begins like this and is read as `encoding`; nothing for UTF-8.
    ///
    /// # Errors
    /// [`CutError::Refused`]: the mark says another encoding.
    pub(super) fn transcoder(
        self,
        encoding: Encoding,
        name: &str,
    ) -> Result<Option<Transcoder>, CutError> {
        let decoded_from = match (encoding, self) {
            (Encoding::Auto | Encoding::Utf8, Self::None | Self::Utf8) => None,
            (Encoding::Windows1252, Self::None) => Some(WINDOWS_1252),
            (Encoding::Utf16, Self::Utf16Be | Self::LooksUtf16Be) => Some(UTF_16BE),
            (Encoding::Utf16, Self::Utf16Le | Self::LooksUtf16Le) => Some(UTF_16LE),
            _ => return Err(CutError::Refused(self.refusal(name, encoding))),
        };
        Ok(decoded_from.map(Transcoder::new))
    }

    /// Why a file that begins like this is not read as `encoding`.
    fn refusal(self, name: &str, encoding: Encoding) -> String {
        match (self, encoding) {
            (Self::Utf32, _) => format!("{name}: the file is UTF-32, expected UTF-8"),
            (Self::Utf8, _) => {
                format!("{name}: the file is marked as UTF-8, expected --encoding utf-8")
            }
            (Self::None, _) => {
                format!("{name}: the file is not UTF-16, expected --encoding utf-8 or windows-1252")
            }
            _ => {
                format!("{name}: the file is UTF-16, expected UTF-8 or the flag --encoding utf-16")
            }
        }
    }
}

/// Turns bytes of another encoding into UTF-8.
pub(super) struct Transcoder {
    decoder: Decoder,
    bytes: Vec<u8>,
    taken: usize,
    ended: bool,
    finished: bool,
    /// UTF-8 that did not fit the caller's buffer.
    pending: Vec<u8>,
    pending_taken: usize,
}

/// The least room in which the decoder always makes progress.
const ROOM: usize = 16;

impl Transcoder {
    /// A decoder of Windows-1252.
    pub(super) fn windows_1252() -> Self {
        Self::new(WINDOWS_1252)
    }

    fn new(encoding: &'static encoding_rs::Encoding) -> Self {
        Self {
            decoder: encoding.new_decoder_without_bom_handling(),
            bytes: Vec::new(),
            taken: 0,
            ended: false,
            finished: false,
            pending: Vec::new(),
            pending_taken: 0,
        }
    }

    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        mut more: impl FnMut(&mut [u8]) -> Result<usize, CutError>,
    ) -> Result<usize, CutError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let pending = &self.pending[self.pending_taken..];
            if !pending.is_empty() {
                let count = pending.len().min(buffer.len() - filled);
                buffer[filled..filled + count].copy_from_slice(&pending[..count]);
                self.pending_taken += count;
                filled += count;
                continue;
            }
            if self.finished {
                break;
            }
            if self.taken == self.bytes.len() && !self.ended {
                self.bytes.resize(PIECE, 0);
                let count = more(&mut self.bytes)?;
                self.bytes.truncate(count);
                self.taken = 0;
                self.ended = count < PIECE;
            }
            if buffer.len() - filled >= ROOM {
                filled += self.decode(&mut buffer[filled..]);
            } else {
                let mut room = [0; ROOM];
                let count = self.decode(&mut room);
                self.pending.clear();
                self.pending.extend_from_slice(&room[..count]);
                self.pending_taken = 0;
            }
        }
        Ok(filled)
    }

    /// Decodes into `room`, of at least [`ROOM`] bytes, and returns how many it filled.
    fn decode(&mut self, room: &mut [u8]) -> usize {
        let limit = room.len() - 1;
        let (result, read, written) = self.decoder.decode_to_utf8_without_replacement(
            &self.bytes[self.taken..],
            &mut room[..limit],
            self.ended,
        );
        self.taken += read;
        match result {
            DecoderResult::InputEmpty => {
                self.finished = self.ended;
                written
            }
            DecoderResult::OutputFull => written,
            DecoderResult::Malformed(..) => {
                room[written] = 0xff;
                written + 1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows_1252(text: &str) -> Vec<u8> {
        let (bytes, _, unmappable) = WINDOWS_1252.encode(text);
        assert!(!unmappable, "{text}");
        bytes.into_owned()
    }

    #[test]
    fn french_names_in_windows_1252_are_told_from_their_bytes() {
        for text in [
            "Orléans",
            "ORLÉANS",
            "Épinal",
            "Saint-Étienne",
            "Pont-à-Mousson",
            "L’Haÿ-les-Roses",
            "Nîmes",
            "Besançon",
            "Œuilly",
            "Citroën C3",
            "Škoda",
            "Le\u{a0}Mans",
            "n° 5",
            "« Mégane »",
            "12 €",
            "Créées",
            "Île-d’Yeu",
            "à",
            "Bœuf",
            "Mégane – break",
            "Fiat 500²",
            "Peugeot 208®",
        ] {
            let runs = Runs::of(&windows_1252(text));
            assert!(runs.are_windows_1252(), "{text}: {runs:?}");
            let runs = Runs::of(text.as_bytes());
            assert!(
                runs.utf8 > 0 && !runs.are_windows_1252(),
                "{text}: {runs:?}"
            );
        }
    }

    #[test]
    fn other_encodings_of_the_same_names_and_rubbish_are_not_windows_1252() {
        let cases: [(&str, &[u8]); 17] = [
            ("Mac OS Roman é", b"Orl\x8eans"),
            ("Mac OS Roman É", b"ORL\x83ANS"),
            ("Mac OS Roman ô", b"C\x99te"),
            ("Mac OS Roman î", b"N\x94mes"),
            ("Mac OS Roman ë", b"Citro\x91n"),
            ("code page 850 é", b"Orl\x82ans"),
            ("code page 850 è", b"Gen\x8ave"),
            ("code page 850 ô", b"C\x93te"),
            ("code page 850 î", b"N\x8cmes"),
            ("Cyrillic", b"\xcc\xee\xf1\xea\xe2\xe0"),
            ("Latin-2 \u{142}", b"Wroc\xb3aw"),
            ("UTF-8 cut in a character", b"Orl\xc3"),
            ("UTF-8 cut in a character, then a sign", b"BMW_\xc3("),
            ("a surrogate", b"Tesla_\xed\xa0\x80"),
            ("a byte alone", b"Audi_\xff"),
            ("a byte that is nothing", b"Lyon\x81"),
            ("a run beyond any word", &[0xe9; 100]),
        ];
        for (what, bytes) in cases {
            let runs = Runs::of(bytes);
            assert_eq!((runs.utf8, runs.windows_1252), (0, 0), "{what}: {runs:?}");
            assert!(runs.neither > 0, "{what}");
        }
        assert_eq!(Runs::of(b"plain"), Runs::default());
    }

    #[test]
    fn one_run_of_utf8_or_of_rubbish_keeps_a_text_from_being_windows_1252() {
        let orleans = windows_1252("Orléans\n").repeat(1000);
        assert!(Runs::of(&orleans).are_windows_1252());
        for other in ["Nîmes".as_bytes(), b"Audi_\xff"] {
            assert!(!Runs::of(&[&orleans, other].concat()).are_windows_1252());
        }
    }

    #[test]
    fn an_encoding_is_known_by_its_name_and_by_its_labels() {
        for (label, encoding) in [
            ("utf-8", Some(Encoding::Utf8)),
            ("UTF8", Some(Encoding::Utf8)),
            ("windows-1252", Some(Encoding::Windows1252)),
            ("ISO-8859-1", Some(Encoding::Windows1252)),
            ("latin1", Some(Encoding::Windows1252)),
            ("utf-16le", Some(Encoding::Utf16)),
            ("utf-16", Some(Encoding::Utf16)),
            ("macintosh", None),
            ("koi8-r", None),
            ("", None),
        ] {
            assert_eq!(Encoding::of_label(label), encoding, "{label}");
        }
        for encoding in [
            Encoding::Auto,
            Encoding::Utf8,
            Encoding::Windows1252,
            Encoding::Utf16,
        ] {
            assert_eq!(Encoding::named(encoding.name()), Some(encoding));
            let word = serde_json::to_value(encoding).expect("JSON");
            assert_eq!(word, encoding.name());
        }
        assert_eq!(Encoding::named("latin1"), None);
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let some = prop::sample::select(vec![
            0xe9, 0xc9, 0xc3, 0xa9, 0xa0, 0x92, 0x80, 0xff, b'a', b'Z', b'-', b'\n',
        ]);
        prop_oneof![
            prop::collection::vec(some, 0..200),
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(0x80..=0xff_u8, 60..140),
        ]
    }

    proptest! {
        #[test]
        fn a_survey_does_not_depend_on_the_pieces(text in bytes(), step in 1_usize..90) {
            let mut survey = Survey::default();
            text.chunks(step).for_each(|piece| survey.take(piece));
            prop_assert_eq!(survey.finish(), Runs::of(&text));
        }

        #[test]
        fn a_survey_goes_on_where_text_beyond_ascii_begins(text in bytes()) {
            let at = beyond_ascii(&text).unwrap_or(text.len());
            prop_assert!(text[..at].is_ascii());
            let mut survey = match at {
                0 => Survey::default(),
                at => Survey::after(text[at - 1]),
            };
            survey.take(&text[at..]);
            prop_assert_eq!(survey.finish(), Runs::of(&text));
        }
    }
}
