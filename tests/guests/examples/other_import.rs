//! A transform that wants a clock.
#![allow(missing_docs, clippy::all)]

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package acme:clocked@1.0.0;

        interface clock {
            now: func() -> u64;
        }

        world clocked {
            import clock;
            export rowgate:transform/handler@0.1.0;
        }
    ",
    generate_all,
});

use exports::rowgate::transform::handler::{Answer, Batch, Plan, Table};

pub struct Clocked;

impl exports::rowgate::transform::handler::Guest for Clocked {
    fn configure(_: Vec<(String, String)>) -> Result<(), String> {
        match acme::clocked::clock::now() {
            0 => Err("it is too early".to_owned()),
            _ => Ok(()),
        }
    }

    fn prepare(_: Table) -> Result<Plan, String> {
        Err("there is nothing to prepare".to_owned())
    }

    fn apply(_: Batch) -> Result<Answer, String> {
        Err("there is nothing to apply".to_owned())
    }
}

#[cfg(target_arch = "wasm32")]
export!(Clocked);
