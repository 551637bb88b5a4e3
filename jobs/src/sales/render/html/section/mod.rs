//! The sections of the page, one file a subject. Each is a pure function of a [`View`](super::view::View).

pub(super) mod marge;
pub(super) mod modeles;
pub(super) mod mois;
pub(super) mod qualite;
pub(super) mod rotation;
pub(super) mod saison;
pub(super) mod tendance;
pub(super) mod villes;
