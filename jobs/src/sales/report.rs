//! The report of a `sales` job, key for key as `report.json`.
//!
//! Every number is exact: an integer, or a [`Fixed`] rounded once, half up (towards positive infinity). A number that
//! cannot be computed (a mean of nothing, a growth from zero) is `null`, never a made-up zero. Objects are sorted by
//! key, so the same report is the same bytes. How each value is defined stands with its calculation, in
//! [`conclude`](super::conclude); here stands what a reader of the JSON needs.

use std::collections::BTreeMap;

use autoconnect_common::Seq;
use autoconnect_report::fixed::{Euros, Fixed, Percent};
use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::mois::Mois;
use super::partial::ParType;

/// The key under which [`Report::saisonnalite`] and [`Report::tendance`] hold all cities together. No city bears this
/// name in a report: one that is called so is written `global (<its key>)` everywhere.
pub const GLOBAL: &str = "global";

/// `report.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Report {
    /// The format's name and version.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub schema: Schema,
    /// What was read.
    pub source: Source,
    /// What was wrong with it.
    pub qualite: Qualite,
    /// The months it covers.
    pub periode: Periode,
    /// CA of all transactions, in euros.
    pub ca_total: Euros,
    /// The cities, sorted.
    pub villes: Vec<String>,
    /// The models, sorted.
    pub modeles: Vec<String>,
    /// CA by city and month; every month of the period (see [`Periode::mois_sans_trous`]).
    #[cfg_attr(feature = "schema", schema(value_type = BTreeMap<String, BTreeMap<String, CaMois>>))]
    pub ca_mensuel: BTreeMap<String, BTreeMap<Mois, CaMois>>,
    /// Sales and rentals of each city.
    pub repartition: BTreeMap<String, ParType<Part>>,
    /// The cities, ranked by CA.
    pub comparatif: Vec<Comparatif>,
    /// The five best models of each city.
    pub top_modeles: BTreeMap<String, Top>,
    /// CA of each model; cities that never had it are absent.
    pub ca_par_modele: BTreeMap<String, CaModele>,
    /// Seasonality, of [`GLOBAL`] and of each city.
    pub saisonnalite: BTreeMap<String, Saison>,
    /// How long cars are rented, by city.
    pub rotation: BTreeMap<String, Rotation>,
    /// Sum of `prix x duree` of the rentals, in euros, by city.
    pub valeur_contrats: BTreeMap<String, Euros>,
    /// Margins of each city.
    pub marge: BTreeMap<String, ParType<Marge>>,
    /// Trends, of [`GLOBAL`] and of each city; empty where there are no three complete months.
    pub tendance: BTreeMap<String, Tendance>,
}

/// The format's name and version: a report that says another is refused when it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Schema;

impl Schema {
    /// What the key `schema` holds.
    pub const NAME: &str = "autoconnect.sales/1";
}

impl From<Schema> for String {
    fn from(_: Schema) -> Self {
        Schema::NAME.to_owned()
    }
}

impl TryFrom<String> for Schema {
    type Error = String;

    fn try_from(found: String) -> Result<Self, String> {
        if found == Self::NAME {
            return Ok(Self);
        }
        let found: String = found.chars().take(40).collect();
        Err(format!("schema {found:?}: expected {:?}", Self::NAME))
    }
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Source {
    /// Base names, in the order they were read.
    pub fichiers: Vec<String>,
    /// Rows; always `acceptees + rejetees`.
    pub lignes: u64,
    /// Rows without a fault; the report is made of them, without those of `hors_periode`.
    pub acceptees: u64,
    /// Rows in `rejets.csv`.
    pub rejetees: u64,
    /// Of the accepted rows those outside the period that was asked for: counted here and nowhere else.
    #[serde(default)]
    pub hors_periode: u64,
    /// Warnings; a row may have several.
    pub avertissements: u64,
    /// Files read in an encoding that was detected from their bytes, because they are not UTF-8; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub encodages: Vec<Encodage>,
    /// What was left out of the folders that were read; absent where that is nothing.
    #[serde(default, skip_serializing_if = "Ignores::is_empty")]
    pub ignores: Ignores,
}

/// In which encoding a file was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Encodage {
    /// Its base name.
    pub fichier: String,
    /// The encoding: `windows-1252`.
    pub encodage: String,
}

