//! `jumpgate adapter`: what a plugin's author runs all day.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, value_parser};
use jumpgate_runtime::{Adapter, Limits, Runtime};

use super::Failure;
use crate::author::{Case, CaseReport, build, cases_of, run as run_case};

#[derive(Debug, Subcommand)]
pub(super) enum AdapterAct {
    /// Build plugins into components that import nothing.
    ///
    /// Each argument is a folder with a plugin's Cargo.toml. The component is written to
    /// TARGET/<name>.component.wasm.
    Build {
        /// The plugins' folders.
        #[arg(required = true)]
        plugins: Vec<PathBuf>,
        /// The folder for everything the build makes.
        #[arg(long, default_value = "target/plugins")]
        target: PathBuf,
    },
    /// Run a component on one recorded case and show every step.
    ///
    /// Prints the finding, and for each step the fuel, the memory and the time it used beside their
    /// limits. Where the adapter gave up, names the line and column of the recorded reply.
    /// Repeated, prints the median of the time in the sandbox, for whoever makes an adapter faster.
    Run {
        /// The component.
        component: PathBuf,
        /// The case's folder, with its case.toml.
        case: PathBuf,
        /// How many times to run it.
        #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1_000_000))]
        repeat: u32,
    },
    /// Build a plugin and run it on all its recorded cases.
    ///
    /// Also checks that every predicate of its manifest has a case that ends in yes, one in no and
    /// one in undetermined.
    Test {
        /// The plugin's folder.
        plugin: PathBuf,
        /// The folder for everything the build makes.
        #[arg(long, default_value = "target/plugins")]
        target: PathBuf,
    },
}

pub(super) fn run(act: AdapterAct) -> Result<ExitCode, Failure> {
    match act {
        AdapterAct::Build { plugins, target } => {
            for plugin in plugins {
                let built = build(&plugin, &target)?;
                println!("{} ({} bytes)", built.path.display(), built.bytes);
            }
            Ok(ExitCode::SUCCESS)
        }
        AdapterAct::Run { component, case, repeat } => {
            let (adapter, case) = (load(&component)?, Case::read(&case)?);
            let report = run_case(&adapter, &case)?;
            print_steps(&report);
            if repeat > 1 {
                let median = median_elapsed(&adapter, &case, repeat)?;
                println!("median   {median:.1?} of {repeat} runs, one after the other");
            }
            Ok(code(report.passed()))
        }
        AdapterAct::Test { plugin, target } => test(&plugin, &target),
    }
}

fn median_elapsed(adapter: &Adapter, case: &Case, repeat: u32) -> Result<Duration, Failure> {
    let times = (0..repeat).map(|_| Ok(run_case(adapter, case)?.elapsed()));
    let mut times: Vec<Duration> = times.collect::<Result<_, Failure>>()?;
    let middle = times.len() / 2;
    Ok(*times.select_nth_unstable(middle).1)
}

fn load(component: &Path) -> Result<Adapter, Failure> {
    let runtime = Runtime::new(Limits::default(), 1)?;
    Ok(Adapter::load(&runtime, None, &fs::read(component)?)?)
}

fn code(passed: bool) -> ExitCode {
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn test(plugin: &Path, target: &Path) -> Result<ExitCode, Failure> {
    let adapter = load(&build(plugin, target)?.path)?;
    let (mut failed, mut ends) = (0_u32, Vec::new());
    let cases = cases_of(plugin)?;
    for folder in &cases {
        let case = Case::read(folder)?;
        let report = run_case(&adapter, &case)?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let fuel: u64 = report.steps.iter().map(|usage| usage.fuel.0).sum();
        let verdict = if report.passed() { "ok    " } else { "FAILED" };
        let (steps, elapsed) = (report.steps.len(), report.elapsed());
        println!(
            "{verdict} {name:<44} {:<28} {steps} steps {fuel:>9} fuel {elapsed:>9.0?}",
            report.found
        );
        if !report.passed() {
            failed += 1;
            print_why(&report);
        }
        ends.push((case.predicate().to_owned(), report.found));
    }
    let missing = missing_cases(&adapter, &ends);
    missing.iter().for_each(|text| println!("FAILED {text}"));
    println!("{} cases, {failed} failed, {} missing", cases.len(), missing.len());
    Ok(code(failed == 0 && missing.is_empty()))
}

fn missing_cases(adapter: &Adapter, ends: &[(String, String)]) -> Vec<String> {
    let mut missing = Vec::new();
    for predicate in &adapter.manifest().predicates {
        for wanted in ["yes", "no", "undetermined"] {
            let has = ends.iter().any(|(asked, found)| {
                asked == predicate.as_str() && found.split(':').next() == Some(wanted)
            });
            if !has {
                missing.push(format!("{predicate} has no case that ends in {wanted}"));
            }
        }
    }
    missing
}

fn print_steps(report: &CaseReport) {
    println!("finding  {}", report.found);
    println!("expected {}", report.expected);
    for (position, usage) in report.steps.iter().enumerate() {
        println!(
            "step {}   fuel {}/{}   memory {}/{} bytes   requests {}/{} bytes   \
             state {}/{} bytes   {:.0?}",
            position + 1,
            usage.fuel.0,
            usage.fuel.1,
            usage.memory_bytes.0,
            usage.memory_bytes.1,
            usage.requests_bytes.0,
            usage.requests_bytes.1,
            usage.state_bytes.0,
            usage.state_bytes.1,
            usage.elapsed,
        );
    }
    print_why(report);
}

fn print_why(report: &CaseReport) {
    if report.found != report.expected {
        println!("       expected {}, found {}", report.expected, report.found);
    }
    for (what, text) in [
        ("request", &report.deviation),
        ("gave up at", &report.place),
        ("trapped in", &report.function),
    ] {
        if let Some(text) = text {
            println!("       {what}: {text}");
        }
    }
}
