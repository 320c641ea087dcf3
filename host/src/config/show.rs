//! The settings as they were resolved: as a configuration file with the origins as comments, as JSON, and
//! all settings as the tables of the documentation.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::keys::{Form, KEYS, Key};
use super::layer::{Item, Layer};
use super::secret::is_secret;

/// A configuration file that gives the same settings. Secrets are left out, and it is said where they come from.
pub fn yaml(resolved: &Layer) -> String {
    let mut text = String::new();
    let mut group = "";
    for key in KEYS {
        let items = resolved.items(key.name);
        let (indent, name) = match key.name.split_once('.') {
            Some((outer, inner)) => {
                if group != outer && !items.is_empty() {
                    line(&mut text, &format!("{outer}:"), None);
                    group = outer;
                }
                ("  ", inner)
            }
            None => ("", key.name),
        };
        match (key.form, items) {
            (_, []) => {}
            (Form::Value | Form::Switch, [.., item]) => {
                line(&mut text, &entry(indent, name, item, key.secret), Some(item));
            }
            (Form::List, items) => {
                line(&mut text, &format!("{name}:"), None);
                items
                    .iter()
                    .for_each(|item| line(&mut text, &format!("  - {}", scalar(&item.text)), Some(item)));
            }
            (Form::Map, items) => {
                line(&mut text, &format!("{name}:"), None);
                for item in items {
                    let member = item.name.as_deref().unwrap_or_default();
                    line(&mut text, &entry("  ", &scalar(member), item, hides(key, member)), Some(item));
                }
            }
        }
    }
    text
}

/// Whether a member of a map is a secret. A column of that name has no secret type.
fn hides(key: &Key, member: &str) -> bool {
    key.name != "columns" && is_secret(member)
}

fn entry(indent: &str, name: &str, item: &Item, secret: bool) -> String {
    if secret {
        format!("{indent}# {name}: [redacted]")
    } else {
        format!("{indent}{name}: {}", scalar(&item.text))
    }
}

fn line(text: &mut String, what: &str, item: Option<&Item>) {
    match item {
        // An origin may be a path with anything in it.
        Some(item) => {
            let origin = item.origin.to_string().replace(char::is_control, "?");
            _ = writeln!(text, "{what:<46} # {origin}");
        }
        None => _ = writeln!(text, "{what}"),
    }
}

/// A text as YAML reads it back: plain where it cannot be anything else, otherwise in JSON's quotes.
fn scalar(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
    let safe = text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.chars().all(plain);
    if safe && !matches!(text, "null" | "Null" | "NULL") {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// One object with a member for each setting: `{"value": ..., "from": ...}`, lists and maps of such.
pub fn json(resolved: &Layer) -> Value {
    let mut all = Map::new();
    for key in KEYS {
        let items = resolved.items(key.name);
        let shown = |item: &Item| {
            let secret = key.secret || item.name.as_deref().is_some_and(|member| hides(key, member));
            let value = if secret { "[redacted]" } else { &item.text };
            json!({ "value": value, "from": item.origin.to_string() })
        };
        let value = match (key.form, items) {
            (_, []) => continue,
            (Form::Value | Form::Switch, [.., item]) => shown(item),
            (Form::List, items) => items.iter().map(shown).collect(),
            (Form::Map, items) => {
                let member = |item: &Item| (item.name.clone().unwrap_or_default(), shown(item));
                Value::Object(items.iter().map(member).collect())
            }
        };
        all.insert(key.name.to_owned(), value);
    }
    Value::Object(all)
}

/// All settings as tables, one for each heading, as `docs/configuration.md` has them.
pub fn documentation() -> String {
    let mut text = String::new();
    let mut heading = "";
    for key in KEYS {
        if key.heading != heading {
            heading = key.heading;
            _ = write!(
                text,
                "\n### {heading}\n\n| key | flag | variable | default | meaning |\n| --- | --- | --- | --- | --- |\n"
            );
        }
        _ = writeln!(
            text,
            "| `{}` | {} | `{}` | {} | {} |",
            key.name,
            flag(key).map_or("–".to_owned(), |flag| format!("`{flag}`")),
            key.variable(),
            default(key),
            key.about.replace('|', "\\|"),
        );
    }
    text
}

fn flag(key: &Key) -> Option<String> {
    let long = key.flag?;
    Some(key.short.map_or(format!("--{long}"), |short| format!("-{short}, --{long}")))
}

fn default(key: &Key) -> String {
    match key.default {
        super::keys::Default::None => "–".to_owned(),
        super::keys::Default::Text(text) => format!("`{}`", text.replace('|', "\\|")),
        super::keys::Default::Follows(text) => text.to_owned(),
    }
}
