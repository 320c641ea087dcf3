//! Layers together: what wins, what is a mistake, what is shown.

use std::path::Path;

use super::keys::key;
use super::layer::Item;
use super::*;
use crate::debezium::shape::Wire;

/// Settings from a file, variables and flags.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    variables: &'a [(&'a str, &'a str)],
    flags: &'a [(&'a str, &'a str)],
    terminal: bool,
}

impl Given<'_> {
    fn load(&self) -> Result<Loaded, Vec<String>> {
        let mut mistakes = Mistakes::default();
        let mut warnings = Vec::new();
        let mut merged = Layer::defaults();
        merged.overlay(file::parse(self.file, Path::new("p.yaml"), &mut mistakes).top);
        let variables: Vec<_> =
            self.variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        merged.overlay(env::layer(&variables, &mut mistakes, &mut warnings));
        let mut flags = Layer::default();
        for (name, text) in self.flags {
            let key = key(name).unwrap();
            let origin = Origin::Flag(format!("--{}", key.flag.unwrap()));
            let (name, text) = match key.form {
                keys::Form::Map => pair(key, text).map(|(name, text)| (Some(name.to_owned()), text)).unwrap(),
                _ => (None, *text),
            };
            flags.push(key, Item { name, text: text.to_owned(), origin });
        }
        merged.overlay(flags);
        let surroundings = Surroundings { stdout_is_terminal: self.terminal, ..Surroundings::default() };
        validate::settings(merged, &surroundings, mistakes, warnings)
            .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
    }

    fn settings(&self) -> Settings {
        self.load().unwrap().settings
    }

    fn mistakes(&self) -> Vec<String> {
        self.load().unwrap_err()
    }
}

fn file(text: &str) -> Given<'_> {
    Given { file: text, ..Given::default() }
}

fn flags<'a>(flags: &'a [(&'a str, &'a str)]) -> Given<'a> {
    Given { flags, ..Given::default() }
}

fn kafka(settings: &Settings) -> &Kafka {
    match &settings.source {
        Source::Kafka(kafka) => kafka,
        other => panic!("{other:?}"),
    }
}

