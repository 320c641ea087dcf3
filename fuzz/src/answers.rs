//! What servers say: Kafka's commit metadata, ClickHouse's answers, a registry of transforms.

use host::clickhouse::profile::Catalogue;
use host::clickhouse::response::{self, Outcome};
use host::clickhouse::types::ColumnType;
use host::commit::Seal;
use host::oci::challenge;
use host::oci::manifest::Layer;
use host::oci::reference::Reference;
use host::transform::limits::SandboxLimits;

/// A commit's metadata: what is understood reads back as it was written.
pub(crate) fn seal(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(Some(seal)) = Seal::parse(text) {
        assert_eq!(Seal::parse(&seal.to_string()), Ok(Some(seal)));
    }
}

/// A status in two bytes, the code and the tag of an exception up to line's ends, and the body.
pub(crate) fn http(bytes: &[u8]) {
    let Some((status, rest)) = bytes.split_first_chunk::<2>() else { return };
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut header =
        || parts.next().and_then(|text| str::from_utf8(text).ok()).filter(|text| !text.is_empty());
    let (code, tag) = (header(), header());
    let body = parts.next().unwrap_or_default();
    for status in [u16::from_le_bytes(*status), 200, 500] {
        match response::outcome(status, code, tag, body) {
            Outcome::Ok => assert!(status == 200 && code.is_none()),
            Outcome::Failed(failure) => {
                // One character of the cut may be three bytes.
                assert!(failure.message.len() <= 503, "{} bytes", failure.message.len());
                assert!(!failure.to_string().contains(['\n', '\r', '\u{1b}']), "{failure}");
            }
        }
    }
}

/// What a server says of its types and of their ranges, and a type's name, with zero bytes between them: the type that
/// stands in for it needs none.
pub(crate) fn profile(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut parts = text.splitn(3, '\0');
    let mut part = || parts.next().unwrap_or_default();
    let (catalogue, ranges) = (Catalogue::read(part()), part());
    assert!(!catalogue.ranges_sql().is_empty());
    let ty = ColumnType::parse(part());
    for modern in [false, true] {
        let profile = catalogue.profile(ranges, modern, true);
        let ends = [Some(profile.date_days), Some(profile.datetime_seconds), profile.date32_days];
        for (first, last) in ends.into_iter().flatten().chain(profile.datetime64_seconds) {
            assert!(first <= last, "{first} to {last}");
        }
        if let Ok(ty) = &ty {
            let nearest = profile.nearest(ty.clone());
            assert_eq!(profile.nearest(nearest.clone()), nearest);
        }
    }
}

/// A manifest, a header that asks for credentials, or a reference: what is taken names one blob, and stays within its
/// registry and repository.
pub(crate) fn oci(bytes: &[u8]) {
    let limits = SandboxLimits::default();
    if let Ok(layer) = Layer::of_manifest(bytes, &limits) {
        assert!(layer.digest.len() == 64 && layer.bytes <= limits.component_bytes, "{layer:?}");
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    assert!(challenge::parse(text).len() <= text.len());
    let Ok(reference) = Reference::parse(text) else { return };
    assert_eq!(Reference::parse(&reference.to_string()).as_ref(), Ok(&reference));
    for plain_http in [false, true] {
        let Ok(root) = reference.root(plain_http) else { panic!("{reference} has no root") };
        let path = format!("/v2/{}/manifests/sha256:{}", reference.name, reference.digest);
        let Ok(url) = root.join(&path[1..]) else { panic!("{reference} has no address") };
        assert!(url.path() == path && url.origin() == root.origin() && url.username().is_empty(), "{url}");
    }
}
