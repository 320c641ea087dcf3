//! The flags, made from the table of settings, and back from flags to a layer.

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::offsets::Target;
use super::{dlq, remote, token};
use crate::config::keys::{Default, Form, KEYS, Key};
use crate::config::layer::{Item, Layer, Origin};
use crate::config::mistake::Mistakes;
use crate::config::{Request, pair, secret};
use crate::origin;
use crate::source::kafka::offsets::To;
use crate::transform::compile::CompileLimits;

const ABOUT: &str =
    "Passes Debezium changes from Kafka through a WebAssembly transform and writes the rows to ClickHouse";

const LONG_ABOUT: &str = "\
Passes Debezium changes from Kafka through a WebAssembly transform and writes the rows to ClickHouse.

Without a bound (--for, --max-records, --until-caught-up, --input) it runs until SIGINT or SIGTERM; the first \
one drains, the second ends it at once. Flags win over the environment (ROWGATE_...), the environment over the \
file (--config), the file over the defaults.";

const EXAMPLES: &str = "\
Examples:
  host --transform update_only.wasm --topic shop.public.orders
  host -t rule.wasm --topic '^shop[.]public[.].*$' --until-caught-up --print
  host -t rule.wasm --input changes.ndjson --output -
  host -c pipeline.yaml config show
  host -c pipeline.yaml doctor
  host -c pipeline.yaml dlq ls
  host inspect rule.wasm
  host -c pipeline.yaml offsets show
  host ls --admin http://127.0.0.1:8642

Settings without a flag (password, registry.*, limits.*) go into the file or the environment.

Exit codes: 0 done or drained; 1 internal fault; 2 wrong usage or configuration, a component or a table
that does not fit, a truncate or schema change that needs a decision; 3 something unreachable, refused or
taken; 4 a record cannot be processed, and dead_letters says stop, or a dead letter fails again;
130, 143 second signal.";

/// Arguments of `compile-worker`.
const MEMORY_MIB: &str = "memory-mib";
const CPU_S: &str = "cpu-s";
const CODE_MIB: &str = "code-mib";

/// The whole command line.
pub fn command() -> Command {
    let verbose =
        Arg::new("verbose").short('v').action(ArgAction::Count).global(true).help("Say more; repeatable");
    let quiet =
        Arg::new("quiet").short('q').action(ArgAction::Count).global(true).help("Say less; repeatable");
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue).help("Show it as JSON");
    let show =
        Command::new("show").about("Show the settings and where each comes from; secrets are left out");
    let file =
        Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(std::path::PathBuf));
    let key = Arg::new("key")
        .long("key")
        .value_name("KEY")
        .action(ArgAction::Append)
        .value_parser(origin::Key::parse);
    with_settings(Command::new("host"))
        .bin_name("host")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(EXAMPLES)
        .arg(verbose.long("verbose"))
        .arg(quiet.long("quiet"))
        .subcommand(with_settings(Command::new("run").about("Consume, transform, write (the default)")))
        .subcommand(with_settings(
            Command::new("validate")
                .about("Check the configuration and the transform, without any connection"),
        ))
        .subcommand(
            with_settings(Command::new("doctor").about(
                "Check Kafka, ClickHouse and all else that the configuration names; tell what is guaranteed where",
            ))
            .arg(json()),
        )
        .subcommand(
            Command::new("inspect")
                .about("Tell what a component is: contract, imports, exports, size, digest, signature")
                .arg(file.help("A WebAssembly component"))
                .arg(key.help("Public key of minisign that its signature, FILE.minisig, is checked by; repeatable"))
                .arg(json()),
        )
        .subcommand(offsets())
        .subcommand(compile_worker())
        .subcommand(
            Command::new("config")
                .about("Look at the configuration")
                .subcommand_required(true)
                .subcommand(with_settings(show).arg(json())),
        )
        .subcommand(dlq::command(with_settings_but))
        .subcommands(remote::commands())
        .subcommand(token::command())
}

/// What the host starts to compile a component.
fn compile_worker() -> Command {
    let number =
        |name: &'static str| Arg::new(name).long(name).required(true).value_parser(value_parser!(u32));
    Command::new("compile-worker").hide(true).args([MEMORY_MIB, CPU_S, CODE_MIB].map(number))
}

/// The limits of `compile-worker`.
pub fn compile_limits(matches: &ArgMatches) -> CompileLimits {
    let number = |name: &str| matches.get_one::<u32>(name).copied().unwrap_or_default().into();
    CompileLimits { memory_mib: number(MEMORY_MIB), cpu_s: number(CPU_S), code_mib: number(CODE_MIB) }
}

