//! The cities, models and calendar of the data, and their probabilities. The numbers are invented: they only give a file
//! trends, seasons and tastes that a report can find.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use super::draw::{Alias, hash};

/// The class of a model, which decides how long it is rented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    City,
    Family,
    Premium,
}

/// A model, with its mean price and its popularity.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) euros: u32,
    popularity: u64,
    pub(super) class: Class,
}

const fn model(name: &'static str, euros: u32, popularity: u64, class: Class) -> Model {
    Model {
        name,
        euros,
        popularity,
        class,
    }
}

pub(super) const MODELS: [Model; 30] = [
    model("BMW_X5", 72_000, 90, Class::Premium),
    model("Audi_A4", 44_000, 100, Class::Family),
    model("Mercedes_Classe_C", 49_000, 95, Class::Family),
    model("Tesla_Model_3", 41_000, 110, Class::Premium),
    model("Porsche_Macan", 76_000, 45, Class::Premium),
    model("BMW_Serie_1", 31_000, 70, Class::City),
    model("BMW_Serie_3", 47_000, 75, Class::Family),
    model("BMW_X1", 42_000, 80, Class::Family),
    model("BMW_i4", 58_000, 40, Class::Premium),
    model("Audi_A1", 22_500, 75, Class::City),
    model("Audi_A3", 30_000, 85, Class::City),
    model("Audi_Q3", 40_000, 70, Class::Family),
    model("Audi_Q5", 56_000, 55, Class::Premium),
    model("Mercedes_Classe_A", 33_000, 80, Class::City),
    model("Mercedes_GLC", 62_000, 50, Class::Premium),
    model("Tesla_Model_Y", 46_000, 90, Class::Premium),
    model("Volvo_XC40", 41_500, 50, Class::Family),
    model("Volvo_XC60", 57_500, 40, Class::Premium),
    model("Lexus_NX", 54_000, 25, Class::Family),
    model("Alfa_Romeo_Giulia", 45_500, 20, Class::Family),
    model("Jaguar_F-Pace", 66_000, 15, Class::Premium),
    model("Range_Rover_Evoque", 51_000, 25, Class::Premium),
    model("Mini_Cooper", 26_000, 65, Class::City),
    model("Fiat_500e", 19_500, 40, Class::City),
    model("Citroën_C3", 16_200, 35, Class::City),
    model("Peugeot_208", 20_500, 60, Class::City),
    model("Peugeot_3008", 36_500, 65, Class::Family),
    model("Renault_Mégane_E-Tech", 35_500, 45, Class::Family),
    model("Volkswagen_ID.4", 43_500, 40, Class::Family),
    model("DS_7", 48_500, 25, Class::Family),
];

const NAMES: [&str; 40] = [
    "Lyon",
    "Paris",
    "Marseille",
    "Toulouse",
    "Bordeaux",
    "Lille",
    "Nantes",
    "Nice",
    "Strasbourg",
    "Montpellier",
    "Rennes",
    "Saint-Étienne",
    "Grenoble",
    "Dijon",
    "Angers",
    "Nîmes",
    "Le Havre",
    "Reims",
    "Toulon",
    "Clermont-Ferrand",
    "Brest",
    "Le Mans",
    "Aix-en-Provence",
    "Tours",
    "Limoges",
    "Amiens",
    "Perpignan",
    "Metz",
    "Besançon",
    "Orléans",
    "Rouen",
    "Mulhouse",
    "Caen",
    "Nancy",
    "Argenteuil",
    "L'Haÿ-les-Roses",
    "Villeurbanne",
    "Annecy",
    "La Rochelle",
    "Pau",
];

/// The first and the last day of the data.
const FIRST: (i32, u32, u32) = (2022, 1, 1);
const LAST: (i32, u32, u32) = (2025, 12, 31);
/// The months from the first to the last day.
pub(super) const MONTHS: usize = 48;

