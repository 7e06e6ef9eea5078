//! Finds every mistake of a configuration that can be found without binding or connecting.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use jumpgate_admission::{
    AdmissionSettings, CallerFacts, PolicyFile, PolicySettings, SignedPolicyFile,
};
use jumpgate_catalogue::{CallerId, Catalogue, DepartmentId, Digest};

use super::{CallerName, Config, Mistake, Profile, Proof, Rights, Settings, Shown};
use crate::endpoint::Endpoint;
use crate::operator::{Issuer, Issuers};
use crate::trust::Trust;

/// Checks everything and puts the parts together, or returns every mistake.
pub(super) fn check(settings: Settings, digest: Digest) -> Result<Config, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let civil_time_zone = mistakes.take("civil_time_zone", time_zone(&settings.civil_time_zone));
    let catalogue = mistakes.take_all("catalogue_dir", Catalogue::load(&settings.catalogue_dir));
    check_listener(&settings, &mut mistakes);
    check_admin(&settings, &mut mistakes);
    let issuers = check_issuers(&settings, &mut mistakes);
    let callers = check_callers(&settings, &mut mistakes);
    check_log(&settings, &mut mistakes);
    check_departments(&settings, catalogue.as_ref(), &mut mistakes);
    check_grants(&settings, &mut mistakes);
    let policy = read_policy(&settings, &mut mistakes);
    let plan = catalogue.as_ref().and_then(|catalogue| {
        // A caller whose table has another mistake is a caller all the same.
        let callers = settings.callers.iter();
        let callers: Vec<(CallerId, CallerFacts)> = callers
            .filter_map(|it| {
                let issuer = it.operators.as_ref().and_then(|name| issuers.get(name.as_str()));
                let operator_roles = issuer.map(|issuer| Arc::clone(issuer.roles()));
                Some((it.id.parse().ok()?, CallerFacts { channel: it.channel, operator_roles }))
            })
            .collect();
        mistakes.take_all("admission", admission(&settings, policy).check(catalogue, &callers))
    });
    match (catalogue, plan, civil_time_zone) {
        (Some(catalogue), Some(plan), Some(civil_time_zone)) if mistakes.0.is_empty() => {
            let (path, accept_clock) = (PathBuf::new(), false);
            Ok(Config {
                settings,
                catalogue,
                plan,
                callers,
                issuers,
                digest,
                civil_time_zone,
                path,
                accept_clock,
            })
        }
        _ => Err(mistakes.0),
    }
}

/// Mistakes found so far.
#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, at: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Mistake { at: at.into(), mend: mend.into() });
    }

    fn take<T>(&mut self, at: &str, found: Result<T, String>) -> Option<T> {
        found.map_err(|mend| self.add(at, mend)).ok()
    }

    fn take_all<T, E: std::fmt::Display>(
        &mut self,
        at: &str,
        found: Result<T, Vec<E>>,
    ) -> Option<T> {
        found.map_err(|faults| faults.iter().for_each(|f| self.add(at, f.to_string()))).ok()
    }
}

fn time_zone(name: &str) -> Result<jiff::tz::TimeZone, String> {
    jiff::tz::TimeZone::get(name)
        .map_err(|_| "no such IANA time zone; write one such as Asia/Shanghai".to_owned())
}

fn admission(settings: &Settings, policy: PolicySettings) -> AdmissionSettings {
    let protection = settings.departments.iter();
    AdmissionSettings {
        grants: settings.grants.clone(),
        policy,
        quotas: settings.quotas.clone(),
        departments: protection.map(|(id, d)| (id.clone(), d.protection.clone())).collect(),
        in_flight_max: settings.in_flight_max,
    }
}

/// The texts of all rules.
fn read_policy(settings: &Settings, mistakes: &mut Mistakes) -> PolicySettings {
    let files = settings.policy.files.iter();
    let files = files.filter_map(|path| rules(path, "policy.files", mistakes)).collect();
    let mut departments = BTreeMap::new();
    for (id, department) in &settings.departments {
        let Some(policy) = &department.policy else { continue };
        let at = format!("departments.{id}.policy");
        let signature = signature_path(&policy.file);
        let signature = mistakes.take(&at, read_text(&signature));
        let file = rules(&policy.file, &at, mistakes);
        if let (Some(file), Some(signature)) = (file, signature) {
            let signed = SignedPolicyFile { file, signature, key: policy.key.clone() };
            departments.insert(id.clone(), signed);
        }
    }
    PolicySettings { files, departments }
}

