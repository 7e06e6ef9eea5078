//! From texts to rules: the gateway's own files, the departments' signed ones, and the grants.

use std::collections::BTreeSet;
use std::str::FromStr;

use cedar_policy::{
    Policy as Cedar, PolicySet, Schema, ValidationMode, ValidationResult, Validator,
};
use miette::Diagnostic;

use super::rule::{Rule, RuleId};
use super::schema;
use crate::disclosure::ExactGrant;
use crate::settings::{Mistakes, PolicyFile};

/// Rules read so far, in the order in which they decide.
#[derive(Default)]
pub(super) struct Rules {
    pub rules: Vec<Rule>,
    /// Of each rule, the text it stands in.
    texts: Vec<usize>,
    files: Vec<(String, String)>,
    ids: BTreeSet<RuleId>,
}

impl Rules {
    /// Adds the rules of a file. A department's file names its department; its rules are called
    /// `department/id`.
    pub fn add(&mut self, file: &PolicyFile, department: Option<&str>, mistakes: &mut Mistakes) {
        let PolicyFile { name, text } = file;
        if text.len() > FILE_BYTES_MAX {
            let fault = format!("it has {} bytes, the limit is {FILE_BYTES_MAX}", text.len());
            return mistakes.add(name, fault, "split it");
        }
        let set = match PolicySet::from_str(text) {
            Ok(set) => set,
            Err(errors) => {
                for error in errors.iter() {
                    let mend =
                        help(error).unwrap_or_else(|| "write it as Cedar's grammar says".into());
                    mistakes.add(&at(name, text, offset(error)), error.to_string(), mend);
                }
                return;
            }
        };
        if set.templates().next().is_some() {
            let mend = "write the entity in place of ?principal and ?resource";
            mistakes.add(name, "templates are not linked here", mend);
        }
        let mut found: Vec<&Cedar> = set.policies().collect();
        // Cedar names the rules of a text policy0, policy1 and so on.
        found.sort_by_key(|rule| rule.id().to_string()[POLICY.len()..].parse::<usize>().ok());
        self.files.push((name.clone(), text.clone()));
        let mut from = 0;
        for cedar in found {
            // Their order is that of the text.
            let named = cedar.annotation("id").map(|id| format!("\"{id}\""));
            let offset = named.and_then(|it| text.get(from..)?.find(&it)).map(|at| from + at);
            from = offset.map_or(from, |offset| offset + 1);
            let place = at(name, text, offset);
            let unknown = cedar.annotations().find(|(key, _)| !ANNOTATIONS.contains(key));
            if let Some((key, _)) = unknown {
                let mend = format!("write @{}", ANNOTATIONS.join(", @"));
                mistakes.add(&place, format!("no rule has an annotation @{key}"), mend);
            }
            if let Some((id, place)) = self.name(name, place, cedar, department, mistakes) {
                let mut rule = Rule::new(id, place, cedar, self.rules.len());
                rule.exact = exact_grant(&rule, department, mistakes);
                self.rules.push(rule);
                self.texts.push(self.files.len() - 1);
            }
        }
        if self.rules.len() > RULES_MAX {
            let fault = format!("there are more than {RULES_MAX} rules with it");
            mistakes.add(name, fault, "say the same with fewer rules, over sets of things");
        }
    }

    /// The rule's id and its place, if it has a name to be known by.
    fn name(
        &mut self,
        file: &str,
        place: String,
        cedar: &Cedar,
        department: Option<&str>,
        mistakes: &mut Mistakes,
    ) -> Option<(RuleId, String)> {
        let Some(id) = cedar.annotation("id") else {
            let nth = cedar.id().to_string()[POLICY.len()..].parse::<usize>().unwrap_or(0) + 1;
            let fault = format!("rule {nth} of the file has no name");
            mistakes.add(file, fault, "write @id(\"what-it-is-for\") before it");
            return None;
        };
        let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if id.is_empty() || id.len() > RULE_ID_BYTES_MAX || !id.bytes().all(is_plain) {
            let mend = format!("write 1 to {RULE_ID_BYTES_MAX} of a-z, 0-9 and '-'");
            mistakes.add(&place, format!("{id:?} is not the name of a rule"), mend);
            return None;
        }
        let full: RuleId = match department {
            Some(department) => format!("{department}/{id}").into(),
            None => id.into(),
        };
        if !self.ids.insert(RuleId::clone(&full)) {
            let fault = format!("{full:?} is the name of an earlier rule or grant");
            mistakes.add(&place, fault, "write another one");
            return None;
        }
        Some((full, place))
    }

    /// Holds every rule against the schema.
    pub fn validate(&self, schema: &Schema, mistakes: &mut Mistakes) {
        let set = PolicySet::from_policies(self.rules.iter().map(|rule| rule.cedar.clone()));
        // Their names are positions, and no position is taken twice.
        let set = set.expect("every rule has another name");
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        self.report(&result, mistakes);
    }

