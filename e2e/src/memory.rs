//! The memory of every program over time, and whether it grows.
//!
//! A program that was killed starts with little memory. So the peaks during single jobs are compared: the growth is the change
//! from the median peak of the first third of the jobs to that of the last third, without the first tenth, in which programs
//! warm up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::figures::{median, mib};

/// Samples of many programs.
#[derive(Default)]
pub(crate) struct Memory {
    samples: Vec<Sample>,
}

struct Sample {
    program: String,
    at: Instant,
    /// How many jobs had ended before the sample.
    job: usize,
    kib: u64,
}

/// The memory of a program over time.
pub(crate) struct Growth {
    pub(crate) program: String,
    /// The peak in each tenth of the time, in KiB; `None` where the program was down.
    pub(crate) tenths: [Option<u64>; 10],
    /// The growth in percent; `None` for too few jobs.
    pub(crate) percent: Option<f64>,
}

impl Memory {
    /// Records the memory of a program after `job` jobs have ended.
    pub(crate) fn note(&mut self, program: &str, job: usize, kib: u64) {
        self.samples.push(Sample {
            program: program.to_owned(),
            at: Instant::now(),
            job,
            kib,
        });
    }

    /// The memory of each program over time.
    pub(crate) fn growth(&self) -> Vec<Growth> {
        let mut programs: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in &self.samples {
            programs.entry(&sample.program).or_default().push(sample);
        }
        let begin = self.samples.iter().map(|sample| sample.at).min();
        let end = self.samples.iter().map(|sample| sample.at).max();
        let (Some(begin), Some(end)) = (begin, end) else {
            return Vec::new();
        };
        let span = (end - begin).max(Duration::from_millis(1));
        programs
            .into_iter()
            .map(|(program, samples)| {
                let mut tenths = [None; 10];
                let mut jobs: BTreeMap<usize, u64> = BTreeMap::new();
                for sample in samples {
                    let share = (sample.at - begin).as_secs_f64() / span.as_secs_f64();
                    let tenth = ((share * 10.0) as usize).min(9);
                    tenths[tenth] = tenths[tenth].max(Some(sample.kib));
                    let peak = jobs.entry(sample.job).or_default();
                    *peak = sample.kib.max(*peak);
                }
                Growth {
                    program: program.to_owned(),
                    tenths,
                    percent: percent(&jobs.into_values().collect::<Vec<_>>()),
                }
            })
            .collect()
    }
}

/// The growth in percent from the first third of the peaks to the last, without the first tenth.
fn percent(peaks: &[u64]) -> Option<f64> {
    let warm = peaks.get(peaks.len().div_ceil(10)..)?;
    let third = warm.len() / 3;
    let first = median(warm.get(..third)?)?;
    let last = median(warm.get(warm.len() - third..)?)?;
    Some((last as f64 / first as f64 - 1.0) * 100.0)
}

impl Growth {
    /// The row of a table.
    pub(crate) fn row(&self) -> Vec<String> {
        let mut row = vec![self.program.clone()];
        let shown = |kib: Option<u64>| kib.map_or_else(|| "-".to_owned(), mib);
        row.extend(self.tenths.map(shown));
        row.push(match self.percent {
            Some(percent) => format!("{percent:+.1}"),
            None => "too few jobs".to_owned(),
        });
        row
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn growth_compares_the_last_third_with_the_first_and_leaves_the_start_and_single_peaks_out() {
        let flat = [90, 100, 100, 700, 100, 100, 100, 100, 100, 100];
        assert_eq!(percent(&flat), Some(0.0));
        let grown = [1, 100, 100, 100, 105, 105, 105, 120, 120, 120];
        assert_eq!(percent(&grown).map(f64::round), Some(20.0));
        assert_eq!(percent(&[]), None);
        assert_eq!(percent(&[1, 2]), None);
    }
}
