//! How a registry asks who one is: the header `WWW-Authenticate`.

/// A way in which credentials are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// By user and password.
    Basic,
    /// By a token, which there is to be had at `realm`.
    Bearer {
        /// The address of who gives tokens.
        realm: String,
        /// What the token is for, in words of that server.
        service: Option<String>,
    },
}

/// The ways of one header that the host knows. What it says of a scope is passed over: the host asks for what it needs.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for item in items(header) {
        let (words, value) = item.split_once('=').unwrap_or((item, ""));
        let mut words = words.split_whitespace();
        let (scheme, member) = match (words.next(), words.next()) {
            (Some(scheme), Some(member)) => (Some(scheme), Some(member)),
            (Some(member), None) if item.contains('=') => (None, Some(member)),
            (scheme, _) => (scheme, None),
        };
        if let Some(scheme) = scheme {
            found.push((scheme.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, members)), Some(member)) = (found.last_mut(), member) {
            members.push((member.to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    found.into_iter().filter_map(|(scheme, members)| known(&scheme, &members)).collect()
}

fn known(scheme: &str, members: &[(String, String)]) -> Option<Challenge> {
    let member = |name: &str| members.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    match scheme {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer { realm: member("realm")?, service: member("service") }),
        _ => None,
    }
}

/// What stands between commas that are not within quotes.
fn items(header: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    let is_between = move |letter: char| {
        let between = letter == ',' && !quoted;
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && quoted && !escaped;
        between
    };
    header.split(is_between).map(str::trim).filter(|item| !item.is_empty())
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let mut escaped = false;
    let is_kept = |letter: &char| {
        escaped = *letter == '\\' && !escaped;
        !escaped
    };
    inner.chars().filter(is_kept).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn the_ways_to_say_who_one_is_are_read_however_they_are_written() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull,push""#,
                vec![bearer("https://auth.example/token", Some("registry"))],
            ),
            (r#"bearer Realm = "r" , SERVICE=s"#, vec![bearer("r", Some("s"))]),
            (r#"Basic realm="a, \"b\" = c""#, vec![Challenge::Basic]),
            (r#"Digest nonce=1, Basic realm=x, Bearer realm="r""#, vec![Challenge::Basic, bearer("r", None)]),
            ("Basic", vec![Challenge::Basic]),
            (r#"Bearer service="s""#, vec![]),
            (r#"realm="r""#, vec![]),
            ("", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
        assert_eq!(parse(r#"Bearer realm="a\"b\\c""#), [bearer(r#"a"b\c"#, None)]);
    }

    proptest! {
        #[test]
        fn no_header_panics(header in "[a-zB,=\"\\\\ ]{0,30}") {
            parse(&header);
        }
    }
}
