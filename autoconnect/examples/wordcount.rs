//! A command line that knows one kind more: `words`, which counts the words of text files. `docs/new-kind.md` walks
//! through it.
//!
//! ```sh
//! cargo run -p autoconnect --example wordcount -- words README.md --out target/words
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use autoconnect::{Failure, KindCommand, kinds};
use autoconnect_common::settings::Settings;
use autoconnect_testkit::wordcount::{Report, Request, WordCount};
use clap::{Args, value_parser};

/// The command of [`WordCount`].
struct Words;

/// What is typed.
#[derive(Args)]
struct Arguments {
    /// Text files, in UTF-8
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// How many lines a chunk has at most
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    chunk_lines: u32,
}

impl KindCommand for Words {
    type Kind = WordCount;
    type Arguments = Arguments;
    type Shown = Report;

    const NAME: &'static str = "words";
    const ABOUT: &'static str = "Count the words of text files";

    fn request(arguments: Arguments, _settings: &Settings) -> Result<Request, Failure> {
        Ok(Request {
            files: arguments.files,
            chunk_lines: arguments.chunk_lines,
        })
    }

    fn summary(report: &Report) -> String {
        let (lines, words) = (report.lines, report.words.len());
        format!("{lines} lignes lues, {words} mots différents\n")
    }
}

fn main() -> ExitCode {
    let registry = autoconnect_testkit::jobs::registry();
    kinds::cli(registry).with::<Words>().main()
}
