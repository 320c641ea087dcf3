//! The process that is attacked. It says on standard output which component it tries, and how that ended; where it
//! dies, the last one that it named has killed it.

use std::time::{Duration, Instant};

use host::config::SandboxLimits;
use host::transform::compile::{Cache, Compiler, Compiling};
use host::transform::sandbox::Sandbox;
use serde_json::{Value, json};

use crate::grown::FAMILIES;
use crate::meter::{peak_kib, reset_peak, resident_kib};
use crate::neighbour::{Neighbour, Phase};
use crate::table::ATTACKS;
use crate::trial::{Changes, End, load};

/// Tries the components of a family from the number `from` on: known attacks, or those that grow out of the seeds
/// `seed`, `seed + 1`, ... up to `count`. A known attack goes on for `window`, after as long without one.
///
/// # Errors
/// A family that there is not.
pub fn work(family: &str, from: usize, count: usize, seed: u64, window: Duration) -> Result<(), String> {
    let compiling = Compiling { compiler: Compiler::ChildProcess, cache: Cache::default() };
    let sandbox = Sandbox::alone(compiling).map_err(|error| format!("{error:#}"))?;
    if family == "known" {
        return known(&sandbox, from, count, window);
    }
    let (_, grown) =
        FAMILIES.iter().find(|(name, _)| *name == family).ok_or_else(|| format!("no family `{family}`"))?;
    for number in from..count {
        let seed = seed + number as u64;
        say("try", &json!({"number": number, "name": format!("{family} {seed}")}));
        let component = grown.component(seed).map_err(|error| format!("{error:#}"))?;
        let measured = Measured::begin();
        let end = match load(&sandbox, &component, None, SandboxLimits::default()) {
            Err(reason) if reason.contains("too expensive to compile") => "too costly",
            Err(_) => "refused",
            Ok(transform) => match Changes::new(2).through(&transform) {
                End::Ran { reasons, .. } if reasons.is_empty() => "passed",
                _ => "failed",
            },
        };
        say("end", &measured.end(end));
    }
    Ok(())
}

fn known(sandbox: &Sandbox, from: usize, count: usize, window: Duration) -> Result<(), String> {
    let neighbour = Neighbour::start(sandbox);
    for (number, attack) in ATTACKS.iter().enumerate().take(count).skip(from) {
        say("try", &json!({"number": number, "name": attack.name}));
        let component = attack.component();
        let measured = Measured::begin();
        let loaded = load(sandbox, &component, Some(attack.name), SandboxLimits::default());
        let end = match &loaded {
            Err(_) => measured.end("refused"),
            Ok(transform) => {
                neighbour.say(Phase::Quiet);
                std::thread::sleep(window);
                neighbour.say(Phase::Attack);
                let changes = Changes::new(2);
                let begin = Instant::now();
                while begin.elapsed() < window {
                    changes.through(transform);
                }
                neighbour.say(Phase::Between);
                measured.end("ran")
            }
        };
        say("end", &end);
    }
    let delay = neighbour.end();
    let (quiet, attack) = (delay.quiet.as_micros() as u64, delay.attack.as_micros() as u64);
    say("neighbour", &json!({"quiet_us": quiet, "attack_us": attack, "batches": delay.batches}));
    Ok(())
}

struct Measured {
    before_kib: u64,
    begin: Instant,
}

impl Measured {
    fn begin() -> Self {
        reset_peak();
        Measured { before_kib: resident_kib(), begin: Instant::now() }
    }

    fn end(self, end: &str) -> Value {
        let rise_kib = peak_kib().saturating_sub(self.before_kib);
        json!({"end": end, "rise_kib": rise_kib, "ms": self.begin.elapsed().as_millis() as u64})
    }
}

fn say(what: &str, value: &Value) {
    println!("{what} {value}");
}
