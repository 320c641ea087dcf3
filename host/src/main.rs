//! Arguments, then what they ask for, then an exit code.

fn main() -> std::process::ExitCode {
    host::cli::main(std::env::args_os())
}