/// The business of each calendar month, in thousandths of a mean month: more in spring and September, little in August.
const SEASON: [i64; 12] = [
    820, 860, 1150, 1060, 1040, 1260, 930, 640, 1170, 1060, 970, 1040,
];
/// How many more of 1024 transactions are rentals in each calendar month: more in summer.
const RENTING: [i64; 12] = [-20, -25, -15, 5, 20, 45, 80, 70, 0, -20, -25, -30];
/// The rise of prices, in thousandths a year.
const INFLATION: u64 = 13;

/// A city, and how it differs from others.
#[derive(Debug)]
pub(super) struct City {
    pub(super) name: String,
    pub(super) profile: usize,
    /// The prices in the city, in thousandths of the mean.
    pub(super) price: u64,
    weight: u64,
    /// The growth of its business each month, in thousandths of the first month.
    growth: i64,
    /// The strength of the seasons in the city, in percent of [`SEASON`].
    swing: i64,
}

/// The taste in cars of some cities.
#[derive(Debug)]
pub(super) struct Profile {
    /// The models of sales, and those of rentals.
    pub(super) models: [Alias; 2],
    /// How many in 1024 transactions are rentals, by calendar month.
    pub(super) rentals_of_month: [u64; 12],
    /// How much longer cars are rented, in entries of the table of durations.
    pub(super) shift: usize,
}

/// A day of the calendar.
#[derive(Debug)]
pub(super) struct Day {
    /// The date as text, as in `2022-01-01`.
    pub(super) text: [u8; 10],
    /// The month, counted from the first month of the data.
    pub(super) month: usize,
    /// Rows below this number (from 0) are of this day or an earlier one.
    pub(super) end_row: u64,
}

/// All probabilities of one seed.
#[derive(Debug)]
pub(super) struct World {
    pub(super) cities: Vec<City>,
    pub(super) profiles: Vec<Profile>,
    pub(super) cities_of_month: Vec<Alias>,
    pub(super) days: Vec<Day>,
    /// The level of prices by month, in thousandths of the first month's.
    pub(super) price_level: [u64; MONTHS],
    first: NaiveDate,
}

const PROFILES: usize = 16;

impl World {
    pub(super) fn new(cities: u32, seed: u64, rows: u64) -> Self {
        let cities: Vec<City> = (0..cities as usize).map(|at| City::new(at, seed)).collect();
        let business: Vec<Vec<u64>> = (0..MONTHS)
            .map(|month| cities.iter().map(|city| city.business(month)).collect())
            .collect();
        let first = day_of(FIRST);
        Self {
            profiles: (0..PROFILES).map(|at| Profile::new(at, seed)).collect(),
            cities_of_month: business.iter().map(|weights| Alias::new(weights)).collect(),
            days: calendar(first, &business, rows),
            price_level: std::array::from_fn(|month| 1000 + INFLATION * month as u64 / 12),
            cities,
            first,
        }
    }

    /// The first month, counted from January of year 0.
    pub(super) fn first_month(&self) -> i32 {
        self.first.year() * 12 + self.first.month0() as i32
    }

    /// The date of the day with this number.
    pub(super) fn date(&self, day: u16) -> NaiveDate {
        self.first + Days::new(u64::from(day))
    }
}

fn day_of((year, month, day): (i32, u32, u32)) -> NaiveDate {
    NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default()
}

/// Every day of the data. The `rows` are spread over them in proportion to the `business` (by month and city) and to the
/// weight of the day of the week.
fn calendar(first: NaiveDate, business: &[Vec<u64>], rows: u64) -> Vec<Day> {
    let last = day_of(LAST);
    let dates: Vec<NaiveDate> = first.iter_days().take_while(|date| *date <= last).collect();
    let month_of =
        |date: &NaiveDate| ((date.year() - FIRST.0) * 12 + date.month0() as i32) as usize;
    let weights: Vec<u128> = dates
        .iter()
        .map(|date| {
            let open = match date.weekday() {
                Weekday::Sun => 2,
                Weekday::Sat => 14,
                _ => 10,
            };
            let month: u128 = business[month_of(date)]
                .iter()
                .map(|&n| u128::from(n))
                .sum();
            month * open
        })
        .collect();
    let total: u128 = weights.iter().sum();
    let mut so_far = 0;
    dates
        .iter()
        .zip(weights)
        .map(|(date, weight)| {
            so_far += weight;
            let mut text = [0; 10];
            text.copy_from_slice(date.format("%Y-%m-%d").to_string().as_bytes());
            Day {
                text,
                month: month_of(date),
                // the first day has a row even in a file of very few rows
                end_row: ((so_far * u128::from(rows) / total) as u64).max(rows.min(1)),
            }
        })
        .collect()
}

