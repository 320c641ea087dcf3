//! Texts that must not be shown.

use std::fmt;

/// A text that neither logs nor messages show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What a file with a secret says: its text without the line's end.
    pub fn of_file(text: &str) -> Self {
        let line = text.strip_suffix('\n').unwrap_or(text);
        Self::new(line.strip_suffix('\r').unwrap_or(line))
    }

    /// The text itself, for those who send it to where it belongs.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Names with values, some of which must not be shown: those whose name says so.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Named(pub Vec<(String, String)>);

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): &(String, String)| {
            (name.clone(), if is_secret(name) { "[redacted]".to_owned() } else { value.clone() })
        };
        f.debug_map().entries(self.0.iter().map(shown)).finish()
    }
}

/// Whether a property or parameter of this name holds a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    ["password", "passphrase", "secret", "token", "credential", "api_key", "apikey", "ssl.key.pem", "oauthbearer.config"]
        .iter()
        .any(|mark| name.contains(mark))
        // The address that gives tokens is none.
        && !name.ends_with(".url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_output_shows_a_secret() {
        let named = Named(vec![
            ("sasl.password".to_owned(), "hunter2".to_owned()),
            ("client.id".to_owned(), "shop".to_owned()),
        ]);
        let shown = format!("{named:?} {:?} {:?}", Secret::new("hunter2"), Some(Secret::new("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("shop"), "{shown}");
    }

    #[test]
    fn names_tell_secrets() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "API_TOKEN",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in
            ["client.id", "ssl.ca.location", "ssl.key.location", "sasl.oauthbearer.token.endpoint.url"]
        {
            assert!(!is_secret(name), "{name}");
        }
    }
}
