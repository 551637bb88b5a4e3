//! How a report looks, whatever it is about: languages, exact numbers, tables, charts, and the page that holds them. Knows
//! no kind of job.
//!
//! # Layout
//!
//! * [`lang`]: French and English.
//! * [`fixed`]: exact decimal numbers.
//! * [`number`]: numbers, months and days as people write them.
//! * [`measure`]: durations and sizes as people write them.
//! * [`name`]: names from the data, harmless and short.
//! * [`table`]: tables, described once and written on the page, as text and as files.
//! * [`chart`]: charts, as SVG that the style sheet of the page dresses.
//! * [`page`]: the page.

pub mod chart;
pub mod fixed;
pub mod lang;
pub mod measure;
pub mod name;
pub mod number;
pub mod page;
pub mod table;
