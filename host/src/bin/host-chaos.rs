//! The host, with faults that tests put into it; see `chaos.rs`.

fn main() -> std::process::ExitCode {
    host::cli::main(std::env::args_os())
}
