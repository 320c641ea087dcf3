//! Arguments, then what they ask for, then an exit code.

use std::process::ExitCode;

use host::config::Surroundings;
use host::{cli, error, telemetry};

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        // Help and version go to standard output and exit 0, wrong usage to standard error and exit 2.
        Err(error) => error.exit(),
    };
    match cli::execute(&invocation, &Surroundings::of_process()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            telemetry::last_words(&error);
            error::exit_of(&error).into()
        }
    }
}
