//! Settings: flags over environment over file over defaults, checked as a whole before anything starts.
//!
//! Each layer is read as texts ([`layer`]), the layers are merged, and [`validate`] turns the result into
//! [`Settings`], of which every part is known to be usable. All mistakes are reported at once, each with its
//! place. The settings themselves are listed in [`keys`]; `docs/configuration.md` is that list for people.

mod deciding;
pub mod keys;
pub mod layer;
pub mod mistake;
pub mod secret;
pub mod show;

mod env;
mod file;
mod kafka;
mod validate;
mod values;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::clickhouse::policy::{OutOfRange, Policies, Unavailable};
pub use crate::clickhouse::request::Compression;
pub use crate::debezium::options::{Options, Tombstones};
pub use crate::debezium::registry::Framing;
use crate::origin::Policy;
use crate::transform::compile::Compiler;
use base64::prelude::{BASE64_STANDARD, Engine as _};
pub use deciding::Deciding;
pub use env::pair;
use layer::{Item, Layer, Origin};
use mistake::Mistakes;
use secret::{Named, Secret};

/// Everything that a run needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Name of the pipeline; letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// Where records come from.
    pub source: Source,
    /// Where schemas are that records name by an id; none: such records are refused.
    pub registry: Option<Registry>,
    /// How the records are to be read.
    pub records: Options,
    /// The transform's file; none is the built-in one.
    pub transform: Option<PathBuf>,
    /// Whether that file is watched, and what it becomes is run.
    pub watch: bool,
    /// What the transform must be.
    pub origin: Policy,
    /// Who compiles the transform.
    pub compiler: Compiler,
    /// Parameters of the transform, each name once, in the order of their layers.
    pub params: Named,
    /// Where transforms are kept that ranges were sealed by; none: nowhere.
    pub state_dir: Option<PathBuf>,
    /// What happens when the transform that sealed a range is gone.
    pub pin: Pin,
    /// The settings above and below that decide what rows a record makes, as texts.
    pub deciding: Deciding,
    /// Where rows go.
    pub sink: Sink,
    /// Where records go that cannot be processed.
    pub dead_letters: DeadLetters,
    /// Whether a row is kept of each range.
    pub audit: Audit,
    /// What a truncate of a source table does to the outputs with a key that it feeds.
    pub truncate: Truncate,
    /// What happens when rows have columns that their table lacks, or is too narrow for.
    pub schema_changes: SchemaChanges,
    /// When to stop.
    pub bounds: Bounds,
    /// What closes a batch.
    pub batch: BatchLimits,
    /// What a transform may use.
    pub limits: SandboxLimits,
    /// What becomes of values that do not fit.
    pub policies: Policies,
    /// Whether errors and reasons show the beginning of values.
    pub log_values: bool,
    /// Print each record consumed and each row written.
    pub print: bool,
    /// How many of the table's last rows to print at the end.
    pub show_last: u64,
    /// Neither insert nor commit.
    pub dry_run: bool,
    /// Form of the logs.
    pub log_format: LogFormat,
}

impl Settings {
    /// Whether the run ends by itself.
    pub fn is_bounded(&self) -> bool {
        matches!(self.source, Source::Lines { .. }) || self.bounds.any()
    }

    /// Whether standard output carries rows. What else would stand there goes to standard error then.
    pub fn rows_on_stdout(&self) -> bool {
        matches!(self.sink, Sink::Lines { path: None })
    }
}

/// Where records come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Topics of Kafka.
    Kafka(Kafka),
    /// JSON lines.
    Lines {
        /// The file; none is standard input.
        path: Option<PathBuf>,
    },
}

/// Topics of Kafka, and how to read them.
#[derive(Debug, Clone, PartialEq)]
pub struct Kafka {
    /// `host:port` of the brokers to start from; at least one.
    pub brokers: Vec<String>,
    /// At least one.
    pub topics: Vec<TopicPattern>,
    /// The consumer group.
    pub group: String,
    /// Properties of librdkafka, none of which the host sets itself.
    pub properties: Named,
    /// How the group shares partitions.
    pub protocol: GroupProtocol,
    /// Where a group without a position starts.
    pub start: Start,
    /// Inserts a second into one table, at most, by batches that are not full; at least 1.
    pub inserts_per_second: u32,
}

