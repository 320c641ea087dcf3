//! `host config show`: the settings, and where each comes from.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::config::{Configured, Loaded, show};

/// Shows them as a configuration file with the origins as comments, or as JSON. Where there are tenants, as a file for
/// each pipeline, one YAML document after the other; in JSON by the pipelines' names.
pub fn show(configured: &Configured, json: bool) -> anyhow::Result<()> {
    super::warn(configured.warnings());
    let text = match (configured, json) {
        (Configured::One(loaded), false) => show::yaml(&loaded.resolved),
        (Configured::One(loaded), true) => format!("{:#}\n", show::json(&loaded.resolved)),
        (Configured::Many(all, _), false) => all.iter().fold(String::new(), |mut text, loaded| {
            _ = write!(text, "---\n{}", show::yaml(&loaded.resolved));
            text
        }),
        (Configured::Many(all, _), true) => {
            let member = |loaded: &Loaded| (loaded.settings.name.clone(), show::json(&loaded.resolved));
            format!("{:#}\n", Value::Object(all.iter().map(member).collect::<Map<_, _>>()))
        }
    };
    super::show(&text)
}
