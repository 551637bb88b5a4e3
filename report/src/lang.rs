//! The languages of what people read.

/// Which language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lang {
    /// `1 234,56 €`, with narrow no-break spaces.
    #[default]
    Fr,
    /// `€1,234.56`.
    En,
}

impl Lang {
    /// What the language is called in `lang` and `hreflang`.
    pub fn code(self) -> &'static str {
        self.say("fr", "en")
    }

    /// What the language calls itself.
    pub fn name(self) -> &'static str {
        self.say("Français", "English")
    }

    /// The words in this language.
    pub fn say<T>(self, fr: T, en: T) -> T {
        match self {
            Self::Fr => fr,
            Self::En => en,
        }
    }
}
