//! What all questions about an attribute of codes leave together.
//!
//! Each code that can be asked about divides everybody in two. Whoever asks for all of them knows
//! of a person which of them are answered with `yes`: people of whom it is the same stay together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Collision, SOURCES_MAX, TOLD_MAX, too_many};
use crate::catalogue::attribute::{Attribute, CodeCut};
use crate::catalogue::predicate::Predicate;

/// One code of one predicate.
#[derive(Clone, Copy)]
pub(super) struct CodeSource<'a> {
    pub predicate: &'a Arc<Predicate>,
    pub code: &'a str,
    begins: bool,
}

/// The sources of one attribute, and how many people have which code.
pub(super) struct Codes<'a> {
    pub attribute: &'a Attribute,
    people: &'a [(String, u64)],
    pub sources: Vec<CodeSource<'a>>,
}

/// People whom nothing tells apart.
pub(super) struct Together<'a> {
    /// The sources that are answered with `yes`.
    yes: Vec<usize>,
    pub codes: Vec<&'a str>,
    pub people: u64,
}

impl CodeSource<'_> {
    fn is_yes(&self, code: &str) -> bool {
        if self.begins { code.starts_with(self.code) } else { code == self.code }
    }
}

impl<'a> Codes<'a> {
    pub fn new(
        attribute: &'a Attribute,
        people: &'a [(String, u64)],
        predicates: &'a [Arc<Predicate>],
    ) -> Self {
        let on_it = predicates.iter().filter(|it| it.attribute == attribute.id);
        let sources = on_it.flat_map(|predicate| {
            predicate.code_cut.iter().flat_map(move |CodeCut { begins, codes, .. }| {
                codes.iter().map(move |code| CodeSource { predicate, code, begins: *begins })
            })
        });
        Self { attribute, people, sources: sources.collect() }
    }

    /// Everybody, divided by all sources but one.
    pub fn cells(&self, without: Option<usize>) -> Vec<Together<'a>> {
        let mut cells: BTreeMap<Vec<usize>, (Vec<&'a str>, u64)> = BTreeMap::new();
        for (code, people) in self.people {
            let others = self.sources.iter().enumerate().filter(|(at, _)| Some(*at) != without);
            let yes = others.filter(|(_, source)| source.is_yes(code)).map(|(at, _)| at).collect();
            let (codes, all) = cells.entry(yes).or_default();
            codes.push(code);
            *all += people;
        }
        let cells = cells.into_iter();
        cells.map(|(yes, (codes, people))| Together { yes, codes, people }).collect()
    }

    fn is_small(&self, people: u64) -> bool {
        // Where nobody is by the histogram, nobody is divided.
        people > 0 && people < self.attribute.cell_people_min
    }

    pub fn collisions(&self) -> Vec<Collision> {
        if let Some(last) = self.sources.get(SOURCES_MAX) {
            return vec![too_many(self.attribute, last.predicate)];
        }
        let unknown = self
            .sources
            .iter()
            .find(|source| !self.people.iter().any(|(code, _)| source.is_yes(code)));
        if let Some(CodeSource { predicate, code, .. }) = unknown {
            let id = &self.attribute.id;
            return vec![Collision {
                predicate: Arc::clone(predicate),
                rule: format!("the figures of {id} do not say how many people {code} is yes of"),
                mend: format!("add them to its people, 0 if it is nobody, or remove {code}"),
            }];
        }
        let cells = self.cells(None).into_iter();
        let small = cells.filter(|cell| self.is_small(cell.people));
        small.take(TOLD_MAX).filter_map(|cell| self.tell(&cell)).collect()
    }

    fn tell(&self, small: &Together<'_>) -> Option<Collision> {
        // The code that says most; of those of whom all answers are `no`, the last one.
        let most = small.yes.iter().max_by_key(|at| (self.sources[**at].code.len(), **at));
        let changed = most.copied().or_else(|| self.sources.len().checked_sub(1))?;
        let (predicate, code) = (self.sources[changed].predicate, self.sources[changed].code);
        let Attribute { id, cell_people_min, .. } = self.attribute;
        let whose = match small.codes.as_slice() {
            codes @ ([] | [_] | [_, _]) => codes.join(" and "),
            [first, .., last] => format!("{first} to {last}"),
        };
        let rule = format!(
            "{code} and the other codes that can be asked about divide {id} so that {} people are \
             left, those with {whose}, and cell_people_min is {cell_people_min}",
            small.people
        );
        // Without one code its people are told apart from fewer others.
        let passes = |without: &usize| {
            let cells = self.cells(Some(*without)).into_iter();
            let is_theirs =
                |cell: &Together<'_>| cell.codes.iter().any(|it| small.codes.contains(it));
            !cells.filter(is_theirs).any(|cell| self.is_small(cell.people))
        };
        let mut all = std::iter::once(changed).chain((0..self.sources.len()).rev());
        let mend = match all.find(passes).map(|at| self.sources[at]) {
            Some(CodeSource { predicate, code, .. }) => {
                format!("they are enough without {code} of {}", predicate.id)
            }
            // Without any one of them they are the only ones of whom all answers are `no`.
            None => "no one code left out is enough for them: ask about fewer".to_owned(),
        };
        Some(Collision { predicate: Arc::clone(predicate), rule, mend })
    }
}

#[cfg(test)]
mod tests;
