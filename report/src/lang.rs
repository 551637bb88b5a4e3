//! The languages of reports and pages.

/// A language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lang {
    /// French: `1 234,56 €`, with narrow no-break spaces.
    #[default]
    Fr,
    /// English: `€1,234.56`.
    En,
}

impl Lang {
    /// The code of the language, for the attributes `lang` and `hreflang`.
    pub fn code(self) -> &'static str {
        self.say("fr", "en")
    }

    /// The name of the language, in itself.
    pub fn name(self) -> &'static str {
        self.say("Français", "English")
    }

    /// Chooses `fr` or `en`.
    pub fn say<T>(self, fr: T, en: T) -> T {
        match self {
            Self::Fr => fr,
            Self::En => en,
        }
    }
}