fn clickhouse(settings: &Settings) -> &ClickHouse {
    match &settings.sink {
        Sink::ClickHouse(clickhouse) => clickhouse,
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_any_setting_everything_has_its_default() {
    let settings = Given::default().settings();
    let kafka = kafka(&settings);
    assert_eq!(kafka.brokers, ["localhost:9092"]);
    assert_eq!(kafka.topics, [TopicPattern::Regex(keys::DEBEZIUM_TABLES.to_owned())]);
    assert_eq!((kafka.group.as_str(), kafka.start), ("rowgate-default", Start::Earliest));
    let clickhouse = clickhouse(&settings);
    assert_eq!(clickhouse.url.as_str(), "http://localhost:8123/");
    assert_eq!((clickhouse.database.as_str(), clickhouse.user.as_str()), ("default", "default"));
    assert!(clickhouse.password.is_empty() && clickhouse.table.is_none());
    assert_eq!(clickhouse.compression, Compression::Lz4);
    assert_eq!(settings.dead_letters, DeadLetters::Table("_rowgate_dead_letters".to_owned()));
    assert_eq!(settings.batch, BatchLimits { rows: 50_000, bytes: 16 << 20, linger_ms: 1000 });
    assert_eq!(settings.limits, SandboxLimits::default());
    assert!(
        settings.transform == Component::BuiltIn
            && !settings.is_bounded()
            && !settings.print
            && !settings.dry_run
    );
    assert_eq!(settings.show_last, 0);
}

#[test]
fn a_group_whose_partitions_the_brokers_share_out_takes_no_property_of_the_other_protocol() {
    assert_eq!(kafka(&Given::default().settings()).protocol, GroupProtocol::Classic);
    let consumer = ("group_protocol", "consumer");
    assert_eq!(kafka(&flags(&[consumer]).settings()).protocol, GroupProtocol::Consumer);
    for property in [
        "session.timeout.ms=6000",
        "heartbeat.interval.ms=500",
        "partition.assignment.strategy=range",
        "group.protocol.type=consumer",
    ] {
        let mistakes = flags(&[consumer, ("kafka", property)]).mistakes();
        assert!(mistakes[0].contains("cannot be set with `group_protocol: consumer`"), "{mistakes:?}");
        flags(&[("kafka", property)]).settings();
    }
    assert!(flags(&[("kafka", "group.protocol=consumer")]).mistakes()[0].contains("`group_protocol`"));
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let file = "database: f\nuser: f\ntable: f\ntopic: [f1, f2]\n";
    let variables = [("ROWGATE_DATABASE", "e"), ("ROWGATE_USER", "e"), ("ROWGATE_TOPIC", "e1,e2")];
    let given =
        Given { file, variables: &variables, flags: &[("database", "g"), ("topic", "g")], terminal: false };
    let settings = given.settings();
    let clickhouse = clickhouse(&settings);
    assert_eq!(
        (clickhouse.database.as_str(), clickhouse.user.as_str(), clickhouse.table.as_deref()),
        ("g", "e", Some("f"))
    );
    assert_eq!(kafka(&settings).topics, [TopicPattern::Name("g".to_owned())]);
    assert_eq!(clickhouse.compression, Compression::Lz4);
}

#[test]
fn a_switch_of_the_file_is_taken_back_by_a_flag() {
    let given =
        Given { file: "print: true\ndry_run: true\n", flags: &[("print", "false")], ..Given::default() };
    let settings = given.settings();
    assert!(!settings.print && settings.dry_run);
}

#[test]
fn maps_are_merged_member_by_member() {
    let given = Given {
        file: "params: {a: 1, b: 2}\nkafka: {client.id: shop}\n",
        flags: &[("params", "b=3"), ("params", "c=4"), ("kafka", "session.timeout.ms=9000")],
        ..Given::default()
    };
    let settings = given.settings();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings.params.0, [pair("a", "1"), pair("b", "3"), pair("c", "4")]);
    let properties = [pair("client.id", "shop"), pair("session.timeout.ms", "9000")];
    assert_eq!(kafka(&settings).properties.0, properties);
}

#[test]
fn the_real_environment_wins_over_a_file_of_variables_and_that_over_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("p.yaml");
    let env_file = folder.path().join("v.env");
    std::fs::write(&config, "database: yaml\nuser: yaml\ntable: yaml\n").unwrap();
    std::fs::write(&env_file, "ROWGATE_DATABASE=file\nROWGATE_USER=file\n").unwrap();
    let mut surroundings = Surroundings {
        variables: vec![
            ("ROWGATE_USER".into(), "real".into()),
            ("ROWGATE_CONFIG".into(), config.into()),
            ("ROWGATE_ENV_FILE".into(), env_file.into()),
        ],
        ..Surroundings::default()
    };
    let settings = load_one(&Request::default(), &surroundings).unwrap().settings;
    let found = clickhouse(&settings);
    assert_eq!(
        (found.database.as_str(), found.user.as_str(), found.table.as_deref()),
        ("file", "real", Some("yaml"))
    );

    surroundings.variables.truncate(1);
    let request = Request { config: Some("no/such.yaml".into()), ..Request::default() };
    let mistakes = load_one(&request, &surroundings).unwrap_err().to_string();
    assert!(mistakes.starts_with("--config: cannot read `no/such.yaml`: "), "{mistakes}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let given = Given {
        file: "brokerz: a\nbatch_rows: many\nlimits: {memory_mib: 0}\n",
        variables: &[("ROWGATE_CLICKHOUSE_URL", "tcp://ch:9000"), ("ROWGATE_START", "earlyest")],
        flags: &[("max_records", "0"), ("topic", "shop.*"), ("kafka", "group.id=x")],
        terminal: false,
    };
    let mut mistakes = given.mistakes();
    mistakes.sort();
    assert_eq!(
        mistakes,
        [
            "--kafka: `group.id` cannot be set: it is set by `group`",
            "--max-records: 0 is not between 1 and 18446744073709551615",
            "--topic: `shop.*` is not a topic's name; a regular expression is anchored, as in `^shop[.]public[.].*$`",
            "ROWGATE_CLICKHOUSE_URL: `tcp` is not a scheme of ClickHouse's HTTP interface: use http or https",
            "ROWGATE_START: `earlyest` is none of earliest, latest; the nearest is `earliest`",
            "p.yaml:1:1: unknown key `brokerz`: the nearest is `brokers`",
            "p.yaml:2:13: batch_rows: `many` is not a whole number",
            "p.yaml:3:22: limits.memory_mib: 0 is not between 1 and 4096",
        ]
    );
}