/// A schema registry, and how to reach it.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// The root of its API: http or https, without credentials, query or fragment.
    pub url: reqwest::Url,
    /// How records name their schemas.
    pub framing: Framing,
    /// Who the host is.
    pub credentials: Credentials,
    /// Certificates in PEM, besides those of the system, that the registry's may be signed with.
    pub ca: Option<String>,
}

/// Who the host is to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    None,
    /// A user with a password.
    Basic(String, Secret),
    /// The bearer of a token.
    Bearer(Secret),
}

impl Credentials {
    /// The header `Authorization`; it is a secret.
    pub fn header(&self) -> Option<String> {
        match self {
            Credentials::None => None,
            Credentials::Basic(user, password) => {
                Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose()))))
            }
            Credentials::Bearer(token) => Some(format!("Bearer {}", token.expose())),
        }
    }
}

/// Which topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicPattern {
    /// The topic of this name.
    Name(String),
    /// All topics that match, `^` and `$` included: a POSIX extended regular expression, as librdkafka
    /// takes it in a subscription.
    Regex(String),
}

impl TopicPattern {
    /// As librdkafka wants it in a subscription.
    pub fn as_str(&self) -> &str {
        match self {
            TopicPattern::Name(text) | TopicPattern::Regex(text) => text,
        }
    }
}

/// How a group shares partitions among its members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupProtocol {
    /// The members agree by themselves, and say at the start how.
    #[default]
    Classic,
    /// The brokers decide (KIP-848).
    Consumer,
}

/// Where a group without a position starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first record that there is.
    #[default]
    Earliest,
    /// After the last one.
    Latest,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq)]
pub enum Sink {
    /// Tables of ClickHouse.
    ClickHouse(ClickHouse),
    /// JSON lines.
    Lines {
        /// The file; none is standard output.
        path: Option<PathBuf>,
    },
}

/// Tables of ClickHouse, and how to reach them.
#[derive(Debug, Clone, PartialEq)]
pub struct ClickHouse {
    /// Its HTTP interface: http or https, without credentials, query or fragment.
    pub url: reqwest::Url,
    /// The database of the tables.
    pub database: String,
    /// The user.
    pub user: String,
    /// The user's password; may be empty.
    pub password: Secret,
    /// The file that it was read from.
    pub password_file: Option<PathBuf>,
    /// The table for outputs that name none; none: the source table's name.
    pub table: Option<String>,
    /// Compression of inserts.
    pub compression: Compression,
}

/// Where records go that cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeadLetters {
    /// A ClickHouse table, of the sink's database.
    Table(String),
    /// A Kafka topic, at the source's brokers.
    Topic(String),
    /// A file of JSON lines.
    File(PathBuf),
    /// Nowhere: the pipeline stops.
    #[default]
    Stop,
}

/// Whether a row of counters is kept of each range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audit {
    /// No.
    #[default]
    None,
    /// In a ClickHouse table, of the sink's database.
    Table,
}

/// What a truncate of a source table does to the outputs with a key that it feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Truncate {
    /// The pipeline stops before it.
    #[default]
    Stop,
    /// Nothing; it is counted and logged.
    Ignore,
    /// The rows that came before it leave their tables.
    Truncate,
}

/// What happens when rows have columns that their table lacks, or is too narrow for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaChanges {
    /// Columns are added, and widened where nothing is lost.
    #[default]
    Add,
    /// Columns that the table lacks are left out of the rows.
    Ignore,
    /// The pipeline stops.
    Stop,
}

/// What happens when the transform that sealed a range is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pin {
    /// The one that there is finishes the range, which is said and counted.
    #[default]
    Prefer,
    /// The pipeline stops.
    Strict,
}