    fn report(&self, result: &ValidationResult, mistakes: &mut Mistakes) {
        // One mistake shows once, though each action it concerns repeats it.
        let mut told = BTreeSet::new();
        let mut wrong = BTreeSet::new();
        for error in result.validation_errors() {
            let position = position_of(error.policy_id());
            wrong.insert(position);
            if told.insert((position, offset(error))) {
                let mend = "write what the schema has; `jumpgate policy schema` prints it";
                let mend = help(error).unwrap_or_else(|| mend.to_owned());
                self.tell(position, error, &error.to_string(), mend, mistakes);
            }
        }
        for warning in result.validation_warnings() {
            let position = position_of(warning.policy_id());
            // What is wrong in itself applies to nothing either.
            if !wrong.contains(&position) && told.insert((position, offset(warning))) {
                let mend = "remove it, or write what it was meant for".to_owned();
                self.tell(position, warning, &warning.to_string(), mend, mistakes);
            }
        }
    }

    fn tell(
        &self,
        position: usize,
        found: &impl Diagnostic,
        text: &str,
        mend: String,
        mistakes: &mut Mistakes,
    ) {
        let Some(rule) = self.rules.get(position) else { return };
        let (name, source) = &self.files[self.texts[position]];
        let place = match offset(found) {
            Some(offset) => at(name, source, Some(offset)),
            None => rule.place.clone(),
        };
        // Cedar's sentence begins with our position of the rule.
        let own = format!("for policy `{position}`");
        let text = text.strip_prefix(&own).unwrap_or(text).trim_start_matches([',', ':', ' ']);
        mistakes.add(&place, format!("rule {}: {text}", rule.id), mend);
    }
}

/// What the rule grants of exact answers; none where it grants none, or was told wrong.
fn exact_grant(
    rule: &Rule,
    department: Option<&str>,
    mistakes: &mut Mistakes,
) -> Option<ExactGrant> {
    let cuts = rule.cedar.annotation(CUTS_PER_YEAR);
    let glass = rule.cedar.annotation(BREAK_GLASS);
    let granted = cuts.and_then(|text| text.parse().ok());
    let granted = granted.filter(|cuts| (1..=CUTS_PER_YEAR_MAX).contains(cuts));
    let (fault, mend) = if cuts.is_none() && glass.is_none() {
        return None;
    } else if department.is_none() {
        let mend = "have the department write the rule in its own signed file";
        ("grants exact answers, which only the department may".to_owned(), mend)
    } else if !rule.permits() {
        ("forbids and grants exact answers".to_owned(), "write it before a rule that permits")
    } else if glass.is_some_and(|by| by != TWO_OPERATORS) {
        let fault = format!("has @{BREAK_GLASS}({:?})", glass.unwrap_or_default());
        (fault, "write @break_glass(\"two-operators\")")
    } else if let Some(cuts_per_year) = granted {
        return Some(ExactGrant { cuts_per_year, is_break_glass: glass.is_some() });
    } else if let Some(cuts) = cuts {
        let fault = format!("has @{CUTS_PER_YEAR}({cuts:?})");
        (fault, "write a number from 1 to 366 in quotation marks")
    } else {
        let fault = format!("has @{BREAK_GLASS} and no @{CUTS_PER_YEAR}");
        (fault, "write how many it grants a caller about one person in 365 days")
    };
    mistakes.add(&rule.place, format!("rule {} {fault}", rule.id), mend);
    None
}

/// The rule's position among all, which is its name in Cedar.
pub(super) fn position_of(id: &cedar_policy::PolicyId) -> usize {
    id.to_string().parse().unwrap_or(usize::MAX)
}

/// A rule of a department that is about others too.
pub(super) fn check_department(rule: &Rule, department: &str, mistakes: &mut Mistakes) {
    let own = schema::reference(schema::DEPARTMENT, department);
    let is_own = own.parse().is_ok_and(|uid| rule.is_only_about(&uid));
    if !is_own {
        let fault = format!("rule {} of a department does not name it alone", rule.id);
        mistakes.add(&rule.place, fault, format!("write `resource == {own}` in its head"));
    }
}

fn help(found: &impl Diagnostic) -> Option<String> {
    found.help().map(|help| help.to_string())
}

fn offset(found: &impl Diagnostic) -> Option<usize> {
    found.labels()?.map(|label| label.offset()).min()
}

/// `file:line`.
fn at(name: &str, text: &str, offset: Option<usize>) -> String {
    let line =
        offset.and_then(|offset| text.get(..offset)).map(|before| before.matches('\n').count());
    line.map_or_else(|| name.to_owned(), |line| format!("{name}:{}", line + 1))
}

/// The annotation of a rule that grants exact answers.
const CUTS_PER_YEAR: &str = "cuts_per_year";
/// The annotation of one that grants them past the auditor.
const BREAK_GLASS: &str = "break_glass";
/// A misspelt one would grant something else.
const ANNOTATIONS: [&str; 3] = ["id", CUTS_PER_YEAR, BREAK_GLASS];
/// Who may break the glass.
const TWO_OPERATORS: &str = "two-operators";
/// One a day.
const CUTS_PER_YEAR_MAX: u32 = 366;
/// How Cedar names the rules of a text.
const POLICY: &str = "policy";
/// As long as any other name in an entry.
pub(crate) const RULE_ID_BYTES_MAX: usize = 64;
/// A thousand long rules.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;
/// Ten times what a country's law on one subject needs; beyond it a start takes minutes.
const RULES_MAX: usize = 10_000;