/// What was left out of the folders that were read: whatever is no table there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ignores {
    /// How many files and folders.
    pub nombre: u64,
    /// The names of the first of them, by folder and name; that of a folder ends with `/`.
    pub noms: Vec<String>,
}

impl Ignores {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.nombre == 0
    }
}

/// What was wrong with the source, or lost on the way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Qualite {
    /// Rejected rows by reason.
    pub par_motif: BTreeMap<String, u64>,
    /// Warnings by reason.
    pub avertissements: BTreeMap<String, u64>,
    /// The names that were written in several ways and are one.
    #[serde(default)]
    pub regroupements: Regroupements,
    /// Whether every chunk was counted.
    pub complet: bool,
    /// The chunks that were not, sorted.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub chunks_perdus: Vec<Seq>,
    /// Rows rejected as `encodage_invalide` that read as Windows-1252, by file; absent where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lignes_windows_1252: Vec<LignesWindows1252>,
}

/// Rows of a file that are no UTF-8 and read as Windows-1252.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LignesWindows1252 {
    /// Its base name.
    pub fichier: String,
    /// How many.
    pub nombre: u64,
    /// The line of the first of them, from 1.
    pub premiere: u64,
}

/// Spellings that are one name: each name, with the rows of each of its spellings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Regroupements {
    /// Cities, by name.
    pub villes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Models, by name.
    pub modeles: BTreeMap<String, BTreeMap<String, u64>>,
    /// How many more spellings there are; the lists hold the most frequent ones.
    pub autres: u64,
}

/// The months a report covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Periode {
    /// The first day with a transaction.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = Date))]
    pub debut: Option<NaiveDate>,
    /// The last.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>, format = Date))]
    pub fin: Option<NaiveDate>,
    /// The months, in order.
    pub mois: Vec<String>,
    /// The first and last month, where the data do not reach their first or last day, closed days aside.
    pub mois_partiels: Vec<String>,
    /// Whether `mois`, and the months of each city, are every month from the first to the last, isolated ones aside. A period of
    /// centuries (a typing error in a year) holds only months with transactions, lest zeros fill the report.
    pub mois_sans_trous: bool,
    /// The period that was asked for, as in `2024-01..2024-03`: its months are complete, rows outside it are in no sum.
    #[serde(default)]
    pub demandee: Option<String>,
    /// Months far from all others with hardly a row: a wrong year. Their rows are in every sum, and in
    /// [`Report::ca_mensuel`]; the months are in no other list, and in no variation, index, growth or trend.
    #[serde(default)]
    pub isoles: Vec<Isole>,
    /// Over a year without a transaction inside the period: a rest of a wrong year, or the years of two files with none
    /// between. Its months are complete ones without CA.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trous: Vec<Trou>,
}

/// Months without a transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Trou {
    /// The first.
    pub debut: String,
    /// The last.
    pub fin: String,
    /// How many there are.
    pub mois: u32,
}

/// A month far from all others.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Isole {
    /// The month.
    pub mois: String,
    /// Its transactions.
    pub nombre: u64,
    /// Their CA, in euros.
    pub ca: Euros,
    /// Where the first ones stand.
    pub lignes: Vec<Lieu>,
}

/// Where a row stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Lieu {
    /// The base name of its file.
    pub fichier: String,
    /// Its first line, from 1.
    pub ligne: u64,
}

/// CA of a month, in euros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CaMois {
    /// Of sales.
    pub vente: Euros,
    /// Of rentals.
    pub location: Euros,
    /// Of both.
    pub total: Euros,
}

