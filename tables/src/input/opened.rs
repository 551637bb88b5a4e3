//! A file that is being read: decompressed, in UTF-8.
//!
//! Compression (gzip, zstd) is detected by the first bytes, not by the name. A plain UTF-8 file is read straight into the caller's
//! buffer.
//!
//! With [`Encoding::Auto`] a file is UTF-8 until its first byte beyond ASCII; where that is no UTF-8, the whole file is looked
//! at before the byte is handed out. A file is opened a second time for that; standard input goes into a temporary file.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use autoconnect_common::CutError;
use flate2::bufread::MultiGzDecoder;

use super::{Input, Stamp, look_at, refused, regular, show};
use crate::encoding::{Encoding, Mark, Survey, Transcoder, begins_in_utf8, beyond_ascii};

/// How much is read ahead to detect compression and encoding: thousands of rows, in a single read.
const PROBE: usize = 64 * 1024;
/// How much compressed data is read at once: few system calls, and little memory.
const COMPRESSED_BUFFER: usize = 256 * 1024;

/// How large a compressed file may become; beyond, it is refused as a bomb.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Bytes of text.
    size: u64,
    /// Bytes of text for one byte of file, once there are [`from`](Self::from) bytes of text.
    ratio: u64,
    /// From here on the ratio counts.
    from: u64,
}

const LIMITS: Limits = Limits {
    size: 256 << 30,
    ratio: 1000,
    from: 64 << 20,
};

impl Input {
    /// Opens the file and detects from its first bytes its compression and whether it is in this encoding.
    ///
    /// # Errors
    /// [`CutError::Refused`]: it cannot be opened, is empty, or is not in this encoding.
    pub fn open(&self, encoding: Encoding) -> Result<Opened, CutError> {
        self.open_within(encoding, LIMITS)
    }

    fn open_within(&self, encoding: Encoding, limits: Limits) -> Result<Opened, CutError> {
        let mut opened = Opened::new(self.clone(), self.handle()?, limits)?;
        opened.tell_encoding(encoding)?;
        Ok(opened)
    }

    fn handle(&self) -> Result<Handle, CutError> {
        if self.stamp.is_none() {
            return Ok(Handle::Stdin(io::stdin()));
        }
        // never open a pipe, which may have taken the file's place: that could wait for ever
        regular(&self.path, &look_at(&self.path)?)?;
        Ok(Handle::File(self.file()?))
    }
}

/// What bytes come from.
#[derive(Debug)]
enum Handle {
    File(File),
    Stdin(io::Stdin),
}

impl Read for Handle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stdin(stdin) => stdin.read(buffer),
        }
    }
}

/// The bytes on disk: those read ahead, then the rest; counted.
#[derive(Debug)]
struct Source {
    ahead: Vec<u8>,
    taken: usize,
    handle: Handle,
    consumed: Arc<AtomicU64>,
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = &self.ahead[self.taken..];
        if !ahead.is_empty() {
            let count = ahead.len().min(buffer.len());
            buffer[..count].copy_from_slice(&ahead[..count]);
            self.taken += count;
            return Ok(count);
        }
        let count = self.handle.read(buffer)?;
        self.consumed.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The bytes on disk as they were before compression.
enum Bytes {
    Plain(Source),
    Gzip(Box<MultiGzDecoder<BufReader<Source>>>),
    Zstd(Box<zstd::Decoder<'static, BufReader<Source>>>),
}

impl Bytes {
    fn new(source: Source) -> io::Result<Self> {
        let buffered = |source| BufReader::with_capacity(COMPRESSED_BUFFER, source);
        Ok(match source.ahead[..] {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(buffered(source)))),
            // a frame, or a skippable frame as written by parallel compressors
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Self::Zstd(Box::new(zstd::Decoder::with_buffer(buffered(source))?))
            }
            _ => Self::Plain(source),
        })
    }

    fn compression(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) => None,
            Self::Gzip(_) => Some("gzip"),
            Self::Zstd(_) => Some("zstd"),
        }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(source) => source.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

/// A file being read.
pub struct Opened {
    input: Input,
    bytes: Bytes,
    /// Decompressed bytes that were read ahead.
    ahead: Vec<u8>,
    taken: usize,
    transcoder: Option<Transcoder>,
    /// All text so far was ASCII, and what follows may be in another encoding; with the last byte of it.
    undecided: Option<u8>,
    /// What the bytes said the encoding is, where that is not UTF-8.
    recognised: Option<Encoding>,
    limits: Limits,
    decompressed: u64,
    consumed: Arc<AtomicU64>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("input", &self.input)
            .field("compression", &self.bytes.compression())
            .field("consumed", &self.consumed())
            .finish_non_exhaustive()
    }
}

