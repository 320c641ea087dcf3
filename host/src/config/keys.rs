//! The table of all settings. Flags, variables, keys of the file, help and documentation follow from it.

/// How a setting is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One value.
    Value,
    /// `true` or `false`; the flag alone means `true`.
    Switch,
    /// Several values: a flag that repeats, a list in the file, commas in the environment.
    List,
    /// Names with values: `NAME=VALUE` for a flag, lines of them in the environment, a map in the file.
    Map,
}

/// What a setting is where nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Nothing.
    None,
    /// This text, read like any other.
    Text(&'static str),
    /// It follows from other settings; the text says how.
    Follows(&'static str),
}

/// Where a setting stands in a file with tenants. In a file without them, all stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// At the top, in a tenant, or in a pipeline; a flag or a variable sets it for all pipelines.
    All,
    /// The same, but neither flag nor variable sets it: it would be the same thing for all pipelines.
    Own,
    /// At the top or in a tenant.
    Tenant,
    /// At the top only: it is the process's.
    Host,
    /// Nowhere: it makes sense for one pipeline alone.
    Alone,
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name in the file; a dot separates a map from its member.
    pub name: &'static str,
    /// Its flag, without the dashes.
    pub flag: Option<&'static str>,
    /// Its flag of one letter.
    pub short: Option<char>,
    /// What stands for its value in the help.
    pub value: &'static str,
    /// How it is written.
    pub form: Form,
    /// What it is where nobody sets it.
    pub default: Default,
    /// Never shown, never on the command line.
    pub secret: bool,
    /// It decides what rows a record makes: a range is finished with the one that it was begun with.
    pub decides_rows: bool,
    /// Where it stands in a file with tenants.
    pub scope: Scope,
    /// The heading that it stands under.
    pub heading: &'static str,
    /// What it is for: one line.
    pub about: &'static str,
}

impl Key {
    /// Its variable: the flag in upper case.
    pub fn variable(&self) -> String {
        let name = self.flag.unwrap_or(self.name);
        format!("{PREFIX}{}", name.replace(['-', '.'], "_").to_uppercase())
    }

