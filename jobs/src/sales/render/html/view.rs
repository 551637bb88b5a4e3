//! A report in one language: what the sections of the page ask of it.

use crate::sales::Report;
use crate::sales::render::figures;
use crate::sales::report::{Comparatif, GLOBAL};
use autoconnect_report::fixed::{Euros, Percent};
use autoconnect_report::lang::Lang;
use autoconnect_report::name::{clean, cut};
use autoconnect_report::number;
use autoconnect_report::page::Legend;

/// The colours of cities in the style sheet; more cities than colours share [`OTHERS`].
const COLOURS: [&str; 6] = ["c1", "c2", "c3", "c4", "c5", "c6"];
/// The colour of all other cities.
const OTHERS: &str = "c0";
/// The most bars of a chart.
pub(super) const BARS: usize = 12;
/// The most months of a chart and of a table: the last ones.
const MONTHS: usize = 60;

/// A report in one language.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) report: &'a Report,
    pub(super) lang: Lang,
    /// The key of what stands for the whole report, see [`figures::whole`](figures::whole).
    pub(super) whole: &'a str,
    /// The cities that have a colour of their own, best first.
    pub(super) coloured: Vec<&'a str>,
}

impl<'a> View<'a> {
    pub(super) fn new(report: &'a Report, lang: Lang) -> Self {
        let villes = &report.comparatif;
        // one colour is left for the others, where there are any
        let own = if villes.len() > COLOURS.len() {
            COLOURS.len() - 1
        } else {
            COLOURS.len()
        };
        let coloured = villes.iter().take(own).map(|city| city.ville.as_str());
        Self {
            report,
            lang,
            whole: figures::whole(report),
            coloured: coloured.collect(),
        }
    }

    /// The words in this language.
    pub(super) fn say<T>(&self, fr: T, en: T) -> T {
        self.lang.say(fr, en)
    }

    /// The cities of a chart, best first.
    pub(super) fn best(&self) -> impl Iterator<Item = &'a Comparatif> {
        self.report.comparatif.iter().take(BARS)
    }

    /// What the whole is called within a sentence.
    pub(super) fn together(&self) -> String {
        if self.whole == GLOBAL {
            return self
                .say("toutes villes ensemble", "all cities together")
                .to_owned();
        }
        cut(self.whole, 40)
    }

    /// How many cities have no colour of their own.
    pub(super) fn others(&self) -> usize {
        self.report.comparatif.len() - self.coloured.len()
    }

    /// The colour of a city.
    pub(super) fn colour(&self, ville: &str) -> &'static str {
        let place = self.coloured.iter().position(|coloured| *coloured == ville);
        place.map_or(OTHERS, |place| COLOURS[place])
    }

    /// The cities with their colours, where there is more than one.
    pub(super) fn legend(&self) -> Vec<Legend> {
        if self.report.comparatif.len() < 2 {
            return Vec::new();
        }
        let mut legend = self.legend_of_coloured();
        if self.others() > 0 {
            legend.push(Legend {
                class: OTHERS,
                label: self.other_cities(),
            });
        }
        legend
    }

    /// The cities with a colour of their own.
    pub(super) fn legend_of_coloured(&self) -> Vec<Legend> {
        self.coloured
            .iter()
            .map(|ville| Legend {
                class: self.colour(ville),
                label: cut(ville, 30),
            })
            .collect()
    }

    /// What the cities without a colour are called together.
    pub(super) fn other_cities(&self) -> String {
        let n = self.count(self.others() as u64);
        self.say(format!("{n} autres villes"), format!("{n} other cities"))
    }

    /// Sales and rentals with their colours.
    pub(super) fn types(&self) -> Vec<Legend> {
        [
            ("sale", self.say("Ventes", "Sales")),
            ("rent", self.say("Locations", "Rentals")),
        ]
        .map(|(class, label)| Legend {
            class,
            label: label.to_owned(),
        })
        .into()
    }

    /// `Les 12 premières villes sur 60.`; empty where all are shown.
    pub(super) fn best_of_cities(&self) -> String {
        match self.report.comparatif.len() {
            all if all <= BARS => String::new(),
            all => self.say(
                format!("Les {BARS} premières villes sur {all}."),
                format!("The first {BARS} of {all} cities."),
            ),
        }
    }

    /// The last of these months, as many as a chart or a table shows.
    pub(super) fn last_months<'m>(
        &self,
        months: impl IntoIterator<Item = &'m (impl AsRef<str> + 'm)>,
    ) -> Vec<&'m str> {
        let months: Vec<&str> = months.into_iter().map(AsRef::as_ref).collect();
        months[months.len().saturating_sub(MONTHS)..].to_vec()
    }

    /// `Les 60 derniers mois sur 200.`; empty where all are shown.
    pub(super) fn last_of_months(&self, all: usize) -> String {
        if all <= MONTHS {
            return String::new();
        }
        let all = self.count(all as u64);
        self.say(
            format!("Les {MONTHS} derniers mois sur {all}."),
            format!("The last {MONTHS} of {all} months."),
        )
    }

    /// Whether the data do not cover the whole month.
    pub(super) fn partial(&self, mois: &str) -> bool {
        figures::is_partial(&self.report.periode, mois)
    }

    /// A city, or all of them.
    pub(super) fn ville<'v>(&self, ville: &'v str) -> &'v str {
        if ville == GLOBAL {
            self.say("Toutes les villes", "All cities")
        } else {
            ville
        }
    }

    /// The title of the column of a city, or of all of them: short, because there are many.
    pub(super) fn column_title(&self, ville: &str) -> String {
        cut(self.ville(ville), 24)
    }

    /// `label : value`, with the space French wants.
    pub(super) fn pair(&self, label: &str, value: &str) -> String {
        let label = clean(label);
        self.say(
            format!("{label}\u{a0}: {value}"),
            format!("{label}: {value}"),
        )
    }

    /// So many of something, in the singular or the plural.
    pub(super) fn some(&self, n: u64, one: &str, many: &str) -> String {
        let single = match self.lang {
            Lang::Fr => n < 2,
            Lang::En => n == 1,
        };
        format!("{} {}", self.count(n), if single { one } else { many })
    }

    pub(super) fn count(&self, n: u64) -> String {
        number::count(n, self.lang)
    }

    pub(super) fn euros(&self, value: Euros) -> String {
        number::euros(value, self.lang)
    }

    pub(super) fn whole_euros(&self, value: Euros) -> String {
        number::euros_entiers(value, self.lang)
    }

    pub(super) fn euros_compact(&self, value: Euros) -> String {
        number::euros_compact(value, self.lang)
    }

    pub(super) fn percent(&self, value: Percent) -> String {
        number::percent(value, self.lang)
    }

    pub(super) fn signed(&self, value: Option<Percent>) -> String {
        number::or_none(value, |value| number::signed_percent(value, self.lang))
    }

    pub(super) fn mois(&self, label: &str) -> String {
        number::mois(label, self.lang)
    }

    pub(super) fn mois_court(&self, label: &str) -> String {
        number::mois_court(label, self.lang)
    }

    /// Cents as an amount on an axis.
    pub(super) fn on_axis(&self, cents: i128) -> String {
        let cents = cents.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        number::euros_compact(autoconnect_report::fixed::Fixed(cents), self.lang)
    }
}
