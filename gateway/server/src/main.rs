//! The command line's entry: reads the words, runs the command, ends with its code.

use std::process::ExitCode;

use clap::Parser;
use jumpgate::cli::{Command, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The heap of thousands of idle connections has holes, and a huge page is there as a whole:
    // with them 11,000 took half as much again. Where this is refused, it is the machine's way.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
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
