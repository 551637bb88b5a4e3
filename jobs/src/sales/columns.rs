//! The columns of a file of transactions, each described once, and the version of what chunks and partials hold of them.
//!
//! The reader finds columns by [`WANTED`], the hot path holds where each stands by [`Column`], a chunk names and measures them by
//! [`Description`], and [`ROW_BYTES`] bounds how many rows a chunk has. `docs/new-column.md` adds a column.
//!
//! An optional column is an amount of euros: [`Amounts`] holds one of each, through all acts, without naming them.

use autoconnect_tables::header::Wanted;

use super::reason::Warning;

/// The version of what a chunk and a partial hold: larger by one with each change of either, such as one more column.
pub const SCHEMA: u32 = 1;

/// A column, by its place among [`COLUMNS`]. Optional ones come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The transaction's id.
    Id,
    /// Its day.
    Date,
    /// Its city.
    Ville,
    /// Sale or rental.
    Type,
    /// The model.
    Modele,
    /// The price, or the monthly rent.
    Prix,
    /// Months of rental.
    Duree,
    /// What the vehicle cost us.
    Cout,
}

/// What a file and a chunk know of a column.
#[derive(Debug)]
pub struct Description {
    /// Which one it is.
    pub column: Column,
    /// Its name in a file, in lower case.
    pub name: &'static str,
    /// Of an optional amount, what is odd about a row that has something else there; none of a required column.
    pub odd: Option<Warning>,
    /// Its name in a chunk; empty where a chunk does not carry it row by row.
    pub in_chunk: &'static str,
    /// Bits that a row of a chunk takes for it, at most.
    pub bits: usize,
}

/// Every column, in the order of [`Column`].
pub const COLUMNS: [Description; 8] = [
    required(Column::Id, "transaction_id", "", 0),
    required(Column::Date, "date", "date", 32),
    required(Column::Ville, "ville", "", 0),
    required(Column::Type, "type", "type", 8),
    // the key of a dictionary, in a chunk of more than 32,768 models
    required(Column::Modele, "modele", "modele", 32),
    required(Column::Prix, "prix", "prix_centimes", 32),
    required(
        Column::Duree,
        "duree_location_mois",
        "duree_location_mois",
        8,
    ),
    optional(Column::Cout, "cout", "cout_centimes", Warning::CoutInvalide),
];

const fn required(
    column: Column,
    name: &'static str,
    in_chunk: &'static str,
    bits: usize,
) -> Description {
    Description {
        column,
        name,
        odd: None,
        in_chunk,
        bits,
    }
}

/// Cents in 32 bits, and one bit that says whether they are known.
const fn optional(
    column: Column,
    name: &'static str,
    in_chunk: &'static str,
    odd: Warning,
) -> Description {
    Description {
        column,
        name,
        odd: Some(odd),
        in_chunk,
        bits: 32 + 1,
    }
}

// each stands at its own number, and none but optional ones comes after an optional one
const _: () = {
    let mut number = 0;
    while number < COLUMNS.len() {
        assert!(COLUMNS[number].column as usize == number);
        assert!(COLUMNS[number].odd.is_some() == (number >= REQUIRED));
        number += 1;
    }
};

/// How many columns every file has.
pub const REQUIRED: usize = {
    let mut count = 0;
    while count < COLUMNS.len() && COLUMNS[count].odd.is_none() {
        count += 1;
    }
    count
};

/// How many columns a file may have beside.
pub const OPTIONAL: usize = COLUMNS.len() - REQUIRED;

/// Bytes that a row takes in a chunk, at most.
pub const ROW_BYTES: usize = {
    let (mut bits, mut column) = (0, 0);
    while column < COLUMNS.len() {
        bits += COLUMNS[column].bits;
        column += 1;
    }
    bits.div_ceil(8)
};

/// The columns that the reader looks for, in the order of [`Column`].
pub const WANTED: [Wanted; COLUMNS.len()] = {
    let mut wanted = [Wanted {
        name: "",
        required: false,
    }; COLUMNS.len()];
    let mut column = 0;
    while column < COLUMNS.len() {
        wanted[column] = Wanted {
            name: COLUMNS[column].name,
            required: column < REQUIRED,
        };
        column += 1;
    }
    wanted
};

impl Column {
    /// What is known of it.
    pub const fn describe(self) -> &'static Description {
        const ALL: &[Description] = &COLUMNS;
        &ALL[self as usize]
    }
}

/// The optional amounts of a row, in cents; [`NO_AMOUNT`] where one is not known.
pub type Amounts = [u32; OPTIONAL];

/// An amount that is not known: none is that large.
pub const NO_AMOUNT: u32 = u32::MAX;

/// The amounts of a row without any.
pub const NO_AMOUNTS: Amounts = [NO_AMOUNT; OPTIONAL];

/// The amounts of a row that has this one alone.
#[cfg(test)]
pub fn only(column: Column, cents: u32) -> Amounts {
    let mut amounts = NO_AMOUNTS;
    amounts[column as usize - REQUIRED] = cents;
    amounts
}

/// The optional columns with their descriptions, in the order of [`Amounts`].
pub fn optional_columns() -> &'static [Description] {
    const ALL: &[Description] = &COLUMNS;
    &ALL[REQUIRED..]
}

/// The names of the columns of every file, and of the optional ones; for people.
pub fn names() -> [String; 2] {
    let (always, optional) = COLUMNS.split_at(REQUIRED);
    [always, optional].map(|columns| {
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        names.join(", ")
    })
}

/// The most bytes of a city or a model.
pub const MAX_NAME: usize = 255;
/// The highest amount, in cents: 10 million euros, more than any car.
pub const MAX_CENTS: u32 = 1_000_000_000;
/// The longest rental, in months: ten years.
pub const MAX_DUREE: u8 = 120;
/// Rentals over so many months are counted as a warning; the hot path leaves them to the reference path.
pub const LONG_DUREE: u8 = 48;

// a price stays apart from what says that there is none, and the hot path reads durations of two digits
const _: () = assert!(MAX_CENTS < NO_AMOUNT && LONG_DUREE < 100 && LONG_DUREE <= MAX_DUREE);
