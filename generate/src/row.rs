//! One transaction as it is drawn ([`Draft`]), and its line of text.

use super::draw::below;
use super::world::{Class, MODELS, World};

/// Whether a car was sold or rented out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Sale,
    Rental,
}

impl Type {
    pub(super) const BOTH: [Self; 2] = [Self::Sale, Self::Rental];

    /// The value in the column `type`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Sale => "vente",
            Self::Rental => "location",
        }
    }
}

/// The random bits of one row. Every row draws as many, so that a change of one row never changes those after it.
pub(super) struct Raw(pub(super) [u64; 4]);

/// One transaction, as indices into the [`World`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Draft {
    pub(super) city: u32,
    pub(super) day: u16,
    pub(super) kind: Type,
    pub(super) model: u8,
    pub(super) cents: u32,
    /// How many decimals of the price are written; the others are zero.
    pub(super) decimals: u8,
    /// The months of a rental; 0 for a sale.
    pub(super) duration: u8,
    /// Whether the duration of a sale is written `NULL` or left empty.
    pub(super) null_word: bool,
}

/// Sixteen equally likely durations for each [`Class`], in months, short ones first; 0 stands for any from 1 to 48.
const DURATIONS: [[u8; 16]; 3] = [
    [6, 12, 12, 12, 12, 12, 12, 24, 24, 24, 24, 36, 36, 36, 48, 0],
    [
        12, 12, 12, 24, 24, 24, 24, 24, 36, 36, 36, 36, 36, 48, 48, 0,
    ],
    [
        12, 24, 24, 24, 36, 36, 36, 36, 36, 36, 48, 48, 48, 48, 48, 0,
    ],
];

impl Draft {
    /// A transaction of `day` or, for one in eight, of up to eight days before, as if it was entered late. The first and last
    /// rows of a file (`at_the_edge`) are always of `day`.
    pub(super) fn new(
        world: &World,
        raw: &Raw,
        day: usize,
        kind: Option<Type>,
        at_the_edge: bool,
    ) -> Self {
        let [where_, what, price, rest] = raw.0;
        let late = if (rest as u32) & 7 == 0 && !at_the_edge {
            1 + ((rest >> 3) & 7) as usize
        } else {
            0
        };
        let month = world.days[day].month;
        let day = day.saturating_sub(late);
        let city = world.cities_of_month[month].pick(where_);
        let ville = &world.cities[city as usize];
        let profile = &world.profiles[ville.profile];
        let rented = ((rest >> 8) & 1023) < profile.rentals_of_month[month % 12];
        let kind = kind.unwrap_or(if rented { Type::Rental } else { Type::Sale });
        let model = profile.models[kind as usize].pick(what);
        let decimals = [0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 2][(rest >> 18 & 15) as usize];
        Self {
            city,
            day: day as u16,
            kind,
            model: model as u8,
            cents: Self::price(world, model as usize, kind, month, ville.price, price)
                / [100, 10, 1][usize::from(decimals)]
                * [100, 10, 1][usize::from(decimals)],
            decimals,
            duration: match kind {
                Type::Sale => 0,
                Type::Rental => duration(MODELS[model as usize].class, profile.shift, rest),
            },
            null_word: rest >> 22 & 3 != 0,
        }
    }

    /// The price in cents: the model's price, scaled by city and month, with a random discount or surcharge of up to 10 %; for
    /// a rental, 1.85 % to 2.55 % of that each month.
    fn price(world: &World, model: usize, kind: Type, month: usize, city: u64, bits: u64) -> u32 {
        let haggled = 900_000 + u64::from(below(bits as u32, 200_001));
        let list = u64::from(MODELS[model].euros) * 100;
        let cents = list * city / 1000 * world.price_level[month] / 1000 * haggled / 1_000_000;
        let cents = match kind {
            Type::Sale => cents,
            Type::Rental => cents * (18_500 + (bits >> 32) % 7_001) / 1_000_000,
        };
        cents as u32
    }

