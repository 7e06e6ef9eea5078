//! `jumpgate receipt`: what a receipt proves, told offline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use jumpgate_querylog::{Kind, Promise, Proven, VerifierKey};

use super::Failure;

#[derive(Debug, Subcommand)]
pub(super) enum ReceiptAct {
    /// Check a receipt or a promise with the log's public keys alone, and say what it proves.
    ///
    /// A receipt is the text `proof` of GET /v1/receipts/{index}, a C2SP tlog-proof; a promise is
    /// the text `promise` of an answer. Asks nobody. Exit code 1 if it proves nothing.
    Verify {
        /// The file of the receipt or the promise.
        file: PathBuf,
        /// The log's verifier key, for a receipt; its promise key, for a promise. `log init` prints
        /// them, and the log's file `origin` holds them.
        #[arg(long)]
        key: VerifierKey,
        /// A promise that the receipt must keep.
        #[arg(long, requires = "promise_key")]
        promise: Option<PathBuf>,
        /// The log's promise key.
        #[arg(long)]
        promise_key: Option<VerifierKey>,
    },
}

pub(super) fn run(act: ReceiptAct) -> Result<ExitCode, Failure> {
    match act {
        ReceiptAct::Verify { file, key, promise, promise_key } => {
            let text = read(&file)?;
            if Promise::is_one(&text) {
                let promise = Promise::of_text(&text, &key)?;
                promised_in_words(&promise).iter().for_each(|line| println!("{line}"));
                return Ok(ExitCode::SUCCESS);
            }
            let proven = Proven::of_receipt(&text, &key)?;
            in_words(&proven).iter().for_each(|line| println!("{line}"));
            if let (Some(file), Some(key)) = (promise, promise_key) {
                let promise = Promise::of_text(&read(&file)?, &key)?;
                println!("{}", proven.keeps(&promise)?);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file);
    Ok(text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?)
}

/// What is promised, a sentence a line.
fn promised_in_words(promise: &Promise) -> Vec<String> {
    let Promise { origin, index, leaf_hash, time_ms } = promise;
    let time = i64::try_from(*time_ms).ok();
    let time = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time = time.map_or_else(|| "a time it does not name".to_owned(), |time| time.to_string());
    vec![
        format!("PROMISED: the log {origin} has signed, at {time}, that entry {index} is durable."),
        format!("Its leaf hash is {}.", hex::encode(leaf_hash)),
        format!("Not proven yet: fetch the proof of entry {index} and check it with --promise."),
    ]
}

/// What is proven, a sentence a line.
pub(crate) fn in_words(proven: &Proven) -> Vec<String> {
    let Proven { entry, index, verdict, as_of, checkpoint, .. } = proven;
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
        (Kind::BreakGlass, _) => {
            "was put on record before two operators had the department asked past the auditor"
                .to_owned()
        }
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
