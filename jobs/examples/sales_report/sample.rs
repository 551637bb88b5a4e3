//! Made-up facts and sums of a sales job, with season and growth in them: the same for the same size, always.

use std::collections::BTreeMap;

use autoconnect_jobs::sales::partial::{Jours, Marge, ParType, Partial, Somme, Ville};
use autoconnect_jobs::sales::request::{Facts, Margin};

/// How large a sample is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// The number of cities.
    pub villes: usize,
    /// Months, from January 2022 on.
    pub mois: i32,
    /// Models.
    pub modeles: usize,
}

const VILLES: [&str; 12] = [
    "Lyon",
    "Paris",
    "Marseille",
    "Lille",
    "Nantes",
    "Toulouse",
    "Bordeaux",
    "Strasbourg",
    "Rennes",
    "Saint-Étienne",
    "Nice",
    "Montpellier",
];
const MODELES: [&str; 20] = [
    "Peugeot 208",
    "Renault Clio",
    "Citroën C3",
    "Dacia Sandero",
    "Peugeot 3008",
    "Renault Captur",
    "Toyota Yaris",
    "Volkswagen Golf",
    "Fiat 500",
    "Tesla Model 3",
    "Dacia Duster",
    "Peugeot 2008",
    "Renault Mégane",
    "Ford Puma",
    "Kia Niro",
    "BMW Série 1",
    "Audi A3",
    "Mini Cooper",
    "Hyundai Tucson",
    "Skoda Octavia",
];
const SAISON: [u64; 12] = [82, 86, 112, 108, 110, 121, 96, 74, 104, 101, 97, 109];
const JANVIER_2022: i32 = 12 * 2022;
/// 2022-01-01, in days since 1970-01-01.
const DEBUT: i32 = 18_993;

/// Facts and partial of a job of that size.
pub(crate) fn sample(size: Size) -> (Facts, Partial) {
    let mut partial = Partial::default();
    let mut facts = Facts {
        fichiers: vec!["transactions_autoconnect.csv".to_owned()],
        marge: Margin::default(),
        ..Facts::default()
    };
    for i in 0..size.villes {
        let (key, nom) = match VILLES.get(i) {
            Some(nom) => (nom.to_lowercase(), (*nom).to_owned()),
            None => (format!("ville-{i:04}"), format!("Ville {i:04}")),
        };
        let ville = ville(i, size);
        facts.acceptees += ville
            .mois
            .values()
            .map(|somme| somme.vente.nombre + somme.location.nombre)
            .sum::<u64>();
        facts.villes.insert(key.clone(), nom);
        partial.villes.insert(key, ville);
    }
    let words = |words: &[(&str, u64)]| words.iter().map(|&(w, n)| (w.to_owned(), n)).collect();
    facts.par_motif = words(&[
        ("date_invalide", 41),
        ("duree_manquante", 23),
        ("id_duplique", 67),
        ("prix_invalide", 38),
        ("prix_negatif", 12),
        ("type_inconnu", 9),
    ]);
    facts.avertissements = words(&[
        ("location_longue", 31),
        ("prix_nul", 4),
        ("vente_avec_duree", 18),
    ]);
    facts.rejetees = facts.par_motif.values().sum();
    facts.lignes = facts.acceptees + facts.rejetees;
    (facts, partial)
}

fn ville(i: usize, size: Size) -> Ville {
    let mut dice = Dice(i as u64 + 1);
    let mut modeles: BTreeMap<String, ParType<Somme>> = BTreeMap::new();
    let mut ville = Ville {
        // the last day is 12 days short of its month's end, so that there is a partial month
        jours: Some(Jours {
            premier: DEBUT,
            dernier: last_day(size.mois) - 12,
        }),
        ..Ville::default()
    };
    let weight = 260 - 17 * (i as u64 % 12);
    for mois in 0..size.mois {
        let somme = ville.mois.entry(JANVIER_2022 + mois).or_default();
        let season = SAISON[mois as usize % 12] + dice.below(9);
        let growth = 100 + mois as u64 * (3 + i as u64 % 3) / 4;
        let last = if mois + 1 == size.mois { 60 } else { 100 };
        let rows = weight * season * growth * last / 2_000_000 + 1;
        for _ in 0..rows {
            // two throws and the smaller one: the first models are the popular ones
            let modele = dice
                .below(size.modeles as u64)
                .min(dice.below(size.modeles as u64));
            let nom = MODELES
                .get(modele as usize)
                .map_or_else(|| format!("Modèle {modele:03}"), |nom| (*nom).to_owned());
            let par_type = modeles.entry(nom.clone()).or_default();
            if dice.below(100) < 58 + 4 * (i as u64 % 4) {
                let prix = 900_000 + modele as i64 * 117_300 + dice.below(700_000) as i64;
                add(&mut par_type.vente, prix);
                add(&mut somme.vente, prix);
                if i.is_multiple_of(2) {
                    add_cost(&mut ville.marges.vente, prix, 840 + dice.below(70) as i64);
                }
            } else {
                let prix = 18_900 + modele as i64 * 2_310 + dice.below(9_000) as i64;
                let duree = 1 + dice.below(36 - 2 * (i as u64 % 8));
                add(&mut par_type.location, prix);
                add(&mut somme.location, prix);
                *ville.durees.entry(nom).or_default() += duree;
                ville.valeur_contrats += prix * duree as i64;
            }
        }
    }
    ville.modeles = modeles;
    ville
}

fn add(somme: &mut Somme, prix: i64) {
    somme.nombre += 1;
    somme.ca += prix;
}

fn add_cost(marge: &mut Marge, prix: i64, permille: i64) {
    marge.nombre += 1;
    marge.ca += prix;
    marge.cout += prix * permille / 1000;
}

/// The last day of the last of so many months from January 2022, in days since 1970-01-01.
fn last_day(mois: i32) -> i32 {
    const DAYS: [i32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = |year: i32| i32::from(year % 4 == 0);
    let days: i32 = (0..mois)
        .map(|m| DAYS[m as usize % 12] + if m % 12 == 1 { leap(2022 + m / 12) } else { 0 })
        .sum();
    DEBUT + days - 1
}

/// A small generator whose numbers never change.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}