/// The share of sales, or of rentals, in a city.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Part {
    /// Transactions.
    pub nombre: u64,
    /// In percent of the city's transactions; 0 where there are none.
    pub pourcentage: Percent,
    /// In euros.
    pub ca: Euros,
}

/// A city among the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Comparatif {
    /// From 1.
    pub rang: u32,
    /// Its name.
    pub ville: String,
    /// In euros.
    pub ca: Euros,
    /// In percent of `ca_total`; 0 where that is zero.
    pub part: Percent,
    /// How many.
    pub transactions: u64,
    /// Mean price of a sale, in euros.
    pub panier_moyen_vente: Option<Euros>,
    /// Mean monthly rent, in euros.
    pub loyer_moyen: Option<Euros>,
    /// The last complete month against the one before.
    pub croissance_mensuelle: Option<Percent>,
    /// The last three complete months against the three before.
    pub croissance_trimestrielle: Option<Percent>,
    /// Against the mean CA of a city.
    pub ecart_a_la_moyenne: Option<Percent>,
}

/// The five best models of a city, best first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Top {
    /// By number of sales.
    pub vente: Vec<TopModele>,
    /// By number of rentals.
    pub location: Vec<TopModele>,
    /// By number of both.
    pub total: Vec<TopModele>,
}

/// A model among the five best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TopModele {
    /// Its name.
    pub modele: String,
    /// Transactions.
    pub nombre: u64,
    /// In euros.
    pub ca: Euros,
}

/// CA of a model.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CaModele {
    /// In all cities, in euros.
    pub total: Euros,
    /// By city, in euros.
    pub villes: BTreeMap<String, Euros>,
}

/// Seasonality.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Saison {
    /// Of each complete month against the month before, in percent.
    #[cfg_attr(feature = "schema", schema(schema_with = by_month))]
    pub variations: BTreeMap<Mois, Option<Percent>>,
    /// By calendar month, `01` to `12`: 100 is an average month.
    #[cfg_attr(feature = "schema", schema(schema_with = by_month))]
    pub indices: BTreeMap<Mois, Option<Fixed<2>>>,
}

/// A number or `null` for each month.
#[cfg(feature = "schema")]
fn by_month() -> utoipa::openapi::Object {
    use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
    let number = SchemaType::from_iter([Type::Number, Type::Null]);
    let number = ObjectBuilder::new().schema_type(number);
    ObjectBuilder::new()
        .additional_properties(Some(number))
        .build()
}

/// How long cars are rented.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Rotation {
    /// Rentals.
    pub contrats: u64,
    /// Mean duration, in months.
    pub duree_moyenne_mois: Option<Fixed<2>>,
    /// How often a car could be rented in a year.
    pub rotations_par_an: Option<Fixed<2>>,
    /// Mean duration of each model that was rented, in months.
    pub par_modele: BTreeMap<String, Fixed<2>>,
}

/// Margin of sales, or of rentals, in a city.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Marge {
    /// In percent of the CA.
    pub taux_moyen: Option<Percent>,
    /// Of one transaction, in euros.
    pub marge_moyenne: Option<Euros>,
    /// In euros.
    pub marge_totale: Euros,
    /// Whether the rate was assumed, not computed from costs.
    pub hypothese: bool,
    /// Transactions it is computed from.
    pub nombre: u64,
}

/// A line through the last three complete months, at x = 0, 1 and 2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Tendance {
    /// The months.
    pub mois: [String; 3],
    /// Their CA, in euros.
    pub ca: [Euros; 3],
    /// Euros a month.
    pub pente: Euros,
    /// Euros at x = 0.
    pub ordonnee: Euros,
    /// Coefficient of determination; `null` where the three are equal.
    pub r2: Option<Fixed<4>>,
    /// The line at x = 3.
    pub prevision: Prevision,
}

/// A forecast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Prevision {
    /// The month after the last complete one; it is never a complete month of the period.
    pub mois: String,
    /// In euros; below zero where the line is.
    pub ca: Euros,
    /// Whether the month has begun: it is the last of the period and partial.
    #[serde(default)]
    pub en_cours: bool,
}
