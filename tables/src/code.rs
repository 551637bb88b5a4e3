//! Closed lists of words that rows are counted by: reasons, warnings. One list gives the words, their order and their
//! numbers.

use std::fmt;
use std::marker::PhantomData;

/// One of a closed list, which [`codes!`](crate::codes) declares.
pub trait Code: fmt::Debug + Copy + Eq + 'static {
    /// All of them, by number.
    const ALL: &'static [Self];

    /// Its place in [`ALL`](Self::ALL).
    fn number(self) -> usize;

    /// Its word, which never changes: people filter spreadsheets by it.
    fn word(self) -> &'static str;
}

/// Declares an enum of [`Code`]s, each with its word.
#[macro_export]
macro_rules! codes {
    ($(#[$about:meta])* $visibility:vis enum $name:ident { $($(#[$doc:meta])* $code:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        $visibility enum $name { $($(#[$doc])* $code,)+ }

        impl $crate::code::Code for $name {
            const ALL: &'static [Self] = &[$(Self::$code),+];

            fn number(self) -> usize {
                self as usize
            }

            fn word(self) -> &'static str {
                match self { $(Self::$code => $word,)+ }
            }
        }
    };
}

/// A set of codes of one list, which has at most 16: a row carries such a set, and with 16 bits for it one of `sales` takes
/// 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeSet<C> {
    bits: u16,
    of: PhantomData<C>,
}

impl<C: Code> CodeSet<C> {
    /// The empty set.
    pub const NONE: Self = {
        assert!(
            C::ALL.len() <= u16::BITS as usize,
            "a list too long for a set"
        );
        Self {
            bits: 0,
            of: PhantomData,
        }
    };

    /// Adds one.
    pub fn insert(&mut self, code: C) {
        self.bits |= 1 << code.number();
    }

    /// Whether it is among them.
    pub fn contains(self, code: C) -> bool {
        self.bits & (1 << code.number()) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Each of them, by number.
    pub fn iter(self) -> impl Iterator<Item = C> {
        let all = C::ALL.iter().copied();
        all.filter(move |code| self.contains(*code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    codes! {
        enum Letter { A = "a", B = "b", C = "c", D = "d", E = "e", F = "f", G = "g", H = "h", I = "i", }
    }

    #[test]
    fn a_list_gives_words_order_and_numbers() {
        let words: Vec<&str> = Letter::ALL.iter().map(|letter| letter.word()).collect();
        assert_eq!(words.concat(), "abcdefghi");
        let numbers: Vec<usize> = Letter::ALL.iter().map(|letter| letter.number()).collect();
        assert_eq!(numbers, (0..9).collect::<Vec<_>>());
    }

    #[test]
    fn a_set_has_room_for_more_codes_than_a_byte_has_bits() {
        let mut set = CodeSet::NONE;
        assert!(set.is_empty());
        for letter in [Letter::I, Letter::B, Letter::B] {
            set.insert(letter);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [Letter::B, Letter::I]);
        assert!(!set.contains(Letter::A));
    }
}
