//! The partial of a `sales` job: checked integers by city, month and model; money in cents.

use std::collections::BTreeMap;

use autoconnect_common::kind::{Merge, Overflow};
use serde::{Deserialize, Serialize};

/// What is known of some transactions, by city key (the slug in the chunk's routing key).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// By city key.
    pub villes: BTreeMap<String, Ville>,
}

/// What is known of one city.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ville {
    /// The first and last day with a transaction.
    pub jours: Option<Jours>,
    /// By month, counted from January of year 0: `12 * year + month - 1`.
    pub mois: BTreeMap<i32, ParType<Somme>>,
    /// By model.
    pub modeles: BTreeMap<String, ParType<Somme>>,
    /// Months of rental, summed, by model; models that were never rented are absent.
    pub durees: BTreeMap<String, u64>,
    /// Sum of `prix x duree` of the rentals, in cents.
    pub valeur_contrats: i64,
    /// Of the rows that have a `cout`.
    pub marges: ParType<Marge>,
}

/// A first and last day, in days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jours {
    /// The first.
    pub premier: i32,
    /// The last.
    pub dernier: i32,
}

/// One value for sales and one for rentals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ParType<T> {
    /// Of sales.
    pub vente: T,
    /// Of rentals.
    pub location: T,
}

/// How many transactions, and their CA.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Somme {
    /// How many.
    pub nombre: u64,
    /// Sum of `prix`, in cents.
    pub ca: i64,
}

/// Transactions whose `cout` is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marge {
    /// How many.
    pub nombre: u64,
    /// Sum of `prix`, in cents.
    pub ca: i64,
    /// Sum of `cout`, in cents.
    pub cout: i64,
}

impl Partial {
    /// About how many bytes of memory it takes; see [`autoconnect_common::JobKind::weigh`].
    pub fn weigh(&self) -> u64 {
        self.villes
            .iter()
            .map(|(key, ville)| ville.weigh(key))
            .sum()
    }
}

impl Ville {
    /// A city's own fields and its place in maps, about; then 64 bytes a month, and 96 a model, which stand in the maps'
    /// nodes at half their room; and every name that the report writes beside a figure.
    fn weigh(&self, key: &str) -> u64 {
        const VILLE: usize = 512;
        const MOIS: usize = 64;
        const MODELE: usize = 96;
        let modele = |modele: &String| MODELE + modele.len() + key.len();
        let modeles: usize = self
            .modeles
            .keys()
            .chain(self.durees.keys())
            .map(modele)
            .sum();
        (VILLE + key.len() + self.mois.len() * MOIS + modeles) as u64
    }
}

impl Merge for Partial {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        Merge::merge(&mut self.villes, other.villes)
    }
}

impl Merge for Ville {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        // every field by name: one that is forgotten here would be that of one chunk alone
        let Self {
            jours,
            mois,
            modeles,
            durees,
            valeur_contrats,
            marges,
        } = other;
        self.jours = match (self.jours, jours) {
            (Some(a), Some(b)) => Some(Jours {
                premier: a.premier.min(b.premier),
                dernier: a.dernier.max(b.dernier),
            }),
            (a, b) => a.or(b),
        };
        Merge::merge(&mut self.mois, mois)?;
        Merge::merge(&mut self.modeles, modeles)?;
        Merge::merge(&mut self.durees, durees)?;
        self.valeur_contrats.merge(valeur_contrats)?;
        self.marges.merge(marges)
    }
}

impl<T: Merge> Merge for ParType<T> {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.vente.merge(other.vente)?;
        self.location.merge(other.location)
    }
}

impl Merge for Somme {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.nombre.merge(other.nombre)?;
        self.ca.merge(other.ca)
    }
}

impl Merge for Marge {
    fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.nombre.merge(other.nombre)?;
        self.ca.merge(other.ca)?;
        self.cout.merge(other.cout)
    }
}