    /// Appends the line of this row.
    pub(super) fn write(&self, out: &mut Vec<u8>, world: &World, id: &Id) {
        id.write(out);
        out.push(b',');
        out.extend_from_slice(&world.days[usize::from(self.day)].text);
        out.push(b',');
        out.extend_from_slice(world.cities[self.city as usize].name.as_bytes());
        out.extend_from_slice(match self.kind {
            Type::Sale => b",vente,",
            Type::Rental => b",location,",
        });
        out.extend_from_slice(MODELS[usize::from(self.model)].name.as_bytes());
        out.push(b',');
        self.write_price(out);
        out.push(b',');
        self.write_duration(out);
        out.push(b'\n');
    }

    pub(super) fn write_price(&self, out: &mut Vec<u8>) {
        write_number(out, self.cents / 100);
        let cents = (self.cents % 100) as u8;
        match self.decimals {
            0 => {}
            1 => out.extend_from_slice(&[b'.', b'0' + cents / 10]),
            _ => out.extend_from_slice(&[b'.', b'0' + cents / 10, b'0' + cents % 10]),
        }
    }

    pub(super) fn write_duration(&self, out: &mut Vec<u8>) {
        if self.duration > 0 {
            write_number(out, u32::from(self.duration));
        } else if self.null_word {
            out.extend_from_slice(b"NULL");
        }
    }
}

/// The duration of a rental in months, 1 to 48.
fn duration(class: Class, shift: usize, bits: u64) -> u8 {
    let index = (((bits >> 24) & 15) as usize + shift).min(15);
    // the last entry (any duration) keeps its probability of one in sixteen: a shift ends at the entry before
    let index = if index == 15 && (bits >> 24) & 15 != 15 {
        14
    } else {
        index
    };
    match DURATIONS[class as usize][index] {
        0 => 1 + below((bits >> 32) as u32, 48) as u8,
        months => months,
    }
}

fn write_number(out: &mut Vec<u8>, mut number: u32) {
    let mut digits = [0; 10];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The id of a transaction, `TX` and at least nine digits, which is incremented in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id(Vec<u8>);

impl Id {
    pub(super) fn first() -> Self {
        Self(b"TX000000001".to_vec())
    }

    /// The id of row number `row`, from 0.
    pub(super) fn of(row: u64) -> Self {
        Self(format!("TX{:09}", row + 1).into_bytes())
    }

    pub(super) fn advance(&mut self) {
        for digit in self.0[2..].iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        self.0.insert(2, b'1');
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_counted_up_is_the_id_of_its_row() {
        for row in [0, 8, 9, 98, 999_999, 999_999_997, 999_999_998] {
            let mut id = Id::of(row);
            id.advance();
            assert_eq!(id, Id::of(row + 1));
        }
        assert_eq!(Id::first(), Id::of(0));
    }

    #[test]
    fn a_price_is_written_with_its_decimals() {
        let price = |cents, decimals| {
            let draft = Draft {
                city: 0,
                day: 0,
                kind: Type::Sale,
                model: 0,
                cents,
                decimals,
                duration: 0,
                null_word: true,
            };
            let mut text = Vec::new();
            draft.write_price(&mut text);
            String::from_utf8(text).expect("digits")
        };
        assert_eq!(price(0, 0), "0");
        assert_eq!(price(4_500_000, 0), "45000");
        assert_eq!(price(4_500_050, 1), "45000.5");
        assert_eq!(price(4_500_005, 2), "45000.05");
    }

    #[test]
    fn durations_never_leave_1_to_48() {
        for class in [Class::City, Class::Family, Class::Premium] {
            for shift in 0..3 {
                for bits in 0..16 {
                    for rest in [0, u64::from(u32::MAX)] {
                        let months = duration(class, shift, bits << 24 | rest << 32);
                        assert!((1..=48).contains(&months));
                    }
                }
            }
        }
    }
}
