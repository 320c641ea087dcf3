//! The manifest of a component: which blob it is, and nothing else that a registry may hold.

use anyhow::{Result, anyhow};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::Classify;
use crate::origin::parse_digest;
use crate::transform::limits::SandboxLimits;
use crate::transform::scan;

/// The media type of manifests.
pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of lists of manifests. They are asked for, too, since a registry would not say that it has one.
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of a component's configuration, by the guidance for WebAssembly in registries: `wkg` and `oci-wasm` write it.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The media type of a component.
const COMPONENT: &str = "application/wasm";
/// A manifest's size at most: what registries take, by the specification of distribution.
pub(super) const MAX_MANIFEST_BYTES: u64 = 4 << 20;

/// The blob that is the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its SHA-256, in hexadecimal.
    pub digest: String,
    /// Its size.
    pub bytes: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    media_type: Option<String>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Layer {
    /// The one component of a manifest.
    ///
    /// # Errors
    /// It is no manifest of a component, or of one that is larger than `limits` allow (exit 2).
    pub fn of_manifest(manifest: &[u8], limits: &SandboxLimits) -> Result<Self> {
        let layer = read(manifest).map_err(|what| anyhow!("what the reference names {what}")).usage();
        let layer =
            layer.help("push the component with `wkg oci push`, and name the digest that it shows")?;
        scan::size(layer.bytes, limits).map_err(|why| anyhow!(why)).usage()?;
        Ok(layer)
    }
}

fn read(manifest: &[u8]) -> Result<Layer, String> {
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|error| format!("is no manifest: {error}"))?;
    let media_type = manifest.media_type.as_deref();
    // Bytes that are both would be one thing to the host and another to whoever looked at them before.
    if manifest.manifests.is_some() || media_type == Some(INDEX) {
        return Err("is a list of manifests, and only one of them can run: name that one's digest".to_owned());
    }
    if media_type.is_some_and(|media_type| media_type != MANIFEST) {
        return Err(format!("is a manifest of another kind ({:.80})", media_type.unwrap_or_default()));
    }
    match manifest.config {
        Some(Descriptor { media_type, .. }) if media_type == CONFIG => {}
        Some(Descriptor { media_type, .. }) => {
            return Err(format!(
                "is no component: its configuration is of the type {media_type:.80}, and not {CONFIG}"
            ));
        }
        None => return Err("is no component: it has no configuration".to_owned()),
    }
    match manifest.layers.unwrap_or_default().as_slice() {
        [Descriptor { media_type, digest, size }] if media_type == COMPONENT => {
            let digest = parse_digest(digest).map_err(|_| "names its layer by no sha256".to_owned())?;
            Ok(Layer { digest, bytes: *size })
        }
        [Descriptor { media_type, .. }] => {
            Err(format!("is no component: its layer is of the type {media_type:.80}, and not {COMPONENT}"))
        }
        layers => Err(format!("has {} layers, and a component is one", layers.len())),
    }
}

#[cfg(test)]
pub(super) mod samples {
    use serde_json::{Value, json};

    use super::*;

    /// The manifest of a component, as `wkg` writes it.
    pub(crate) fn manifest(digest: &str, bytes: usize) -> Value {
        json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": CONFIG, "digest": format!("sha256:{}", "1".repeat(64)), "size": 2 },
            "layers": [{ "mediaType": COMPONENT, "digest": format!("sha256:{digest}"), "size": bytes }],
            "annotations": { "org.opencontainers.image.version": "1.4.0" },
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::{Exit, exit_of};

    fn of(change: impl FnOnce(&mut Value)) -> Result<Layer> {
        let mut manifest = samples::manifest(&"a".repeat(64), 5);
        change(&mut manifest);
        Layer::of_manifest(manifest.to_string().as_bytes(), &SandboxLimits::default())
    }

    #[test]
    fn a_component_is_the_one_layer_of_its_manifest() {
        assert_eq!(of(|_| ()).unwrap(), Layer { digest: "a".repeat(64), bytes: 5 });
        // The member is optional.
        assert!(of(|manifest| _ = manifest.as_object_mut().unwrap().remove("mediaType")).is_ok());
    }

    #[test]
    fn what_is_no_manifest_of_one_component_is_refused_with_what_it_is() {
        let layer = samples::manifest(&"b".repeat(64), 6)["layers"][0].clone();
        type Change<'a> = Box<dyn FnOnce(&mut Value) + 'a>;
        let cases: Vec<(Change<'_>, &str)> = vec![
            (Box::new(|it| *it = json!({ "schemaVersion": 2, "manifests": [] })), "is a list of manifests"),
            (Box::new(|it| it["manifests"] = json!([])), "is a list of manifests"),
            (Box::new(|it| it["mediaType"] = json!(INDEX)), "is a list of manifests"),
            (Box::new(|it| it["mediaType"] = json!("application/x")), "another kind (application/x)"),
            (Box::new(|it| it["config"]["mediaType"] = json!("application/y")), "of the type application/y"),
            (Box::new(|it| it["config"] = json!(null)), "it has no configuration"),
            (
                Box::new(|it| it["layers"].as_array_mut().unwrap().push(layer)),
                "has 2 layers, and a component is one",
            ),
            (Box::new(|it| it["layers"] = json!([])), "has 0 layers"),
            (
                Box::new(|it| it["layers"][0]["mediaType"] = json!("application/zip")),
                "of the type application/zip",
            ),
            (Box::new(|it| it["layers"][0]["digest"] = json!("sha512:00")), "by no sha256"),
            (Box::new(|it| it["layers"][0]["size"] = json!(-1)), "is no manifest"),
            (Box::new(|it| it["layers"][0]["size"] = json!(5 << 20)), "the profile `small` allows 4194304"),
            (Box::new(|it| *it = json!("<html>")), "is no manifest"),
        ];
        for (change, why) in cases {
            let error = of(change).unwrap_err();
            assert!(format!("{error:#}").contains(why), "{why}: {error:#}");
            assert_eq!(exit_of(&error), Exit::Usage, "{why}");
        }
    }
}
