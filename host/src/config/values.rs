//! What the text of a setting means. Errors say what is wrong with the text and what would be right.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::SignedDuration;

use super::keys::nearest;
use super::{
    Audit, Compression, DeadLetters, Framing, GroupProtocol, LogFormat, OutOfRange, Pin, SandboxProfile,
    SchemaChanges, Start, Tombstones, TopicPattern, Truncate, Unavailable,
};

/// What a text means, or what is wrong with it.
pub type Read<T> = Result<T, String>;

/// A whole number in a range.
pub fn number<T>(text: &str, least: T, most: T) -> Read<T>
where
    T: std::str::FromStr<Err = std::num::ParseIntError> + PartialOrd + std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        Err(error) if !matches!(error.kind(), std::num::IntErrorKind::PosOverflow) => {
            Err(format!("`{text}` is not a whole number"))
        }
        _ => Err(format!("{text} is not between {least} and {most}")),
    }
}

/// True or false.
pub fn switch(text: &str) -> Read<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("`{text}` is neither true nor false")),
    }
}

/// A time with its unit.
pub fn duration(text: &str) -> Read<Duration> {
    let advice = "write a number with its unit, such as 20s, 5m or 500ms";
    let time: SignedDuration = text.parse().map_err(|_| format!("`{text}` is not a duration: {advice}"))?;
    match Duration::try_from(time) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err(format!("`{text}` is not more than nothing: {advice}")),
    }
}

fn one_of<T: Copy>(text: &str, choices: &[(&str, T)]) -> Read<T> {
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*choice);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let near = nearest(text, names.iter().copied())
        .map_or(String::new(), |name| format!("; the nearest is `{name}`"));
    Err(format!("`{text}` is none of {}{near}", names.join(", ")))
}

/// What to do when the transform of a sealed range is gone.
pub fn pin(text: &str) -> Read<Pin> {
    one_of(text, &[("prefer", Pin::Prefer), ("strict", Pin::Strict)])
}

/// What a component may be.
pub fn sandbox_profile(text: &str) -> Read<SandboxProfile> {
    one_of(text, &[SandboxProfile::Small, SandboxProfile::Runtime].map(|profile| (profile.name(), profile)))
}

/// Where to start.
pub fn start(text: &str) -> Read<Start> {
    one_of(text, &[("earliest", Start::Earliest), ("latest", Start::Latest)])
}

/// How a group shares partitions.
pub fn group_protocol(text: &str) -> Read<GroupProtocol> {
    one_of(text, &[("classic", GroupProtocol::Classic), ("consumer", GroupProtocol::Consumer)])
}

/// What to do with values beyond a column's range.
pub fn out_of_range(text: &str) -> Read<OutOfRange> {
    one_of(
        text,
        &[
            ("reject", OutOfRange::Reject),
            ("null", OutOfRange::Null),
            ("saturate", OutOfRange::Saturate),
            ("as_string", OutOfRange::AsString),
        ],
    )
}

/// What to do with values that the source did not send.
pub fn unavailable(text: &str) -> Read<Unavailable> {
    one_of(
        text,
        &[("reject", Unavailable::Reject), ("null", Unavailable::Null), ("default", Unavailable::Default)],
    )
}

/// How records name their schemas.
pub fn framing(text: &str) -> Read<Framing> {
    one_of(text, &[("confluent", Framing::Confluent), ("apicurio", Framing::Apicurio)])
}

/// How to compress.
pub fn compression(text: &str) -> Read<Compression> {
    one_of(text, &[("zstd", Compression::Zstd), ("lz4", Compression::Lz4), ("none", Compression::None)])
}

/// What a null value with a key is.
pub fn tombstones(text: &str) -> Read<Tombstones> {
    one_of(text, &[("ignore", Tombstones::Ignore), ("delete", Tombstones::Delete)])
}

/// What the names of added fields begin with.
pub fn prefix(text: &str) -> Read<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("without a prefix nothing tells added fields from columns".to_owned());
    }
    Ok(text.to_owned())
}

/// How to log.
pub fn log_format(text: &str) -> Read<LogFormat> {
    one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

/// What schema changes do.
pub fn schema_changes(text: &str) -> Read<SchemaChanges> {
    let words =
        [("add", SchemaChanges::Add), ("ignore", SchemaChanges::Ignore), ("stop", SchemaChanges::Stop)];
    one_of(text, &words)
}

/// Whether ranges are recorded.
pub fn audit(text: &str) -> Read<Audit> {
    one_of(text, &[("none", Audit::None), ("table", Audit::Table)])
}

/// What a truncate does.
pub fn truncate(text: &str) -> Read<Truncate> {
    let words = [("stop", Truncate::Stop), ("ignore", Truncate::Ignore), ("truncate", Truncate::Truncate)];
    one_of(text, &words)
}

/// A pipeline's name: it becomes part of other systems' names.
pub fn name(text: &str) -> Read<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.is_empty() || text.len() > 64 || !text.chars().all(plain) {
        return Err(format!("`{text}` is not 1 to 64 letters, digits, `.`, `_` or `-`"));
    }
    Ok(text.to_owned())
}

