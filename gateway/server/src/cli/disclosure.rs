//! `jumpgate disclosure`: what exact answers have told of one person, and what a catalogue lets be
//! learnt of anybody.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use zeroize::Zeroizing;

use jumpgate_admission::{Extent, Simulated};
use jumpgate_catalogue::Catalogue;

use super::{Failure, admin};

mod chart;

/// What can be looked at and done.
#[derive(Debug, Subcommand)]
pub enum DisclosureAct {
    /// Show what somebody could learn who asks everything that a catalogue allows, every day for
    /// years: by its published figures, of invented people, without a gateway.
    Simulate {
        /// The folder of a catalogue, in force or proposed.
        catalogue: PathBuf,
        /// The first day on which is asked, such as 2026-12-01.
        #[arg(long)]
        from: jiff::civil::Date,
        /// For how many years, 1 to 20.
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(i64).range(1..=20))]
        years: i64,
        /// Of how many people, 1 to 10,000, spread as the histogram says.
        #[arg(long, default_value_t = 400)]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
        people: u32,
        /// Write a chart of what is left over time to this file, as SVG.
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// Show what exact answers have told of a person, and who made which cuts.
    ///
    /// The identifier is read from standard input. That somebody looked is on record.
    Show {
        /// The configuration file of the running gateway.
        config: PathBuf,
        /// The kind of identifier.
        #[arg(long)]
        kind: String,
    },
    /// Take note that a department has corrected a person's record, which takes two people.
    ///
    /// Nothing counts as known of the attribute from then on. The identifier is read from standard
    /// input.
    Rectified {
        /// The configuration file of the running gateway.
        config: PathBuf,
        /// The kind of identifier.
        #[arg(long)]
        kind: String,
        /// The department.
        #[arg(long)]
        department: String,
        /// The attribute that it has corrected.
        #[arg(long)]
        attribute: String,
    },
}

pub(super) fn run(act: DisclosureAct) -> Result<ExitCode, Failure> {
    match act {
        DisclosureAct::Simulate { catalogue, from, years, people, svg } => {
            let extent = Extent { from, years, people: people as usize };
            simulate(&catalogue, &extent, svg.as_deref())
        }
        DisclosureAct::Show { config, kind } => about(&config, "disclosure", &kind, None),
        DisclosureAct::Rectified { config, kind, department, attribute } => {
            about(&config, "rectified", &kind, Some((&department, &attribute)))
        }
    }
}

fn simulate(dir: &Path, extent: &Extent, svg: Option<&Path>) -> Result<ExitCode, Failure> {
    let catalogue = Catalogue::load(dir).map_err(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        format!("{} mistake(s) in {}:\n  {}", mistakes.len(), dir.display(), mistakes.join("\n  "))
    })?;
    let simulated = Simulated::all(&catalogue, extent);
    println!(
        "{} invented people, asked about every threshold on every day for {} years from {}",
        extent.people, extent.years, extent.from
    );
    println!(
        "{:<24} {:<6} {:>10} {:>10} {:>12} {:>11} {:>9} {:>9}",
        "attribute",
        "clock",
        "thresholds",
        "least days",
        "median days",
        "to 7 days",
        "earlier",
        "refused"
    );
    for it in &simulated {
        let share = |count: u64| format!("{:.2} %", 100.0 * count as f64 / it.asked.max(1) as f64);
        let (least, median) = it.months.last().map_or((0, 0), |last| (last.least, last.median));
        println!(
            "{:<24} {:<6} {:>10} {least:>10} {median:>12} {:>11} {:>9} {:>9}",
            it.attribute,
            it.clock.as_str(),
            it.thresholds,
            format!("{} of {}", it.pinned, it.people),
            share(it.earlier),
            share(it.refused),
        );
    }
    println!(
        "least days: the fewest that are left of anybody's date; states and counts are left out"
    );
    if let Some(path) = svg {
        std::fs::write(path, chart::svg(&simulated))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        println!("chart: {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Sends an act about the person whose identifier stands on standard input.
pub(super) fn about(
    config: &Path,
    act: &str,
    kind: &str,
    corrected: Option<(&str, &str)>,
) -> Result<ExitCode, Failure> {
    let mut value = Zeroizing::new(String::new());
    std::io::stdin().take(IDENTIFIER_BYTES_MAX).read_to_string(&mut value)?;
    let mut body = json!({ "kind": kind, "value": value.trim() });
    if let Some((department, attribute)) = corrected {
        body["department"] = department.into();
        body["attribute"] = attribute.into();
    }
    admin::act(config, &format!("/persons/{act}"), body.to_string())
}

/// Longer than any identifier.
const IDENTIFIER_BYTES_MAX: u64 = 1024;
