//! What a reload would change: in words for whoever has to approve it, and as entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Zoned;
use jumpgate_admission::Policy;
use jumpgate_catalogue::{DepartmentId, Digest};
use jumpgate_querylog::{Act, Details};

use crate::candidate::{Candidate, EndpointFiles};
use crate::config::{
    AccountSettings, CallerSettings, DepartmentSettings, ListenerSettings, Settings,
};
use crate::department::Department;
use crate::endpoint::FileUse;
use crate::gateway::{Gateway, adapter_digests};
use crate::trust::Trust;

/// The difference between what is in force and a candidate.
pub(super) struct Changes {
    /// A line for each, the most telling first.
    pub lines: Vec<String>,
    /// What is put on record, in this order.
    pub entries: Vec<(Act, Details<'static>)>,
    /// What is put on record last: all of it is in force.
    pub in_force: Details<'static>,
    /// True if more differs than newer revocation lists, certificates by which the gateway shows
    /// itself, and secrets.
    pub need_two_people: bool,
    /// True if a revocation list is gone or older, as a line says.
    pub lists_are_older: bool,
}

impl Changes {
    /// Compares; `now` is when the two policies are compared. Takes its time.
    pub fn between(current: &Gateway, candidate: &Candidate, now: &Zoned) -> Self {
        let (old_config, new_config) = (current.config_digest, candidate.digest);
        let in_force = of_part("configuration", old_config, new_config).with("in_force", "all");
        let mut changes = Self {
            lines: Vec::new(),
            entries: Vec::new(),
            in_force,
            need_two_people: old_config != new_config,
            lists_are_older: candidate.trust.may_let_in_again(&current.trust),
        };
        changes.trust(&current.trust, &candidate.trust);
        changes.settings(&current.settings, &candidate.settings);
        changes.endpoint_files(&current.endpoint_files, &candidate.endpoint_files);
        let (old, new) = (current.catalogue.digest(), candidate.catalogue.digest());
        changes.digest(Act::Catalogue, "catalogue", old, new, Details::new());
        changes.adapters(current, candidate);
        changes.policies(current.admission.policy(), candidate.plan.policy(), now);
        if old_config != new_config {
            changes.lines.push(format!("configuration: {old_config} becomes {new_config}"));
        }
        changes
    }

    fn trust(&mut self, old: &Trust, new: &Trust) {
        self.part("trust anchors", old.anchors(), new.anchors(), true);
        self.part("certificate", old.certificate(), new.certificate(), false);
        let (before, after) = (old.revocation_lists(), new.revocation_lists());
        if before != after {
            // Their entry is made when they come into force, of what they are then.
            self.lines.push(format!("revocation lists {before} become {after}"));
        }
        if self.lists_are_older {
            self.lines.push("A REVOCATION LIST IS GONE OR OLDER THAN THE ONE IN FORCE".to_owned());
            self.need_two_people = true;
        }
    }

    fn endpoint_files(&mut self, old: &EndpointFiles, new: &EndpointFiles) {
        for (at, (used, digest)) in new {
            let before = old.get(at).map_or(Digest([0; 32]), |(_, before)| *before);
            if before == *digest {
                continue;
            }
            match used {
                FileUse::Trust => self.part(at, before, *digest, true),
                FileUse::Certificate => self.part(at, before, *digest, false),
                FileUse::Secret => {
                    self.lines.push(format!("{at} holds another secret"));
                    let details = Details::new().with("part", at.clone()).with("changed", "yes");
                    self.entries.push((Act::Config, details));
                }
            }
        }
    }

    fn part(&mut self, part: &str, old: Digest, new: Digest, needs_two_people: bool) {
        if old != new {
            self.lines.push(format!("{part}: {old} becomes {new}"));
            self.entries.push((Act::Config, of_part(part, old, new)));
            self.need_two_people |= needs_two_people;
        }
    }

    fn digest(
        &mut self,
        act: Act,
        what: &str,
        old: Digest,
        new: Digest,
        details: Details<'static>,
    ) {
        if old != new {
            self.lines.push(format!("{what} {old} becomes {new}"));
            self.entries.push((act, old_and_new(details, old, new)));
            self.need_two_people = true;
        }
    }

    fn policies(&mut self, old: &Policy, new: &Policy, now: &Zoned) {
        let others =
            new.serials().iter().filter(|(id, serial)| old.serials().get(*id) != Some(serial));
        let others: Vec<String> = others.map(|(id, serial)| format!("{id}={serial}")).collect();
        let mut details = Details::new();
        if !others.is_empty() {
            details = details.with("rules_of_departments", others.join(" "));
        }
        self.digest(Act::Policy, "policy", old.digest(), new.digest(), details);
        for department in old.serials().keys().filter(|id| !new.serials().contains_key(*id)) {
            self.lines.push(format!("THE RULES OF {department} NO LONGER DECIDE"));
        }
        if old.digest() == new.digest() {
            return;
        }
        let (Some(old), Some(new)) = (old.decisions(now), new.decisions(now)) else {
            let compare = "too many decisions to compare here: see `jumpgate policy matrix`";
            self.lines.push(compare.to_owned());
            return;
        };
        self.lines.extend(old.difference(&new).map(|line| format!("- {line}")));
        self.lines.extend(new.difference(&old).map(|line| format!("+ {line}")));
    }