impl City {
    fn new(at: usize, seed: u64) -> Self {
        let mixed = hash(&[seed, 2, at as u64]);
        let (weight, growth, swing, price) = match at {
            0 => (78, 9, 90, 990),
            1 => (100, 4, 105, 1050),
            2 => (62, -3, 130, 960),
            _ => (
                600 / (at as u64 + 8) + 1,
                (mixed % 14) as i64 - 4,
                70 + (mixed >> 8) as i64 % 60,
                940 + (mixed >> 16) % 101,
            ),
        };
        Self {
            name: NAMES.get(at).map_or_else(
                || format!("Commune-{:05}", at + 1 - NAMES.len()),
                |name| (*name).to_owned(),
            ),
            profile: if at < PROFILES {
                at
            } else {
                (mixed >> 32) as usize % PROFILES
            },
            price,
            weight,
            growth,
            swing,
        }
    }

    /// The weight of the city's business in a month.
    fn business(&self, month: usize) -> u64 {
        let season = 1000 + (SEASON[month % 12] - 1000) * self.swing / 100;
        let grown = 1000 + self.growth * month as i64;
        self.weight * (season * grown) as u64 / 1000
    }
}

impl Profile {
    fn new(at: usize, seed: u64) -> Self {
        let mixed = hash(&[seed, 3, at as u64]);
        let share = match at {
            0 => 420,
            1 => 540,
            2 => 350,
            _ => 320 + (mixed % 260) as i64,
        };
        Self {
            models: [0, 1].map(|kind| Alias::new(&taste(at, seed, kind))),
            rentals_of_month: RENTING.map(|more| (share + more) as u64),
            shift: (mixed >> 32) as usize % 3,
        }
    }
}

/// The weight of each model: its popularity, times 0.5 to 2 by local taste. Premium cars are rented more often, city cars
/// less.
fn taste(profile: usize, seed: u64, kind: u64) -> Vec<u64> {
    let weigh = |(at, model): (usize, &Model)| {
        let local = 500 + hash(&[seed, 4, profile as u64, at as u64]) % 1_500;
        let rented = match (kind, model.class) {
            (1, Class::Premium) => 1_300,
            (1, Class::City) => 800,
            _ => 1_000,
        };
        let rented = rented + hash(&[seed, 5, profile as u64, at as u64, kind]) % 300;
        model.popularity * local * rented
    };
    MODELS.iter().enumerate().map(weigh).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_day_and_the_first_and_last_day_have_rows() {
        let world = World::new(3, 42, 10_000);
        let days = &world.days;
        assert_eq!(days.len(), 4 * 365 + 1);
        assert_eq!(&days[0].text, b"2022-01-01");
        assert_eq!(&days[days.len() - 1].text, b"2025-12-31");
        assert!(days[0].end_row > 0);
        assert_eq!(days[days.len() - 1].end_row, 10_000);
        assert!(days[days.len() - 2].end_row < 10_000);
        assert!(days.is_sorted_by_key(|day| day.end_row));
    }

    #[test]
    fn no_price_can_leave_its_range() {
        for model in &MODELS {
            let least = u64::from(model.euros) * 940 / 1000 * 900 / 1000;
            let most = u64::from(model.euros) * 1050 / 1000 * 1051 / 1000 * 1100 / 1000;
            assert!(least >= 12_000 && most <= 95_000, "{}", model.name);
            assert!(
                least * 185 / 10_000 >= 250 && most * 255 / 10_000 <= 2_500,
                "{}",
                model.name
            );
        }
    }
}
