//! What is wrong with a configuration: all of it at once.

use std::fmt;

use super::layer::Origin;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// The setting's name, where the origin does not say it.
    pub key: Option<String>,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, &self.key) {
            (Origin::Default, Some(key)) => write!(f, "{key}: {}", self.what),
            (origin @ Origin::File { .. }, Some(key)) => write!(f, "{origin}: {key}: {}", self.what),
            (origin, _) => write!(f, "{origin}: {}", self.what),
        }
    }
}

/// All that is wrong; never empty when it is an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Adds one of a place as a whole.
    pub fn at(&mut self, origin: Origin, what: impl Into<String>) {
        self.0.push(Mistake { origin, key: None, what: what.into() });
    }

    /// Adds one of a setting.
    pub fn of(&mut self, key: &str, origin: Origin, what: impl Into<String>) {
        self.0.push(Mistake { origin, key: Some(key.to_owned()), what: what.into() });
    }

    /// Adds one of a setting, unless it was said.
    pub fn once_of(&mut self, key: &str, origin: Origin, what: impl Into<String>) {
        self.add_one(Mistake { origin, key: Some(key.to_owned()), what: what.into() });
    }

    /// Adds those of `more` that were not said yet: what stands at the top of a file is a mistake of each pipeline.
    pub fn add(&mut self, more: Mistakes) {
        more.0.into_iter().for_each(|mistake| self.add_one(mistake));
    }

    fn add_one(&mut self, mistake: Mistake) {
        if !self.0.contains(&mistake) {
            self.0.push(mistake);
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                write!(f, "{} mistakes in the configuration", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}

impl std::error::Error for Mistakes {}
