//! The policy seen from outside: the matrix of all questions, one decision explained, and rules
//! that can never apply.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use cedar_policy::{Authorizer, Entities, PolicySet, Request};
use jiff::Zoned;
use jumpgate_catalogue::{CallerId, Purpose};

use super::rule::{Rule, TimeUse};
use super::{Asked, Asker, Cell, Decision, Moment, Policy, PolicyQuestion, Slice};
use crate::settings::{Mistakes, RoleName};

/// Why a question is decided as it is.
#[derive(Debug)]
pub struct Explained {
    /// What is decided.
    pub decision: Decision,
    /// Every rule that can be about the question, in the order in which they decide.
    pub weighed: Vec<Weighed>,
}

/// A rule that can be about a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// Its name.
    pub rule: super::RuleId,
    /// Where it stands, `file:line`.
    pub place: String,
    /// `permits` or `forbids`.
    pub effect: &'static str,
    /// Whether it applies, or why it cannot be evaluated.
    pub applies: Result<bool, String>,
    /// Its text.
    pub text: String,
}

impl Policy {
    /// Why the rules say what they say to a question at that time. None if the caller or the
    /// predicate is unknown.
    pub fn explain(&self, question: &PolicyQuestion<'_>, now: &Zoned) -> Option<Explained> {
        let (asker, cell) = self.cell(question)?;
        let Some(asked) = Asked::of(question, asker, cell) else {
            // The catalogue does not allow the purpose, so no rule was asked.
            return Some(Explained { decision: Decision::NotGranted, weighed: Vec::new() });
        };
        let request = asker.request(cell, &asked, &Moment::of(now))?;
        let Some(slice) = cell.slice_for(question.desk) else {
            return Some(Explained { decision: Decision::NotGranted, weighed: Vec::new() });
        };
        let weighed = slice.rules.iter().map(|&at| {
            let rule = &self.rules[at];
            Weighed {
                rule: super::RuleId::clone(&rule.id),
                place: rule.place.clone(),
                effect: if rule.permits() { "permits" } else { "forbids" },
                applies: rule.applies(&request),
                text: rule.cedar.to_string(),
            }
        });
        let weighed = weighed.collect();
        let is_asked = cell.place(question).is_some();
        let decision =
            if is_asked { self.weigh(&slice.set, &request) } else { Decision::NotGranted };
        Some(Explained { decision, weighed })
    }

    /// What is decided for every caller, predicate and purpose; where it depends on the kind of
    /// identifier, on a case or on the hour of the week, each of these. Rules that look at the
    /// moment itself are asked for the week from `now` on.
    pub fn matrix(&self, now: &Zoned) -> String {
        let week = week(now);
        let mut text = String::new();
        let sorted: BTreeMap<&CallerId, &Asker> = self.askers.iter().collect();
        for (caller, asker) in sorted {
            text += &format!("{caller} ({})\n", asker.facts.channel.as_str());
            let cells: BTreeMap<_, _> = asker.cells.iter().collect();
            for (predicate, cell) in cells {
                let purposes = &cell.target.predicate.purposes;
                let rows: Vec<(&Purpose, Vec<String>)> =
                    purposes.iter().map(|it| (it, self.row(asker, cell, it, &week))).collect();
                if rows.iter().all(|(_, row)| row.as_slice() == [NOTHING]) {
                    text += &format!("  {predicate}: {NOTHING}\n");
                    continue;
                }
                text += &format!("  {predicate}\n");
                for (purpose, row) in rows {
                    text += &format!("    {:<24}{}\n", purpose.as_str(), row.join("; "));
                }
            }
        }
        text
    }

    /// What [`matrix`](Self::matrix) says, each decision in a line that can be read alone; without
    /// those for which no rule says anything. None if that takes longer than somebody waits.
    pub fn decisions(&self, now: &Zoned) -> Option<BTreeSet<String>> {
        let week = week(now);
        let evaluations = |asker: &Asker, cell: &Cell, slice: &Slice| {
            let moments = if slice.time_use == TimeUse::Never { 1 } else { week.len() };
            let is_any = usize::from(!slice.rules.is_empty());
            questions(asker, cell, slice).count() * moments * is_any
        };
        let of_asker = |asker: &Asker| {
            let cells = asker.cells.values();
            let all = cells.flat_map(|cell| cell.slices().map(move |slice| (cell, slice)));
            all.map(|(cell, slice)| evaluations(asker, cell, slice)).sum::<usize>()
        };
        if self.askers.values().map(of_asker).sum::<usize>() > TRIES_MAX {
            return None;
        }
        let mut lines = BTreeSet::new();
        for (caller, asker) in &self.askers {
            for (predicate, cell) in &asker.cells {
                for purpose in &cell.target.predicate.purposes {
                    let row = self.row(asker, cell, purpose, &week);
                    if row.as_slice() != [NOTHING] {
                        let (channel, row) = (asker.facts.channel.as_str(), row.join("; "));
                        let asks = format!("{caller} ({channel}) asks {predicate} for {purpose}");
                        lines.insert(format!("{asks}: {row}"));
                    }
                }
            }
        }
        Some(lines)
    }

