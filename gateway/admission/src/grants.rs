//! The grants of the configuration, as rules.
//!
//! A grant names one caller, predicates and purposes, and becomes one Cedar rule that permits
//! exactly that. Every pattern is resolved against the catalogue, so that the rule shows what it
//! stands for. A grant can never widen what the catalogue allows.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;

use jumpgate_catalogue::{CallerId, Catalogue, DepartmentId, Predicate, PredicateId, Purpose};

use crate::policy::{RULE_ID_BYTES_MAX, RuleId, schema};
use crate::settings::{GrantSettings, Mistakes, one_of};

/// The rules of all grants as a Cedar text, in their order. Worth nothing if it added a mistake.
pub(crate) fn rules(
    grants: &[GrantSettings],
    catalogue: &Catalogue,
    callers: &BTreeSet<CallerId>,
    mistakes: &mut Mistakes,
) -> String {
    let mut covered: BTreeSet<(CallerId, PredicateId, Purpose)> = BTreeSet::new();
    let mut ids: BTreeSet<RuleId> = BTreeSet::new();
    let mut text = String::new();
    for (position, grant) in grants.iter().enumerate() {
        let key = format!("grants[{position}]");
        let mistakes_before = mistakes.count();
        let id = rule_id(grant, position, &key, &mut ids, mistakes);
        let caller = mistakes.known(&format!("{key}.caller"), "caller", &grant.caller, callers);
        let pairs = resolve(grant, catalogue, &key, mistakes);
        let Some(caller) = caller else { continue };
        let mut is_new = false;
        for (predicate, purpose) in &pairs {
            is_new |= covered.insert((caller.clone(), predicate.clone(), purpose.clone()));
        }
        if mistakes.count() != mistakes_before {
            continue;
        }
        if !is_new {
            let fault = "covers nothing that earlier grants do not cover";
            mistakes.add(&key, fault, "remove it, or write it before the wider grant");
        }
        text += &rule(grant, &id, caller, &pairs);
    }
    text
}

fn rule(
    grant: &GrantSettings,
    id: &str,
    caller: &CallerId,
    pairs: &[(PredicateId, Purpose)],
) -> String {
    let predicates: BTreeSet<&PredicateId> = pairs.iter().map(|(predicate, _)| predicate).collect();
    let purposes: BTreeSet<&Purpose> = pairs.iter().map(|(_, purpose)| purpose).collect();
    let principal = schema::reference(schema::CALLER, caller);
    let actions = set(schema::ACTION, predicates, "        ");
    let when = if grant.purposes == [EVERY] {
        String::new()
    } else {
        format!("\nwhen {{ {}.contains(context.purpose) }}", set(schema::PURPOSE, purposes, "    "))
    };
    format!(
        "@id(\"{id}\")\npermit (\n    principal == {principal},\n    action in {actions},\n    \
         resource\n){when};\n"
    )
}

/// A set, each of its members on a line of its own if there are several.
fn set<T: Display>(entity: &str, ids: BTreeSet<T>, indent: &str) -> String {
    let references: Vec<String> = ids.into_iter().map(|id| schema::reference(entity, id)).collect();
    if let [one] = references.as_slice() {
        return format!("[{one}]");
    }
    let outer = indent.strip_suffix("    ").unwrap_or_default();
    format!("[\n{indent}{}\n{outer}]", references.join(&format!(",\n{indent}")))
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

#[cfg(test)]
mod tests;