    fn adapters(&mut self, current: &Gateway, candidate: &Candidate) {
        let old: BTreeMap<DepartmentId, Digest> = adapter_digests(&current.departments).collect();
        for (id, department) in in_order(&candidate.departments) {
            let adapter = department.adapter();
            let none = Digest([0; 32]);
            let before = old.get(id).copied().unwrap_or(none);
            let what = format!("adapter of {id}");
            self.digest(Act::Adapter, &what, before, adapter.digest(), named(id, department));
        }
        for (id, department) in in_order(&current.departments) {
            if !candidate.departments.contains_key(id) {
                self.lines.push(format!("departments.{id} is removed"));
                let details = named(id, department).with("removed", "yes");
                self.entries.push((Act::Adapter, details));
            }
        }
    }

    fn settings(&mut self, old: &Settings, new: &Settings) {
        let mut say = |line: String| self.lines.push(line);
        for (id, department) in &new.departments {
            match old.departments.get(id) {
                None => say(format!("departments.{id} is added")),
                Some(before) => {
                    parts_that_differ(before, department)
                        .for_each(|part| say(format!("departments.{id}.{part} changes")));
                    for (name, endpoint) in &department.endpoints {
                        let old = before.endpoints.get(name).map_or("none", |it| &it.base_url);
                        let new = &endpoint.base_url;
                        if old != new {
                            say(format!("departments.{id}.endpoints.{name}: {old} becomes {new}"));
                        }
                    }
                }
            }
        }
        let callers = |settings: &Settings| -> BTreeMap<String, CallerSettings> {
            settings.callers.iter().map(|it| (it.id.clone(), it.clone())).collect()
        };
        let (before, after) = (callers(old), callers(new));
        for (id, caller) in &after {
            match before.get(id) {
                None => say(format!("caller {id} is added")),
                Some(known) if known.operators.is_some() && caller.operators.is_none() => {
                    say(format!("CALLER {id} NEED NO LONGER SEND ITS OPERATORS' TOKENS"));
                }
                Some(known) if known != caller => say(format!("caller {id} changes")),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|id| !after.contains_key(*id));
        gone.for_each(|id| say(format!("caller {id} is removed")));
        let differ = [
            ("quotas", old.quotas != new.quotas),
            ("in_flight_max", old.in_flight_max != new.in_flight_max),
        ];
        let differ = differ.into_iter().filter(|(_, differs)| *differs);
        differ.for_each(|(key, _)| say(format!("{key} changes")));
        for (name, issuer) in &new.operator_issuers {
            if old.operator_issuers.get(name) != Some(issuer) {
                say(format!("operator_issuers.{name} becomes {issuer:?}"));
            }
        }
        let accounts = |settings: &Settings| -> BTreeSet<String> {
            let said = |it: &AccountSettings| {
                let AccountSettings { name, uid, roles } = it;
                format!("account {name} with uid {uid} as {roles:?}")
            };
            settings.admin.accounts.iter().map(said).collect()
        };
        let (before, after) = (accounts(old), accounts(new));
        before.difference(&after).for_each(|account| say(format!("- {account}")));
        after.difference(&before).for_each(|account| say(format!("+ {account}")));
        if old.listener.crl_files != new.listener.crl_files && new.listener.crl_files.is_empty() {
            say("REVOCATION IS NO LONGER CHECKED".to_owned());
        }
    }
}

fn in_order<T>(departments: &HashMap<DepartmentId, T>) -> BTreeMap<&DepartmentId, &T> {
    departments.iter().collect()
}

/// What an entry about an adapter says of it.
pub(super) fn named(id: &DepartmentId, department: &Department) -> Details<'static> {
    let manifest = department.adapter().manifest();
    Details::new()
        .with("department", id.to_string())
        .with("name", manifest.name.clone())
        .with("version", manifest.version.clone())
        .with("digest", department.adapter().digest().to_string())
}

/// What an entry about a part of the configuration says.
pub(super) fn of_part(part: &str, old: Digest, new: Digest) -> Details<'static> {
    old_and_new(Details::new().with("part", part.to_owned()), old, new)
}

fn old_and_new(details: Details<'static>, old: Digest, new: Digest) -> Details<'static> {
    details.with("old", old.to_string()).with("new", new.to_string())
}

fn parts_that_differ(
    old: &DepartmentSettings,
    new: &DepartmentSettings,
) -> impl Iterator<Item = &'static str> {
    let differ = [
        ("component", old.component != new.component),
        ("reveal_subject", old.reveal_subject != new.reveal_subject),
        ("deadline_ms", old.deadline_ms != new.deadline_ms),
        ("response_quantum_ms", old.response_quantum_ms != new.response_quantum_ms),
        ("switched_off", old.switched_off != new.switched_off),
        ("policy", old.policy != new.policy),
        ("protection", old.protection != new.protection),
        ("endpoints", old.endpoints != new.endpoints),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key)
}

/// The keys that differ and cannot change while the gateway runs.
pub(super) fn fixed_keys(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (admin, admin_new) = (&old.admin, &new.admin);
    let listener = ListenerSettings {
        certificate_file: old.listener.certificate_file.clone(),
        key_file: old.listener.key_file.clone(),
        client_trust_file: old.listener.client_trust_file.clone(),
        crl_files: old.listener.crl_files.clone(),
        ..new.listener.clone()
    };
    let differ = [
        ("profile", old.profile != new.profile),
        ("civil_time_zone", old.civil_time_zone != new.civil_time_zone),
        ("listener, but for its files", old.listener != listener),
        ("admin.bind", admin.bind != admin_new.bind),
        ("admin.socket", admin.socket != admin_new.socket),
        ("admin.state_file", admin.state_file != admin_new.state_file),
        ("admin.two_people", admin.two_people != admin_new.two_people),
        ("log", old.log != new.log),
        ("adapters", old.adapters != new.adapters),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
