//! `host validate`: would this configuration and this transform run? Nothing is connected to, but for the registry of a
//! transform that was not fetched yet.

use std::fmt::Write as _;

use anyhow::anyhow;

use crate::config::Configured;
use crate::error;
use crate::pipeline;

/// Loads each transform as a run would: compiles it, starts it once, and gives it its parameters. The settings
/// were checked when they were loaded.
///
/// # Errors
/// When a component cannot be read, does not fit, or refuses its parameters. Of several pipelines all are looked at.
pub fn validate(configured: &Configured) -> anyhow::Result<()> {
    super::warn(configured.warnings());
    let (mut text, mut failed) = (String::new(), Vec::new());
    for loaded in configured.pipelines() {
        let settings = &loaded.settings;
        match pipeline::load_transform(settings) {
            Ok(transform) => {
                _ = write!(
                    text,
                    "configuration  ok: pipeline `{}`\ntransform      ok: {}, sha256:{}\n",
                    settings.name,
                    settings.transform,
                    transform.digest()
                );
            }
            Err(error) => failed.push((&settings.name, error)),
        }
    }
    super::show(&text)?;
    let exit = failed.first().map(|(_, error)| error::exit_of(error));
    match (configured, exit) {
        (_, None) => Ok(()),
        (Configured::One(_), Some(_)) => Err(failed.remove(0).1),
        (Configured::Many(..), Some(exit)) => {
            let lines: String = failed.iter().map(|(name, error)| format!("\n  {name}: {error:#}")).collect();
            Err(error::of_class(anyhow!("{} pipelines would not run:{lines}", failed.len()), exit, None))
        }
    }
}
