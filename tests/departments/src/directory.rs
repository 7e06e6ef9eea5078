//! Finds by identifier. Knows nothing of what it finds.

use std::collections::HashMap;

use crate::identifier::Kind;
use crate::person::Person;

/// What is held for each identifier of each kind.
pub(crate) struct Directory<T> {
    by_kind: [HashMap<String, T>; Kind::ALL.len()],
}

impl<T> Directory<T> {
    /// Asks `entry` what to hold for the people, by their ordinals, that share an identifier.
    pub fn new<'a>(
        people: impl Iterator<Item = &'a Person>,
        entry: impl Fn(&[usize]) -> T,
    ) -> Self {
        let mut groups: [HashMap<String, Vec<usize>>; Kind::ALL.len()] = Default::default();
        for person in people {
            for (kind, identifier) in person.identifiers.each() {
                groups[kind as usize].entry(identifier.into()).or_default().push(person.ordinal);
            }
        }
        let by_kind = groups.map(|group| {
            group.into_iter().map(|(identifier, found)| (identifier, entry(&found))).collect()
        });
        Self { by_kind }
    }

    pub fn find(&self, kind: Kind, identifier: &str) -> Option<&T> {
        self.by_kind[kind as usize].get(identifier)
    }
}
