//! The act `conclude` of `sales`: facts and sums become the report.
//!
//! One file a calculation; all of them read the checked `Base` and none reads another's result. Money comes in as
//! cents and stays an integer; a quotient is one [`Fixed::ratio`] of integers, rounded once. There is no float here.
//!
//! | file | key of the report |
//! |---|---|
//! | `ca` | `ca_total`, `ca_mensuel`, `ca_par_modele` |
//! | `repartition` | `repartition` |
//! | `comparatif` | `comparatif` |
//! | `top` | `top_modeles` |
//! | `saisonnalite` | `saisonnalite` |
//! | `rotation` | `rotation`, `valeur_contrats` |
//! | `marge` | `marge` |
//! | `tendance` | `tendance` |

mod base;
mod ca;
mod calendar;
mod comparatif;
mod feries;
mod marge;
mod modeles;
mod repartition;
mod rotation;
mod saisonnalite;
mod tendance;
#[cfg(test)]
mod tests;
mod top;

use autoconnect_common::Seq;
use autoconnect_common::kind::{ConcludeError, Steps};
use autoconnect_report::fixed::{Euros, Fixed, Percent};

use self::base::Base;
use super::periode::label;
use super::report::{Isole, Lieu, Periode, Qualite, Regroupements, Schema, Source, Trou};
use super::{Facts, Partial, Report};

/// The warning about a row whose month is isolated: the only one that cannot be decided from the row alone.
pub const MOIS_ISOLE: &str = "mois_isole";

/// See [`autoconnect_common::JobKind::conclude`].
///
/// # Errors
/// Where the partial counts more rows than the facts, or fewer while no chunk is missing; where it holds a city the
/// facts do not name, a day outside the years 0 to 9999, sums that contradict each other or exceed 23 million billion euros.
pub fn conclude(
    facts: Facts,
    partial: Partial,
    missing: &[Seq],
    steps: &mut Steps<'_>,
) -> Result<Report, ConcludeError> {
    let mut base = Base::new(&facts, partial, missing)?;
    let isolated = base.isolated();
    steps("CA total");
    let ca_total = ca::total(&base);
    steps("CA mensuel");
    let ca_mensuel = ca::mensuel(&base);
    steps("répartition");
    let repartition = repartition::repartition(&base);
    steps("comparatif");
    let comparatif = comparatif::comparatif(&base);
    steps("top 5");
    let top_modeles = top::top_modeles(&base);
    steps("CA par modèle");
    let ca_par_modele = ca::par_modele(&base);
    steps("saisonnalité");
    let saisonnalite = saisonnalite::saisonnalite(&base);
    steps("durée de location");
    let rotation = rotation::rotation(&base);
    steps("valeur des contrats");
    let valeur_contrats = rotation::valeur_contrats(&base);
    steps("marge");
    let marge = marge::marge(&base, &facts.marge);
    steps("tendance");
    let tendance = tendance::tendance(&base);
    Ok(Report {
        schema: Schema,
        periode: periode(&facts, &base),
        villes: base.villes.keys().cloned().collect(),
        modeles: ca_par_modele.keys().cloned().collect(),
        ca_total,
        ca_mensuel,
        repartition,
        comparatif,
        top_modeles,
        ca_par_modele,
        saisonnalite,
        rotation,
        valeur_contrats,
        marge,
        tendance,
        qualite: qualite(&facts, &mut base, isolated, missing),
        source: source(facts, isolated),
    })
}

/// `isolated` are the rows of isolated months.
fn source(facts: Facts, isolated: u64) -> Source {
    Source {
        avertissements: facts
            .avertissements
            .values()
            .fold(isolated, |sum, n| sum.saturating_add(*n)),
        fichiers: facts.fichiers,
        encodages: facts.encodages,
        ignores: facts.ignores,
        lignes: facts.lignes,
        acceptees: facts.acceptees,
        rejetees: facts.rejetees,
        hors_periode: facts.hors_periode,
    }
}

fn qualite(facts: &Facts, base: &mut Base, isolated: u64, missing: &[Seq]) -> Qualite {
    let mut chunks_perdus = missing.to_vec();
    chunks_perdus.sort_unstable();
    chunks_perdus.dedup();
    let villes = std::mem::take(&mut base.villes_regroupees);
    let modeles = std::mem::take(&mut base.modeles_regroupes);
    let mut avertissements = facts.avertissements.clone();
    if isolated > 0 {
        avertissements.insert(MOIS_ISOLE.to_owned(), isolated);
    }
    Qualite {
        par_motif: facts.par_motif.clone(),
        avertissements,
        regroupements: Regroupements {
            autres: villes.others.saturating_add(modeles.others),
            villes: villes.listed,
            modeles: modeles.listed,
        },
        lignes_windows_1252: facts.lignes_windows_1252.clone(),
        complet: missing.is_empty(),
        chunks_perdus,
    }
}

fn periode(facts: &Facts, base: &Base) -> Periode {
    let labels = |mois: &[i32]| mois.iter().copied().map(label).collect();
    let calendrier = &base.calendrier;
    Periode {
        debut: calendrier.jours.map(|jours| jours.0),
        fin: calendrier.jours.map(|jours| jours.1),
        mois: labels(&calendrier.mois),
        mois_partiels: labels(&calendrier.partiels),
        mois_sans_trous: calendrier.sans_trous,
        demandee: facts.periode.map(|plage| plage.to_string()),
        isoles: calendrier
            .isoles
            .iter()
            .map(|&mois| isole(mois, facts, base))
            .collect(),
        trous: calendrier
            .trous
            .iter()
            .map(|&(debut, fin)| Trou {
                debut: label(debut),
                fin: label(fin),
                mois: debut.abs_diff(fin) + 1,
            })
            .collect(),
    }
}

fn isole(mois: i32, facts: &Facts, base: &Base) -> Isole {
    let lignes = facts.premieres_lignes.get(&mois).into_iter().flatten();
    Isole {
        mois: label(mois),
        nombre: base.nombre(mois),
        ca: euros(base.global.ca(mois)),
        lignes: lignes
            .map(|lieu| Lieu {
                fichier: facts
                    .fichiers
                    .get(lieu.fichier as usize)
                    .cloned()
                    .unwrap_or_default(),
                ligne: lieu.ligne,
            })
            .collect(),
    }
}

/// An amount in cents as euros; saturating, though [`Base`] refuses whatever would not fit.
fn euros(cents: i128) -> Euros {
    let limit = if cents < 0 { i64::MIN } else { i64::MAX };
    Fixed(i64::try_from(cents).unwrap_or(limit))
}

/// `part` in percent of `whole`; `None` where `whole` is zero.
fn percent(part: i128, whole: i128) -> Option<Percent> {
    Percent::ratio(part.checked_mul(100)?, whole)
}

/// The mean of `count` amounts in cents that add up to `sum`; `None` where there are none.
fn mean(sum: i128, count: impl Into<i128>) -> Option<Euros> {
    Euros::ratio(sum, count.into().checked_mul(100)?)
}

/// How much larger `new` is than `old`, in percent of `old`; `None` where `old` is zero.
fn growth(new: i128, old: i128) -> Option<Percent> {
    percent(new.checked_sub(old)?, old)
}
