//! Names a job ([`JobId`]) and a chunk of it ([`Seq`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of a job: 1 to 64 characters of `a-z`, `0-9` and `-`, so that it is safe as a file name and a routing key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// A job id that is not 1 to 64 characters of `a-z`, `0-9`, `-`.
#[derive(Debug, thiserror::Error)]
#[error("job id {found:?}: expected 1 to 64 characters of a-z, 0-9 and -")]
pub struct InvalidJobId {
    found: String,
}

impl JobId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidJobId {
                found: text.chars().take(80).collect(),
            })
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number of a chunk within its job: which part of the input, and which chunk of that part, both from 0.
///
/// Today one producer cuts a job, as part 0; several may, later, each next to its own site's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seq {
    /// Which part of the input.
    pub part: u16,
    /// Which chunk of that part.
    pub number: u32,
}

impl Seq {
    /// Chunk `number` of part 0.
    pub fn first_part(number: u32) -> Self {
        Self { part: 0, number }
    }
}

/// A chunk number that is not `part.number`.
#[derive(Debug, thiserror::Error)]
#[error("chunk number {found:?}: expected part.number, as in 0.17")]
pub struct InvalidSeq {
    found: String,
}

impl FromStr for Seq {
    type Err = InvalidSeq;

    fn from_str(text: &str) -> Result<Self, InvalidSeq> {
        let parsed = text.split_once('.').and_then(|(part, number)| {
            Some(Self {
                part: part.parse().ok()?,
                number: number.parse().ok()?,
            })
        });
        match parsed {
            Some(seq) if seq.to_string() == text => Ok(seq),
            _ => Err(InvalidSeq {
                found: text.chars().take(80).collect(),
            }),
        }
    }
}

impl TryFrom<String> for Seq {
    type Error = InvalidSeq;

    fn try_from(text: String) -> Result<Self, InvalidSeq> {
        text.parse()
    }
}

impl From<Seq> for String {
    fn from(seq: Seq) -> String {
        seq.to_string()
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.part, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_never_leaves_its_folder() {
        for bad in ["", "..", "a/b", "A", "a b", "é", &"a".repeat(65), "a\0"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad:?}");
        }
        assert!("sales-0123456789abcdef".parse::<JobId>().is_ok());
    }

    #[test]
    fn a_seq_is_written_in_one_way_only() {
        assert_eq!("0.17".parse::<Seq>().expect("valid"), Seq::first_part(17));
        for bad in ["", "1", "0.", ".1", "00.1", "0.+1", "70000.0", "0.1.2"] {
            assert!(bad.parse::<Seq>().is_err(), "{bad:?}");
        }
    }
}