fn offsets() -> Command {
    let partition = Arg::new("place").value_name("TOPIC/PARTITION").required(true);
    let to = Arg::new("to").value_name("OFFSET").required(true).value_parser(To::parse);
    let change = |command: Command| {
        let reason = Arg::new("reason").long("reason").value_name("TEXT").default_value("");
        let yes = Arg::new("yes").long("yes").action(ArgAction::SetTrue);
        with_settings(command)
            .arg(reason.help("Why, for the record"))
            .arg(yes.help("Do it without asking; --dry-run only says what would be done"))
    };
    let show = Command::new("show")
        .about("Show where the group stands in each partition, and what is pending")
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Show it as JSON"));
    let set = Command::new("set")
        .about("Move positions; the group's hosts must be stopped. What is left out is recorded")
        .arg(
            partition
                .clone()
                .value_parser(Target::parse)
                .help("A partition, or a topic with all of its partitions"),
        )
        .arg(to.help("An offset, earliest or latest"));
    let skip = Command::new("skip")
        .about("Leave out what holds a partition up: records that are gone, or the range that is pending")
        .arg(partition.value_parser(Target::parse_partition).help("A partition"));
    Command::new("offsets")
        .about("Look at the positions of the pipeline's group, and move them")
        .subcommand_required(true)
        .subcommand(with_settings(show))
        .subcommand(change(set))
        .subcommand(change(skip))
}

fn with_settings(command: Command) -> Command {
    with_settings_but(command, &[])
}

/// The flags of the settings, but of those of these names: the command gives their flags another meaning.
fn with_settings_but(command: Command, others: &[&str]) -> Command {
    let path = |name: &'static str| {
        Arg::new(name).value_name("FILE").value_parser(value_parser!(std::path::PathBuf))
    };
    command
        .arg(
            path("config")
                .short('c')
                .long("config")
                .help("File with settings, in YAML")
                .long_help("File with settings, in YAML [env: ROWGATE_CONFIG]"),
        )
        .arg(
            path("env_file")
                .long("env-file")
                .help("File with variables, NAME=VALUE; the real environment wins over it")
                .long_help(
                    "File with variables, NAME=VALUE; the real environment wins over it [env: ROWGATE_ENV_FILE]",
                ),
        )
        .args(KEYS.iter().filter(|key| !others.contains(&key.name)).filter_map(arg))
}

fn arg(key: &'static Key) -> Option<Arg> {
    let flag = key.flag?;
    let mut arg =
        Arg::new(key.name).long(flag).value_name(key.value).help_heading(key.heading).help(key.about);
    let default = match key.default {
        Default::None => String::new(),
        Default::Text(text) | Default::Follows(text) => format!(" [default: {text}]"),
    };
    arg = arg.long_help(format!("{} [env: {}]{default}", key.about, key.variable()));
    if let Some(short) = key.short {
        arg = arg.short(short);
    }
    Some(match key.form {
        Form::Value => arg.action(ArgAction::Set),
        Form::List | Form::Map => arg.action(ArgAction::Append),
        // The flag alone says yes; `--print=false` takes back what a file says.
        Form::Switch => {
            arg.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    })
}

/// The count of `-v` less that of `-q`; none where neither is given.
pub fn verbosity(matches: &ArgMatches) -> Option<i8> {
    let given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    let count = |name: &str| i8::try_from(matches.get_count(name)).unwrap_or(i8::MAX);
    (given("verbose") || given("quiet")).then(|| count("verbose").saturating_sub(count("quiet")))
}

/// What the flags say, those of a command over those before it.
pub fn request(levels: &[&ArgMatches]) -> Request {
    let mut request = Request::default();
    for matches in levels {
        // Asking for a flag that a command does not have is an error of its own, unlike one not given.
        let path = |name: &str| matches.try_get_one::<std::path::PathBuf>(name).ok().flatten().cloned();
        request.config = path("config").or(request.config);
        request.env_file = path("env_file").or(request.env_file);
        let layer = layer(matches, &mut request.mistakes);
        request.flags.overlay(layer);
    }
    request
}

fn layer(matches: &ArgMatches, mistakes: &mut Mistakes) -> Layer {
    let mut layer = Layer::default();
    for key in KEYS {
        let Some(flag) = key.flag else { continue };
        let Ok(Some(values)) = matches.try_get_many::<String>(key.name) else { continue };
        let origin = Origin::Flag(
            key.short
                .filter(|_| key.form == Form::Map)
                .map_or(format!("--{flag}"), |short| format!("-{short}")),
        );
        for text in values {
            let (name, text) = match key.form {
                Form::Map => match pair(key, text) {
                    Ok((name, _)) if key.name == "kafka" && secret::is_secret(name) => {
                        mistakes.at(origin.clone(), on_the_command_line(name));
                        continue;
                    }
                    Ok((name, value)) => (Some(name.to_owned()), value),
                    Err(what) => {
                        mistakes.at(origin.clone(), what);
                        continue;
                    }
                },
                _ => (None, text.as_str()),
            };
            layer.push(key, Item { name, text: text.to_owned(), origin: origin.clone() });
        }
    }
    layer
}

fn on_the_command_line(name: &str) -> String {
    format!(
        "`{name}` is a secret, and other users can see command lines: put it under `kafka` in the file, or into ROWGATE_KAFKA"
    )
}
