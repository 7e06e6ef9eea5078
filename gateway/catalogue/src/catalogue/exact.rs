//! The rules for attributes that are asked about exactly, which an auditor answers for.
//!
//! Owns what must be so that one interval of dates a person and attribute says all that was
//! released: a value that is one date, a person who is known by one identifier, and nothing told
//! beside the date.

use super::Catalogue;
use super::attribute::{Attribute, Histogram};
use super::predicate::{Clock, Predicate};
use crate::verdict::Verdict;

/// A rule that an entry breaks.
pub(super) struct Broken<'a> {
    pub entry: &'a str,
    pub field: &'static str,
    pub rule: String,
    pub mend: String,
}

impl Catalogue {
    /// What is wrong with exact predicates and their attributes.
    pub(super) fn broken_exact_rules(&self) -> Vec<Broken<'_>> {
        let mut broken = Vec::new();
        for attribute in self.attributes.values() {
            let exact: Vec<&Predicate> = self.exact_of(&attribute.id).collect();
            if exact.is_empty() {
                broken.extend(unused(attribute));
                continue;
            }
            broken.extend(self.broken_by_attribute(attribute));
            for predicate in &exact {
                broken.extend(self.broken_by_predicate(predicate, exact[0]));
            }
        }
        broken
    }

    fn exact_of<'a>(&'a self, attribute: &'a str) -> impl Iterator<Item = &'a Predicate> {
        let all = self.predicates.values().map(AsRef::as_ref);
        all.filter(move |it| it.clock == Clock::Exact && it.attribute == attribute)
    }

    fn broken_by_attribute<'a>(
        &'a self,
        attribute: &'a Attribute,
    ) -> impl Iterator<Item = Broken<'a>> {
        let told = |field, rule: &str, mend: &str| {
            let (rule, mend) = (rule.to_owned(), mend.to_owned());
            Broken { entry: &attribute.id, field, rule, mend }
        };
        let width = attribute.interval_days_min.is_none().then(|| {
            let rule = "exact answers leave a number of days at least of where a value lies";
            told("interval_days_min", rule, "add it, 30 for one")
        });
        let dates = (!matches!(attribute.people, Histogram::Dates(_))).then(|| {
            let rule = "an exact predicate asks about a date that never changes";
            told("people", rule, "give dates, or make the clock a grid")
        });
        let follows = attribute.follows.as_ref().map(|it| &it.attribute);
        let others = self.attributes.values();
        let mut followed = others.filter(|it| {
            it.follows.as_ref().is_some_and(|follows| follows.attribute == attribute.id)
        });
        let joint = follows.or_else(|| followed.next().map(|it| &it.id)).map(|other| {
            let rule = format!("its exact answers would cut {other} too, which nothing audits");
            told("follows", &rule, "make the clock a grid")
        });
        width.into_iter().chain(dates).chain(joint)
    }

    fn broken_by_predicate<'a>(
        &'a self,
        predicate: &'a Predicate,
        first: &'a Predicate,
    ) -> impl Iterator<Item = Broken<'a>> {
        let told = |field, rule: &str, mend: &str| {
            let (rule, mend) = (rule.to_owned(), mend.to_owned());
            Broken { entry: predicate.id.as_str(), field, rule, mend }
        };
        let absent = (predicate.absent != Verdict::Undetermined).then(|| {
            let rule = "an exact answer is about a date that there is";
            told("absent", rule, "make it undetermined")
        });
        let threshold = predicate.cut.as_ref().and_then(|cut| cut.parameter.as_ref());
        let mut beside = predicate.parameters.iter().filter(|it| Some(&it.name) != threshold);
        let parameter = beside.next().map(|spec| {
            let rule = format!("{} tells more than where the date lies", spec.name);
            told("parameter", &rule, "remove it, or make the clock a grid")
        });
        let kind = predicate.subject_kinds.first().and_then(|id| self.subject_kind(id));
        let is_one = predicate.subject_kinds.len() == 1 && kind.is_some_and(|kind| kind.lasting);
        let person = (!is_one).then(|| {
            let rule = "who has another identifier would be another person to the auditor";
            told("subject_kinds", rule, "leave one kind, of which a person has one for life")
        });
        let same = (is_one && predicate.subject_kinds != first.subject_kinds).then(|| {
            let rule = "exact predicates of one attribute take the same kind of identifier";
            told("subject_kinds", rule, &format!("see {}, which cuts it too", first.id))
        });
        let width = self.attributes.get(&predicate.attribute).and_then(|it| it.interval_days_min);
        let cut = predicate.cut.as_ref().zip(width).and_then(|(cut, width)| {
            let days = |threshold: &&i64| cut.unit.days_min(**threshold) < i64::from(width);
            Some((cut.thresholds.iter().find(days)?, cut.unit.in_words(), width))
        });
        let cut = cut.map(|(threshold, unit, width)| {
            let rule = format!(
                "{threshold} {unit} can be fewer than the {width} days of interval_days_min, and \
                 would never be answered"
            );
            told("cut", &rule, "remove it, or make interval_days_min smaller")
        });
        let several = predicate
            .cut
            .as_ref()
            .filter(|cut| cut.parameter.is_none() && cut.thresholds.len() > 1);
        let several = several.map(|_| {
            let rule = "an exact answer cuts at one place";
            told("cut", rule, "leave one number, or name a parameter")
        });
        let department = (predicate.department != first.department).then(|| {
            let rule = "exact predicates of one attribute are one department's";
            told("clock", rule, &format!("see {}, which cuts it too", first.id))
        });
        absent
            .into_iter()
            .chain(department)
            .chain(several)
            .chain(cut)
            .chain(parameter)
            .chain(person)
            .chain(same)
    }
}

fn unused(attribute: &Attribute) -> Option<Broken<'_>> {
    attribute.interval_days_min.map(|_| Broken {
        entry: &attribute.id,
        field: "interval_days_min",
        rule: "no exact predicate asks about it".to_owned(),
        mend: "remove it, or make the clock exact".to_owned(),
    })
}
