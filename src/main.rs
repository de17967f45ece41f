use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(certd::cli::main(std::env::args_os()))
}
