//! Attacks a host's process with components of all families, and says what that did: `make hostile`.
//!
//! The components are tried in a process of its own, so that one that kills it is counted and the rest goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use attacks::grown::FAMILIES;
use attacks::report::{Report, Tally};
use attacks::table::ATTACKS;
use attacks::worker;
use serde_json::Value;

/// A component that takes longer than this hangs the host: with what one may compute, the longest known takes 15 s.
const HANG: Duration = Duration::from_secs(120);

const USAGE: &str = "usage: attacks [--seed N] [--count N] [--window-ms N]
  --seed N       the first seed of components that are grown (1)
  --count N      so many of each family (1000); one bomb for fifty
  --window-ms N  how long each known attack goes on beside the neighbour (1000)";

/// What was asked for.
struct Options {
    seed: u64,
    count: usize,
    window_ms: u64,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // What is attacked compiles as a host does: in a child process of its own executable.
    if arguments.first().is_some_and(|first| first == "compile-worker") {
        return host::cli::main(std::env::args_os());
    }
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["worker", family, from, count, seed, window_ms] => work(family, [from, count, seed, window_ms]),
        _ => options(&arguments).and_then(|options| run(&options)),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: &[String]) -> Result<Options> {
    let mut options = Options { seed: 1, count: 1000, window_ms: 1000 };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { bail!("{USAGE}") };
        let value: u64 = value.parse().with_context(|| format!("{name}: `{value}` is no number"))?;
        match name.as_str() {
            "--seed" => options.seed = value,
            "--count" => options.count = value as usize,
            "--window-ms" => options.window_ms = value,
            _ => bail!("{USAGE}"),
        }
    }
    Ok(options)
}

fn work(family: &str, numbers: [&str; 4]) -> Result<bool> {
    let [from, count, seed, window_ms] = numbers.map(|text| text.parse::<u64>().unwrap_or_default());
    worker::work(family, from as usize, count as usize, seed, Duration::from_millis(window_ms))
        .map_err(anyhow::Error::msg)?;
    Ok(true)
}

/// True: nothing is wrong.
fn run(options: &Options) -> Result<bool> {
    println!("seeds from {}", options.seed);
    let mut report = Report::default();
    let grown = FAMILIES.iter().map(|(name, family)| (*name, family.share(options.count)));
    for (family, count) in [("known", ATTACKS.len())].into_iter().chain(grown) {
        report.families.push((family.to_owned(), Tally::default()));
        let mut from = 0;
        let begin = Instant::now();
        while from < count {
            from = attack(family, from, count, options, &mut report)?;
        }
        eprintln!("{family}: {count} tried in {} s", begin.elapsed().as_secs());
    }
    print!("{report}");
    let faults = report.faults();
    faults.iter().for_each(|fault| println!("fault: {fault}"));
    Ok(faults.is_empty())
}

/// Has one process try components from `from` on; returns the number of the first that it has not tried.
fn attack(family: &str, from: usize, count: usize, options: &Options, report: &mut Report) -> Result<usize> {
    let numbers =
        [from as u64, count as u64, options.seed, options.window_ms].map(|number| number.to_string());
    let mut child = Command::new(std::env::current_exe().context("this program's path")?)
        .args(["worker", family])
        .args(numbers)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the process that is attacked")?;
    let lines = lines(&mut child);
    let mut trying: Option<(usize, String)> = None;
    loop {
        let line = match lines.recv_timeout(HANG) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().context("ending a process that hangs")?;
                break;
            }
        };
        let Some((what, value)) = line.split_once(' ') else { continue };
        let Ok(value) = serde_json::from_str::<Value>(value) else { continue };
        match what {
            "try" => trying = Some((number(&value, "number") as usize, text(&value, "name"))),
            "neighbour" => {
                let of = |name| number(&value, name);
                report.neighbour = Some((of("quiet_us"), of("attack_us"), of("batches")));
            }
            _ => {
                let (_, name) = trying.take().context("an end without a beginning")?;
                count_end(report, &value, name);
            }
        }
    }
    let status = child.wait().context("the end of the process that is attacked")?;
    match trying {
        // It ends well only with nothing in hand, and with everything tried.
        Some((number, name)) => {
            report.crashes.push(format!("{name}: {status}"));
            Ok(number + 1)
        }
        None if status.success() => Ok(count),
        None => bail!("the process that is attacked: {status}"),
    }
}

fn count_end(report: &mut Report, value: &Value, name: String) {
    let Some((_, tally)) = report.families.last_mut() else { return };
    *tally.ends.entry(text(value, "end")).or_default() += 1;
    tally.tried += 1;
    tally.slowest_ms = tally.slowest_ms.max(number(value, "ms"));
    tally.worst = tally.worst.clone().max((number(value, "rise_kib"), name));
}

fn number(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn lines(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    if let Some(out) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    lines
}