/// A tenant's name. A dot parts it from those of its pipelines.
pub fn tenant(text: &str) -> Read<String> {
    match name(text) {
        Ok(name) if !name.contains('.') => Ok(name),
        _ => Err(format!("`{text}` is not a tenant's name: 1 to 64 letters, digits, `_` or `-`")),
    }
}

/// A name that another system has to know: anything that can be seen.
pub fn foreign_name(text: &str) -> Read<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(format!("{text:?} is not a name: it is empty or has control characters"));
    }
    Ok(text.to_owned())
}

/// A path, or `-`.
pub fn path(text: &str) -> Read<Option<PathBuf>> {
    match text {
        "" => Err("no file is named".to_owned()),
        "-" => Ok(None),
        path => Ok(Some(PathBuf::from(path))),
    }
}

/// A path; `-` is none.
pub fn file(text: &str) -> Read<PathBuf> {
    path(text)?.ok_or_else(|| "`-` cannot stand for a file here".to_owned())
}

/// `host:port` of brokers, separated by commas.
pub fn brokers(text: &str) -> Read<Vec<String>> {
    text.split(',').map(str::trim).map(broker).collect()
}

fn broker(text: &str) -> Read<String> {
    let wrong = |what: &str| Err(format!("`{text}` is not a broker of the form HOST:PORT: {what}"));
    if text.contains("://") || text.contains('/') {
        return wrong("it is a URL; for TLS set the property `security.protocol`");
    }
    let (host, port) = match text.rsplit_once(':') {
        // The colons of a bare IPv6 address are no port's.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
        Some(_) if !text.ends_with(']') => return wrong("an IPv6 address stands in brackets"),
        _ => (text, None),
    };
    if host.is_empty() || host.contains(char::is_whitespace) {
        return wrong("it has no host");
    }
    if port.is_some_and(|port| port.parse::<std::num::NonZeroU16>().is_err()) {
        return wrong("its port is not between 1 and 65535");
    }
    Ok(text.to_owned())
}

/// A topic's name or a pattern of names.
pub fn topic(text: &str) -> Read<TopicPattern> {
    if text.starts_with('^') {
        return pattern(text);
    }
    topic_name(text).map(TopicPattern::Name).map_err(|error| {
        if text.contains(['*', '[', '(', '$', '\\', '+', '?', '|']) {
            format!("`{text}` is not a topic's name; a regular expression is anchored, as in `^shop[.]public[.].*$`")
        } else {
            error
        }
    })
}

fn pattern(text: &str) -> Read<TopicPattern> {
    let whole = text.ends_with('$') && !text.ends_with("\\$");
    if !whole {
        return Err(format!("`{text}` does not end in `$`: a regular expression must match whole names"));
    }
    // The C library's expressions take these without complaint, and mean something else by them.
    for (foreign, instead) in [("\\d", "[0-9]"), ("(?", "several --topic")] {
        if text.contains(foreign) {
            return Err(format!(
                "`{text}` has `{foreign}`, which POSIX expressions do not know: use {instead}"
            ));
        }
    }
    Ok(TopicPattern::Regex(text.to_owned()))
}

/// The name of one topic, by Kafka's rules.
pub fn topic_name(text: &str) -> Read<String> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if text.is_empty() || text.len() > 249 || text == "." || text == ".." || !text.chars().all(plain) {
        return Err(format!("`{text}` is not a topic's name: 1 to 249 letters, digits, `.`, `_` or `-`"));
    }
    Ok(text.to_owned())
}

/// Where dead letters go.
pub fn dead_letters(text: &str) -> Read<DeadLetters> {
    if text == "stop" {
        return Ok(DeadLetters::Stop);
    }
    match text.split_once(':') {
        Some(("table", name)) => foreign_name(name).map(DeadLetters::Table),
        Some(("topic", name)) => topic_name(name).map(DeadLetters::Topic),
        Some(("file", name)) => file(name).map(DeadLetters::File),
        _ => Err(format!("`{text}` is none of table:NAME, topic:NAME, file:PATH, stop")),
    }
}

/// Where to listen: an address of this machine with a port.
pub fn listen(text: &str) -> Read<SocketAddr> {
    text.parse()
        .map_err(|_| format!("`{text}` is no address with a port, such as 127.0.0.1:8642 or [::1]:8642"))
}

/// A host's admin interface.
pub fn admin_url(text: &str) -> Read<reqwest::Url> {
    address(text, "http://127.0.0.1:8642", "the admin interface", "--token-file or ROWGATE_ADMIN_TOKEN")
}

/// The address of ClickHouse's HTTP interface.
pub fn url(text: &str) -> Read<reqwest::Url> {
    address(text, "http://localhost:8123", "ClickHouse's HTTP interface", "`user` and `password_file`")
}