fn rules(path: &Path, at: &str, mistakes: &mut Mistakes) -> Option<PolicyFile> {
    let text = mistakes.take(at, read_text(path))?;
    // The digest depends on the name: a folder would make it another one on each machine.
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Some(PolicyFile { name, text })
}

fn read_text(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Where the signature of a department's rules lies.
pub(crate) fn signature_path(rules: &Path) -> PathBuf {
    let mut name = rules.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn check_listener(settings: &Settings, mistakes: &mut Mistakes) {
    let listener = &settings.listener;
    check_private(&listener.key_file, "listener.key_file", mistakes);
    for fault in Trust::faults(listener) {
        let is_list = listener.crl_files.iter().any(|file| file == fault.path());
        let key = if is_list {
            "listener.crl_files"
        } else if fault.path() == listener.client_trust_file {
            "listener.client_trust_file"
        } else {
            "listener.certificate_file"
        };
        mistakes.add(key, fault.to_string());
    }
    if listener.connections_max == 0 || listener.requests_max == 0 {
        mistakes.add("listener.connections_max", "connections_max and requests_max must be 1+");
    }
    if let Some(clear) = &listener.dangerous_clear {
        if settings.profile == Profile::Production {
            let mend = "a listener that believes everybody; remove the table, or set profile to \
                        \"bench\" or \"demo\" where no real record is within reach";
            mistakes.add("listener.dangerous_clear", mend);
        }
        if !clear.bind.ip().is_loopback() {
            mistakes.add("listener.dangerous_clear.bind", "must be a loopback address");
        }
        match settings.callers.iter().find(|caller| caller.id == clear.caller) {
            None => mistakes
                .add("listener.dangerous_clear.caller", "must be the id of a [[callers]] table"),
            Some(caller) if caller.operators.is_some() => mistakes.add(
                "listener.dangerous_clear.caller",
                "must be a caller without operators: a token is bound to a certificate",
            ),
            Some(_) => {}
        }
    }
}

fn check_admin(settings: &Settings, mistakes: &mut Mistakes) {
    let admin = &settings.admin;
    if !admin.two_people && settings.profile == Profile::Production {
        let mend = "one person alone could take a department's protection away; remove the key, or \
                    set profile to \"bench\" or \"demo\" where no real record is within reach";
        mistakes.add("admin.two_people", mend);
    }
    for (position, account) in admin.accounts.iter().enumerate() {
        let at = format!("admin.accounts[{position}]");
        let is_plain = account.name.chars().all(|it| it.is_alphanumeric() || "-._ ".contains(it));
        if !(1..=ACCOUNT_NAME_BYTES_MAX).contains(&account.name.len()) || !is_plain {
            let mend =
                format!("must have 1 to {ACCOUNT_NAME_BYTES_MAX} bytes of letters, digits and -._");
            mistakes.add(format!("{at}.name"), mend);
        }
        if account.roles.is_empty() {
            let mend = "name at least one of operator, security and auditor";
            mistakes.add(format!("{at}.roles"), mend);
        }
        let others = &admin.accounts[..position];
        if others.iter().any(|other| other.uid == account.uid || other.name == account.name) {
            mistakes.add(at, "another [[admin.accounts]] table has the same name or uid");
        }
    }
}

/// Two names stand in one sealed field.
const ACCOUNT_NAME_BYTES_MAX: usize = 64;

fn check_private(path: &Path, at: &str, mistakes: &mut Mistakes) {
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
        let mend = format!("{} is readable by others: make it mode 0600", path.display());
        mistakes.add(at, mend);
    }
}

fn check_issuers(settings: &Settings, mistakes: &mut Mistakes) -> Issuers {
    let mut issuers = Issuers::new();
    for (name, issuer) in &settings.operator_issuers {
        match Issuer::new(issuer) {
            Ok(issuer) => drop(issuers.insert(name.as_str().into(), Arc::new(issuer))),
            Err(found) => found.into_iter().for_each(|(key, mend)| {
                mistakes.add(format!("operator_issuers.{name}.{key}"), mend)
            }),
        }
    }
    issuers
}

fn check_callers(settings: &Settings, mistakes: &mut Mistakes) -> Vec<CallerName> {
    let mut names: Vec<CallerName> = Vec::new();
    for (position, caller) in settings.callers.iter().enumerate() {
        let at = format!("callers[{position}]");
        let shown = match (&caller.san_uri, &caller.fingerprint_sha256) {
            (Some(uri), None) if uri.contains(':') => Some(Shown::Uri(uri.clone())),
            (None, Some(text)) => fingerprint(text).map(Shown::Fingerprint),
            _ => None,
        };
        let Some(shown) = shown else {
            let mend = "name the caller by exactly one of san_uri (an absolute URI) and \
                        fingerprint_sha256 (64 hexadecimal digits)";
            mistakes.add(at, mend);
            continue;
        };
        let Some(id) =
            mistakes.take(&at, CallerId::from_str(&caller.id).map_err(|e| e.to_string()))
        else {
            continue;
        };
        if names.iter().any(|known| known.id == id || known.shown == shown) {
            mistakes.add(&at, "another [[callers]] table has the same id or the same certificate");
        }
        if let Some(name) = caller.operators.as_ref()
            && !settings.operator_issuers.contains_key(name)
        {
            let mend = "must be the name of an [operator_issuers.…] table";
            mistakes.add(format!("{at}.operators"), mend);
        }
        let operators = caller.operators.as_deref().map(Into::into);
        let proof_inline = caller.proof == Proof::Inline;
        let rights = Rights { proof_inline, may_mirror: caller.may_mirror };
        names.push(CallerName { id, shown, rights, operators });
    }
    names
}

fn fingerprint(text: &str) -> Option<Digest> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.replace(':', "").to_ascii_lowercase(), &mut bytes).ok()?;
    Some(Digest(bytes))
}

