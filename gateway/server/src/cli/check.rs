//! `jumpgate check`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use jumpgate_querylog::Keys;
use jumpgate_runtime::{Adapter, Limits, Runtime};

use super::{Failure, listed, load};
use crate::candidate::fit;
use crate::config::{Config, Mistake};

pub(super) fn check(path: &Path) -> Result<ExitCode, Failure> {
    let config = load(path)?;
    let mistakes = parts(&config)?;
    if !mistakes.is_empty() {
        return Err(listed(path, &mistakes).into());
    }
    let predicates = config.catalogue.predicates().count();
    println!("{}: no mistake found", path.display());
    println!(
        "  {} callers, {} departments, {predicates} predicates, {} rules",
        config.callers.len(),
        config.settings.departments.len(),
        config.plan.policy().rules(),
    );
    Ok(ExitCode::SUCCESS)
}

/// Checks what a configuration only names: plugins and keys.
fn parts(config: &Config) -> Result<Vec<Mistake>, Failure> {
    let mut mistakes = Vec::new();
    let runtime = Runtime::new(Limits::default(), 2)?;
    for (id, settings) in config.settings.departments() {
        let mut add = |mend: String| {
            mistakes.push(Mistake { at: format!("departments.{id}.component"), mend });
        };
        let bytes = fs::read(&settings.component)?;
        match Adapter::load(&runtime, None, &bytes) {
            Err(fault) => add(fault.to_string()),
            Ok(adapter) => {
                if let Err(mend) = fit(&id, settings, &adapter, &config.catalogue) {
                    add(mend);
                }
            }
        }
    }
    if let Err(fault) = Keys::open(&config.settings.log.keys_dir) {
        mistakes.push(Mistake { at: "log.keys_dir".to_owned(), mend: fault.to_string() });
    }
    Ok(mistakes)
}