impl Opened {
    fn new(input: Input, handle: Handle, limits: Limits) -> Result<Self, CutError> {
        let consumed = Arc::new(AtomicU64::new(0));
        let mut source = Source {
            ahead: Vec::new(),
            taken: 0,
            handle,
            consumed: Arc::clone(&consumed),
        };
        let failed = |source| CutError::Failed {
            what: format!("reading {}", show(&input.path)),
            source,
        };
        let mut ahead = vec![0; PROBE];
        let count = fill(&mut source, &mut ahead).map_err(failed)?;
        ahead.truncate(count);
        if ahead.is_empty() {
            return Err(empty(&input));
        }
        source.ahead = ahead;
        let bytes = Bytes::new(source).map_err(failed)?;
        Ok(Self {
            input,
            bytes,
            ahead: Vec::new(),
            taken: 0,
            transcoder: None,
            undecided: None,
            recognised: None,
            limits,
            decompressed: 0,
            consumed,
        })
    }

    /// Reads the first block of decompressed bytes, drops the byte order mark, and refuses another encoding.
    fn tell_encoding(&mut self, encoding: Encoding) -> Result<(), CutError> {
        let mut ahead = vec![0; PROBE];
        let count = self.read_bytes(&mut ahead)?;
        ahead.truncate(count);
        if ahead.is_empty() {
            return Err(empty(&self.input));
        }
        let found = Mark::of(&ahead);
        self.transcoder = found.transcoder(encoding, &self.input.name)?;
        self.undecided = (encoding == Encoding::Auto && found == Mark::None).then_some(b'\n');
        self.taken = found.len();
        self.ahead = ahead;
        if self.taken == self.ahead.len() {
            return Err(empty(&self.input));
        }
        Ok(())
    }

    /// Fills `buffer` with text as far as possible; 0 is the end (`buffer` must not be empty). Bytes that are no text in a
    /// 16-bit encoding come out as `0xFF`, which is no UTF-8, so that their row is rejected.
    ///
    /// # Errors
    /// [`CutError::Refused`]: compressed data is truncated, damaged, or a bomb. [`CutError::Failed`]: the disk failed.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, CutError> {
        if let Some(mut transcoder) = self.transcoder.take() {
            let read = transcoder.read(buffer, |bytes| self.read_ahead(bytes));
            self.transcoder = Some(transcoder);
            return read;
        }
        let count = self.read_ahead(buffer)?;
        let Some(before) = self.undecided else {
            return Ok(count);
        };
        let Some(at) = beyond_ascii(&buffer[..count]) else {
            self.undecided = buffer[..count].last().copied().or(Some(before));
            return Ok(count);
        };
        let before = buffer[..at].last().copied().unwrap_or(before);
        let rest = [&buffer[at..count], &self.ahead[self.taken..]].concat();
        (self.ahead, self.taken) = (rest, 0);
        self.decide(before)?;
        Ok(at + self.read(&mut buffer[at..])?)
    }

    /// What the bytes said the encoding is, where none was given and it is not UTF-8: true of all text, the ASCII before as well.
    pub fn recognised(&self) -> Option<Encoding> {
        self.recognised
    }

    /// Decides in which encoding the rest is, of which the first byte is beyond ASCII.
    fn decide(&mut self, before: u8) -> Result<(), CutError> {
        self.undecided = None;
        let mut more = vec![0; PROBE];
        let count = self.read_bytes(&mut more)?;
        self.ahead.extend_from_slice(&more[..count]);
        if begins_in_utf8(&self.ahead) {
            return Ok(());
        }
        let survey = match self.input.stamp {
            Some(_) => self.survey_file()?,
            None => self.survey_stdin(before)?,
        };
        if survey.finish().are_windows_1252() {
            let file = self.input.name.as_str();
            tracing::warn!(
                file,
                "not UTF-8: every byte beyond ASCII is a letter of Windows-1252, read so"
            );
            self.transcoder = Some(Transcoder::windows_1252());
            self.recognised = Some(Encoding::Windows1252);
        }
        Ok(())
    }

    /// Looks at all of the file, by a second look from its start.
    fn survey_file(&self) -> Result<Survey, CutError> {
        let mut again = Self::new(self.input.clone(), self.input.handle()?, self.limits)?;
        let (mut survey, mut piece) = (Survey::default(), vec![0; PROBE]);
        loop {
            match again.read_bytes(&mut piece)? {
                0 => return Ok(survey),
                count => survey.take(&piece[..count]),
            }
        }
    }

    /// Looks at the rest of standard input, and keeps it in a temporary file, from where it is read then.
    fn survey_stdin(&mut self, before: u8) -> Result<Survey, CutError> {
        let failed = |source| CutError::Failed {
            what: "keeping standard input in a temporary file".to_owned(),
            source,
        };
        let mut survey = Survey::after(before);
        survey.take(&self.ahead);
        let mut kept = tempfile::tempfile().map_err(failed)?;
        let mut piece = vec![0; COMPRESSED_BUFFER];
        loop {
            let count = self.read_bytes(&mut piece)?;
            if count == 0 {
                break;
            }
            survey.take(&piece[..count]);
            kept.write_all(&piece[..count]).map_err(failed)?;
        }
        kept.rewind().map_err(failed)?;
        self.bytes = Bytes::Plain(Source {
            ahead: Vec::new(),
            taken: 0,
            handle: Handle::File(kept),
            // what it took of the disk was counted when it came
            consumed: Arc::default(),
        });
        Ok(survey)
    }

    /// Bytes of the file on disk that were read so far.
    pub fn consumed(&self) -> u64 {
        self.consumed.load(Ordering::Relaxed)
    }

    /// To be called after the end.
    ///
    /// # Errors
    /// [`CutError::Refused`]: the file is not the one that was looked at, by size, times of change or identity.
    pub fn finish(self) -> Result<(), CutError> {
        let Some(before) = &self.input.stamp else {
            return Ok(());
        };
        let changed = || {
            refused(format!(
                "{}: the file changed while it was read, expected it to stay the same",
                self.input.name
            ))
        };
        // the name may have got another file, or the file another length
        let named = fs::metadata(&self.input.path).map_err(|_| changed())?;
        let opened = match self.handle() {
            Handle::File(file) => file.metadata().map_err(|_| changed())?,
            Handle::Stdin(_) => return Ok(()),
        };
        let same = |metadata| Stamp::new(&self.input.path, metadata) == *before;
        if same(&named) && same(&opened) {
            Ok(())
        } else {
            Err(changed())
        }
    }

    fn handle(&self) -> &Handle {
        let source = match &self.bytes {
            Bytes::Plain(source) => source,
            Bytes::Gzip(decoder) => decoder.get_ref().get_ref(),
            Bytes::Zstd(decoder) => decoder.get_ref().get_ref(),
        };
        &source.handle
    }

    /// Decompressed bytes, those read ahead first.
    fn read_ahead(&mut self, buffer: &mut [u8]) -> Result<usize, CutError> {
        let ahead = &self.ahead[self.taken..];
        let count = ahead.len().min(buffer.len());
        buffer[..count].copy_from_slice(&ahead[..count]);
        self.taken += count;
        if self.taken == self.ahead.len() {
            (self.ahead, self.taken) = (Vec::new(), 0);
        }
        Ok(count + self.read_bytes(&mut buffer[count..])?)
    }

    /// Decompressed bytes.
    fn read_bytes(&mut self, buffer: &mut [u8]) -> Result<usize, CutError> {
        let count = fill(&mut self.bytes, buffer).map_err(|error| self.failed(error))?;
        if let Some(compression) = self.bytes.compression() {
            self.decompressed = self.decompressed.saturating_add(count as u64);
            self.refuse_bomb(compression)?;
        }
        Ok(count)
    }

    fn refuse_bomb(&self, compression: &str) -> Result<(), CutError> {
        let (out, Limits { size, ratio, from }) = (self.decompressed, self.limits);
        let name = &self.input.name;
        if out > size {
            return Err(refused(format!(
                "{name}: the {compression} data holds more than {size} bytes, expected less"
            )));
        }
        if out > from && out / ratio > self.consumed() {
            return Err(refused(format!(
                "{name}: the {compression} data grows more than {ratio} times, expected a table"
            )));
        }
        Ok(())
    }

    /// What a failed read means: the disk's fault has an error number of the system, the data's has none.
    fn failed(&self, error: io::Error) -> CutError {
        let name = &self.input.name;
        match self.bytes.compression() {
            Some(compression) if error.raw_os_error().is_none() => {
                refused(if error.kind() == io::ErrorKind::UnexpectedEof {
                    format!("{name}: the {compression} data ends early, expected a whole file")
                } else {
                    format!("{name}: the {compression} data is damaged: {error}")
                })
            }
            _ => CutError::Failed {
                what: format!("reading {}", show(&self.input.path)),
                source: error,
            },
        }
    }
}

