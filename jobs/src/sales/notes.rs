//! Notes on the encodings of files: those that were detected, and rows that another encoding can read.

use autoconnect_tables::blocks::File;
use autoconnect_tables::encoding::{Encoding, Runs};

use super::report::{Encodage, LignesWindows1252};

/// The notes of a job, in the order of its files.
#[derive(Debug, Default)]
pub struct Notes {
    /// Whether bytes come as they are in the file: what stands for a broken unit of UTF-16 is a byte of ours.
    raw: bool,
    /// Files that were read in an encoding that was not requested.
    pub encodages: Vec<Encodage>,
    /// The number of the last of them.
    last_recognised: Option<usize>,
    /// Rows that are no UTF-8 and read as Windows-1252, of each file.
    pub lignes_windows_1252: Vec<LignesWindows1252>,
    /// The number of the last of these files.
    last_unreadable: Option<usize>,
}

impl Notes {
    /// The notes of files with this requested encoding.
    pub fn new(encoding: Encoding) -> Self {
        Self {
            raw: encoding != Encoding::Utf16,
            ..Self::default()
        }
    }

    /// Records that a file is read in this encoding, which was not requested.
    pub fn recognised(&mut self, file: &File, encoding: Encoding) {
        if self.last_recognised.replace(file.number) != Some(file.number) {
            self.encodages.push(Encodage {
                fichier: file.name.clone(),
                encodage: encoding.name().to_owned(),
            });
        }
    }

    /// Records a row that is no text, at the start of `text`.
    #[cold]
    pub fn unreadable(&mut self, file: &File, line: u64, text: &[u8]) {
        let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
        let runs = Runs::of(&text[..end]);
        if !self.raw || runs.windows_1252 == 0 || runs.neither > 0 {
            return;
        }
        match self.lignes_windows_1252.last_mut() {
            Some(lignes) if self.last_unreadable == Some(file.number) => lignes.nombre += 1,
            _ => {
                self.last_unreadable = Some(file.number);
                self.lignes_windows_1252.push(LignesWindows1252 {
                    fichier: file.name.clone(),
                    nombre: 1,
                    premiere: line,
                });
            }
        }
    }
}
