//! The settings that decide what rows a record makes, as texts: they are kept with the transform, so that a
//! range is finished as it was begun.

use std::fmt;

use super::keys::{KEYS, key};
use super::layer::{Item, Layer, Origin};
use super::secret::Named;

/// The setting that has a transform's parameters.
const PARAMS: &str = "params";

/// For each of these settings its name, for maps the member's, and the text; in the order in which they count.
///
/// May hold secrets: a transform's parameters are among them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Deciding(pub Vec<(String, Option<String>, String)>);

impl Deciding {
    /// Those of all settings.
    pub(super) fn of(resolved: &Layer) -> Self {
        let keys = KEYS.iter().filter(|key| key.decides_rows);
        let items = keys.flat_map(|key| resolved.items(key.name).iter().map(|item| (key.name, item)));
        Deciding(items.map(|(key, item)| (key.to_owned(), item.name.clone(), item.text.clone())).collect())
    }

    /// The parameters among them.
    pub fn params(&self) -> Named {
        let params = self.0.iter().filter(|(name, ..)| name == PARAMS);
        Named(params.map(|(_, name, text)| (name.clone().unwrap_or_default(), text.clone())).collect())
    }

    /// The parameters alone, which with the component are what a configuration calls a transform.
    pub(crate) fn of_params(&self) -> Self {
        Deciding(self.0.iter().filter(|(name, ..)| name == PARAMS).cloned().collect())
    }

    /// The same with other parameters, in the order in which those of the settings stand.
    pub(super) fn with_params(&self, params: &Named) -> Self {
        let params =
            params.0.iter().map(|(name, text)| (PARAMS.to_owned(), Some(name.clone()), text.clone()));
        let others = self.0.iter().filter(|(name, ..)| name != PARAMS).cloned();
        let mut all: Vec<_> = params.chain(others).collect();
        let place = |name: &str| KEYS.iter().position(|key| key.name == name);
        all.sort_by_key(|(name, ..)| place(name));
        Deciding(all)
    }

    /// As a layer of settings.
    ///
    /// # Errors
    /// The name of one that this host does not know: it cannot make the rows that it decided.
    pub(super) fn layer(&self) -> Result<Layer, String> {
        let mut layer = Layer::default();
        for (name, member, text) in &self.0 {
            let key = key(name).filter(|key| key.decides_rows).ok_or_else(|| name.clone())?;
            let item = Item { name: member.clone(), text: text.clone(), origin: Origin::Default };
            layer.push(key, item);
        }
        Ok(layer)
    }
}

impl fmt::Debug for Deciding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, member, _)| (name, member))).finish()
    }
}