    /// Its default as the help and the documentation show it.
    pub fn default_text(&self) -> Option<&'static str> {
        match self.default {
            Default::None => None,
            Default::Text(text) | Default::Follows(text) => Some(text),
        }
    }

    const fn new(name: &'static str, value: &'static str, about: &'static str) -> Self {
        Self {
            name,
            flag: None,
            short: None,
            value,
            form: Form::Value,
            default: Default::None,
            secret: false,
            decides_rows: false,
            scope: Scope::All,
            heading: "",
            about,
        }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn default(self, text: &'static str) -> Self {
        Self { default: Default::Text(text), ..self }
    }

    const fn follows(self, text: &'static str) -> Self {
        Self { default: Default::Follows(text), ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    const fn decides_rows(self) -> Self {
        Self { decides_rows: true, ..self }
    }

    const fn scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    const fn under(self, heading: &'static str) -> Self {
        Self { heading, ..self }
    }
}

/// What every variable of the host starts with.
pub const PREFIX: &str = "ROWGATE_";

/// Variables that choose the other layers and are no settings themselves.
pub const LAYER_VARIABLES: [&str; 2] = ["ROWGATE_CONFIG", "ROWGATE_ENV_FILE"];

/// Where the commands are to ask that ask a running host.
pub const ADMIN_URL: &str = "ROWGATE_ADMIN_URL";
/// What they say who they are.
pub const ADMIN_TOKEN: &str = "ROWGATE_ADMIN_TOKEN";
/// The file that this is read from.
pub const ADMIN_TOKEN_FILE: &str = "ROWGATE_ADMIN_TOKEN_FILE";
/// Variables of those commands, which a run passes over.
pub const CLIENT_VARIABLES: [&str; 3] = [ADMIN_URL, ADMIN_TOKEN, ADMIN_TOKEN_FILE];

const TRANSFORM: &str = "Transform";
const OCI: &str = "Registry of transforms";
const SOURCE: &str = "Source";
const REGISTRY: &str = "Schema registry";
const RECORDS: &str = "Records";
const TARGET: &str = "Target";
const VALUES: &str = "Values that do not fit";
const BOUNDS: &str = "Bounds";
const LOOKING: &str = "Looking";
const BATCHES: &str = "Batches and limits";
const TENANTS: &str = "Tenants";
const ADMIN: &str = "Admin interface";

/// Every topic with the three or four parts that Debezium gives to topics of tables. Its heartbeats, its
/// transactions and its schema changes have fewer.
pub const DEBEZIUM_TABLES: &str = r"^[^_.][^.]*\.[^.]+\.[^.]+(\.[^.]+)?$";

/// All settings, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key::new("name", "NAME", "Name of the pipeline: part of its consumer group and its tokens")
        .flag("name")
        .default("default")
        .scope(Scope::Alone)
    .under(TRANSFORM),
    Key::new(
        "transform",
        "FILE",
        "The transform, a WebAssembly component: a file, or oci://HOST/NAME@sha256:HEX; without one, the built-in `update_only`",
    )
    .flag("transform")
    .short('t')
    .scope(Scope::Own)
    .under(TRANSFORM),
    Key::new("watch", "BOOL", "Watch the transform's file, and run what it becomes without a restart")
        .flag("watch")
        .form(Form::Switch)
        .default("false")
        .under(TRANSFORM),
    Key::new("transform_digest", "sha256:HEX", "The digest that the transform must have, as `host inspect` shows it")
        .flag("transform-digest")
        .under(TRANSFORM),
    Key::new(
        "transform_key",
        "KEY",
        "Public key of minisign: with one or more, one of them must have signed the transform (FILE.minisig); repeatable",
    )
    .flag("transform-key")
    .form(Form::List)
    .under(TRANSFORM),
    Key::new("transform_name", "NAME", "What the transform must be signed as, where `transform_key` is set")
        .flag("transform-name")
        .follows("the pipeline's name")
        .under(TRANSFORM),
    Key::new("params", "NAME=VALUE", "A parameter of the transform; repeatable")
        .flag("param")
        .short('p')
        .form(Form::Map)
        .decides_rows()
        .scope(Scope::Own)
    .under(TRANSFORM),
    Key::new(
        "state_dir",
        "FOLDER",
        "Where transforms are kept, until the ranges that they sealed are done, and as native code; hosts may share it",
    )
    .flag("state-dir")
    .follows("`$XDG_STATE_HOME/rowgate`, else `~/.local/state/rowgate`")
    .under(TRANSFORM),
    Key::new(
        "pin",
        "WHAT",
        "When the transform that sealed a range is kept no more: prefer (this one finishes it) or strict (stop)",
    )
    .flag("pin")
    .default("prefer")
    .under(TRANSFORM),
    Key::new("oci.user", "NAME", "User of the registry that `transform` names (oci://...)").under(OCI),
    Key::new("oci.password", "PASSWORD", "Its password, in the file or the environment only").secret().under(OCI),
    Key::new("oci.password_file", "FILE", "File with its password; one line end after it does not count").under(OCI),
    Key::new("oci.ca_file", "FILE", "Certificates in PEM that the registry's may be signed with, too").under(OCI),
    Key::new("oci.plain_http", "BOOL", "Speak http with the registry, and not https: whoever is on the way reads passwords")
        .form(Form::Switch)
        .follows("`true` for a registry on this machine (`localhost`, 127.0.0.1, ::1), else `false`")
        .under(OCI),
    Key::new("brokers", "HOST:PORT", "Kafka brokers to start from, separated by commas")
        .flag("brokers")
        .short('b')
        .form(Form::List)
        .default("localhost:9092")
        .under(SOURCE),
    Key::new("topic", "TOPIC", "Topic to read: a name, or a regular expression `^...$`; repeatable")
        .flag("topic")
        .form(Form::List)
        .default(DEBEZIUM_TABLES)
        .scope(Scope::Own)
    .under(SOURCE),
    Key::new("group", "GROUP", "Consumer group that keeps the position")
        .flag("group")
        .short('g')
        .follows("`rowgate-` and the pipeline's name")
        .scope(Scope::Own)
    .under(SOURCE),
    Key::new(
        "group_protocol",
        "PROTOCOL",
        "How the group shares partitions: classic, or consumer (KIP-848, brokers from 4.0); the same for all its hosts",
    )
    .flag("group-protocol")
    .default("classic")
    .under(SOURCE),
    Key::new("start", "WHERE", "Where a group without a position starts: earliest or latest")
        .flag("start")
        .default("earliest")
        .under(SOURCE),
    Key::new("kafka", "NAME=VALUE", "A property of librdkafka, such as security.protocol=SSL; repeatable")
        .flag("kafka")
        .short('X')
        .form(Form::Map)
        .under(SOURCE),
    Key::new("input", "FILE", "Read JSON lines from a file, or `-` for standard input, in place of Kafka")
        .flag("input")
        .scope(Scope::Own)
    .under(SOURCE),
    Key::new(
        "registry.url",
        "URL",
        "Schema registry of records in Avro, JSON Schema, Protobuf: the root of Confluent's API; in Apicurio's registry `.../apis/ccompat/v7`",
    )
    .under(REGISTRY),
    Key::new(
        "registry.framing",
        "FORM",
        "How records name their schema: confluent (0 and 4 bytes, 1 and a GUID), or apicurio (0 and 8 bytes)",
    )
    .default("confluent")
    .decides_rows().under(REGISTRY),
    Key::new("registry.user", "NAME", "User of the registry, for basic authentication").under(REGISTRY),
    Key::new("registry.password", "PASSWORD", "Its password, in the file or the environment only")
        .secret()
        .under(REGISTRY),
    Key::new(
        "registry.password_file",
        "FILE",
        "File with its password; one line end after it does not count",
    )
    .under(REGISTRY),
    Key::new("registry.token", "TOKEN", "Bearer token for the registry, in place of a user")
        .secret()
        .under(REGISTRY),
    Key::new("registry.token_file", "FILE", "File with the token; one line end after it does not count")
        .under(REGISTRY),
    Key::new("registry.ca_file", "FILE", "Certificates in PEM that the registry's may be signed with, too")
        .under(REGISTRY),
    Key::new(
        "columns",
        "NAME=TYPE",
        "How a column is written of which no schema says it, such as created_at=timestamp(micros); repeatable",
    )
    .flag("column")
    .form(Form::Map)
    .decides_rows().scope(Scope::Own)
    .under(RECORDS),
    Key::new(
        "tombstones",
        "WHAT",
        "What a null value with a key is: ignore (it follows the delete) or delete (flattened records have no other)",
    )
    .flag("tombstones")
    .default("ignore")
    .decides_rows().under(RECORDS),
    Key::new("flattened_prefix", "TEXT", "What the names of the fields begin with that flattening adds")
        .flag("flattened-prefix")
        .default("__")
        .decides_rows().under(RECORDS),
    Key::new("flattened_headers", "BOOL", "Flattened records have the added fields in their headers (add.headers)")
        .flag("flattened-headers")
        .form(Form::Switch)
        .default("false")
        .decides_rows().under(RECORDS),
    Key::new(
        "unavailable_placeholder",
        "TEXT",
        "The connector's unavailable.value.placeholder: a text, or bytes as hex:...",
    )
    .flag("unavailable-placeholder")
    .default("__debezium_unavailable_value")
    .decides_rows().under(RECORDS),
    Key::new("clickhouse_url", "URL", "ClickHouse's HTTP interface")
        .flag("clickhouse-url")
        .default("http://localhost:8123")
        .under(TARGET),
    Key::new("database", "NAME", "Database of the tables").flag("database").default("default").scope(Scope::Own)
    .under(TARGET),
    Key::new("user", "NAME", "User of ClickHouse").flag("user").default("default").scope(Scope::Own)
    .under(TARGET),
    Key::new("password", "PASSWORD", "Its password, in the file or the environment only")
        .secret()
        .scope(Scope::Own)
    .under(TARGET),
    Key::new("password_file", "FILE", "File with its password; one line end after it does not count")
        .flag("password-file")
        .scope(Scope::Own)
    .under(TARGET),
    Key::new("table", "NAME", "Table for the rows that the transform sends to no table by name")
        .flag("table")
        .follows("the source table's name")
        .decides_rows().scope(Scope::Own)
    .under(TARGET),
    Key::new("compression", "CODEC", "Compression of inserts: zstd, lz4 or none")
        .flag("compression")
        .default("lz4")
        .under(TARGET),
    Key::new(
        "output",
        "FILE",
        "Write rows as JSON lines to a file, or `-` for standard output, in place of ClickHouse",
    )
    .flag("output")
    .scope(Scope::Own)
    .under(TARGET),
    Key::new(
        "dead_letters",
        "WHERE",
        "Where records go that cannot be processed: table:NAME, topic:NAME, file:PATH, or stop",
    )
    .flag("dead-letters")
    .follows("`table:_rowgate_dead_letters`; with an output file `file:dead-letters.ndjson`")
    .scope(Scope::Own)
    .under(TARGET),
    Key::new(
        "audit",
        "WHERE",
        "A row of counters for each range of records: none, or table (`_rowgate_audit`)",
    )
    .flag("audit")
    .default("none")
    .under(TARGET),
    Key::new(
        "schema_changes",
        "WHAT",
        "When rows have columns that their table lacks or is too narrow for: add, ignore, or stop",
    )
    .flag("schema-changes")
    .default("add")
    .under(TARGET),
    Key::new(
        "truncate",
        "WHAT",
        "When the source empties a table that feeds outputs with a key: stop, ignore, or truncate",
    )
    .flag("truncate")
    .default("stop")
    .under(TARGET),
    Key::new(
        "out_of_range",
        "POLICY",
        "What becomes of a value beyond its column's range: reject, null, saturate or as_string",
    )
    .flag("out-of-range")
    .default("reject")
    .decides_rows().under(VALUES),
    Key::new(
        "out_of_range_columns",
        "COLUMN=POLICY",
        "The same for one column, `name` or `table.name`; repeatable",
    )
    .flag("out-of-range-columns")
    .form(Form::Map)
    .decides_rows().scope(Scope::Own)
    .under(VALUES),
    Key::new(
        "unavailable",
        "POLICY",
        "What becomes of a value that the source did not send (unchanged TOAST): reject, null or default",
    )
    .flag("unavailable")
    .default("reject")
    .decides_rows().under(VALUES),
    Key::new("for", "DURATION", "Stop after this time, such as 20s, 5m or 500ms").flag("for").under(BOUNDS),
    Key::new("max_records", "N", "Stop after this many records").flag("max-records").under(BOUNDS),
    Key::new("until_caught_up", "BOOL", "Stop when the group has read all that the topics have")
        .flag("until-caught-up")
        .form(Form::Switch)
        .default("false")
        .under(BOUNDS),
    Key::new("print", "BOOL", "Print each record consumed and each row written")
        .flag("print")
        .form(Form::Switch)
        .default("false")
        .scope(Scope::Alone)
    .under(LOOKING),
    Key::new("show_last", "N", "Print the last N rows of the table at the end; 0 for none")
        .flag("show-last")
        .follows("10 after a bounded run on a terminal, else 0")
        .scope(Scope::Alone)
    .under(LOOKING),
    Key::new("dry_run", "BOOL", "Neither insert nor commit")
        .flag("dry-run")
        .form(Form::Switch)
        .default("false")
        .under(LOOKING),
    Key::new("log_format", "FORMAT", "Form of the logs, on standard error: text or json")
        .flag("log-format")
        .default("text")
        .scope(Scope::Host)
    .under(LOOKING),
    Key::new(
        "log_values",
        "BOOL",
        "Show the beginning of values in errors and in the reasons of dead letters",
    )
    .flag("log-values")
    .form(Form::Switch)
    .default("false")
    .scope(Scope::Host)
    .under(LOOKING),
    Key::new("batch_rows", "N", "Records that close a batch")
        .flag("batch-rows")
        .default("50000")
        .under(BATCHES),
    Key::new("batch_bytes", "BYTES", "Bytes of records that close a batch")
        .flag("batch-bytes")
        .default("16777216")
        .under(BATCHES),
    Key::new("linger_ms", "MS", "Milliseconds at least between two batches of a partition that are not full; more where inserts_per_second says so")
        .flag("linger-ms")
        .default("1000")
        .under(BATCHES),
    Key::new(
        "inserts_per_second",
        "N",
        "Inserts a second into one table at most: batches that are not full wait longer where many partitions feed it",
    )
    .flag("inserts-per-second")
    .default("10")
    .under(BATCHES),
    Key::new(
        "limits.profile",
        "PROFILE",
        "What a component may be: small (Rust, C), or runtime, for one that brings its language along (JavaScript, Python)",
    )
    .default("small")
    .decides_rows().under(BATCHES),
    Key::new("limits.memory_mib", "MIB", "Memory that one instance of the transform may have, in MiB")
        .default("64")
        .decides_rows().under(BATCHES),
    Key::new(
        "limits.fuel_per_change",
        "N",
        "Fuel (about instructions) for each change of a call of the transform",
    )
    .default("5000000")
    .decides_rows().under(BATCHES),
    Key::new("limits.time_ms", "MS", "Milliseconds that one call of the transform may compute")
        .default("10000")
        .decides_rows().under(BATCHES),
    Key::new(
        "tables",
        "TABLE",
        "Tables that transforms may write to: names, or `prefix*`; without any, all of the database",
    )
    .form(Form::List)
    .scope(Scope::Tenant)
    .under(TENANTS),
    Key::new(
        "budget.fuel_per_second",
        "N",
        "Fuel that the tenant's transforms may use in a second, on average: beyond it their pipelines wait",
    )
    .scope(Scope::Tenant)
    .under(TENANTS),
    Key::new(
        "budget.rows_per_second",
        "N",
        "Rows that the tenant's transforms may make in a second, on average: beyond it their pipelines wait",
    )
    .scope(Scope::Tenant)
    .under(TENANTS),
    Key::new(
        "budget.rows_per_change",
        "N",
        "Rows that a transform may make of one change, 1 to 10000: a change of more is a dead letter",
    )
    .scope(Scope::Tenant)
    .decides_rows().under(TENANTS),
    Key::new(
        "budget.columns_per_hour",
        "N",
        "Columns that are created for the tenant in an hour, those of new tables too: rows that need more are dead letters",
    )
    .scope(Scope::Tenant)
    .under(TENANTS),
    Key::new(
        "budget.memory_mib",
        "MIB",
        "Memory that all instances of the tenant's transforms may have together, in MiB: calls that find none left wait",
    )
    .scope(Scope::Tenant)
    .under(TENANTS),
    Key::new("admin.listen", "ADDRESS", "Answer the admin interface here, such as 127.0.0.1:8642; off without it")
        .flag("admin-listen")
        .scope(Scope::Host)
    .under(ADMIN),
    Key::new("admin.tokens_file", "FILE", "File with the tokens that it lets in, as `host token new` makes them")
        .scope(Scope::Host)
    .under(ADMIN),
    Key::new(
        "admin.insecure_public",
        "BOOL",
        "Listen beyond this machine, with tokens: something in front of it has to encrypt",
    )
    .form(Form::Switch)
    .default("false")
    .scope(Scope::Host)
    .under(ADMIN),
];

/// Settings of which only one counts.
pub const EXCLUSIVE: [(&str, &str); 6] = [
    ("input", "topic"),
    ("output", "clickhouse_url"),
    ("password_file", "password"),
    ("oci.password_file", "oci.password"),
    ("registry.password_file", "registry.password"),
    ("registry.token_file", "registry.token"),
];

/// The setting of this name.
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The one of `known` that `name` most likely was meant to be, if any is near.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', '.', '_'], "");
    let wanted = plain(name);
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_flags_and_variables_are_each_used_once() {
        let names: HashSet<_> = KEYS.iter().map(|key| key.name).collect();
        let variables: HashSet<_> = KEYS.iter().map(Key::variable).collect();
        let shorts: Vec<_> = KEYS.iter().filter_map(|key| key.short).collect();
        assert_eq!(names.len(), KEYS.len());
        assert_eq!(variables.len(), KEYS.len());
        assert_eq!(shorts.iter().collect::<HashSet<_>>().len(), shorts.len());
        assert!(LAYER_VARIABLES.iter().all(|variable| !variables.contains(*variable)));
    }

    #[test]
    fn flags_are_the_names_with_dashes_but_for_those_that_repeat_a_plural() {
        for key in KEYS {
            let Some(flag) = key.flag else { continue };
            assert!(
                flag == key.name.replace(['_', '.'], "-")
                    || [("params", "param"), ("columns", "column")].contains(&(key.name, flag)),
                "{}",
                key.name
            );
        }
    }

    /// A new setting is looked at here: without `decides_rows`, one that changes rows mixes two sorts in a range.
    #[test]
    fn the_settings_that_decide_rows_are_known() {
        let deciding: Vec<_> = KEYS.iter().filter(|key| key.decides_rows).map(|key| key.name).collect();
        assert_eq!(
            deciding,
            [
                "params",
                "registry.framing",
                "columns",
                "tombstones",
                "flattened_prefix",
                "flattened_headers",
                "unavailable_placeholder",
                "table",
                "out_of_range",
                "out_of_range_columns",
                "unavailable",
                "limits.profile",
                "limits.memory_mib",
                "limits.fuel_per_change",
                "limits.time_ms",
                "budget.rows_per_change",
            ]
        );
    }

    #[test]
    fn secrets_have_no_flag() {
        assert!(KEYS.iter().all(|key| !key.secret || key.flag.is_none()));
    }

    #[test]
    fn the_nearest_name_is_near_or_none() {
        let names = || KEYS.iter().map(|key| key.name);
        assert_eq!(nearest("brokerz", names()), Some("brokers"));
        assert_eq!(nearest("clickhouse-url", names()), Some("clickhouse_url"));
        assert_eq!(nearest("clickhouseUrl", names()), Some("clickhouse_url"));
        assert_eq!(nearest("topics", names()), Some("topic"));
        assert_eq!(nearest("memory_mb", ["memory_mib", "time_ms"]), Some("memory_mib"));
        assert_eq!(nearest("colour_of_the_sky", names()), None);
    }
}
