//! The tables that a correct reader finds in a generated file, counted from what was drawn. Money is in cents.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;

use chrono::NaiveDate;
use serde::Serialize;

use super::Options;
use super::fault::{Fault, Group, WrittenRow};
use super::odd::{Spelling, model_spellings};
use super::row::{Draft, Type};
use super::world::{MONTHS, World};

/// A number of transactions, and the sum of their prices.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    number: u64,
    cents: u64,
}

impl Sum {
    fn add(&mut self, cents: u32) {
        self.number += 1;
        self.cents += u64::from(cents);
    }
}

/// The tables of the rows that were counted so far.
#[derive(Debug)]
pub(super) struct Truth {
    models: Vec<Spelling>,
    /// By city, month of the world, type.
    by_month: Vec<Sum>,
    /// By city, month counted from January of year 0, type: rows outside the calendar of the world.
    by_odd_month: BTreeMap<(u32, i32, usize), Sum>,
    /// By city, type, model.
    by_model: Vec<Sum>,
    /// Months of rental by city, model.
    months: Vec<u64>,
    /// The sum of price times duration of the rentals, by city.
    contracts: Vec<u64>,
    /// How often each city has each other spelling.
    spellings: BTreeMap<(u32, String), u64>,
    first: Option<NaiveDate>,
    last: Option<NaiveDate>,
    first_day: u16,
    last_day: u16,
    accepted: u64,
    rejects: Vec<(u64, &'static str)>,
    by_reason: BTreeMap<&'static str, u64>,
    warnings: BTreeMap<&'static str, u64>,
    oddities: BTreeMap<&'static str, u64>,
}

impl Truth {
    pub(super) fn new(world: &World) -> Self {
        let cities = world.cities.len();
        let models = model_spellings();
        Self {
            by_month: vec![Sum::default(); cities * MONTHS * 2],
            by_odd_month: BTreeMap::new(),
            by_model: vec![Sum::default(); cities * 2 * models.len()],
            months: vec![0; cities * models.len()],
            contracts: vec![0; cities],
            spellings: BTreeMap::new(),
            first: None,
            last: None,
            first_day: u16::MAX,
            last_day: 0,
            accepted: 0,
            rejects: Vec::new(),
            by_reason: BTreeMap::new(),
            warnings: BTreeMap::new(),
            oddities: BTreeMap::new(),
            models,
        }
    }

    /// Counts an accepted row with a date in the calendar of the world.
    pub(super) fn count(&mut self, world: &World, draft: &Draft) {
        let month = world.days[usize::from(draft.day)].month;
        let at = (draft.city as usize * MONTHS + month) * 2 + draft.kind as usize;
        self.by_month[at].add(draft.cents);
        self.first_day = self.first_day.min(draft.day);
        self.last_day = self.last_day.max(draft.day);
        self.count_dateless(draft);
    }

    /// Counts an accepted row with another date.
    fn count_at(&mut self, date: NaiveDate, draft: &Draft) {
        self.by_odd_month
            .entry((draft.city, month_number(date), draft.kind as usize))
            .or_default()
            .add(draft.cents);
        self.first = Some(self.first.map_or(date, |first| first.min(date)));
        self.last = Some(self.last.map_or(date, |last| last.max(date)));
        self.count_dateless(draft);
    }

    fn count_dateless(&mut self, draft: &Draft) {
        let models = self.models.len();
        let (city, model) = (draft.city as usize, usize::from(draft.model));
        self.accepted += 1;
        self.by_model[(city * 2 + draft.kind as usize) * models + model].add(draft.cents);
        self.months[city * models + model] += u64::from(draft.duration);
        self.contracts[city] += u64::from(draft.cents) * u64::from(draft.duration);
    }

    /// Counts a row with a fault, whose record starts at `line`.
    pub(super) fn count_fault(
        &mut self,
        world: &World,
        fault: Fault,
        written: &WrittenRow,
        line: u64,
    ) {
        let by_word = match fault.group() {
            Group::Rejected => {
                self.rejects.push((line, fault.word()));
                &mut self.by_reason
            }
            Group::Warned => &mut self.warnings,
            Group::Accepted => &mut self.oddities,
        };
        *by_word.entry(fault.word()).or_default() += 1;
        if let Some(word) = fault.also_warns() {
            *self.warnings.entry(word).or_default() += 1;
        }
        if fault.rejects() {
            return;
        }
        match written.date {
            Some(date) => self.count_at(date, &written.draft),
            None => self.count(world, &written.draft),
        }
        if let Some(spelling) = &written.spelling
            && *spelling != world.cities[written.draft.city as usize].name
        {
            let key = (written.draft.city, spelling.clone());
            *self.spellings.entry(key).or_default() += 1;
        }
    }

