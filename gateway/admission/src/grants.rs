//! Who may ask what for which purpose.
//!
//! Owns the table of grants, its canonical text and its digest. Every pattern is resolved against
//! the catalogue once, so that a decision is a look-up and the table can be printed whole. What no
//! grant covers is not granted; a grant can never widen what the catalogue allows.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use jumpgate_catalogue::{
    CallerId, Catalogue, DepartmentId, Digest, Predicate, PredicateId, Purpose,
};

use crate::settings::{GrantSettings, Mistakes, one_of};

/// The name of a grant, as it stands in the query log.
pub(crate) type RuleId = Arc<str>;

/// Every grant, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    rules: HashMap<CallerId, HashMap<PredicateId, Vec<(Purpose, RuleId)>>>,
    text: String,
    digest: Digest,
}

impl Grants {
    /// Resolves grants against the catalogue. Worth nothing if it added a mistake.
    pub(crate) fn compile(
        grants: &[GrantSettings],
        catalogue: &Catalogue,
        callers: &BTreeSet<CallerId>,
        mistakes: &mut Mistakes,
    ) -> Self {
        let mut table: BTreeMap<(CallerId, PredicateId, Purpose), RuleId> = BTreeMap::new();
        let mut ids: BTreeSet<RuleId> = BTreeSet::new();
        for (position, grant) in grants.iter().enumerate() {
            let key = format!("grants[{position}]");
            let mistakes_before = mistakes.count();
            let id = rule_id(grant, position, &key, &mut ids, mistakes);
            let caller = mistakes.known(&format!("{key}.caller"), "caller", &grant.caller, callers);
            let pairs = resolve(grant, catalogue, &key, mistakes);
            let Some(caller) = caller else { continue };
            let size_before = table.len();
            for (predicate, purpose) in pairs {
                let combination = (caller.clone(), predicate, purpose);
                table.entry(combination).or_insert_with(|| Arc::clone(&id));
            }
            if mistakes.count() == mistakes_before && table.len() == size_before {
                let fault = "covers nothing that earlier grants do not cover";
                mistakes.add(&key, fault, "remove it, or write it before the wider grant");
            }
        }
        Self::of(table)
    }

    fn of(table: BTreeMap<(CallerId, PredicateId, Purpose), RuleId>) -> Self {
        let mut text = format!("{TEXT_FORMAT}\n");
        let mut rules: HashMap<_, HashMap<_, Vec<_>>> = HashMap::new();
        for ((caller, predicate, purpose), rule) in table {
            writeln!(text, "{caller} {predicate} {purpose} {rule}")
                .expect("writing to a string does not fail");
            let of_caller = rules.entry(caller).or_default();
            of_caller.entry(predicate).or_default().push((purpose, rule));
        }
        Self { rules, digest: Digest::of(text.as_bytes()), text }
    }

    /// The grant that covers the question, if one does.
    pub(crate) fn rule(
        &self,
        caller: &CallerId,
        predicate: &PredicateId,
        purpose: &Purpose,
    ) -> Option<&RuleId> {
        // A predicate has a handful of purposes, which a scan finds faster than a hash.
        let of_predicate = self.rules.get(caller)?.get(predicate)?;
        of_predicate.iter().find(|(granted, _)| granted == purpose).map(|(_, rule)| rule)
    }

    /// One line a permitted combination, sorted, under a line that names the format.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }
}

