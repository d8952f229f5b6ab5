//! Writes what a package has beside the program, from its own command line: `generate completions FOLDER` for shells,
//! `generate man FOLDER` manual pages.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::Shell;
use truemute::cli;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["completions", folder] => completions(Path::new(folder)),
        ["man", folder] => clap_mangen::generate_to(cli::command(), folder),
        _ => {
            eprintln!("usage: generate completions|man FOLDER");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write: {error}. Check that the folder exists.");
            ExitCode::FAILURE
        }
    }
}

fn completions(folder: &Path) -> io::Result<()> {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut cli::command(), "truemute", folder)?;
    }
    Ok(())
}
