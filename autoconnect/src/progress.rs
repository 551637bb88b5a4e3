//! The bar while a job runs: bytes read, rows a second, chunks merged, time left. Only for a person at a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use autoconnect_common::cut::Progress;
use autoconnect_report::lang::Lang;
use autoconnect_report::number;
use indicatif::{ProgressBar, ProgressStyle};

/// How often the bar is drawn: ten times a second looks smooth and costs nearly nothing.
const FRAME: Duration = Duration::from_millis(100);

/// How far a job has come.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// The cut: bytes and rows.
    pub(crate) cut: Arc<Progress>,
    /// Chunks that are merged or dead-lettered.
    pub(crate) merged: AtomicU64,
    /// The total of chunks; 0 while unknown.
    pub(crate) chunks: AtomicU64,
}

/// What the bar measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Bytes of the input, which is cut here.
    Bytes,
    /// Chunks, which are cut elsewhere.
    Chunks,
}

/// Draws the bar until it is dropped. It costs nothing without a terminal.
pub(crate) struct Bar(Option<(ProgressBar, tokio::task::JoinHandle<()>)>);

impl Bar {
    /// A bar on standard error, if that is a terminal and `wanted`.
    pub(crate) fn start(wanted: bool, measure: Measure, gauge: &Arc<Gauge>) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        let template = match measure {
            Measure::Bytes => "{bar:30.green} {bytes}/{total_bytes} · {msg} · reste {eta}",
            Measure::Chunks => "{bar:30.green} {msg} · reste {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        let drawing = tokio::spawn(draw(bar.clone(), measure, Arc::clone(gauge)));
        Self(Some((bar, drawing)))
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((bar, drawing)) = &self.0 {
            drawing.abort();
            bar.finish_and_clear();
        }
    }
}

async fn draw(bar: ProgressBar, measure: Measure, gauge: Arc<Gauge>) {
    let start = Instant::now();
    let mut frames = tokio::time::interval(FRAME);
    // the first tick comes at once: skip it, so that a job of less than a frame draws nothing
    frames.tick().await;
    loop {
        frames.tick().await;
        let merged = gauge.merged.load(Ordering::Relaxed);
        match measure {
            Measure::Bytes => {
                let (read, total, rows) = (gauge.cut.read(), gauge.cut.total(), gauge.cut.rows());
                let a_second = rows as f64 / start.elapsed().as_secs_f64();
                bar.set_length(total.max(read));
                bar.set_position(read);
                bar.set_message(format!(
                    "{} lignes/s · {} chunks",
                    number::count(a_second as u64, Lang::Fr),
                    number::count(merged, Lang::Fr),
                ));
            }
            Measure::Chunks => {
                let chunks = gauge.chunks.load(Ordering::Relaxed);
                bar.set_length(chunks.max(merged));
                bar.set_position(merged);
                let of = match chunks {
                    0 => String::new(),
                    chunks => format!(" sur {}", number::count(chunks, Lang::Fr)),
                };
                bar.set_message(format!("{}{of} chunks", number::count(merged, Lang::Fr)));
            }
        }
    }
}
