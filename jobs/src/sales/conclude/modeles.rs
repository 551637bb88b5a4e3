//! Models by name: the spellings that fold to one name are one model.

use std::collections::BTreeMap;

use autoconnect_common::kind::{Merge, Overflow};
use autoconnect_tables::fold::{Counts, Spellings, fold, naming};

use crate::sales::partial::Ville;

/// The models of a job.
pub(super) struct Modeles {
    /// By name, for the models in several spellings.
    groups: BTreeMap<String, Counts>,
    /// The name of each of these spellings; any other spelling is its own name.
    names: BTreeMap<String, String>,
}

impl Modeles {
    /// The models of these cities; the transactions of all of them decide which spelling is the name.
    pub(super) fn new<'a>(villes: impl Iterator<Item = &'a Ville>) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for (modele, somme) in villes.flat_map(|ville| &ville.modeles) {
            let count = counts.entry(modele).or_default();
            *count = count
                .saturating_add(somme.vente.nombre)
                .saturating_add(somme.location.nombre);
        }
        let mut folded: BTreeMap<String, Vec<(&str, u64)>> = BTreeMap::new();
        for (modele, count) in counts {
            folded
                .entry(fold(modele))
                .or_default()
                .push((modele, count));
        }
        let (mut groups, mut names) = (BTreeMap::new(), BTreeMap::new());
        for (_, spellings) in folded {
            let Some(name) = naming(spellings.iter().copied()).filter(|_| spellings.len() > 1)
            else {
                continue;
            };
            let counts = spellings
                .iter()
                .map(|&(spelling, n)| (spelling.to_owned(), n));
            groups.insert(name.to_owned(), counts.collect());
            names.extend(
                spellings
                    .iter()
                    .map(|(spelling, _)| ((*spelling).to_owned(), name.to_owned())),
            );
        }
        Self { groups, names }
    }

    /// The sums of a city by the names of its models.
    ///
    /// # Errors
    /// [`Overflow`] where a sum does not fit.
    pub(super) fn regroup(&self, mut ville: Ville) -> Result<Ville, Overflow> {
        if !self.names.is_empty() {
            self.rename(&mut ville.modeles)?;
            self.rename(&mut ville.durees)?;
        }
        Ok(ville)
    }

    fn rename<T: Merge + Default>(
        &self,
        by_spelling: &mut BTreeMap<String, T>,
    ) -> Result<(), Overflow> {
        for (spelling, value) in std::mem::take(by_spelling) {
            let name = self.names.get(&spelling).unwrap_or(&spelling);
            by_spelling.entry(name.clone()).or_default().merge(value)?;
        }
        Ok(())
    }

    /// The models in several spellings, as a report lists them.
    pub(super) fn spellings(self) -> Spellings {
        Spellings::of(self.groups)
    }
}