/// When to stop. Whatever comes first ends the run; without any it goes on until a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// After this time.
    pub for_: Option<Duration>,
    /// After this many records; at least 1.
    pub max_records: Option<u64>,
    /// At the end that the topics had at the start.
    pub until_caught_up: bool,
}

impl Bounds {
    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.for_.is_some() || self.max_records.is_some() || self.until_caught_up
    }
}

/// What closes a batch: whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records; 1 to 500,000.
    pub rows: u32,
    /// Bytes of keys and values; 1 KiB to 64 MiB. A record that is larger alone makes a batch.
    pub bytes: u32,
    /// Milliseconds since its first record; 1 to 60,000.
    pub linger_ms: u32,
}

/// What a transform may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SandboxLimits {
    /// MiB of linear memory that one instance may have; 1 to 4,096.
    pub memory_mib: u32,
    /// Fuel of a call, for each change that it carries.
    pub fuel_per_change: u64,
    /// Milliseconds of wall time of a call; 1 to 600,000.
    pub time_ms: u32,
}

/// Form of the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What the command line says: which other layers there are, and the settings of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// A file of variables.
    pub env_file: Option<PathBuf>,
    /// The flags.
    pub flags: Layer,
    /// Flags that make no sense.
    pub mistakes: Mistakes,
}

/// What the process finds around it, so that tests can say otherwise.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The environment.
    pub variables: Vec<(OsString, OsString)>,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Who compiles transforms.
    pub compiler: Compiler,
}

impl Surroundings {
    /// Those of this process, which is a host.
    pub fn of_process() -> Self {
        Self {
            variables: std::env::vars_os().collect(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            compiler: Compiler::ChildProcess,
        }
    }
}

/// The outcome of reading all layers.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What to run.
    pub settings: Settings,
    /// Each setting that counts, as text and with its origin.
    pub resolved: Layer,
    /// What is odd, but no mistake.
    pub warnings: Vec<String>,
}

/// Reads all layers and checks what they say together. Reads the files that they name, nothing else.
///
/// # Errors
/// All mistakes that there are.
pub fn load(request: &Request, surroundings: &Surroundings) -> Result<Loaded, Mistakes> {
    let mut mistakes = request.mistakes.clone();
    let mut warnings = Vec::new();
    let variables = &surroundings.variables;
    let named = |given: &Option<PathBuf>, flag: &str, variable: &str| match given {
        Some(path) => Some((path.clone(), Origin::Flag(flag.to_owned()))),
        None => env::path(variables, variable).map(|path| (path, Origin::Env(variable.to_owned()))),
    };

    let mut merged = Layer::defaults();
    if let Some((path, named_by)) = named(&request.config, "--config", keys::LAYER_VARIABLES[0]) {
        merged.overlay(file::layer(&path, named_by, &mut mistakes));
    }
    if let Some((path, named_by)) = named(&request.env_file, "--env-file", keys::LAYER_VARIABLES[1]) {
        merged.overlay(env::file_layer(&path, named_by, &mut mistakes, &mut warnings));
    }
    merged.overlay(env::layer(variables, &mut mistakes, &mut warnings));
    merged.overlay(request.flags.clone());
    if let (false, Some(key), Some(dir)) =
        (merged.has("state_dir"), keys::key("state_dir"), env::state_dir(variables))
    {
        merged.push(key, Item { name: None, text: dir, origin: Origin::Default });
    }
    validate::settings(merged, surroundings, mistakes, warnings)
}

impl Settings {
    /// The same, but for the settings that decide rows: these as they were `then`.
    ///
    /// # Errors
    /// What this host does not understand, or cannot do with the rest of its settings.
    pub fn as_sealed(&self, then: &Deciding) -> Result<Settings, Mistakes> {
        validate::as_sealed(self, then)
    }

    /// The same, with other parameters for the transform.
    #[must_use]
    pub fn with_params(&self, params: Named) -> Settings {
        let deciding = self.deciding.with_params(&params);
        Settings { params, deciding, ..self.clone() }
    }
}

#[cfg(test)]
mod tests;