    /// The truth as JSON.
    pub(super) fn to_json(
        &self,
        world: &World,
        options: &Options,
        file: &str,
    ) -> io::Result<Vec<u8>> {
        let document = Document {
            schema: "autoconnect.truth/1",
            fichier: file,
            graine: options.seed,
            lignes: options.rows,
            acceptees: self.accepted,
            rejetees: self.rejects.len() as u64,
            par_motif: &self.by_reason,
            avertissements: &self.warnings,
            particularites: &self.oddities,
            attendu: self.expected(world),
            rejets: &self.rejects,
        };
        let mut json = serde_json::to_vec(&document)?;
        json.push(b'\n');
        Ok(json)
    }

    fn expected(&self, world: &World) -> Expected {
        let names = self.names(world);
        let models = self.model_names();
        let mut expected = Expected {
            periode: self.period(world),
            ..Expected::default()
        };
        for (city, name) in names.iter().enumerate() {
            self.months_of(world, city, name, &mut expected.par_ville_mois_type);
            self.models_of(city, name, &models, &mut expected);
        }
        expected.par_ville_mois_type.sort();
        expected.par_ville_type_modele.sort();
        expected.locations_par_ville.sort();
        expected.mois_par_ville_modele.sort();
        expected.valeur_contrats.sort();
        expected
    }

    fn months_of(&self, world: &World, city: usize, name: &str, rows: &mut Vec<ByMonth>) {
        let mut push = |month: i32, kind: usize, sum: &Sum| {
            let kind = Type::BOTH[kind].word();
            rows.push((
                name.to_owned(),
                month_text(month),
                kind,
                sum.number,
                sum.cents,
            ));
        };
        for month in 0..MONTHS {
            for kind in 0..2 {
                let sum = &self.by_month[(city * MONTHS + month) * 2 + kind];
                if sum.number > 0 {
                    push(world.first_month() + month as i32, kind, sum);
                }
            }
        }
        let city = city as u32;
        let odd = self
            .by_odd_month
            .range((city, i32::MIN, 0)..(city + 1, i32::MIN, 0));
        for (&(_, month, kind), sum) in odd {
            push(month, kind, sum);
        }
    }