#[test]
fn each_mistake_has_its_message() {
    let cases: &[(&str, &str)] = &[
        (
            "for: 20\n",
            "p.yaml:1:6: for: `20` is not a duration: write a number with its unit, such as 20s, 5m or 500ms",
        ),
        (
            "truncate: truncate\noutput: a.ndjson\n",
            "p.yaml:1:11: truncate: rows that are written as lines cannot be removed: use `stop` or `ignore`",
        ),
        ("print: perhaps\n", "p.yaml:1:8: print: `perhaps` is neither true nor false"),
        ("compression: gzip\n", "p.yaml:1:14: compression: `gzip` is none of zstd, lz4, none"),
        (
            "log_format: jason\n",
            "p.yaml:1:13: log_format: `jason` is none of text, json; the nearest is `json`",
        ),
        (
            "name: two words\n",
            "p.yaml:1:7: name: `two words` is not 1 to 64 letters, digits, `.`, `_` or `-`",
        ),
        (
            "dead_letters: nowhere\n",
            "p.yaml:1:15: dead_letters: `nowhere` is none of table:NAME, topic:NAME, file:PATH, stop",
        ),
        ("transform: '-'\n", "p.yaml:1:12: transform: `-` cannot stand for a file here"),
        (
            "brokers: [a, 'b:x']\n",
            "p.yaml:1:14: brokers: `b:x` is not a broker of the form HOST:PORT: its port is not between 1 and 65535",
        ),
        (
            "topic: '^shop'\n",
            "p.yaml:1:8: topic: `^shop` does not end in `$`: a regular expression must match whole names",
        ),
        ("batch_rows: 500001\n", "p.yaml:1:13: batch_rows: 500001 is not between 1 and 500000"),
        (
            "clickhouse_url: http://me:hunter2@ch\n",
            "p.yaml:1:17: clickhouse_url: a URL does not carry credentials here: use `user` and `password_file`",
        ),
        (
            "kafka: {enable.auto.commit: 'true'}\n",
            "p.yaml:1:9: kafka: `enable.auto.commit` cannot be set: the host commits, after ClickHouse has the rows; otherwise rows could be lost",
        ),
        (
            "input: a\ntopic: b\n",
            "p.yaml:1:8: input: `input` and `topic` exclude each other, and p.yaml:2:8 sets the other: leave one out",
        ),
        (
            "output: a\ndead_letters: table:b\n",
            "p.yaml:2:15: dead_letters: a table needs ClickHouse, and `output` takes its place: use file:PATH or stop",
        ),
        (
            "input: a\ndead_letters: topic:b\n",
            "p.yaml:2:15: dead_letters: a topic needs Kafka, and `input` takes its place: use another form",
        ),
        (
            "topic: a\ndead_letters: topic:a\n",
            "p.yaml:2:15: dead_letters: `a` is itself read, and its records would come back for ever",
        ),
        ("input: a\noutput: a\n", "p.yaml:2:9: output: `a` is the file of `input`"),
        ("output: dead-letters.ndjson\n", "dead_letters: `dead-letters.ndjson` is the file of `output`"),
        (
            "password: a\npassword_file: b\n",
            "p.yaml:2:16: password_file: `password_file` and `password` exclude each other, and p.yaml:1:11 sets the other: leave one out",
        ),
        (
            "brokers: []\ntopic: []\nuser: ''\n",
            "p.yaml:3:7: user: \"\" is not a name: it is empty or has control characters",
        ),
    ];
    for (text, expected) in cases {
        let mistakes = file(text).mistakes();
        assert!(mistakes.iter().any(|mistake| mistake == expected), "{text:?}: {mistakes:#?}");
    }
}

#[test]
fn of_two_settings_that_exclude_each_other_the_higher_layer_wins() {
    let given = Given {
        file: "topic: shop\noutput: rows\n",
        flags: &[("input", "-"), ("clickhouse_url", "http://ch:1")],
        ..Given::default()
    };
    let settings = given.settings();
    assert_eq!(settings.source, Source::Lines { path: None });
    assert_eq!(clickhouse(&settings).url.as_str(), "http://ch:1/");
}

