//! `jumpgate log`: make, read and check a query log. Reading takes no lock and changes nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use jumpgate_catalogue::DepartmentId;
use jumpgate_querylog::{
    Entry, FieldId, Fields, Fsck, Keys, Kind, LogOptions, QueryLog, Reader, Record, Rotatable,
    Sealer, fsck, rotate, verify,
};

use super::Failure;
use crate::gateway::unix_ms;

#[derive(Debug, Subcommand)]
pub(super) enum LogAct {
    /// Make an empty log and, if there are none, its keys. `serve` never makes one.
    Init {
        /// The log's folder: absent or empty.
        dir: PathBuf,
        /// The keys' folder; made with fresh keys if absent. Back it up apart from the log.
        #[arg(long)]
        keys: PathBuf,
        /// The log's public name, such as gateway.example.gov/log.
        #[arg(long)]
        origin: String,
    },
    /// Show entries, a line each. With the keys, the sealed fields too.
    Show {
        /// The log's folder.
        dir: PathBuf,
        /// First leaf index to show.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many to show at most; if left out, 100, or all of a kind or department.
        #[arg(long)]
        count: Option<u64>,
        /// Show entries of this kind only, such as break-glass; may be given several times.
        #[arg(long)]
        kind: Vec<Kind>,
        /// Show entries about questions to this department only.
        #[arg(long)]
        department: Option<DepartmentId>,
        /// The keys' folder; opens verdicts, cases, operators and parameters.
        #[arg(long)]
        keys: Option<PathBuf>,
    },
    /// Check every frame, every entry, the tree, and that each question is closed exactly once.
    ///
    /// With the keys, also that every sealed field fits its commitment. Exit code 1 and a list of
    /// flaws if the log is not intact.
    Verify {
        /// The log's folder.
        dir: PathBuf,
        /// The keys' folder.
        #[arg(long)]
        keys: Option<PathBuf>,
    },
    /// Give a log that nobody writes a new key, and print its public keys.
    ///
    /// The next `start` entry names the keys in force. Checkpoints are also signed with the former
    /// log key until its file, log.key.former, is removed: at once after a theft, otherwise when
    /// everybody has the new verifier key. Run again, it finishes a rotation that was cut off.
    RotateKey {
        /// The log's folder.
        dir: PathBuf,
        /// The keys' folder.
        #[arg(long)]
        keys: PathBuf,
        /// Which key: log, receipt or idempotency.
        #[arg(long)]
        purpose: Rotatable,
    },
    /// Check a log that nobody writes, and tell a torn tail from corruption.
    ///
    /// Checks what `verify` checks, under the writer's lock. A torn tail is what a power cut leaves
    /// of entries that nobody was told of; --mend removes it, and makes tiles anew that are lost or
    /// wrong, as the next start would. Entries that were durable are never cut off. Exit code 0:
    /// whole, or mended; 1: to be mended; 4: corruption, nothing was changed.
    Fsck {
        /// The log's folder.
        dir: PathBuf,
        /// The keys' folder; needed to mend.
        #[arg(long)]
        keys: Option<PathBuf>,
        /// Mend what can be mended without loss.
        #[arg(long, requires = "keys")]
        mend: bool,
    },
}

pub(super) fn run(act: LogAct) -> Result<ExitCode, Failure> {
    match act {
        LogAct::Init { dir, keys, origin } => init(&dir, &keys, &origin),
        LogAct::Show { dir, from, count, kind, department, keys } => {
            let is_wanted = |entry: &Entry<'_>| {
                let is_kind = kind.is_empty() || kind.contains(&entry.kind);
                let department = department.as_ref().map(DepartmentId::as_str);
                is_kind && (department.is_none() || entry.department.as_deref() == department)
            };
            let is_filtered = !kind.is_empty() || department.is_some();
            let usual = if is_filtered { u64::MAX } else { SHOWN_USUALLY };
            show(&dir, (from, count.unwrap_or(usual)), is_wanted, keys.as_deref())
        }
        LogAct::Verify { dir, keys } => check(&dir, keys.as_deref()),
        LogAct::RotateKey { dir, keys, purpose } => {
            let (verifier, promise) = rotate(&dir, &keys, purpose)?;
            println!("{}: has a new key of purpose {purpose}", dir.display());
            println!("verifier key, to give to everybody: {verifier}");
            println!("promise key, to give to every caller: {promise}");
            Ok(ExitCode::SUCCESS)
        }
        LogAct::Fsck { dir, keys, mend } => check_offline(&dir, keys.as_deref(), mend),
    }
}

fn init(dir: &Path, keys_dir: &Path, origin: &str) -> Result<ExitCode, Failure> {
    let keys = if keys_dir.exists() { Keys::open(keys_dir)? } else { Keys::create(keys_dir)? };
    let now_ms = unix_ms(jiff::Timestamp::now());
    QueryLog::init(dir, origin, &keys, &LogOptions::default(), now_ms)?;
    println!("{}: an empty log, origin {origin}", dir.display());
    let (verifier, promise) = QueryLog::verifier_keys(dir)?;
    println!("verifier key, to give to everybody: {verifier}");
    println!("promise key, to give to every caller: {promise}");
    println!("{}: its keys; whoever loses them cannot open a sealed field", keys_dir.display());
    Ok(ExitCode::SUCCESS)
}