/// Reads until `buffer` is full or there is no more.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn empty(input: &Input) -> CutError {
    refused(format!(
        "{}: the file is empty, expected a header",
        input.name
    ))
}

#[cfg(test)]
mod tests {
    use super::super::resolve;
    use super::*;

    #[test]
    fn compressed_data_over_the_size_cap_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv.gz");
        let file = File::create(&path).expect("created");
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        (0..100_000).for_each(|n| writeln!(encoder, "{n}").expect("written"));
        encoder.finish().expect("written");
        let inputs = resolve(&[path]).expect("a file").files;
        let limits = |size| Limits { size, ..LIMITS };
        let read_all = |size| -> Result<usize, CutError> {
            let mut opened = inputs[0].open_within(Encoding::Utf8, limits(size))?;
            opened.read(&mut vec![0; 1 << 20])
        };
        assert_eq!(read_all(588_890).expect("text"), 588_890);
        let error = read_all(588_889).expect_err("refused").to_string();
        assert!(error.contains("holds more than 588889 bytes"), "{error}");
    }

    #[test]
    fn a_failing_disk_is_not_the_files_fault() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.csv");
        fs::write(&path, "a,b").expect("written");
        let opened = resolve(&[path]).expect("a file").files[0]
            .open(Encoding::Utf8)
            .expect("opened");
        let error = opened.failed(io::Error::from_raw_os_error(5));
        assert!(matches!(error, CutError::Failed { .. }), "{error:?}");
    }

    #[test]
    fn a_file_may_be_read_on_another_thread() {
        fn sendable<T: Send>() {}
        sendable::<Opened>();
        sendable::<crate::ids::IdSet>();
        sendable::<crate::record::Splitter>();
    }
}