#[test]
fn the_password_comes_from_the_file_of_the_highest_layer_without_its_line_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let path_text = path.to_str().unwrap();
    std::fs::write(&path, " hunter2 \r\n").unwrap();
    let given = Given {
        variables: &[("ROWGATE_PASSWORD", "lower")],
        flags: &[("password_file", path_text)],
        ..Given::default()
    };
    assert_eq!(clickhouse(&given.settings()).password.expose(), " hunter2 ");
    let given = Given { variables: &[("ROWGATE_PASSWORD", "hunter2")], ..file("password_file: no/such\n") };
    assert_eq!(clickhouse(&given.settings()).password.expose(), "hunter2");

    let both = [("ROWGATE_PASSWORD", "a"), ("ROWGATE_PASSWORD_FILE", path_text)];
    let mistakes = Given { variables: &both, ..Given::default() }.mistakes();
    assert_eq!(
        mistakes,
        [
            "ROWGATE_PASSWORD_FILE: `password_file` and `password` exclude each other, and ROWGATE_PASSWORD sets the other: leave one out"
        ]
    );
    assert!(file("password_file: no/such\n").mistakes()[0].contains("cannot read `no/such`"));
}

#[test]
fn a_run_with_an_output_file_keeps_its_dead_letters_in_a_file() {
    let settings = flags(&[("output", "rows.ndjson")]).settings();
    assert_eq!(settings.dead_letters, DeadLetters::File("dead-letters.ndjson".into()));
    assert!(!settings.rows_on_stdout());
    let settings = flags(&[("output", "-"), ("dead_letters", "stop")]).settings();
    assert_eq!(settings.dead_letters, DeadLetters::Stop);
    assert!(settings.rows_on_stdout());
}

#[test]
fn the_last_rows_are_shown_after_a_bounded_run_on_a_terminal() {
    let shown =
        |flags: &[(&str, &str)], terminal| Given { flags, terminal, ..Given::default() }.settings().show_last;
    assert_eq!(shown(&[("for", "20s")], true), 10);
    assert_eq!(shown(&[("input", "-")], true), 10);
    assert_eq!(shown(&[], true), 0);
    assert_eq!(shown(&[("for", "20s")], false), 0);
    assert_eq!(shown(&[("for", "20s"), ("output", "-")], true), 0);
    assert_eq!(shown(&[("show_last", "3")], false), 3);
}

#[test]
fn what_is_odd_but_no_mistake_is_warned_of() {
    let given = Given {
        variables: &[("ROWGATE_TOPICS", "a")],
        ..file("clickhouse_url: http://ch:9000\nkafka: {enable.ssl.certificate.verification: 'false'}\n")
    };
    let warnings = given.load().unwrap().warnings;
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].ends_with("the nearest is ROWGATE_TOPIC"), "{warnings:?}");
}

