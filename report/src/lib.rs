//! The presentation of reports of any kind: languages, exact numbers, tables, charts, and the page that holds them. It knows
//! no kind of job.
//!
//! # Layout
//!
//! * [`lang`]: French and English.
//! * [`fixed`]: exact decimal numbers.
//! * [`number`]: numbers, months and days as people write them.
//! * [`measure`]: durations and sizes as people write them.
//! * [`name`]: names from the data, made safe and short.
//! * [`table`]: tables, described once and written as HTML, text and CSV.
//! * [`chart`]: charts, as SVG that the style sheet of the page styles.
//! * [`page`]: the page.

pub mod chart;
pub mod fixed;
pub mod lang;
pub mod measure;
pub mod name;
pub mod number;
pub mod page;
pub mod table;