fn check_offline(dir: &Path, keys: Option<&Path>, mend: bool) -> Result<ExitCode, Failure> {
    let keys = keys.map(Keys::open).transpose()?;
    let state = fsck(dir, keys.as_ref(), mend)?;
    let (code, said) = match &state {
        Fsck::Whole(report) => (0, format!("whole: {} entries", report.entries)),
        Fsck::Mended(report) => (0, format!("mended: {} entries", report.entries)),
        Fsck::Mendable { torn_bytes, derived } => {
            derived.iter().for_each(|flaw| eprintln!("{flaw}"));
            let tail = format!("a torn tail of {torn_bytes} bytes, of which nobody was told");
            let files = format!("{} files that follow from the entries", derived.len());
            (1, format!("to be mended: {}", if *torn_bytes > 0 { tail } else { files }))
        }
        Fsck::NotMended(flaws) => {
            flaws.iter().for_each(|flaw| eprintln!("{flaw}"));
            (4, format!("mended, and {} flaws are left", flaws.len()))
        }
        Fsck::Corrupt(flaws) => {
            flaws.iter().for_each(|flaw| eprintln!("{flaw}"));
            let mend = "restore the files named above from a mirror or a backup";
            (4, format!("CORRUPT: {} flaws; nothing was changed: {mend}", flaws.len()))
        }
    };
    println!("{}: {said}", dir.display());
    Ok(ExitCode::from(code))
}

fn show(
    dir: &Path,
    (from, count): (u64, u64),
    is_wanted: impl Fn(&Entry<'_>) -> bool,
    keys: Option<&Path>,
) -> Result<ExitCode, Failure> {
    let sealer = match keys {
        None => None,
        Some(keys) => Some(Sealer::open(dir, &Keys::open(keys)?)?),
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let records = Reader::open_at(dir, from)?;
    let wanted = records.filter(|it| it.as_ref().map_or(true, |record| is_wanted(&record.entry)));
    for record in wanted.take(count) {
        let record = record?;
        println!("{}", line(&record));
        if let Some(sealer) = &sealer
            && record.entry.fields.is_some()
        {
            match sealer.open_fields(&record) {
                Ok(fields) => println!("{:>10}{}", "", sealed(&fields)),
                Err(fault) => println!("{:>10}sealed fields do not open: {fault}", ""),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A few screens.
const SHOWN_USUALLY: u64 = 100;

/// The public part of one entry, on one line.
pub(crate) fn line(record: &Record) -> String {
    let Entry { kind, time_ms, ask, count, code, .. } = &record.entry;
    let time =
        i64::try_from(*time_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let time = time.map(|time| time.to_string()).unwrap_or_default();
    let mut text = format!("{:>8}  {time:<24}  {:<11}", record.index, kind.as_str());
    let entry = &record.entry;
    let named = [&entry.caller, &entry.predicate, &entry.purpose, code];
    for part in named.into_iter().flatten() {
        text.push_str("  ");
        text.push_str(part);
    }
    if let Some(rule) = &entry.rule {
        text.push_str(&format!("  by {rule}"));
    }
    if let Some(ask) = ask {
        text.push_str(&format!("  closes {ask}"));
    }
    if let Some(count) = count {
        text.push_str(&format!("  counted {count}"));
    }
    if let Some(pseudonym) = &entry.pseudonym {
        text.push_str(&format!("  subject {}", hex::encode(pseudonym.value)));
    }
    text
}

fn sealed(fields: &Fields) -> String {
    let mut parts = Vec::new();
    if let Some(verdict) = fields.verdict() {
        parts.push(format!("verdict={verdict}"));
    }
    if let Some(reason) = fields.reason() {
        parts.push(format!("reason={}", reason.code()));
    }
    for id in [FieldId::AsOf, FieldId::NextAsOf] {
        if let Some(date) = fields.date(id) {
            parts.push(format!("{}={date}", id.as_str()));
        }
    }
    let texts =
        [FieldId::Operator, FieldId::SecondOperator, FieldId::OperatorIssuer, FieldId::Case];
    for id in texts {
        if let Some(text) = fields.text(id) {
            parts.push(format!("{}={text}", id.as_str()));
        }
    }
    for id in [FieldId::SubjectHandle, FieldId::ReplyCommitment, FieldId::Parameters] {
        if let Some(bytes) = fields.value(id) {
            parts.push(format!("{}={}", id.as_str(), hex::encode(bytes)));
        }
    }
    format!("sealed: {}", parts.join("  "))
}

fn check(dir: &Path, keys: Option<&Path>) -> Result<ExitCode, Failure> {
    let keys = keys.map(Keys::open).transpose()?;
    match verify(dir, keys.as_ref()) {
        Ok(report) => {
            println!(
                "{}: intact, {} entries in {} segments",
                dir.display(),
                report.entries,
                report.segments
            );
            for (kind, count) in &report.kinds {
                println!("  {:<11} {count:>10}", kind.as_str());
            }
            println!(
                "  every ask is closed exactly once, but {} still open",
                report.open_asks.len()
            );
            let published = report.published;
            println!("  the tree: {published} entries published, every tile follows from them");
            if keys.is_some() {
                let (opened, erased) = (report.fields_opened, report.fields_erased);
                println!("  sealed fields: {opened} fit their commitments, {erased} erased");
            }
            report.warnings.iter().for_each(|warning| println!("  odd: {warning}"));
            Ok(ExitCode::SUCCESS)
        }
        Err(flaws) => {
            println!("{}: NOT intact, {} flaws", dir.display(), flaws.len());
            flaws.iter().for_each(|flaw| println!("  {flaw}"));
            Ok(ExitCode::FAILURE)
        }
    }
}
