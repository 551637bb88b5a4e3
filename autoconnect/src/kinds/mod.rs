//! The kinds of job on the command line, one file each: what is typed for a kind, and the request made of it.

pub(crate) mod sales;
