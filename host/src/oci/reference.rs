//! How a component in a registry is named: `oci://HOST[:PORT]/NAME@sha256:DIGEST`.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;

use crate::origin::{SHA256, parse_digest};

/// What a reference begins with.
pub const SCHEME: &str = "oci://";
/// A name's length at most: what registries take.
const MAX_NAME_BYTES: usize = 255;
/// A tag's length at most, by the specification of distribution.
const MAX_TAG_BYTES: usize = 128;

/// A component in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry's host, with its port where it is not the usual one.
    host: String,
    /// The repository's name.
    pub name: String,
    /// The manifest's SHA-256, in hexadecimal.
    pub digest: String,
}

impl Reference {
    /// Reads a reference. A tag before the digest is for people, and means nothing.
    ///
    /// # Errors
    /// What is wrong with it. Credentials in it are not shown.
    pub fn parse(text: &str) -> Result<Self, String> {
        let place = text.strip_prefix(SCHEME).unwrap_or(text);
        let (host, path) = place.split_once('/').unwrap_or((place, ""));
        if host.contains('@') && !path.is_empty() {
            return Err(
                "a reference does not carry credentials: use `oci.user` and `oci.password_file`".into()
            );
        }
        let Some((path, digest)) = path.rsplit_once('@') else {
            return Err(format!(
                "`{text}` names no digest, and what a tag names can change at any time: end it with \
                 @{SHA256} and the 64 digits of the manifest's digest, which pushing it has shown"
            ));
        };
        let digest = parse_digest(digest).map_err(|_| {
            format!("`{text}` does not end in @{SHA256} and the 64 digits of the manifest's digest")
        })?;
        let (name, tag) = match path.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (path, None),
        };
        if name.len() > MAX_NAME_BYTES || !name.split('/').all(is_part_of_a_name) {
            return Err(format!("`{name}` is no name of a repository, such as team/orders, in lower case"));
        }
        if !tag.is_none_or(is_tag) {
            return Err(format!("`{text}` has a tag that is none"));
        }
        let reference = Reference { host: host.to_owned(), name: name.to_owned(), digest };
        reference.root(false).map(|_| reference)
    }

    /// The root of the registry's API, by http or by https.
    ///
    /// # Errors
    /// Its host is none.
    pub fn root(&self, plain_http: bool) -> Result<Url, String> {
        let scheme = if plain_http { "http" } else { "https" };
        let plain = |letter: char| letter.is_ascii_alphanumeric() || ".-:[]".contains(letter);
        let url = Url::parse(&format!("{scheme}://{}/", self.host)).ok();
        let url = url.filter(|_| self.host.chars().all(plain));
        url.ok_or_else(|| format!("`{}` is no host of a registry, such as registry.example:5000", self.host))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}@{SHA256}{}", self.host, self.name, self.digest)
    }
}

/// Lower-case letters and digits, with dots, dashes and underscores between them.
fn is_part_of_a_name(part: &str) -> bool {
    let is_outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    bytes.first().is_some_and(is_outer)
        && bytes.last().is_some_and(is_outer)
        && bytes.iter().all(|byte| is_outer(byte) || b"._-".contains(byte))
        && !part.contains("..")
}

fn is_tag(tag: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_TAG_BYTES).contains(&tag.len()) && tag.bytes().all(plain)
}

/// Whether a URL is of this machine: nothing of what is said there passes a network.
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGITS: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> Result<Reference, String> {
        Reference::parse(&text.replace("DIGITS", DIGITS))
    }

    #[test]
    fn a_reference_names_a_registry_a_repository_and_a_digest() {
        for (text, host, name) in [
            ("oci://ghcr.io/shop/orders@sha256:DIGITS", "ghcr.io", "shop/orders"),
            ("oci://localhost:5000/a/b__c/d-e.f@sha256:DIGITS", "localhost:5000", "a/b__c/d-e.f"),
            ("oci://[::1]:5000/orders:1.4_x@sha256:DIGITS", "[::1]:5000", "orders"),
        ] {
            let found = parse(text).unwrap();
            assert_eq!((found.host.as_str(), found.name.as_str()), (host, name), "{text}");
            assert_eq!(found.digest, DIGITS);
            assert_eq!(found.to_string(), format!("oci://{host}/{name}@sha256:{DIGITS}"));
            assert_eq!(found.root(false).unwrap().as_str(), format!("https://{host}/"));
            assert_eq!(Reference::parse(&found.to_string()), Ok(found));
        }
    }

    #[test]
    fn what_names_no_one_component_or_says_too_much_is_refused_with_the_way_out() {
        for (text, why) in [
            ("oci://ghcr.io/shop/orders:1.4", "names no digest, and what a tag names can change"),
            ("oci://ghcr.io/shop/orders", "end it with @sha256: and the 64 digits"),
            ("oci://ghcr.io", "names no digest"),
            ("oci://", "names no digest"),
            ("oci://ghcr.io/orders@sha256:abc", "does not end in @sha256: and the 64 digits"),
            ("oci://ghcr.io/orders@sha512:DIGITS", "does not end in @sha256:"),
            ("oci://me:hunter2@ghcr.io/orders@sha256:DIGITS", "use `oci.user` and `oci.password_file`"),
            ("oci://me:hunter2@ghcr.io/orders", "use `oci.user` and `oci.password_file`"),
            ("oci:///orders@sha256:DIGITS", "is no host of a registry"),
            ("oci://host:port/orders@sha256:DIGITS", "is no host of a registry"),
            ("oci://ghcr.io?x/orders@sha256:DIGITS", "is no host of a registry"),
            ("oci://ghcr.io/Orders@sha256:DIGITS", "is no name of a repository"),
            ("oci://ghcr.io/../orders@sha256:DIGITS", "is no name of a repository"),
            ("oci://ghcr.io/a//b@sha256:DIGITS", "is no name of a repository"),
            ("oci://ghcr.io/a/b?x=%2e@sha256:DIGITS", "is no name of a repository"),
            ("oci://ghcr.io/@sha256:DIGITS", "is no name of a repository"),
            ("oci://ghcr.io/a:@sha256:DIGITS", "has a tag that is none"),
            ("oci://ghcr.io/a:b@me@sha256:DIGITS", "has a tag that is none"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why) && !error.contains("hunter2"), "{text}: {error}");
        }
        assert!(parse(&format!("oci://h/{}@sha256:DIGITS", "a".repeat(256))).is_err());
    }

    #[test]
    fn this_machine_is_known_by_its_addresses() {
        let is_local = |url: &str| is_local(&Url::parse(url).unwrap());
        for own in
            ["http://localhost:5000/", "http://127.0.0.1/", "http://127.3.2.1:1/", "http://[::1]:5000/"]
        {
            assert!(is_local(own), "{own}");
        }
        for other in
            ["http://localhost.example/", "http://10.0.0.1/", "http://0.0.0.0/", "http://169.254.169.254/"]
        {
            assert!(!is_local(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_taken_stays_within_its_repository(text in "[a-z./:@?#%\\\\ \\[\\]]{0,20}") {
            for text in [text.clone(), format!("oci://{text}"), format!("oci://{text}@sha256:{DIGITS}")] {
                if let Ok(found) = Reference::parse(&text) {
                    let url = found.root(true).unwrap().join(&format!("v2/{}/manifests/x", found.name)).unwrap();
                    prop_assert_eq!(url.path(), format!("/v2/{}/manifests/x", found.name));
                }
            }
        }
    }
}
