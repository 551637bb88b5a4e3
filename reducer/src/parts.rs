//! Reads a report part by part for a program that fetches it: in order, so that the file is read once.

use std::io::{self, Read};
use std::path::Path;

use autoconnect_common::disk::{Disk, Metadata};
use autoconnect_common::message::parts::{Fetch, PART, Part};
use autoconnect_common::{Digest, JobId};

/// A report that is being fetched.
pub(crate) struct Reading {
    job: JobId,
    /// The part that comes next.
    next: u32,
    parts: u32,
    whole: Digest,
    file: Box<dyn Read + Send>,
}

impl Reading {
    /// Opens the report at `path` at the requested part; `None` where there is no report.
    fn open(disk: &dyn Disk, path: &Path, asked: &Fetch) -> io::Result<Option<Self>> {
        let Some(Metadata::File(bytes)) = disk.metadata(path)? else {
            return Ok(None);
        };
        let whole = Digest::of_written(|out| io::copy(&mut disk.open(path)?, out).map(drop))?;
        let mut file = disk.open(path)?;
        let before = u64::from(asked.part) * PART as u64;
        io::copy(&mut file.by_ref().take(before), &mut io::sink())?;
        Ok(Some(Self {
            job: asked.job.clone(),
            next: asked.part,
            parts: u32::try_from(bytes.div_ceil(PART as u64)).unwrap_or(u32::MAX),
            whole,
            file,
        }))
    }
}

/// Reads the requested part of the report at `path`. Returns it with the open report, for the next part; `before` is the
/// report that was open last. Blocks.
///
/// # Errors
/// The error of the system.
pub(crate) fn read(
    disk: &dyn Disk,
    path: &Path,
    asked: Fetch,
    before: Option<Reading>,
) -> io::Result<(Part, Option<Reading>)> {
    let goes_on = |reading: &Reading| reading.job == asked.job && reading.next == asked.part;
    let reading = match before.filter(goes_on) {
        Some(reading) => Some(reading),
        None => Reading::open(disk, path, &asked)?,
    };
    let Some(mut reading) = reading else {
        let (whole, body) = (Digest::of(b""), autoconnect_common::Body::default());
        let nothing = Part {
            of: asked,
            parts: 0,
            whole,
            body,
        };
        return Ok((nothing, None));
    };
    let mut body = Vec::with_capacity(PART);
    reading
        .file
        .by_ref()
        .take(PART as u64)
        .read_to_end(&mut body)?;
    reading.next += 1;
    let part = Part {
        of: asked,
        parts: reading.parts,
        whole: reading.whole,
        body: body.into(),
    };
    Ok((part, Some(reading)))
}

#[cfg(test)]
mod tests {
    use autoconnect_common::disk;

    use super::*;

    fn asked(part: u32) -> Fetch {
        Fetch {
            token: "fetch-1".parse().expect("a name"),
            job: "sales-1".parse().expect("a name"),
            part,
        }
    }

    #[test]
    fn the_parts_of_a_report_are_the_report_in_whatever_order_they_are_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("report.json");
        let report: Vec<u8> = (0..2 * PART + 5).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &report).expect("written");
        let disk = disk::real();
        let mut reading = None;
        for number in [0, 1, 2, 2, 0, 1, 1] {
            let (part, next) = read(&*disk, &path, asked(number), reading).expect("read");
            reading = next;
            let begin = number as usize * PART;
            let end = report.len().min(begin + PART);
            assert_eq!((part.parts, part.whole), (3, Digest::of(&report)));
            assert!(**part.body == report[begin..end], "part {number}");
        }
        std::fs::remove_file(&path).expect("removed");
        let (part, _) = read(&*disk, &path, asked(0), None).expect("looked");
        assert_eq!((part.parts, part.body.len()), (0, 0));
    }
}