#[test]
fn what_is_shown_reads_back_as_the_same_settings_but_for_secrets() {
    let given = Given {
        file: "columns: {password: bytes hex, '*_at': timestamp(micros)}\nparams: {note: \"a: #1\\n\", api_token: hunter2, no: 'null'}\nlimits: {time_ms: 7}\nfor: 5m\npassword: hunter2\n",
        variables: &[
            ("ROWGATE_KAFKA", "sasl.password=hunter2\nclient.id=shop"),
            ("ROWGATE_TOPIC", "a,^b[.]c$"),
        ],
        flags: &[("print", "true"), ("table", "we ird \"t`")],
        terminal: true,
    };
    let loaded = given.load().unwrap();
    let shown = show::yaml(&loaded.resolved);
    assert!(
        !shown.contains("hunter2") && !show::json(&loaded.resolved).to_string().contains("hunter2"),
        "{shown}"
    );
    assert!(!format!("{:?}", loaded.settings).contains("hunter2"));
    assert!(shown.contains("# password: [redacted]"), "{shown}");

    let mut expected = loaded.settings;
    expected.params.0.retain(|(name, _)| name != "api_token");
    expected.deciding.0.retain(|(_, member, _)| member.as_deref() != Some("api_token"));
    match (&mut expected.source, &mut expected.sink) {
        (Source::Kafka(kafka), Sink::ClickHouse(clickhouse)) => {
            kafka.properties.0.retain(|(name, _)| name != "sasl.password");
            clickhouse.password = Secret::default();
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(file(&shown).settings(), expected, "{shown}");
}

#[test]
fn how_records_are_read_is_settled_and_its_mistakes_have_their_places() {
    let given = Given {
        flags: &[("columns", "orders.*_at=timestamp(millis)"), ("columns", "doc=json")],
        ..file(
            "columns: {price: 'decimal(10,2)', doc: text}\ntombstones: delete\nflattened_prefix: cdc.\nunavailable_placeholder: 'hex:00ff'\n",
        )
    };
    let records = given.settings().records;
    assert_eq!(records.hints.find("s", "t", "price"), Some(&Wire::DecimalText(Some((10, 2)))));
    assert_eq!(records.hints.find("s", "orders", "created_at"), Some(&Wire::TimestampMillis));
    assert_eq!(records.hints.find("s", "t", "doc"), Some(&Wire::JsonText));
    assert_eq!((records.tombstones, records.flattened_prefix.as_str()), (Tombstones::Delete, "cdc."));
    assert!(records.placeholder.is(b"\"00ff\""));
    assert_eq!(file("").settings().records, Options::default());
    for (text, mistake) in [
        (
            "columns: {at: timestamp}\n",
            "p.yaml:1:11: columns: `at`: `timestamp` is no type of a column: a number's unit",
        ),
        (
            "columns: {at: when}\n",
            "p.yaml:1:11: columns: `at`: `when` is no type of a column: `when` is unknown; types are",
        ),
        ("tombstones: drop\n", "p.yaml:1:13: tombstones: `drop` is none of ignore, delete"),
        ("flattened_prefix: ''\n", "p.yaml:1:19: flattened_prefix: without a prefix nothing tells"),
        (
            "unavailable_placeholder: hex:0\n",
            "p.yaml:1:26: unavailable_placeholder: `hex:0` has no even number",
        ),
    ] {
        let mistakes = file(text).mistakes();
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(mistake), "{mistakes:?}");
    }
}

#[test]
fn what_the_transform_must_be_is_settled_and_its_mistakes_have_their_places() {
    const KEY: &str = "RWTBalT81XN5SQpLldzOAhYIuF7oj0wu35lY7RbylsKLNAwf/K9wnqCg";
    let digest = "ab".repeat(32);
    let pinned = file(&format!("transform_digest: sha256:{}\n", digest.to_uppercase())).settings().origin;
    assert_eq!(pinned, Policy { digest: Some(digest), ..Policy::default() });
    let text = format!("name: p\ntransform: r.wasm\ntransform_key: [{KEY}, {KEY}]\n");
    let signed = file(&text).settings().origin;
    assert_eq!((signed.keys.len(), signed.name.as_deref()), (2, Some("p")));
    let signed = flags(&[("transform", "r.wasm"), ("transform_key", KEY), ("transform_name", "orders")]);
    assert_eq!(signed.settings().origin.name.as_deref(), Some("orders"));
    assert_eq!(file("").settings().origin, Policy::default());
    for (text, mistake) in [
        (
            "transform_digest: sha256:ab\n".to_owned(),
            "p.yaml:1:19: transform_digest: `sha256:ab` is no digest",
        ),
        (
            "transform: a\ntransform_key: RWQ\n".to_owned(),
            "p.yaml:2:16: transform_key: `RWQ` is no public key",
        ),
        (format!("transform_key: {KEY}\n"), "p.yaml:1:16: transform_key: the transform that is built in"),
        ("transform_name: a\n".to_owned(), "p.yaml:1:17: transform_name: nothing says who must have signed"),
    ] {
        let mistakes = file(&text).mistakes();
        assert!(mistakes.len() == 1 && mistakes[0].starts_with(mistake), "{mistakes:?}");
    }
}

#[test]
fn origins_are_shown_beside_the_values() {
    let given =
        Given { variables: &[("ROWGATE_USER", "shop")], flags: &[("for", "20s")], ..file("database: d\n") };
    let resolved = given.load().unwrap().resolved;
    let shown = show::yaml(&resolved);
    for (value, origin) in [
        ("database: d", "p.yaml:1:11"),
        ("user: shop", "ROWGATE_USER"),
        ("for: 20s", "--for"),
        ("start: earliest", "default"),
    ] {
        let line = shown.lines().find(|line| line.starts_with(value)).unwrap();
        assert!(line.ends_with(&format!(" # {origin}")), "{line}");
    }
    let json = show::json(&resolved);
    assert_eq!(json["user"], serde_json::json!({ "value": "shop", "from": "ROWGATE_USER" }));
    assert_eq!(json["brokers"][0]["from"], "default");
}

#[test]
fn a_schema_registry_has_an_address_and_credentials_of_one_kind() {
    assert_eq!(Given::default().settings().registry, None);
    let text = "registry:\n  url: https://registry:8081/apis/ccompat/v7\n  user: me\n  password: hunter2\n";
    let loaded = file(text).load().unwrap();
    let registry = loaded.settings.registry.clone().unwrap();
    assert_eq!((registry.url.path(), registry.framing), ("/apis/ccompat/v7", Framing::Confluent));
    assert_eq!(registry.credentials, Credentials::Basic("me".to_owned(), Secret::new("hunter2")));
    assert_eq!(registry.credentials.header().unwrap(), "Basic bWU6aHVudGVyMg==");
    assert!(!format!("{:?}", loaded.settings).contains("hunter2"));
    assert!(!show::yaml(&loaded.resolved).contains("hunter2"));

    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "hunter2\n").unwrap();
    let text = format!("registry: {{url: 'http://r', framing: apicurio, token_file: {}}}", token.display());
    let registry = file(&text).settings().registry.unwrap();
    assert_eq!(
        (registry.credentials, registry.framing),
        (Credentials::Bearer(Secret::new("hunter2")), Framing::Apicurio)
    );

    for (text, why) in [
        ("registry: {user: me}", "registry.user: there is no registry: set `registry.url` too"),
        ("registry: {url: 'ftp://r'}", "is not a scheme of a schema registry"),
        ("registry: {url: 'http://me:hunter2@r'}", "use `registry.user` and `registry.password_file`"),
        ("registry: {url: 'http://r', framing: confluence}", "the nearest is `confluent`"),
        ("registry: {url: 'http://r', password: hunter2}", "set `registry.user` too"),
        ("registry: {url: 'http://r', user: me, token: hunter2}", "exclude each other"),
        ("registry: {url: 'http://r', user: 'a:b'}", "a user with a `:`"),
        ("registry: {url: 'http://r', token: a, token_file: b}", "exclude each other"),
    ] {
        let mistakes = file(text).mistakes().join("\n");
        assert!(mistakes.contains(why) && !mistakes.contains("hunter2"), "{text}: {mistakes}");
    }
    let text = format!("registry: {{url: 'http://r', ca_file: {}}}", token.display());
    assert!(file(&text).mistakes()[0].contains("it has no certificate in PEM"));
}