fn check_log(settings: &Settings, mistakes: &mut Mistakes) {
    if !SNAPSHOT_ENTRIES.contains(&settings.log.snapshot_entries) {
        let (least, most) = SNAPSHOT_ENTRIES.into_inner();
        mistakes.add("log.snapshot_entries", format!("must be {least} to {most}"));
    }
}

fn check_departments(settings: &Settings, catalogue: Option<&Catalogue>, mistakes: &mut Mistakes) {
    let known: BTreeMap<&DepartmentId, ()> = catalogue
        .map(|catalogue| catalogue.predicates().map(|p| (&p.department, ())).collect())
        .unwrap_or_default();
    for (id, department) in &settings.departments {
        let at = format!("departments.{id}");
        match DepartmentId::from_str(id) {
            Err(invalid) => mistakes.add(&at, invalid.to_string()),
            Ok(id) if catalogue.is_some() && !known.contains_key(&id) => {
                mistakes.add(&at, "the catalogue has no predicate of this department");
            }
            Ok(_) => {}
        }
        if !(1..=DEADLINE_MS_MAX).contains(&department.deadline_ms) {
            let mend = format!("must be 1 to {DEADLINE_MS_MAX}");
            mistakes.add(format!("{at}.deadline_ms"), mend);
        }
        // A deadline of nothing is told by itself.
        let is_timed = department.deadline_ms > 0;
        let quantum_ms_max = if is_timed { department.deadline_ms } else { QUANTUM_MS_MAX };
        let quantum_ms_max = quantum_ms_max.min(QUANTUM_MS_MAX);
        if !(1..=quantum_ms_max).contains(&department.response_quantum_ms) {
            let mend = format!("must be 1 to {QUANTUM_MS_MAX} and at most deadline_ms");
            mistakes.add(format!("{at}.response_quantum_ms"), mend);
        }
        if let Err(error) = fs::metadata(&department.component) {
            let mend = format!("{}: {error}", department.component.display());
            mistakes.add(format!("{at}.component"), mend);
        }
        for (name, endpoint) in &department.endpoints {
            mistakes.take_all(&format!("{at}.endpoints.{name}"), Endpoint::new(endpoint));
        }
    }
}

/// A grant for a department that is not configured would let questions through to nobody.
fn check_grants(settings: &Settings, mistakes: &mut Mistakes) {
    for (position, grant) in settings.grants.iter().enumerate() {
        let named = grant.predicates.iter().filter_map(|pattern| pattern.split_once('/'));
        for (department, _) in named {
            if !settings.departments.contains_key(department) {
                let mend = format!("add the table [departments.{department}], or remove the grant");
                mistakes.add(format!("grants[{position}].predicates"), mend);
            }
        }
    }
}

/// A snapshot of every few entries would cost more than the entries.
const SNAPSHOT_ENTRIES: RangeInclusive<u64> = 10..=100_000_000;
/// A counter does not wait longer than a minute for one answer.
const DEADLINE_MS_MAX: u64 = 60_000;
/// A clerk does not wait ten seconds because a registry is sometimes slow.
const QUANTUM_MS_MAX: u64 = 10_000;
