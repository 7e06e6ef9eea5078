//! The command line's entry: reads the words, runs the command, ends with its code.

use std::process::ExitCode;

use clap::Parser;
use jumpgate::cli::{Command, run};

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("jumpgate: {error}");
            let mut cause = error.source();
            while let Some(source) = cause {
                eprintln!("  because: {source}");
                cause = source.source();
            }
            ExitCode::FAILURE
        }
    }
}
