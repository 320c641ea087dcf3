//! Layers of settings, and where each value came from.
//!
//! A layer holds texts. Flags, environment and file give one each; the highest that sets a key wins, and of
//! maps (`params`, `kafka`) each member by itself. What a text means is decided once, after merging.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::keys::{Default, EXCLUSIVE, Form, KEYS, Key};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// As it was named.
        path: PathBuf,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
    },
    /// A file of variables.
    EnvFile {
        /// As it was named.
        path: PathBuf,
        /// The variable.
        variable: String,
    },
    /// A variable of the environment.
    Env(String),
    /// A flag, with its dashes.
    Flag(String),
}

impl Origin {
    /// Its layer's place in the order of precedence; the higher wins.
    pub fn rank(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::EnvFile { .. } => 2,
            Origin::Env(_) => 3,
            Origin::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "default"),
            // A library error without a place has line 0.
            Origin::File { path, line: 0, .. } => write!(f, "{}", path.display()),
            Origin::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
            Origin::EnvFile { path, variable } => write!(f, "{}: {variable}", path.display()),
            Origin::Env(variable) => write!(f, "{variable}"),
            Origin::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// One value, or one member of a list or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its name, in a map.
    pub name: Option<String>,
    /// Its text.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// The settings that one place gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layer {
    items: BTreeMap<&'static str, Vec<Item>>,
}

impl Layer {
    /// Adds a value of `key`, or a member of its list or map.
    pub fn push(&mut self, key: &Key, item: Item) {
        self.items.entry(key.name).or_default().push(item);
    }

    /// What is set of `name`; empty where nothing is.
    pub fn items(&self, name: &str) -> &[Item] {
        self.items.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether `name` is set.
    pub fn has(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The flag, variable or key of the first setting.
    pub fn first_origin(&self) -> Option<&Origin> {
        self.items.values().flatten().map(|item| &item.origin).next()
    }

    /// Forgets `name`.
    pub fn remove(&mut self, name: &str) {
        self.items.remove(name);
    }

    /// Lays `above` over this layer.
    pub fn overlay(&mut self, above: Layer) {
        for (name, items) in above.items {
            let below = self.items.entry(name).or_default();
            if KEYS.iter().any(|key| key.name == name && key.form == Form::Map) {
                below.retain(|old| items.iter().all(|new| new.name != old.name));
                below.extend(items);
            } else {
                *below = items;
            }
        }
    }

    /// Lays what stands further in over this layer: of two settings that exclude each other it takes the place of
    /// both.
    pub fn overlay_inner(&mut self, inner: Layer) {
        for (one, other) in EXCLUSIVE {
            if inner.has(one) || inner.has(other) {
                self.remove(one);
                self.remove(other);
            }
        }
        self.overlay(inner);
    }

    /// The layer of defaults, below all others.
    pub fn defaults() -> Self {
        let mut layer = Layer::default();
        for key in KEYS {
            if let Default::Text(text) = key.default {
                layer.push(key, Item { name: None, text: text.to_owned(), origin: Origin::Default });
            }
        }
        layer
    }
}

#[cfg(test)]
mod tests {
    use super::super::keys::key;
    use super::*;

    fn layer(entries: &[(&str, Option<&str>, &str)], origin: &Origin) -> Layer {
        let mut layer = Layer::default();
        for (key_name, name, text) in entries {
            let item =
                Item { name: name.map(str::to_owned), text: (*text).to_owned(), origin: origin.clone() };
            layer.push(key(key_name).unwrap(), item);
        }
        layer
    }

    #[test]
    fn a_value_and_a_list_are_replaced_as_a_whole() {
        let mut below =
            layer(&[("topic", None, "a"), ("topic", None, "b"), ("user", None, "u")], &Origin::Default);
        below.overlay(layer(&[("topic", None, "c")], &Origin::Flag("--topic".to_owned())));
        assert_eq!(below.items("topic").iter().map(|item| item.text.as_str()).collect::<Vec<_>>(), ["c"]);
        assert_eq!(below.items("user")[0].text, "u");
    }

    #[test]
    fn a_map_is_replaced_member_by_member() {
        let mut below = layer(&[("params", Some("a"), "1"), ("params", Some("b"), "2")], &Origin::Default);
        below.overlay(layer(
            &[("params", Some("b"), "3"), ("params", Some("c"), "4")],
            &Origin::Env("X".to_owned()),
        ));
        let all: Vec<_> = below
            .items("params")
            .iter()
            .map(|item| (item.name.as_deref().unwrap(), item.text.as_str()))
            .collect();
        assert_eq!(all, [("a", "1"), ("b", "3"), ("c", "4")]);
    }

    #[test]
    fn origins_name_the_place() {
        let path = PathBuf::from("p.yaml");
        assert_eq!(Origin::File { path: path.clone(), line: 3, column: 7 }.to_string(), "p.yaml:3:7");
        assert_eq!(
            Origin::EnvFile { path, variable: "ROWGATE_USER".to_owned() }.to_string(),
            "p.yaml: ROWGATE_USER"
        );
        assert_eq!(Origin::Flag("--user".to_owned()).to_string(), "--user");
    }
}