#[test]
fn a_transform_is_built_in_or_a_file_or_in_a_registry_that_is_spoken_to_as_the_settings_say() {
    let component =
        |transform: &str, more: &str| file(&format!("transform: {transform}\n{more}")).settings().transform;
    let remote = |transform: &str, more: &str| match component(transform, more) {
        Component::Registry(remote) => *remote,
        other => panic!("{other:?}"),
    };
    assert_eq!(Given::default().settings().transform, Component::BuiltIn);
    assert_eq!(component("rules/a.wasm", "oci: {user: me}"), Component::File("rules/a.wasm".into()));
    let at = |host: &str| format!("oci://{host}/team/orders@sha256:{}", "a".repeat(64));
    for (host, more, root) in [
        ("ghcr.io", "", "https://ghcr.io/"),
        ("ghcr.io", "oci: {plain_http: true}", "http://ghcr.io/"),
        ("localhost:5000", "", "http://localhost:5000/"),
        ("[::1]:5000", "oci: {plain_http: false}", "https://[::1]:5000/"),
    ] {
        let found = remote(&at(host), more);
        assert_eq!((found.root.as_str(), found.credentials), (root, Credentials::None), "{host} {more}");
    }
    let text = format!("transform: {}\noci: {{user: me, password: hunter2}}", at("ghcr.io"));
    let loaded = file(&text).load().unwrap();
    assert!(!format!("{:?}", loaded.settings).contains("hunter2"));
    assert!(!show::yaml(&loaded.resolved).contains("hunter2"));
    assert_eq!(loaded.settings.transform.to_string(), at("ghcr.io"));
    let found = remote(&at("ghcr.io"), "oci: {user: me, password: hunter2}");
    assert_eq!(found.credentials, Credentials::Basic("me".to_owned(), Secret::new("hunter2")));

    for (transform, more, why) in [
        ("oci://ghcr.io/team/orders:1.4", "", "transform: `oci://ghcr.io/team/orders:1.4` names no digest"),
        ("oci://me:hunter2@ghcr.io/a", "", "use `oci.user` and `oci.password_file`"),
        (&at("ghcr.io"), "oci: {password: hunter2}", "set `oci.user` too"),
        (&at("ghcr.io"), "oci: {user: 'a:b'}", "a user with a `:`"),
        (&at("ghcr.io"), "oci: {ca_file: Cargo.toml}", "it has no certificate in PEM"),
        (&at("ghcr.io"), "watch: true", "there is no file to watch"),
        (
            &at("ghcr.io"),
            "transform_key: RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3",
            "no signature is looked for in a registry",
        ),
    ] {
        let mistakes = file(&format!("transform: {transform}\n{more}")).mistakes().join("\n");
        assert!(mistakes.contains(why) && !mistakes.contains("hunter2"), "{transform} {more}: {mistakes}");
    }
}