    /// What is decided for one purpose, in one part if it depends on nothing else; and behind it,
    /// what is granted of it past the auditor.
    fn row(&self, asker: &Asker, cell: &Cell, purpose: &Purpose, week: &[Moment]) -> Vec<String> {
        let mut row = self.row_of(asker, (cell, &cell.slice), purpose, week);
        if let Some(slice) = &cell.break_glass {
            let past = self.row_of(asker, (cell, slice), purpose, week);
            let granted = past.iter().filter(|line| line.contains(PERMIT));
            row.extend(granted.map(|line| format!("two operators: {line}")));
        }
        row
    }

    fn row_of(
        &self,
        asker: &Asker,
        (cell, slice): (&Cell, &Slice),
        purpose: &Purpose,
        week: &[Moment],
    ) -> Vec<String> {
        let of_purpose = questions(asker, cell, slice).filter(|asked| asked.purpose == purpose);
        let table: Vec<([String; 3], String)> = of_purpose
            .map(|asked| (in_words(&asked), self.over_a_week(asker, (cell, slice), &asked, week)))
            .collect();
        // A circumstance is named where two decisions differ and nothing else does.
        let matters = |part: usize| {
            let but_for = |words: &[String; 3]| {
                let mut words = words.clone();
                words[part].clear();
                words
            };
            let mut said = BTreeMap::new();
            table
                .iter()
                .any(|(words, is)| said.insert(but_for(words), is).is_some_and(|it| it != is))
        };
        let named: Vec<usize> = (0..3).filter(|&part| matters(part)).collect();
        let mut row: Vec<String> = Vec::new();
        for (words, said) in &table {
            let words: Vec<&str> = named.iter().map(|&part| words[part].as_str()).collect();
            let line = if words.is_empty() {
                said.clone()
            } else {
                format!("{}: {said}", words.join(" "))
            };
            if !row.contains(&line) {
                row.push(line);
            }
        }
        if row.is_empty() { vec![NOTHING.to_owned()] } else { row }
    }

    fn over_a_week(
        &self,
        asker: &Asker,
        (cell, slice): (&Cell, &Slice),
        asked: &Asked<'_>,
        week: &[Moment],
    ) -> String {
        let moments = if slice.time_use == TimeUse::Never { &week[..1] } else { week };
        // In the order of their first hour.
        let mut said: Vec<(String, usize)> = Vec::new();
        for moment in moments {
            let request = asker.request(cell, asked, moment);
            let decision = request.map(|it| self.weigh(&slice.set, &it));
            let text = match decision {
                Some(Decision::Permitted(rule)) => format!("{PERMIT} by {rule}"),
                Some(Decision::Forbidden(rule)) => format!("forbid by {rule}"),
                Some(Decision::NotGranted) | None => NOTHING.to_owned(),
            };
            match said.iter_mut().find(|(known, _)| *known == text) {
                Some((_, hours)) => *hours += 1,
                None => said.push((text, 1)),
            }
        }
        if let [(text, _)] = said.as_slice() {
            return text.clone();
        }
        said.sort();
        let parts =
            said.iter().map(|(text, hours)| format!("{text} ({hours} of {HOURS_A_WEEK} h)"));
        parts.collect::<Vec<_>>().join(", ")
    }

