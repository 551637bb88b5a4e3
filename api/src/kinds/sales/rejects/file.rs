//! A file of rejects. It is read to its end once, to note the offsets of some rows; then pages are read from these offsets.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use autoconnect_jobs::sales::Report;
use autoconnect_jobs::sales::cut::REJETS;
use autoconnect_tables::reject::COLUMNS;
use csv::{Position, StringRecord};

use super::marks::Marks;
use super::row::{Motif, Reject, Sought, invalid, motif, reject};
use crate::params::Paging;

/// A file of rejects, and the offsets of some of its rows.
#[derive(Debug)]
pub(super) struct Rejects {
    pub(super) path: PathBuf,
    reader: Mutex<csv::Reader<File>>,
    pub(super) all: Marks,
    pub(super) by_motif: BTreeMap<Motif, Marks>,
}

impl Rejects {
    /// The rejects in this folder, if their counts are those of `report`.
    pub(super) fn read_of(report: &Report, folder: &Path) -> Option<Self> {
        match Self::read(&folder.join(REJETS)) {
            Ok(rejects) => Some(rejects).filter(|rejects| rejects.are_of(report)),
            Err(error) => {
                tracing::warn!(folder = %folder.display(), %error, "the rejects cannot be read");
                None
            }
        }
    }

    /// Reads this file to its end. Blocks.
    ///
    /// # Errors
    /// [`io::Error`] where the disk fails, or the file is not one of rejects.
    pub(super) fn read(file: &Path) -> io::Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .buffer_capacity(1 << 16)
            .from_reader(File::open(file)?);
        if reader.headers()? != COLUMNS[..] {
            return Err(invalid("its columns are not those of rejects"));
        }
        let (mut all, mut by_motif) = (Marks::default(), BTreeMap::<Motif, Marks>::new());
        let mut row = StringRecord::new();
        while reader.read_record(&mut row)? {
            let at = row.position().map_or(0, Position::byte);
            all.push(at);
            by_motif.entry(motif(&row)?).or_default().push(at);
        }
        Ok(Self {
            path: file.to_owned(),
            reader: Mutex::new(reader),
            all,
            by_motif,
        })
    }

    /// Whether the counts of these rejects are those of `report`.
    pub(super) fn are_of(&self, report: &Report) -> bool {
        let counts = self.by_motif.iter();
        let counts = counts.map(|(motif, marks)| (motif.as_str(), marks.count));
        let expected = report.qualite.par_motif.iter();
        let expected: BTreeMap<&str, u64> = expected
            .map(|(motif, count)| (motif.as_str(), *count))
            .collect();
        self.all.count == report.source.rejetees && counts.collect::<BTreeMap<_, _>>() == expected
    }

    /// A page, and how many rejects there are on all pages.
    ///
    /// # Errors
    /// [`io::Error`] where the disk fails, or the file changed.
    pub(super) fn page(&self, sought: &Sought, paging: Paging) -> io::Result<(Vec<Reject>, u64)> {
        if sought.ville.is_some() || sought.mois.is_some() {
            return self.page_of_lines(sought, paging);
        }
        let marks = match sought.motif {
            None => Some(&self.all),
            Some(motif) => self.by_motif.get(&motif),
        };
        let Some(marks) = marks else {
            return Ok((Vec::new(), 0));
        };
        let start = paging.skipped().min(marks.count);
        let end = (start + paging.par_page.get()).min(marks.count);
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut row, mut page) = (StringRecord::new(), Vec::new());
        for number in marks.before(start)..end {
            if let Some(at) = marks.at(number) {
                let mut position = Position::new();
                position.set_byte(at);
                reader.seek(position)?;
            }
            loop {
                if !reader.read_record(&mut row)? {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if sought.has(&row) {
                    break;
                }
            }
            if number >= start {
                page.push(reject(&row)?);
            }
        }
        Ok((page, marks.count))
    }

    /// A page of the rejects whose line names a city or a month. Their offsets are not noted, so all rejects are read.
    fn page_of_lines(&self, sought: &Sought, paging: Paging) -> io::Result<(Vec<Reject>, u64)> {
        let Some(first) = self.all.at(0) else {
            return Ok((Vec::new(), 0));
        };
        let start = paging.skipped();
        let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        let mut position = Position::new();
        position.set_byte(first);
        reader.seek(position)?;
        let (mut row, mut page, mut total) = (StringRecord::new(), Vec::new(), 0);
        while reader.read_record(&mut row)? {
            if sought.has(&row) {
                if (start..start + paging.par_page.get()).contains(&total) {
                    page.push(reject(&row)?);
                }
                total += 1;
            }
        }
        Ok((page, total))
    }
}
