//! Acts about one person: what exact answers have told of him, that his record was corrected, that
//! he is erased.
//!
//! Owns their order. Each is on record with the names of those whose act it is; nothing of it, in
//! no text and no line, says who the person is but a short keyed name.

use std::sync::Arc;

use jiff::civil::{Date, date};
use jumpgate_admission::{Disclosed, Interval, SubjectNumber};
use jumpgate_catalogue::{Clock, Subject};
use jumpgate_querylog::{Act, Details, KeptInterval, SubjectRef};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{ActFault, Live, Person, Said, Wanted, conflict};
use crate::record::subject_of;

/// What an act about a person is sent with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    kind: String,
    value: String,
    /// Whose attribute was corrected.
    department: Option<String>,
    attribute: Option<String>,
}

/// An attribute of a person whose record was corrected.
pub(super) struct Corrected {
    subject: Subject,
    department: String,
    attribute: String,
}

impl Live {
    /// What exact answers have told of a person, a line for each attribute and each cut of the last
    /// 365 days. That somebody looked is on record.
    ///
    /// # Errors
    /// Not this person's to see; no such identifier; the entry cannot be written.
    pub(crate) async fn show(&self, by: &Person, named: Named) -> Result<Said, ActFault> {
        let by = self.person(by.uid).filter(Person::may_audit).ok_or_else(|| {
            ActFault::NotYours("your role does not look at persons; ask an auditor".to_owned())
        })?;
        let subject = self.named(&named)?;
        let gateway = self.gateway();
        let (log, known) = (gateway.record.log(), subject_of(&subject));
        let details = Details::new().with("what", "disclosure");
        let number = log.known_subject(&known);
        match number {
            Some(_) => log.act_about(Act::Search, &details, &by.name, &known).await,
            None => log.act_by(Act::Search, &details, Some(&by.name)).await,
        }
        .map_err(|error| ActFault::Log(error.to_string()))?;
        let mut disclosed = match number {
            Some(number) => gateway.admission.ledger().disclosed(SubjectNumber(number)),
            None => Disclosed { intervals: Vec::new(), cuts: Vec::new() },
        };
        self.add_kept(&known, &mut disclosed.intervals);
        let told = disclosed.intervals.iter().map(|(of, interval)| line(of, *interval));
        let cuts = disclosed.cuts.iter().map(|cut| {
            let past = if cut.is_break_glass { ", past the auditor" } else { "" };
            format!("{} {} asked {}, and it was a cut{past}", cut.day, cut.caller, cut.predicate)
        });
        let lines: Vec<String> = told.chain(cuts).collect();
        let text = if lines.is_empty() { "no exact answer has told anything" } else { "so much" };
        let text = format!("person {}: {text}", log.subject_tag(&known));
        Ok(Said { is_done: true, text, lines })
    }

    /// Takes note that a department has corrected a person's record, which takes two people: from
    /// then on nothing counts as known of the attribute.
    ///
    /// # Errors
    /// Not this person's to do; no such identifier or attribute; the entry cannot be written.
    pub(crate) async fn rectify(&self, by: &Person, named: Named) -> Result<Said, ActFault> {
        let (Some(department), Some(attribute)) = (&named.department, &named.attribute) else {
            return Err(conflict("name the department and the attribute that it has corrected"));
        };
        let (department, attribute) = (department.clone(), attribute.clone());
        let gateway = self.gateway();
        let mut predicates = gateway.catalogue.predicates();
        let is_it = predicates.any(|it| {
            it.clock == Clock::Exact
                && it.attribute == attribute
                && it.department.as_str() == department
        });
        if !is_it {
            let text = format!("{department} is asked about no attribute {attribute} exactly");
            return Err(ActFault::Unknown(text));
        }
        let subject = self.named(&named)?;
        let mut state = self.acting.lock().await;
        let by = self.still(by)?;
        let tag = gateway.record.log().subject_tag(&subject_of(&subject));
        let lines = vec![format!(
            "{department} has corrected {attribute} of person {tag}; nothing counts as known of it"
        )];
        let wanted = Wanted::Rectify(Box::new(Corrected { subject, department, attribute }));
        self.want(&mut state, wanted, lines, true, &by).await
    }

