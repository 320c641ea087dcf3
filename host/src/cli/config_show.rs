//! `host config show`: the settings, and where each comes from.

use crate::config::{Loaded, show};

/// Shows them as a configuration file with the origins as comments, or as JSON.
pub fn show(loaded: &Loaded, json: bool) -> anyhow::Result<()> {
    super::warn_of(loaded);
    let text =
        if json { format!("{:#}\n", show::json(&loaded.resolved)) } else { show::yaml(&loaded.resolved) };
    super::show(&text)
}