    /// Adds a mistake for each rule that no question of the catalogue ever meets. A rule that looks
    /// at the moment itself is not judged: its time may come.
    pub(super) fn check_each_applies(&self, mistakes: &mut Mistakes) {
        let week = week(&Zoned::default());
        for (at, rule) in self.rules.iter().enumerate() {
            let moments = match rule.time_use {
                TimeUse::Never => &week[..1],
                TimeUse::Week => &week[..],
                TimeUse::Moment => continue,
            };
            match self.first_met(at, rule, moments) {
                Ok(true) => {}
                Ok(false) => mistakes.add(
                    &rule.place,
                    format!(
                        "rule {} can never apply: no question of the catalogue meets it",
                        rule.id
                    ),
                    "compare its head and its conditions with what `jumpgate policy schema` and \
                     the catalogue allow together",
                ),
                Err(why) => mistakes.add(
                    &rule.place,
                    format!("rule {} cannot be evaluated: {why}", rule.id),
                    "keep its sums within 64 bits",
                ),
            }
        }
    }

    /// True if some question meets the rule, or more were tried than a start has time for.
    fn first_met(&self, at: usize, rule: &Rule, moments: &[Moment]) -> Result<bool, String> {
        let (mut tried, mut seen) = (0, HashSet::new());
        for asker in self.askers.values() {
            let cells = asker.cells.values();
            let all = cells.flat_map(|cell| cell.slices().map(move |slice| (cell, slice)));
            for (cell, slice) in all.filter(|(_, slice)| slice.rules.binary_search(&at).is_ok()) {
                for asked in questions(asker, cell, slice) {
                    if rule.sees_only_context && !seen.insert(asked) {
                        continue;
                    }
                    for moment in moments {
                        let Some(request) = asker.request(cell, &asked, moment) else { continue };
                        tried += 1;
                        if rule.applies(&request)? || tried > TRIES_MAX {
                            return Ok(true);
                        }
                    }
                }
            }
        }
        Ok(false)
    }
}

impl Rule {
    /// Whether this rule alone applies, or why it cannot be evaluated.
    fn applies(&self, request: &Request) -> Result<bool, String> {
        let set = PolicySet::from_policies([self.cedar.clone()]).unwrap_or_default();
        let response = Authorizer::new().is_authorized(request, &set, &Entities::empty());
        if let Some(error) = response.diagnostics().errors().next() {
            let own = format!("error while evaluating policy `{}`: ", self.cedar.id());
            let error = error.to_string();
            return Err(error.strip_prefix(&own).unwrap_or(&error).to_owned());
        }
        Ok(response.diagnostics().reason().next().is_some())
    }
}

/// Every question that the catalogue lets a caller ask of a predicate, and where a rule looks at
/// the operator's roles, with every combination of them.
fn questions<'a>(
    asker: &'a Asker,
    cell: &'a Cell,
    slice: &Slice,
) -> impl Iterator<Item = Asked<'a>> + use<'a> {
    let predicate = &cell.target.predicate;
    let channel = asker.facts.channel;
    let those = if slice.looks_at_operator { asker.operators.len() } else { 1 };
    let operators: Vec<Option<&[RoleName]>> =
        asker.operators.iter().take(those).map(|roles| roles.as_deref()).collect();
    let purposes = predicate.purposes.iter().zip(&cell.target.legal_bases);
    purposes.flat_map(move |(purpose, legal_basis)| {
        let operators = operators.clone();
        predicate.subject_kinds.iter().flat_map(move |subject_kind| {
            let operators = operators.clone();
            [false, true].into_iter().flat_map(move |has_case| {
                let operators = operators.clone().into_iter();
                operators.map(move |operator| Asked {
                    purpose,
                    legal_basis,
                    subject_kind,
                    has_case,
                    channel,
                    operator,
                })
            })
        })
    })
}

/// The circumstances that a row of the matrix can name.
fn in_words(asked: &Asked<'_>) -> [String; 3] {
    let case = if asked.has_case { "with a case" } else { "without a case" };
    let operator = match asked.operator {
        None | Some([]) => "by an operator without a role".to_owned(),
        Some(roles) => format!("by a {}", roles.join(" and ")),
    };
    [asked.subject_kind.to_string(), case.to_owned(), operator]
}

/// Each hour of the week, from `now` on.
fn week(now: &Zoned) -> Vec<Moment> {
    let begin = now.timestamp();
    let hours = (0..HOURS_A_WEEK).filter_map(|hour| {
        let at = begin.checked_add(jiff::SignedDuration::from_hours(hour)).ok()?;
        Some(Moment::of(&at.to_zoned(now.time_zone().clone())))
    });
    hours.collect()
}

const HOURS_A_WEEK: i64 = 168;
/// How a decision that permits begins.
const PERMIT: &str = "permit";
/// What no rule permits.
const NOTHING: &str = "-";
/// About two seconds for a rule that nothing meets.
const TRIES_MAX: usize = 100_000;
