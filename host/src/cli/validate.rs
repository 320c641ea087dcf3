//! `host validate`: would this configuration and this transform run? Nothing is connected to.

use std::path::Path;

use crate::config::Loaded;
use crate::pipeline;

/// Loads the transform as a run would: compiles it, starts it once, and gives it its parameters. The settings
/// were checked when they were loaded.
///
/// # Errors
/// When the component cannot be read, does not fit, or refuses its parameters.
pub fn validate(loaded: &Loaded) -> anyhow::Result<()> {
    super::warn_of(loaded);
    let settings = &loaded.settings;
    let transform = pipeline::load_transform(settings)?;
    let shown = settings.transform.as_deref().unwrap_or(Path::new("built in")).display();
    super::show(&format!(
        "configuration  ok: pipeline `{}`\ntransform      ok: {shown}, sha256:{}\n",
        settings.name,
        transform.digest()
    ))
}
