//! What all questions about several attributes leave together.
//!
//! Of each attribute the smallest cell counts, and the people who are in all of these are reckoned
//! as if the attributes were independent of each other: who is one in ten here and one in five
//! there, is one in fifty.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codes::Codes;
use super::{Axis, Collision};
use crate::catalogue::attribute::{Attribute, Histogram, Join};
use crate::catalogue::predicate::{Clock, Predicate};

/// One attribute of a join.
struct Part<'a> {
    attribute: &'a Attribute,
    divided: Divided<'a>,
    /// People of the smallest cell in which anybody is.
    fewest: f64,
}

/// What divides an attribute.
enum Divided<'a> {
    Axis(Axis<'a>),
    Codes(Codes<'a>),
    /// Exact questions, of which the auditor keeps as many as the attribute's entry says.
    Audited(&'a Arc<Predicate>),
}

impl<'a> Part<'a> {
    /// None if nothing divides it.
    fn new(
        attribute: &'a Attribute,
        all: &BTreeMap<String, Attribute>,
        predicates: &'a [Arc<Predicate>],
    ) -> Option<Self> {
        let mut exact = predicates.iter().filter(|it| it.clock == Clock::Exact);
        let divided = match (&attribute.people, exact.find(|it| it.attribute == attribute.id)) {
            (_, Some(exact)) => Divided::Audited(exact),
            (Histogram::Dates(_) | Histogram::Counts(_), None) => {
                Divided::Axis(Axis::new(attribute, all, predicates))
            }
            (Histogram::Codes(people), None) => {
                Divided::Codes(Codes::new(attribute, people, predicates))
            }
        };
        let mut part = Self { attribute, divided, fewest: 0.0 };
        part.fewest = part.fewest_without(None);
        (part.sources() > 0).then_some(part)
    }

    fn sources(&self) -> usize {
        match &self.divided {
            Divided::Axis(axis) => axis.sources.len(),
            Divided::Codes(codes) => codes.sources.len(),
            Divided::Audited(_) => 1,
        }
    }

    fn everybody(&self) -> f64 {
        self.attribute.people.everybody() as f64
    }

    /// People of the smallest cell in which anybody is, if one source were not asked about.
    fn fewest_without(&self, without: Option<usize>) -> f64 {
        let least = |people: &mut dyn Iterator<Item = f64>| {
            people.filter(|people| *people > 0.0).fold(self.everybody(), f64::min)
        };
        match &self.divided {
            Divided::Axis(axis) => {
                let kept = axis.sources.iter().enumerate().filter(|(at, _)| Some(*at) != without);
                let sources = kept.map(|(_, source)| *source).collect();
                let tried = Axis { sources, people: axis.people.clone(), ..*axis };
                least(&mut tried.cells().iter().map(|it| it.people))
            }
            Divided::Codes(codes) => {
                least(&mut codes.cells(without).iter().map(|it| it.people as f64))
            }
            Divided::Audited(_) => self.attribute.cell_people_min as f64,
        }
    }

    fn source(&self, at: usize) -> (&Arc<Predicate>, String) {
        match &self.divided {
            Divided::Axis(axis) => {
                let source = &axis.sources[at];
                let threshold = format!("{} {}", source.threshold, source.unit.in_words());
                (source.predicate, threshold)
            }
            Divided::Codes(codes) => {
                (codes.sources[at].predicate, codes.sources[at].code.to_owned())
            }
            Divided::Audited(predicate) => (predicate, "exact answers".to_owned()),
        }
    }
}

/// The parts of a join that anything divides.
fn parts<'a>(
    join: &Join,
    all: &'a BTreeMap<String, Attribute>,
    predicates: &'a [Arc<Predicate>],
) -> Vec<Part<'a>> {
    let attributes = join.attributes.iter().filter_map(|id| all.get(id));
    attributes.filter_map(|attribute| Part::new(attribute, all, predicates)).collect()
}

/// The people in the smallest cells of all parts, of which one may have other fewest. Not all
/// histograms are of the same people: whom one leaves out, another one may have.
fn people(parts: &[Part<'_>], changed: Option<(usize, f64)>) -> f64 {
    let fewest = parts.iter().enumerate().map(|(at, part)| match changed {
        Some((of, fewest)) if of == at => fewest,
        Some(_) | None => part.fewest,
    });
    let everybody = parts.iter().map(Part::everybody).fold(1.0, f64::max);
    let shares = fewest.map(|people| people / everybody);
    shares.product::<f64>() * everybody
}

/// The fewest people whom everything leaves together; none if nothing divides them.
pub(in crate::catalogue) fn fewest_together(
    join: &Join,
    all: &BTreeMap<String, Attribute>,
    predicates: &[Arc<Predicate>],
) -> Option<u64> {
    let parts = parts(join, all, predicates);
    (!parts.is_empty()).then(|| (people(&parts, None) + ROUNDING) as u64)
}

/// A collision if all questions about the attributes together leave too few people.
pub(in crate::catalogue) fn together(
    join: &Join,
    all: &BTreeMap<String, Attribute>,
    predicates: &[Arc<Predicate>],
) -> Option<Collision> {
    let parts = parts(join, all, predicates);
    let min = join.cell_people_min as f64 - ROUNDING;
    let left = people(&parts, None);
    let last = parts.last().filter(|_| left < min)?;
    let of_part = |part: &Part<'_>| format!("{} of {}", part.fewest.floor(), part.attribute.id);
    let of_parts: Vec<String> = parts.iter().map(of_part).collect();
    let rule = format!(
        "the join {} leaves about {} people ({}), and its cell_people_min is {}",
        join.id,
        (left + ROUNDING).floor(),
        of_parts.join(", "),
        join.cell_people_min
    );
    // What was added last is tried first.
    let each = (0..parts.len()).rev().flat_map(|part| {
        let sources = (0..parts[part].sources()).rev();
        sources.map(move |source| (part, source))
    });
    let found = each.take(TRIES_MAX).find(|(part, source)| {
        let fewest = parts[*part].fewest_without(Some(*source));
        people(&parts, Some((*part, fewest))) >= min
    });
    let (predicate, mend) = match found {
        Some((part, source)) => {
            let (predicate, what) = parts[part].source(source);
            (predicate, format!("it passes without {what} of {}", predicate.id))
        }
        None => {
            let (predicate, _) = last.source(last.sources() - 1);
            (predicate, "ask about fewer values of each".to_owned())
        }
    };
    Some(Collision { predicate: Arc::clone(predicate), rule, mend })
}

/// Sums of fractions are not exact to the last digit.
const ROUNDING: f64 = 1e-6;
/// Whoever has more thresholds reckons for himself.
const TRIES_MAX: usize = 64;

#[cfg(test)]
mod tests;
