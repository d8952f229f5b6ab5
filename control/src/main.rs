//! The program `truemute`: see [`truemute::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    truemute::cli::main()
}
