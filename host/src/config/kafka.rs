//! Properties of librdkafka that the configuration passes through, and those that it may not.

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;

/// Properties that the host sets itself, each with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is set by `brokers`"),
    ("metadata.broker.list", "it is set by `brokers`"),
    ("group.id", "it is set by `group`"),
    ("group.protocol", "it is set by `group_protocol`"),
    ("auto.offset.reset", "it is set by `start`"),
    ("enable.auto.commit", "the host commits, after ClickHouse has the rows; otherwise rows could be lost"),
    ("auto.commit.enable", "the host commits, after ClickHouse has the rows; otherwise rows could be lost"),
    (
        "auto.commit.interval.ms",
        "the host commits, after ClickHouse has the rows; otherwise rows could be lost",
    ),
    (
        "enable.auto.offset.store",
        "the host commits, after ClickHouse has the rows; otherwise rows could be lost",
    ),
    ("offset.store.method", "the position is kept in the consumer group"),
    (
        "isolation.level",
        "the host reads committed records only; otherwise changes that were rolled back could be written",
    ),
    ("enable.partition.eof", "the host uses it for `until_caught_up`"),
    ("allow.auto.create.topics", "the host creates no topic"),
    ("check.crcs", "the host always checks what it reads"),
    ("plugin.library.paths", "the host loads no native code"),
    ("ssl.engine.location", "the host loads no native code"),
];

/// Properties that a group has no use for whose partitions the brokers share out, each with the reason.
pub const ONLY_CLASSIC: &[(&str, &str)] = &[
    ("session.timeout.ms", "it is the brokers' setting `group.consumer.session.timeout.ms`"),
    ("heartbeat.interval.ms", "it is the brokers' setting `group.consumer.heartbeat.interval.ms`"),
    (
        "partition.assignment.strategy",
        "the brokers share out the partitions; `group.remote.assignor` says how",
    ),
    ("group.protocol.type", "there is one only"),
];

/// What is wrong with a property, if anything: it is the host's own, or librdkafka does not take it.
/// Never names the value, which may be a secret.
pub fn mistake(name: &str, value: &str) -> Option<String> {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Some(format!("`{name}` cannot be set: {reason}"));
    }
    if name.ends_with("_cb") || name == "opaque" {
        return Some(format!("`{name}` cannot be set: it is for programs"));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, description, ..)) if !super::secret::is_secret(name) => {
            Some(format!("`{name}`: librdkafka does not take it: {}", lower(&description)))
        }
        Err(_) => Some(format!("`{name}`: librdkafka does not take it")),
    }
}

fn lower(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_could_lose_data_are_refused_with_the_reason() {
        for (name, reason) in REFUSED {
            assert_eq!(mistake(name, "true"), Some(format!("`{name}` cannot be set: {reason}")));
        }
        assert!(mistake("rebalance_cb", "x").unwrap().contains("for programs"));
    }

    #[test]
    fn what_librdkafka_does_not_take_is_a_mistake() {
        assert!(mistake("no.such.property", "1").unwrap().contains("no such configuration property"));
        assert!(mistake("session.timeout.ms", "soon").unwrap().contains("session.timeout.ms"));
        assert_eq!(mistake("session.timeout.ms", "45000"), None);
        assert_eq!(mistake("topic.blacklist", "^shop\\.internal\\..*"), None);
    }

    #[test]
    fn a_mistake_in_a_secret_does_not_show_it() {
        if let Some(what) = mistake("ssl.key.pem", "hunter2") {
            assert!(!what.contains("hunter2"), "{what}");
        }
    }
}