/// The address of a schema registry.
pub fn registry_url(text: &str) -> Read<reqwest::Url> {
    let credentials = "`registry.user` and `registry.password_file`";
    address(text, "http://localhost:8081", "a schema registry", credentials)
}

fn address(text: &str, example: &str, what: &str, credentials: &str) -> Read<reqwest::Url> {
    // A text that cannot be parsed is not shown: it may hold a password all the same.
    let url = reqwest::Url::parse(text)
        .map_err(|error| format!("not a URL such as {example}: {}", error.to_string().to_lowercase()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("a URL does not carry credentials here: use {credentials}"));
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{}` is not a scheme of {what}: use http or https", url.scheme()));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("the URL names no host".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL ends before `?` and `#`: user, password and database are settings of their own"
            .to_owned());
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("20s"), Ok(Duration::from_secs(20)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for wrong in ["20", "", "s", "20 parsecs", "-20s", "0s", "20s ago"] {
            assert!(duration(wrong).unwrap_err().contains("20s, 5m or 500ms"), "{wrong}");
        }
    }

    #[test]
    fn numbers_have_ranges() {
        assert_eq!(number("5", 1_u32, 10), Ok(5));
        assert_eq!(number("11", 1_u32, 10), Err("11 is not between 1 and 10".to_owned()));
        assert_eq!(number("99999999999", 1_u32, 10), Err("99999999999 is not between 1 and 10".to_owned()));
        assert_eq!(number("ten", 1_u32, 10), Err("`ten` is not a whole number".to_owned()));
        assert_eq!(number("-1", 0_u32, 10), Err("`-1` is not a whole number".to_owned()));
    }

    #[test]
    fn brokers_are_hosts_with_ports() {
        assert_eq!(brokers("a:9092, b,[::1]:9092,[::1]").unwrap(), ["a:9092", "b", "[::1]:9092", "[::1]"]);
        for (wrong, why) in [
            ("", "no host"),
            ("a:9092,", "no host"),
            (":9092", "no host"),
            ("a:0", "port"),
            ("a:99999", "port"),
            ("a:kafka", "port"),
            ("::1", "brackets"),
            ("SSL://a:9093", "security.protocol"),
            ("a b:9092", "no host"),
        ] {
            assert!(brokers(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }

    #[test]
    fn topics_are_names_or_anchored_patterns() {
        assert_eq!(topic("shop.public.orders"), Ok(TopicPattern::Name("shop.public.orders".to_owned())));
        assert_eq!(topic("^shop\\..*$"), Ok(TopicPattern::Regex("^shop\\..*$".to_owned())));
        for (wrong, why) in [
            ("shop.*", "anchored"),
            ("^shop.*", "whole names"),
            ("^shop\\$", "whole names"),
            ("^shop\\d$", "[0-9]"),
            ("^(?!shop).*$", "several --topic"),
            ("", "1 to 249"),
            ("..", "1 to 249"),
            ("two words", "1 to 249"),
        ] {
            assert!(topic(wrong).unwrap_err().contains(why), "{wrong}: {:?}", topic(wrong));
        }
    }

    #[test]
    fn the_default_pattern_is_a_pattern() {
        let expected = TopicPattern::Regex(super::super::keys::DEBEZIUM_TABLES.to_owned());
        assert_eq!(topic(super::super::keys::DEBEZIUM_TABLES), Ok(expected));
    }

    #[test]
    fn dead_letters_have_four_forms() {
        assert_eq!(dead_letters("stop"), Ok(DeadLetters::Stop));
        assert_eq!(dead_letters("table:bad"), Ok(DeadLetters::Table("bad".to_owned())));
        assert_eq!(dead_letters("topic:bad"), Ok(DeadLetters::Topic("bad".to_owned())));
        assert_eq!(dead_letters("file:/var/bad.ndjson"), Ok(DeadLetters::File("/var/bad.ndjson".into())));
        for wrong in ["", "bad", "queue:bad", "table:", "topic:a b", "file:", "file:-"] {
            assert!(dead_letters(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_url_is_an_address_and_nothing_else() {
        assert_eq!(url("https://ch.example:8443/proxy").unwrap().as_str(), "https://ch.example:8443/proxy");
        for (wrong, why) in [
            ("localhost:8123", "http or https"),
            ("ch", "not a URL"),
            ("tcp://ch:9000", "http or https"),
            ("http://me:hunter2@ch:8123", "credentials"),
            ("http://me@ch:8123", "credentials"),
            ("http://ch:8123/?database=a", "settings of their own"),
        ] {
            let error = url(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,30}") {
            let _ = (duration(&text), brokers(&text), topic(&text), dead_letters(&text), url(&text), switch(&text));
            let _ = (name(&text), foreign_name(&text), path(&text), number(&text, 0_u64, 9), start(&text));
        }

        #[test]
        fn a_number_of_milliseconds_comes_back(milliseconds in 1_u64..10_000_000) {
            prop_assert_eq!(duration(&format!("{milliseconds}ms")), Ok(Duration::from_millis(milliseconds)));
        }
    }
}
