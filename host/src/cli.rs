//! The command line: what may stand on it, and what each command does. One file a command.
//!
//! `host` alone is `host run`. The flags of the settings follow from [`crate::config::keys`]; they may stand
//! before a command or after it.

pub mod dlq;
pub mod last_rows;
pub mod run;
pub mod summary;

mod args;
mod compile_worker;
mod config_show;
mod doctor;
mod inspect;
mod offsets;
mod remote;
mod token;
mod validate;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::ArgMatches;

use crate::config::{self, Configured, Loaded, Request, Surroundings};
use crate::error::{self, Classify};
use crate::heap;
use crate::origin::Key;
use crate::telemetry;
use crate::transform::compile::CompileLimits;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// What to do.
    pub command: Command,
    /// The settings it gives.
    pub request: Request,
    /// The count of `-v` less that of `-q`; none where neither is given.
    pub verbosity: Option<i8>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Consume, transform, write.
    Run,
    /// Check the configuration and the transform, without any connection.
    Validate,
    /// Check everything that the configuration names, by asking it.
    Doctor {
        /// As JSON.
        json: bool,
    },
    /// Tell what a file is.
    Inspect {
        /// The file.
        file: PathBuf,
        /// Keys of which one is to have signed it.
        keys: Vec<Key>,
        /// As JSON.
        json: bool,
    },
    /// Compile a component, as a child process of the host.
    CompileWorker(CompileLimits),
    /// Look at dead letters, process them again, or put them aside.
    Dlq(Box<dlq::Command>),
    /// Show the settings and where they come from.
    ConfigShow {
        /// As JSON.
        json: bool,
    },
    /// Look at the group's positions, or move them.
    Offsets(offsets::Action),
    /// Ask a running host.
    Remote(Box<remote::Command>),
    /// Make a token for the admin interface.
    TokenNew(token::New),
}

impl Command {
    /// Its name, where it reads no settings of the host.
    fn without_settings(&self) -> Option<&'static str> {
        match self {
            Command::Inspect { .. } => Some("inspect"),
            Command::Remote(_) => Some("commands that ask a running host"),
            Command::TokenNew(_) => Some("token new"),
            _ => None,
        }
    }
}

/// Reads the command line.
///
/// # Errors
/// Wrong usage, and the requests for help and version; clap shows each in its own way.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let root = args::command().try_get_matches_from(arguments)?;
    let mut levels = vec![&root];
    let mut path = Vec::new();
    while let Some((name, below)) = levels.last().and_then(|level| level.subcommand()) {
        path.push(name);
        levels.push(below);
    }
    let last = *levels.last().unwrap_or(&&root);
    let json = |matches: &ArgMatches| matches.get_flag("json");
    let command = match path.as_slice() {
        ["validate"] => Command::Validate,
        ["doctor"] => Command::Doctor { json: json(last) },
        ["inspect"] => {
            let file = last.get_one::<PathBuf>("file").cloned().unwrap_or_default();
            let keys = last.get_many::<Key>("key").into_iter().flatten().cloned().collect();
            Command::Inspect { file, keys, json: json(last) }
        }
        ["compile-worker"] => Command::CompileWorker(args::compile_limits(last)),
        ["dlq", action] => Command::Dlq(Box::new(dlq::parse(action, last)?)),
        ["config", "show"] => Command::ConfigShow { json: json(last) },
        ["offsets", "show"] => Command::Offsets(offsets::Action::Show { json: json(last) }),
        ["offsets", change] => Command::Offsets(offsets::Action::of(change, last)),
        ["token", "new"] => Command::TokenNew(token::New::of(last)),
        [name] => {
            remote::parse(name, last)?.map_or(Command::Run, |command| Command::Remote(Box::new(command)))
        }
        _ => Command::Run,
    };
    let request = args::request(&levels);
    if let (Some(name), Some(origin)) = (command.without_settings(), request.flags.first_origin()) {
        let message = format!("{origin} says nothing to `{name}`\n");
        return Err(args::command().error(clap::error::ErrorKind::ArgumentConflict, message));
    }
    Ok(Invocation { command, request, verbosity: args::verbosity(last) })
}

/// The whole program: reads `arguments`, the program's name first, does what they ask for, and says how it ended.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    heap::keep_small();
    let invocation = match parse(arguments) {
        Ok(invocation) => invocation,
        // Help and version go to standard output and exit 0, wrong usage to standard error and exit 2.
        Err(error) => error.exit(),
    };
    match execute(&invocation, &Surroundings::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words(&error);
            error::exit_of(&error).into()
        }
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// Whatever went wrong, marked with the exit code that it calls for.
pub fn execute(invocation: &Invocation, surroundings: &Surroundings) -> anyhow::Result<()> {
    match &invocation.command {
        Command::Run => match load(invocation, surroundings)? {
            Configured::One(loaded) => run::run(*loaded, invocation.verbosity),
            Configured::Many(all, warnings) => run::run_all(all, &warnings, invocation.verbosity),
        },
        Command::Validate => validate::validate(&load(invocation, surroundings)?),
        Command::Doctor { json } => doctor::doctor(&load(invocation, surroundings)?, *json),
        Command::Inspect { file, keys, json } => inspect::inspect(file, keys, *json),
        Command::CompileWorker(limits) => compile_worker::compile_worker(*limits),
        Command::Offsets(action) => {
            offsets::execute(&load_one(invocation, surroundings)?, action, invocation.verbosity)
        }
        Command::Dlq(command) => dlq::run(command, load_one(invocation, surroundings)?, invocation.verbosity),
        Command::Remote(command) => remote::run(command),
        Command::TokenNew(new) => token::new(new),
        Command::ConfigShow { json } => config_show::show(&load(invocation, surroundings)?, *json),
    }
}

fn load(invocation: &Invocation, surroundings: &Surroundings) -> anyhow::Result<Configured> {
    config::load(&invocation.request, surroundings).usage()
}

/// For commands that work on one pipeline.
fn load_one(invocation: &Invocation, surroundings: &Surroundings) -> anyhow::Result<Loaded> {
    config::load_one(&invocation.request, surroundings).usage()
}

/// Writes a result to standard output. A reader that has gone away is no fault of ours.
fn show(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("cannot write to standard output").environment(),
    }
}

fn warn(warnings: &[String]) {
    warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
}

#[cfg(test)]
mod tests;
