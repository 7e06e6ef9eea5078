//! The benchmark: `cargo run --release --bin jumpgate-bench`. README.md says what it measures and
//! how to read it.
//!
//! Starts the gateway, nginx and the departments as processes of their own on loopback, loads them
//! and prints what it saw. Asserts nothing but that every answer was right.

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use throughput::Contender;

mod client;
mod departments;
mod fixture;
mod flood;
mod gateway;
mod histogram;
mod load;
mod memory;
mod neighbours;
mod nginx;
mod process;
mod question;
mod reload;
mod throughput;

/// Measures the gateway on this machine.
#[derive(Debug, Parser)]
#[command(name = "jumpgate-bench")]
struct Arguments {
    /// What to measure.
    #[arg(long, value_enum, default_value = "throughput")]
    scenario: Scenario,
    /// Length of one measurement; half a second of warming up comes on top.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Measurements of each contender, interleaved; the median is printed.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// Keep-alive connections of the throughput scenario, each with one question at a time.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Contenders of the throughput scenario: a is Jumpgate, p the same with each
    /// answer waiting for its proof (over TLS), b nginx with Lua, c a bare nginx hop.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "a,b,c")]
    only: Vec<Contender>,
    /// Measure throughput with mutual TLS; with neither `--tls` nor `--clear`, both.
    #[arg(long)]
    tls: bool,
    /// Measure throughput without TLS.
    #[arg(long)]
    clear: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    /// Jumpgate, nginx with the same job by hand, nginx as a bare hop.
    Throughput,
    /// What one department's callers feel while another department hangs.
    Neighbours,
    /// What callers feel while the configuration is reloaded.
    Reload,
    /// What a million refusals leave in the query log.
    Flood,
    /// Memory with 10,000 idle connections and 1,000 questions in flight.
    Memory,
}

/// What the benchmark fails with: a sentence for whoever runs it.
type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("jumpgate-bench: wrong answers; the figures are worth nothing");
            ExitCode::FAILURE
        }
        Err(failure) => {
            let mut line = format!("jumpgate-bench: {failure}");
            let mut source = failure.source();
            while let Some(cause) = source {
                line.push_str(&format!(": {cause}"));
                source = cause.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

/// Says whether every answer was right.
fn run(arguments: &Arguments) -> Result<bool, Failure> {
    if cfg!(debug_assertions) {
        return Err("an unoptimised build measures nothing: add --release".into());
    }
    let people = question::sample(jiff::Timestamp::now());
    // One thread, which shares the cores with what it measures, so that it takes as little of them
    // as it can.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let scenario = async {
            match arguments.scenario {
                Scenario::Throughput => throughput::run(arguments, &people).await,
                Scenario::Neighbours => neighbours::run(arguments, &people).await,
                Scenario::Reload => reload::run(arguments, &people).await,
                Scenario::Flood => flood::run(&people).await,
                Scenario::Memory => memory::run(&people).await,
            }
        };
        // Dropping the scenario ends its processes, whatever cuts it off.
        tokio::select! {
            done = scenario => done,
            _ = term.recv() => Err("stopped by SIGTERM".into()),
            _ = int.recv() => Err("stopped by Ctrl-C".into()),
        }
    })
}