    /// Erases a person, which takes two people.
    ///
    /// # Errors
    /// Not this person's to do; no such identifier; the log does not know him; an answer about him
    /// is awaited; he cannot be erased.
    pub(crate) async fn erase(&self, by: &Person, named: Named) -> Result<Said, ActFault> {
        let subject = self.named(&named)?;
        let mut state = self.acting.lock().await;
        let by = self.still(by)?;
        let gateway = self.gateway();
        let (log, known) = (gateway.record.log(), subject_of(&subject));
        if log.known_subject(&known).is_none() {
            return Err(ActFault::Unknown("the log does not know this person".to_owned()));
        }
        let lines = vec![format!(
            "what is sealed about person {} can be read no more; what exact answers have told \
             stays, under a key",
            log.subject_tag(&known)
        )];
        self.want(&mut state, Wanted::Erase(Box::new(subject)), lines, true, &by).await
    }

    pub(super) async fn forget_record(
        &self,
        corrected: Corrected,
        names: &str,
    ) -> Result<&'static str, ActFault> {
        let Corrected { subject, department, attribute } = corrected;
        let gateway = self.gateway();
        let log = gateway.record.log();
        let known = subject_of(&subject);
        let ledger = gateway.admission.ledger();
        let number = log.known_subject(&known).map(SubjectNumber);
        // What is awaited would be of the old record, or of the new one and forgotten.
        if number.is_some_and(|number| ledger.freeze(number).is_none()) {
            return Err(conflict(AWAITED));
        }
        let noted = log.rectified(&known, &department, &attribute, names).await;
        if let Some(number) = number {
            if noted.is_ok() {
                ledger.rectify(number, &attribute);
            }
            ledger.thaw(number, false);
        }
        noted.map_err(|error| ActFault::Log(error.to_string()))?;
        Ok("done")
    }

    pub(super) async fn erase_now(
        &self,
        subject: &Subject,
        names: &str,
    ) -> Result<&'static str, ActFault> {
        let gateway = self.gateway();
        let (log, known) = (gateway.record.log(), subject_of(subject));
        let Some(number) = log.known_subject(&known).map(SubjectNumber) else {
            return Ok("it was so already");
        };
        let ledger = gateway.admission.ledger();
        let mut told = ledger.freeze(number).ok_or_else(|| conflict(AWAITED))?;
        self.add_kept(&known, &mut told);
        let keep: Vec<KeptInterval> = told.iter().map(kept).collect();
        let erased = log.erase(&known, &keep, names).await;
        ledger.thaw(number, matches!(erased, Ok(Some(_))));
        match erased {
            Ok(_) => Ok("erased"),
            Err(fault) => Err(ActFault::Log(fault.to_string())),
        }
    }

    fn named(&self, named: &Named) -> Result<Subject, ActFault> {
        let catalogue = Arc::clone(&self.gateway().catalogue);
        let value = Zeroizing::new(named.value.clone());
        catalogue.subject(&named.kind, value).map_err(ActFault::Unknown)
    }

    /// Adds what tombstones keep of a person to what is known of him by his present number.
    fn add_kept(&self, subject: &SubjectRef<'_>, known: &mut Vec<(Arc<str>, Interval)>) {
        let gateway = self.gateway();
        for attribute in self.exact_attributes() {
            let kept = gateway.record.log().kept_interval(subject, &attribute);
            let Some(KeptInterval { from, until, .. }) = kept else { continue };
            let kept = Interval { from, until };
            match known.iter_mut().find(|(of, _)| **of == attribute) {
                Some((_, interval)) => *interval = interval.and(kept).unwrap_or(kept),
                None => known.push((attribute.into(), kept)),
            }
        }
    }

    fn exact_attributes(&self) -> Vec<String> {
        let catalogue = Arc::clone(&self.gateway().catalogue);
        let exact = catalogue.predicates().filter(|it| it.clock == Clock::Exact);
        let mut attributes: Vec<String> = exact.map(|it| it.attribute.clone()).collect();
        attributes.sort_unstable();
        attributes.dedup();
        attributes
    }
}

fn kept((attribute, interval): &(Arc<str>, Interval)) -> KeptInterval {
    let Interval { from, until } = *interval;
    KeptInterval { attribute: attribute.to_string(), from, until }
}

fn line(attribute: &str, interval: Interval) -> String {
    let day = |day: i32| FIRST.saturating_add(jiff::Span::new().days(day)).to_string();
    let Interval { from, until } = interval;
    let nothing = Interval::NOTHING;
    match (from == nothing.from, until == nothing.until) {
        (true, true) => format!("{attribute}: nothing is known"),
        (true, false) => format!("{attribute}: before {}", day(until)),
        (false, true) => format!("{attribute}: from {}", day(from)),
        (false, false) => {
            let days = interval.days();
            format!("{attribute}: from {} to before {}, {days} days", day(from), day(until))
        }
    }
}

const AWAITED: &str = "an answer about this person is awaited; try it again";
const FIRST: Date = date(1970, 1, 1);