/// The combinations of predicate and purpose a grant covers. Each of its patterns must have use for
/// each of its purposes, so that a grant never says more than it does.
fn resolve(
    grant: &GrantSettings,
    catalogue: &Catalogue,
    key: &str,
    mistakes: &mut Mistakes,
) -> Vec<(PredicateId, Purpose)> {
    for (name, list) in [("predicates", &grant.predicates), ("purposes", &grant.purposes)] {
        if list.is_empty() {
            mistakes.add(&format!("{key}.{name}"), "covers nothing", "write one or more");
        }
    }
    let purposes = named_purposes(grant, catalogue, key, mistakes);
    let mut pairs = Vec::new();
    for (position, pattern) in grant.predicates.iter().enumerate() {
        let key = format!("{key}.predicates[{position}]");
        let matching = matching(pattern, catalogue, &key, mistakes);
        let allowed: BTreeSet<&Purpose> =
            matching.iter().flat_map(|predicate| &predicate.purposes).collect();
        for &purpose in purposes.as_ref().unwrap_or(&allowed) {
            if !matching.is_empty() && !allowed.contains(purpose) {
                let fault = format!("{pattern} does not allow the purpose {purpose}");
                mistakes.add(&key, fault, one_of(&allowed));
            }
            pairs.extend(
                (matching.iter().filter(|predicate| predicate.purposes.contains(purpose)))
                    .map(|predicate| (predicate.id.clone(), purpose.clone())),
            );
        }
    }
    pairs
}

/// The purposes a grant names; None if it is for every purpose.
fn named_purposes<'a>(
    grant: &GrantSettings,
    catalogue: &'a Catalogue,
    key: &str,
    mistakes: &mut Mistakes,
) -> Option<BTreeSet<&'a Purpose>> {
    if grant.purposes == [EVERY] {
        return None;
    }
    let known: BTreeSet<&Purpose> = catalogue.purposes().map(|(purpose, _)| purpose).collect();
    let named = grant.purposes.iter().enumerate().filter_map(|(position, purpose)| {
        mistakes.known(&format!("{key}.purposes[{position}]"), "purpose", purpose, &known)
    });
    Some(named.copied().collect())
}

/// The predicates a pattern stands for; empty, and a mistake, if there is none.
fn matching<'a>(
    pattern: &str,
    catalogue: &'a Catalogue,
    key: &str,
    mistakes: &mut Mistakes,
) -> Vec<&'a Predicate> {
    let whole = pattern.strip_suffix("/*");
    let matching: Vec<&Predicate> = (catalogue.predicates().map(Arc::as_ref))
        .filter(|predicate| match whole {
            Some(department) => predicate.department.as_str() == department,
            None => predicate.id.as_str() == pattern,
        })
        .collect();
    if matching.is_empty() {
        // A slip is most often in the name or the version: show what the department has.
        let department = pattern.split('/').next().unwrap_or(pattern);
        let near: BTreeSet<&PredicateId> = (catalogue.predicates().map(|predicate| &predicate.id))
            .filter(|id| id.department() == department)
            .collect();
        let mend = if near.is_empty() {
            one_of(&departments(catalogue).iter().map(|id| format!("{id}/*")).collect())
        } else {
            one_of(&near)
        };
        mistakes.add(key, format!("no predicate is named {pattern:?}"), mend);
    }
    matching
}

/// The departments that have predicates.
pub(crate) fn departments(catalogue: &Catalogue) -> BTreeSet<DepartmentId> {
    catalogue.predicates().map(|predicate| predicate.department.clone()).collect()
}

/// The grant's id, which no other grant has.
fn rule_id(
    grant: &GrantSettings,
    position: usize,
    key: &str,
    ids: &mut BTreeSet<RuleId>,
    mistakes: &mut Mistakes,
) -> RuleId {
    let id: RuleId = match &grant.id {
        Some(id) => id.as_str().into(),
        None => format!("grant-{}", position + 1).into(),
    };
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let key = format!("{key}.id");
    if id.is_empty() || id.len() > RULE_ID_BYTES_MAX || !id.bytes().all(is_plain) {
        let mend = format!("write 1 to {RULE_ID_BYTES_MAX} of a-z, 0-9 and '-'");
        mistakes.add(&key, format!("{id:?} is not a grant id"), mend);
    }
    if !ids.insert(Arc::clone(&id)) {
        mistakes.add(&key, format!("{id:?} is the id of an earlier grant"), "write another one");
    }
    id
}

/// In a grant's purposes: every purpose each predicate allows.
const EVERY: &str = "*";
/// As long as any other name in an entry.
const RULE_ID_BYTES_MAX: usize = 64;
/// First line of the canonical text; changes with its form.
const TEXT_FORMAT: &str = "jumpgate/grants/v1";

#[cfg(test)]
mod tests;
