//! The words of the commands that ask a running host.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command as Clap, value_parser};
use jiff::{Span, Timestamp};
use reqwest::Url;

use super::deploy::Purpose;
use super::{Command, Verb};
use crate::config::keys::{ADMIN_TOKEN, ADMIN_TOKEN_FILE, ADMIN_URL};
use crate::config::secret::Secret;

/// Where a host listens that was started as the documentation says.
const DEFAULT_URL: &str = "http://127.0.0.1:8642";

/// Their definitions.
pub fn commands() -> Vec<Clap> {
    let pipeline = || {
        Arg::new("pipeline")
            .value_name("PIPELINE")
            .required(true)
            .help("NAME, or TENANT/NAME, as `ls` shows it")
    };
    let with = |name: &'static str, about: &'static str| {
        let token_file = "File with the token; without it the variable ROWGATE_ADMIN_TOKEN";
        Clap::new(name)
            .about(about)
            .arg(
                Arg::new("admin")
                    .long("admin")
                    .value_name("URL")
                    .env(ADMIN_URL)
                    .default_value(DEFAULT_URL)
                    .value_parser(crate::config::admin_url)
                    .help("The host's admin interface"),
            )
            .arg(
                Arg::new("token_file")
                    .long("token-file")
                    .value_name("FILE")
                    .env(ADMIN_TOKEN_FILE)
                    .value_parser(value_parser!(PathBuf))
                    .help(token_file),
            )
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Show it as JSON"))
    };
    let file = Arg::new("file").value_name("FILE").required(true).value_parser(value_parser!(PathBuf));
    let file = file.help("A WebAssembly component; its signature is FILE.minisig, where there is one");
    let to = Arg::new("to").long("to").value_name("DIGEST");
    let to = to.help("The beginning of its digest; without it the one that ran last before this one");
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let since = Arg::new("since")
        .long("since")
        .value_name("TIME")
        .value_parser(|text: &str| time(text, Timestamp::now()))
        .help("From this time on: 2026-01-31T12:00:00Z, or 2h (ago)");
    let follow = Arg::new("follow").short('f').long("follow").action(ArgAction::SetTrue);
    vec![
        with("ls", "List the pipelines of a running host, and what they are at"),
        with("ready", "Tell whether a running host is ready: exit 0, or 3"),
        with("deploy", "Have another component make a pipeline's rows, from its next batch on")
            .arg(pipeline())
            .arg(file)
            .arg(switch("check", "Only check that it could: nothing changes").conflicts_with("try"))
            .arg(switch("try", "Show what it would make of the last records: nothing is written")),
        with("rollback", "Go back to a transform that ran before").arg(pipeline()).arg(to),
        with("pause", "Let a pipeline drain and stop, until it is resumed").arg(pipeline()),
        with("resume", "Start a pipeline again that is paused, has failed or ended").arg(pipeline()),
        with("logs", "Show what a pipeline and its transform logged last")
            .arg(pipeline())
            .arg(since)
            .arg(follow.help("Go on with what comes")),
    ]
}

/// Reads one of them; none: it is another command.
///
/// # Errors
/// A file with a token that cannot be read.
pub fn parse(name: &str, matches: &ArgMatches) -> Result<Option<Command>, clap::Error> {
    let pipeline = || matches.get_one::<String>("pipeline").cloned().unwrap_or_default();
    let verb = match name {
        "ls" => Verb::Ls,
        "ready" => Verb::Ready,
        "deploy" => Verb::Deploy {
            pipeline: pipeline(),
            file: matches.get_one::<PathBuf>("file").cloned().unwrap_or_default(),
            purpose: match (matches.get_flag("check"), matches.get_flag("try")) {
                (true, _) => Purpose::Check,
                (_, true) => Purpose::Try,
                _ => Purpose::Run,
            },
        },
        "rollback" => Verb::Rollback { pipeline: pipeline(), to: matches.get_one::<String>("to").cloned() },
        "pause" => Verb::Pause(pipeline()),
        "resume" => Verb::Resume(pipeline()),
        "logs" => Verb::Logs {
            pipeline: pipeline(),
            since: matches.get_one("since").copied(),
            follow: matches.get_flag("follow"),
        },
        _ => return Ok(None),
    };
    let token = match matches.get_one::<PathBuf>("token_file") {
        Some(path) => Some(read(path)?),
        None => std::env::var(ADMIN_TOKEN).ok().filter(|token| !token.is_empty()).map(Secret::new),
    };
    let admin = matches.get_one::<Url>("admin").cloned();
    let admin = admin.ok_or_else(|| clap::Error::new(ErrorKind::MissingRequiredArgument))?;
    Ok(Some(Command { verb, admin, token, json: matches.get_flag("json") }))
}

fn read(path: &Path) -> Result<Secret, clap::Error> {
    std::fs::read_to_string(path).map(|text| Secret::of_file(&text)).map_err(|error| {
        let what = format!("cannot read the token of `{}`: {error}\n", path.display());
        clap::Error::raw(ErrorKind::Io, what)
    })
}

/// A time, or how long ago it was.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let ago = crate::config::duration(text)
        .map_err(|_| "neither a time such as 2026-01-31T12:00:00Z nor a time ago such as 2h".to_owned())?;
    let ago = Span::new().try_milliseconds(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX));
    ago.and_then(|ago| now.checked_sub(ago)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_by_the_clock_or_by_how_long_ago_they_were() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (text, time) in
            [("2026-01-31T10:00:00Z", "2026-01-31T10:00:00Z"), ("90m", "2026-01-31T10:30:00Z")]
        {
            assert_eq!(super::time(text, now).unwrap(), time.parse().unwrap(), "{text}");
        }
        assert!(super::time("yesterday", now).is_err());
    }
}
