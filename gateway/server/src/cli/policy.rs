//! `jumpgate policy`: what the rules decide, and a department's signature of its own.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use jiff::Zoned;
use jiff::civil::DateTime;
use jumpgate_admission::{
    Decision, Desk, Explained, PolicyQuestion, RoleName, SignedRules, Weighed, department_key,
};
use jumpgate_catalogue::{CallerId, DepartmentId, Digest, PredicateId, Purpose, SubjectKindId};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{Failure, load};
use crate::config::{Config, signature_path};

#[derive(Debug, Subcommand)]
pub(super) enum PolicyAct {
    /// Print what every caller may ask of every predicate for every purpose, and by which rule.
    Matrix {
        /// The configuration file.
        config: PathBuf,
    },
    /// Decide one question as the gateway would, and show every rule that can be about it.
    Explain(Explain),
    /// Print the digest that entries are bound to, the text it is of, and the grants as rules.
    Show {
        /// The configuration file.
        config: PathBuf,
    },
    /// Print the Cedar schema: what a rule can speak of.
    Schema {
        /// The configuration file.
        config: PathBuf,
    },
    /// Make a department's pair of keys: the signing key in a new file of mode 0600, the verifier
    /// key, which the gateway's configuration wants, on the screen.
    Keygen {
        /// The department's id.
        department: DepartmentId,
        /// The new file.
        #[arg(long)]
        key: PathBuf,
    },
    /// Sign a department's rules; the signature is written beside them, with the ending .sig.
    Sign {
        /// The file of rules.
        rules: PathBuf,
        /// The department's id.
        #[arg(long)]
        department: DepartmentId,
        /// The version, higher than the last one.
        #[arg(long)]
        serial: u64,
        /// The file of the signing key.
        #[arg(long)]
        key: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The configuration file.
    config: PathBuf,
    /// Who asks.
    #[arg(long)]
    caller: CallerId,
    /// What is asked, department/name@version.
    #[arg(long)]
    predicate: PredicateId,
    /// Why it is asked.
    #[arg(long)]
    purpose: Purpose,
    /// The kind of identifier; if left out, the first that the predicate takes.
    #[arg(long)]
    kind: Option<SubjectKindId>,
    /// The caller names a case.
    #[arg(long)]
    case: bool,
    /// A role that a signed token gives the operator; may be given several times.
    #[arg(long)]
    role: Vec<String>,
    /// Two operators ask together, past the auditor of exact answers.
    #[arg(long)]
    two_operators: bool,
    /// Civil time of the question, such as 2026-11-23T10:00; now if left out.
    #[arg(long)]
    at: Option<DateTime>,
}

pub(super) fn run(act: PolicyAct) -> Result<ExitCode, Failure> {
    match act {
        PolicyAct::Matrix { config } => {
            let config = load(&config)?;
            print!("{}", config.plan.policy().matrix(&now(&config)));
        }
        PolicyAct::Explain(explain) => return explain.run(),
        PolicyAct::Show { config } => {
            let config = load(&config)?;
            let policy = config.plan.policy();
            println!("{}\n\n{}\n{}", policy.digest(), policy.text(), policy.grants());
        }
        PolicyAct::Schema { config } => print!("{}", load(&config)?.plan.policy().schema()),
        PolicyAct::Keygen { department, key } => keygen(&department, &key)?,
        PolicyAct::Sign { rules, department, serial, key } => {
            sign(&rules, department, serial, &key)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn now(config: &Config) -> Zoned {
    jiff::Timestamp::now().to_zoned(config.civil_time_zone.clone())
}

impl Explain {
    fn run(self) -> Result<ExitCode, Failure> {
        let config = load(&self.config)?;
        let predicate = config.catalogue.predicate(&self.predicate);
        let predicate = predicate.ok_or_else(|| format!("no predicate {}", self.predicate))?;
        let kind = self.kind.or_else(|| predicate.subject_kinds.first().cloned());
        let kind = kind.ok_or("the predicate takes no kind of identifier")?;
        let at = match self.at {
            Some(at) => at.to_zoned(config.civil_time_zone.clone())?,
            None => now(&config),
        };
        let caller = config.callers.iter().find(|it| it.id == self.caller);
        let roles: Vec<RoleName> = self.role.iter().map(|role| role.as_str().into()).collect();
        let issuer = caller.and_then(|it| config.issuers.get(it.operators.as_deref()?));
        let is_signed = issuer.is_some();
        let known = |role: &&RoleName| issuer.is_some_and(|issuer| issuer.roles().contains(role));
        if let Some(role) = roles.iter().find(|role| !known(role)) {
            return Err(
                format!("no token can give an operator of this caller the role {role}").into()
            );
        }
        let desk = match (is_signed, self.two_operators) {
            (true, true) => Desk::Two(&roles),
            (true, false) => Desk::Proven(&roles),
            (false, false) => Desk::Claimed,
            (false, true) => return Err("no issuer signs for this caller's operators".into()),
        };
        let question = PolicyQuestion {
            caller: &self.caller,
            predicate: &self.predicate,
            purpose: &self.purpose,
            subject_kind: &kind,
            has_case: self.case,
            desk,
        };
        let explained = config.plan.policy().explain(&question, &at);
        let explained = explained.ok_or_else(|| format!("no caller {}", self.caller))?;
        let case = if self.case { "a case" } else { "no case" };
        println!(
            "{} asks {} for {}, by {kind}, with {case}, at {}:",
            self.caller,
            self.predicate,
            self.purpose,
            at.strftime("%A %F %R %Z")
        );
        if !predicate.purposes.contains(&self.purpose) || !predicate.subject_kinds.contains(&kind) {
            println!("refused before any rule: the catalogue does not allow this purpose or kind");
        }
        in_words(&explained).iter().for_each(|line| println!("{line}"));
        let is_permitted = matches!(explained.decision, Decision::Permitted(_));
        Ok(if is_permitted { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn in_words(explained: &Explained) -> Vec<String> {
    let mut lines = vec![match &explained.decision {
        Decision::Permitted(rule) => format!("permitted by {rule}"),
        Decision::Forbidden(rule) => format!("forbidden by {rule}"),
        Decision::NotGranted => "not granted: no rule permits it".to_owned(),
    }];
    for Weighed { rule, place, effect, applies, text } in &explained.weighed {
        let applies = match applies {
            Ok(true) => "applies".to_owned(),
            Ok(false) => "does not apply".to_owned(),
            Err(why) => format!("cannot be evaluated: {why}"),
        };
        lines.push(format!("\n{rule} ({place}) {effect}: {applies}"));
        lines.extend(text.lines().map(|line| format!("    {line}")));
    }
    lines
}

fn keygen(department: &DepartmentId, path: &Path) -> Result<(), Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut seed[..]).map_err(|_| "the system gives no randomness")?;
    let (secret, verifier) = department_key(department, &seed)?;
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| format!("{}: {error}", path.display()))?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    println!("{verifier}");
    Ok(())
}

fn sign(path: &Path, department: DepartmentId, serial: u64, key: &Path) -> Result<(), Failure> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let (rules, key) = (read(path)?, Zeroizing::new(read(key)?));
    let signed = SignedRules { department, serial, digest: Digest::of(rules.as_bytes()) };
    let signature = signature_path(path);
    fs::write(&signature, signed.sign(&key)?)?;
    println!("{}: version {serial} of {}", signature.display(), signed.department);
    Ok(())
}
