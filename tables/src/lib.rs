//! Reading files of rows that people made; what a row means, a kind of job says.
//!
//! # Layout
//!
//! * [`input`]: which files, in which encoding and compression, and whether they changed while they were read.
//! * [`encoding`]: how bytes spell text, and how that is detected.
//! * [`header`]: which delimiter, which columns, in which order.
//! * [`record`]: one record split off a text; the reference path, by the `csv` crate.
//! * [`code`]: closed lists of words that rows are counted by.
//! * [`reject`]: why a row was refused, and the pages of `rejets.csv`.
//! * [`ids`]: which ids were seen before, exactly, in bounded memory.
//! * [`fold`]: when two spellings are one name.
//! * [`blocks`], [`pipeline`]: blocks of lines for threads to read side by side, and their results in file order.
//! * [`rows`]: the rows of files, by the reference path alone: what a kind needs that has no hot path.
//! * [`partition`]: the rows of two inputs brought together by a key, in bounded memory.
//! * [`separators`], [`words`]: the hot path's tools: where fields end, and which words they are.

pub mod blocks;
pub mod code;
pub mod encoding;
pub mod fold;
pub mod header;
pub mod ids;
pub mod input;
pub mod partition;
pub mod pipeline;
pub mod record;
pub mod reject;
pub mod rows;
mod scratch;
pub mod separators;
mod spill;
pub mod words;