#[test]
fn the_admin_interface_is_not_open_to_others_without_tokens_and_something_that_encrypts() {
    assert_eq!(file("admin: {tokens_file: t}").settings().admin, None);
    for own in ["127.0.0.1:8642", "127.0.0.2:0", "[::1]:8642"] {
        let admin = flags(&[("admin.listen", own)]).settings().admin.unwrap();
        assert_eq!((admin.listen, admin.tokens_file), (own.parse().unwrap(), None));
    }
    let file_of = |more: &str| format!("admin: {{listen: '0.0.0.0:8642'{more}}}");
    let open = |more: &str| file(&file_of(more)).load().map(|loaded| loaded.settings.admin.unwrap().listen);
    assert!(open("").unwrap_err()[0].contains("without tokens, everybody there could do everything"));
    assert!(open(", insecure_public: true").unwrap_err()[0].contains("without tokens"));
    assert!(open(", tokens_file: t").unwrap_err()[0].contains("the host does not encrypt"));
    assert_eq!(open(", tokens_file: t, insecure_public: true").unwrap(), "0.0.0.0:8642".parse().unwrap());
    for text in ["localhost:8642", "8642", "127.0.0.1", ""] {
        assert!(flags(&[("admin.listen", text)]).load().is_err(), "{text}");
    }
}

#[test]
fn the_documentation_lists_every_setting_as_it_is() {
    let text = include_str!("../../../docs/configuration.md");
    let tables = show::documentation();
    assert!(text.contains(&tables), "docs/configuration.md should have these tables:\n{tables}");
}

#[test]
fn the_example_is_a_valid_configuration() {
    let settings = file(include_str!("../../../examples/pipeline.yaml")).settings();
    assert_eq!(settings.name, "shop");
    assert!(!kafka(&settings).topics.is_empty());
}

#[test]
fn settings_that_decide_rows_are_read_as_they_were_and_all_others_stay() {
    let file = "params: { zone: UTC, times: none }\ncolumns: { a: date }\ntable: then\nbatch_rows: 5\n\
                out_of_range: 'null'\nlimits: { memory_mib: 32 }\ntombstones: delete\n";
    let then = Given { file, ..Given::default() }.settings();
    let now = flags(&[("database", "now"), ("params", "times=all"), ("table", "now")]).settings();
    let read = now.as_sealed(&then.deciding).unwrap();
    assert_eq!((&read.params, &read.records, &read.policies), (&then.params, &then.records, &then.policies));
    assert_eq!((read.limits, clickhouse(&read).table.as_deref()), (then.limits, Some("then")));
    assert_eq!((clickhouse(&read).database.as_str(), read.batch), ("now", now.batch));
    assert_eq!(now.as_sealed(&now.deciding).unwrap(), now);
    assert_ne!(now.deciding, then.deciding);
    // Parameters alone, in the same order as if the configuration had said them.
    assert_eq!(now.with_params(now.params.clone()), now);
    let other = now.with_params(then.params.clone());
    assert_eq!((&other.params, &other.deciding.params()), (&then.params, &then.params));
    assert_eq!(clickhouse(&other).table, clickhouse(&now).table);
}

#[test]
fn settings_that_another_host_kept_are_refused_where_this_one_cannot_follow_them() {
    let now = Given::default().settings();
    let with = |name: &str, text: &str| {
        let mut deciding = now.deciding.clone();
        deciding.0.push((name.to_owned(), None, text.to_owned()));
        now.as_sealed(&deciding).unwrap_err().to_string()
    };
    assert_eq!(with("moon", "full"), "moon: this host does not know the setting");
    assert!(with("out_of_range", "explode").contains("`explode` is none of"));
    assert!(with("registry.framing", "confluent").contains("now is none"));
    let shown = format!("{:?}", flags(&[("params", "password=hunter2")]).settings().deciding);
    assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
}
