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
pub mod tables;

mod env;
mod file;
mod kafka;
mod tenants;
mod validate;
mod values;

use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use crate::clickhouse::policy::{OutOfRange, Policies, Unavailable};
pub use crate::clickhouse::request::Compression;
pub use crate::debezium::options::{Options, Tombstones};
pub use crate::debezium::registry::Framing;
use crate::oci::Remote;
use crate::origin::Policy;
pub use crate::tenant::Budget;
use crate::transform::compile::{Cache, Compiler, Compiling};
pub use crate::transform::limits::{SandboxLimits, SandboxProfile};
use base64::prelude::{BASE64_STANDARD, Engine as _};
pub use deciding::Deciding;
pub use env::pair;
use layer::{Item, Layer, Origin};
use mistake::Mistakes;
use secret::{Named, Secret};
use tables::Tables;
use tenants::Around;
pub use values::{admin_url, duration};

/// Everything that a run needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Full name of the pipeline: letters, digits, `.`, `_`, `-`. With a tenant it begins with that one's and a dot.
    pub name: String,
    /// Whose it is; none where there are no tenants.
    pub tenant: Option<String>,
    /// Where records come from.
    pub source: Source,
    /// Where schemas are that records name by an id; none: such records are refused.
    pub registry: Option<Registry>,
    /// How the records are to be read.
    pub records: Options,
    /// Where the transform's component is.
    pub transform: Component,
    /// Whether its file is watched, and what it becomes is run.
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
    /// Which tables the transform may write to.
    pub tables: Tables,
    /// What the tenant may use; without tenants, the pipeline.
    pub budget: Budget,
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
    /// The admin interface; none: it is off.
    pub admin: Option<Admin>,
}

impl Settings {
    /// Whether the run ends by itself.
    pub fn is_bounded(&self) -> bool {
        matches!(self.source, Source::Lines { .. }) || self.bounds.any()
    }

    /// The pipeline's name without its tenant's.
    pub fn name_in_tenant(&self) -> &str {
        let rest = self
            .tenant
            .as_ref()
            .and_then(|tenant| self.name.strip_prefix(tenant.as_str())?.strip_prefix('.'));
        rest.unwrap_or(&self.name)
    }

    /// Whether standard output carries rows. What else would stand there goes to standard error then.
    pub fn rows_on_stdout(&self) -> bool {
        matches!(self.sink, Sink::Lines { path: None })
    }

    /// Who compiles its transforms, and where their native code is kept.
    pub fn compiling(&self) -> Compiling {
        Compiling { compiler: self.compiler, cache: Cache::new(self.state_dir.as_deref()) }
    }
}

/// Where a transform's component is.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Component {
    /// In the host.
    #[default]
    BuiltIn,
    /// In a file.
    File(PathBuf),
    /// In an OCI registry.
    Registry(Box<Remote>),
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Component::BuiltIn => f.write_str("built in"),
            Component::File(path) => write!(f, "{}", path.display()),
            Component::Registry(remote) => write!(f, "{}", remote.reference),
        }
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
    /// Milliseconds since the partition's batch before it was closed; 1 to 60,000.
    pub linger_ms: u32,
}

/// Where the admin interface is, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// An address of this machine. Beyond the loopback there are tokens.
    pub listen: SocketAddr,
    /// The file of the tokens that it lets in; none: everybody on this machine.
    pub tokens_file: Option<PathBuf>,
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

/// What there is to run.
#[derive(Debug, Clone)]
pub enum Configured {
    /// One pipeline: of a file without tenants, or the one of them that `name` chooses.
    One(Box<Loaded>),
    /// All pipelines of all tenants, in the order of the file; and what is odd, once.
    Many(Vec<Loaded>, Vec<String>),
}

impl Configured {
    /// All that would run.
    pub fn pipelines(&self) -> &[Loaded] {
        match self {
            Configured::One(loaded) => std::slice::from_ref(&**loaded),
            Configured::Many(all, _) => all,
        }
    }

    /// Whether there are tenants, and none of their pipelines is chosen.
    pub fn is_many(&self) -> bool {
        matches!(self, Configured::Many(..))
    }

    /// What is odd, but no mistake.
    pub fn warnings(&self) -> &[String] {
        match self {
            Configured::One(loaded) => &loaded.warnings,
            Configured::Many(_, warnings) => warnings,
        }
    }
}

/// Reads all layers and checks what they say together. Reads the files that they name, nothing else.
///
/// # Errors
/// All mistakes that there are.
pub fn load(request: &Request, surroundings: &Surroundings) -> Result<Configured, Mistakes> {
    let mut mistakes = request.mistakes.clone();
    let mut warnings = Vec::new();
    let variables = &surroundings.variables;
    let named = |given: &Option<PathBuf>, flag: &str, variable: &str| match given {
        Some(path) => Some((path.clone(), Origin::Flag(flag.to_owned()))),
        None => env::path(variables, variable).map(|path| (path, Origin::Env(variable.to_owned()))),
    };

    let file = named(&request.config, "--config", keys::LAYER_VARIABLES[0])
        .map(|(path, named_by)| file::read(&path, named_by, &mut mistakes))
        .unwrap_or_default();
    let mut above = Layer::default();
    if let Some((path, named_by)) = named(&request.env_file, "--env-file", keys::LAYER_VARIABLES[1]) {
        above.overlay(env::file_layer(&path, named_by, &mut mistakes, &mut warnings));
    }
    above.overlay(env::layer(variables, &mut mistakes, &mut warnings));
    above.overlay(request.flags.clone());
    let state_dir = env::state_dir(variables);
    let state_dir = state_dir.map(|text| Item { name: None, text, origin: Origin::Default });
    let chosen = above.items("name").last().cloned();
    let around = Around { above, state_dir, surroundings };
    let loaded = match (file.tenants.is_some(), chosen) {
        (false, _) => {
            let mut layer = Layer::defaults();
            layer.overlay(file.top);
            around.pipeline(layer, None, mistakes, warnings)
        }
        (true, Some(chosen)) => tenants::chosen(file, &around, &chosen, mistakes, warnings),
        (true, None) => {
            let all = tenants::all(file, &around, mistakes, &mut warnings)?;
            return Ok(Configured::Many(all, warnings));
        }
    };
    loaded.map(|loaded| Configured::One(Box::new(loaded)))
}

/// The same for what works on one pipeline.
///
/// # Errors
/// All mistakes that there are; that the file has tenants, and no pipeline of them is chosen.
pub fn load_one(request: &Request, surroundings: &Surroundings) -> Result<Loaded, Mistakes> {
    match load(request, surroundings)? {
        Configured::One(loaded) => Ok(*loaded),
        Configured::Many(all, _) => {
            let names: Vec<&str> = all.iter().map(|loaded| loaded.settings.name.as_str()).collect();
            let mut mistakes = Mistakes::default();
            let what = format!("the file has tenants: choose a pipeline ({})", tenants::listed(&names));
            mistakes.at(Origin::Flag("--name".to_owned()), what);
            Err(mistakes)
        }
    }
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
