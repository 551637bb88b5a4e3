//! A cache of the responses made from a report: each is made once, and kept while its report is in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// The most answers that are kept: one for each city of a report with 500 of them.
const MOST: usize = 512;
/// The most bytes of questions and answers that are kept: a quarter of the largest report, which is 256 MiB.
const MOST_BYTES: usize = 64 << 20;

/// The responses made from a report. Where one more would exceed a limit, all are dropped.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    cells: HashMap<Box<str>, Arc<OnceCell<Bytes>>>,
    bytes: usize,
}

impl Answers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell of the answer to a question: concurrent requests for the same answer wait for one of them to make it.
    pub(crate) fn cell(&self, question: &str) -> Arc<OnceCell<Bytes>> {
        let mut kept = self.kept();
        if let Some(cell) = kept.cells.get(question) {
            return Arc::clone(cell);
        }
        if kept.cells.len() >= MOST {
            *kept = Kept::default();
        }
        kept.bytes += question.len();
        let cell = Arc::default();
        kept.cells.insert(question.into(), Arc::clone(&cell));
        cell
    }

    /// Adds the bytes of an answer to those that are kept.
    pub(crate) fn grow(&self, bytes: usize) {
        let mut kept = self.kept();
        kept.bytes += bytes;
        if kept.bytes > MOST_BYTES {
            *kept = Kept::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let answers = Answers::default();
        let first = answers.cell("/first");
        assert!(Arc::ptr_eq(&first, &answers.cell("/first")));
        for number in 0..2 * MOST {
            answers.cell(&format!("/{number}"));
            assert!(answers.kept().cells.len() <= MOST);
        }
        assert!(!Arc::ptr_eq(&first, &answers.cell("/first")));
        answers.grow(MOST_BYTES);
        assert!(answers.kept().cells.is_empty());
    }
}
