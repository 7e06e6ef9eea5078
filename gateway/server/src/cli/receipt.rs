//! `jumpgate receipt`: what a receipt proves, told offline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use jumpgate_querylog::{Kind, Proven, VerifierKey};

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum ReceiptAct {
    /// Check a receipt with the log's verifier key alone, and say what it proves.
    ///
    /// The receipt is the text `proof` of GET /v1/receipts/{index}, a C2SP tlog-proof. Asks nobody.
    /// Exit code 1 if it proves nothing.
    Verify {
        /// The receipt's file.
        file: PathBuf,
        /// The log's verifier key: `log init` prints it, and the log's file `origin` holds it.
        #[arg(long)]
        key: VerifierKey,
    },
}

pub(super) fn run(act: ReceiptAct) -> Result<ExitCode, Failure> {
    match act {
        ReceiptAct::Verify { file, key } => verify(&file, &key),
    }
}

fn verify(file: &Path, key: &VerifierKey) -> Result<ExitCode, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let proven = Proven::of_receipt(&text, key)?;
    in_words(&proven).iter().for_each(|line| println!("{line}"));
    Ok(ExitCode::SUCCESS)
}

/// What is proven, a sentence a line.
pub(crate) fn in_words(proven: &Proven) -> Vec<String> {
    let Proven { entry, index, verdict, as_of, checkpoint } = proven;
    let text =
        |part: &Option<std::borrow::Cow<'_, str>>| part.as_deref().unwrap_or("nobody").to_owned();
    let time = i64::try_from(entry.time_ms).ok();
    let time = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let mut lines = vec![format!(
        "PROVEN: entry {index} is in the log {}, as its signed tree of {} entries says.",
        checkpoint.origin, checkpoint.size
    )];
    let what = match (entry.kind, verdict) {
        (Kind::Answer, Some(verdict)) => format!("was answered \"{verdict}\""),
        (Kind::Ask, _) => "was put on record before the department was asked".to_owned(),
        (Kind::Refused, _) => format!("was refused: {}", text(&entry.code)),
        (Kind::Failed, _) => format!("came to nothing: {}", text(&entry.code)),
        (kind, _) => format!("has an entry of kind {kind}"),
    };
    if let Some(time) = time {
        lines.push(format!("It was made at {time}, by the gateway's clock."));
    }
    if entry.query_id.is_some() {
        let (caller, predicate) = (text(&entry.caller), text(&entry.predicate));
        let purpose = text(&entry.purpose);
        lines.push(format!("{caller}'s question {predicate}, for {purpose}, {what}."));
    }
    if let Some(as_of) = as_of {
        lines.push(format!("It is about {as_of}."));
    }
    if let Some(query_id) = entry.query_id {
        lines.push(format!("Its query_id is {query_id}."));
    }
    lines.push("Not proven: about whom it was, and that the department's record was right.".into());
    lines
}
