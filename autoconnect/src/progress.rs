//! The bar while a job runs: bytes read, rows a second, chunks merged, time left. Only for a person at a terminal.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use autoconnect_common::cut::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use crate::french;

/// How often the bar is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// How far a job has come.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// The cut: bytes and rows.
    pub(crate) cut: Arc<Progress>,
    /// Chunks merged or dead.
    pub(crate) merged: AtomicU64,
}

/// Draws the bar until it is dropped. It costs nothing where nobody looks.
pub(crate) struct Bar(Option<(ProgressBar, tokio::task::JoinHandle<()>)>);

impl Bar {
    /// A bar on standard error, if that is a terminal and `wanted`.
    pub(crate) fn start(wanted: bool, gauge: &Arc<Gauge>) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        let template = "{bar:30.green} {bytes}/{total_bytes} · {msg} · reste {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        let drawing = tokio::spawn(draw(bar.clone(), Arc::clone(gauge)));
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

async fn draw(bar: ProgressBar, gauge: Arc<Gauge>) {
    let start = Instant::now();
    let mut frames = tokio::time::interval(FRAME);
    // a job that takes less than a frame draws nothing
    frames.tick().await;
    loop {
        frames.tick().await;
        let (read, total, rows) = (gauge.cut.read(), gauge.cut.total(), gauge.cut.rows());
        let a_second = rows as f64 / start.elapsed().as_secs_f64();
        bar.set_length(total.max(read));
        bar.set_position(read);
        bar.set_message(format!(
            "{} lignes/s · {} chunks",
            french::whole(a_second as u64),
            french::whole(gauge.merged.load(Ordering::Relaxed)),
        ));
    }
}