    fn models_of(&self, city: usize, name: &str, models: &[&'static str], expected: &mut Expected) {
        let all = models.len();
        let mut by_name: BTreeMap<(usize, &'static str), Sum> = BTreeMap::new();
        let mut months_by_name: BTreeMap<&'static str, u64> = BTreeMap::new();
        let (mut rentals, mut rental_months) = (0, 0);
        for (model, model_name) in models.iter().copied().enumerate() {
            for kind in Type::BOTH {
                let sum = &self.by_model[(city * 2 + kind as usize) * all + model];
                if sum.number > 0 {
                    let of_name = by_name.entry((kind as usize, model_name)).or_default();
                    of_name.number += sum.number;
                    of_name.cents += sum.cents;
                }
            }
            let rented = self.by_model[(city * 2 + 1) * all + model].number;
            let months = self.months[city * all + model];
            if rented > 0 {
                *months_by_name.entry(model_name).or_default() += months;
            }
            rentals += rented;
            rental_months += months;
        }
        expected
            .par_ville_type_modele
            .extend(by_name.into_iter().map(|((kind, model), sum)| {
                let kind = Type::BOTH[kind].word();
                (name.to_owned(), kind, model, sum.number, sum.cents)
            }));
        expected.mois_par_ville_modele.extend(
            months_by_name
                .into_iter()
                .map(|(model, months)| (name.to_owned(), model, months)),
        );
        if rentals > 0 {
            let row = (name.to_owned(), rentals, rental_months);
            expected.locations_par_ville.push(row);
            let row = (name.to_owned(), self.contracts[city]);
            expected.valeur_contrats.push(row);
        }
    }

    /// The name that a reader shows for each model: its most frequent spelling.
    fn model_names(&self) -> Vec<&'static str> {
        let mut counts = vec![0; self.models.len()];
        for sums in self.by_model.chunks(counts.len()) {
            for (count, sum) in counts.iter_mut().zip(sums) {
                *count += sum.number;
            }
        }
        let name = |spelling: &Spelling| {
            let of_model = self
                .models
                .iter()
                .zip(&counts)
                .filter(|(other, count)| other.model == spelling.model && **count > 0);
            naming(of_model.map(|(other, count)| (other.text, *count))).unwrap_or(spelling.text)
        };
        self.models.iter().map(name).collect()
    }

    /// The name that a reader shows for each city: its most frequent spelling.
    fn names<'a>(&'a self, world: &'a World) -> Vec<&'a str> {
        let usual = |(at, city): (usize, &'a super::world::City)| {
            let at = at as u32;
            let others = || {
                self.spellings
                    .range((at, String::new())..(at + 1, String::new()))
                    .map(|((_, name), number)| (name.as_str(), *number))
            };
            let odd: u64 = others().map(|(_, number)| number).sum();
            let ordinary = (city.name.as_str(), self.rows_of(at as usize) - odd);
            naming(others().chain([ordinary])).unwrap_or(&city.name)
        };
        world.cities.iter().enumerate().map(usual).collect()
    }

    fn rows_of(&self, city: usize) -> u64 {
        let cells = self.models.len() * 2;
        let of_city = &self.by_model[city * cells..(city + 1) * cells];
        of_city.iter().map(|sum| sum.number).sum()
    }

    /// The first and last day with an accepted row.
    fn period(&self, world: &World) -> Option<[String; 2]> {
        let ordinary = self.first_day <= self.last_day;
        let first = ordinary.then(|| world.date(self.first_day));
        let last = ordinary.then(|| world.date(self.last_day));
        let first = first.into_iter().chain(self.first).min()?;
        let last = last.into_iter().chain(self.last).max()?;
        Some([first.to_string(), last.to_string()])
    }
}

/// The spelling that a reader shows: the most frequent one; of equally frequent ones, one that is not all capitals, then the
/// first in byte order. The rule is implemented twice, because a truth must not depend on the code that it judges.
fn naming<'a>(spellings: impl IntoIterator<Item = (&'a str, u64)>) -> Option<&'a str> {
    let capitals =
        |text: &str| text.contains(char::is_uppercase) && !text.contains(char::is_lowercase);
    spellings
        .into_iter()
        .min_by_key(|(spelling, count)| (Reverse(*count), capitals(spelling), *spelling))
        .map(|(spelling, _)| spelling)
}

/// The number of a month, counted from January of year 0.
fn month_number(date: NaiveDate) -> i32 {
    use chrono::Datelike as _;
    date.year() * 12 + date.month0() as i32
}

fn month_text(month: i32) -> String {
    format!(
        "{:04}-{:02}",
        month.div_euclid(12),
        month.rem_euclid(12) + 1
    )
}

/// `ville, mois, type, nombre, ca`.
type ByMonth = (String, String, &'static str, u64, u64);
/// `ville, type, modele, nombre, ca`.
type ByModel = (String, &'static str, &'static str, u64, u64);

/// `FILE.truth.json`.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    fichier: &'a str,
    graine: u64,
    lignes: u64,
    acceptees: u64,
    rejetees: u64,
    par_motif: &'a BTreeMap<&'static str, u64>,
    avertissements: &'a BTreeMap<&'static str, u64>,
    /// How many rows have each fault that a reader accepts without a warning.
    particularites: &'a BTreeMap<&'static str, u64>,
    attendu: Expected,
    /// `ligne, motif`.
    rejets: &'a [(u64, &'static str)],
}

/// The tables, each sorted, without rows of zero transactions.
#[derive(Default, Serialize)]
struct Expected {
    /// The first and last day with an accepted row.
    periode: Option<[String; 2]>,
    par_ville_mois_type: Vec<ByMonth>,
    par_ville_type_modele: Vec<ByModel>,
    /// `ville, nombre, mois`.
    locations_par_ville: Vec<(String, u64, u64)>,
    /// `ville, modele, mois`, of rentals.
    mois_par_ville_modele: Vec<(String, &'static str, u64)>,
    /// `ville, centimes`.
    valeur_contrats: Vec<(String, u64)>,
}
