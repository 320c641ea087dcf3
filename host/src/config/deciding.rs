//! The settings that decide what rows a record makes, as texts: they are kept with the transform, so that a
//! range is finished as it was begun.

use std::fmt;

use super::keys::{KEYS, key};
use super::layer::{Item, Layer, Origin};

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
