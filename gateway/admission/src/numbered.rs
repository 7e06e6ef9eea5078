//! Small numbers for names that many counts repeat.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What stands for a name, in the order in which names were met.
pub(crate) type Number = u16;

/// Names of one kind, and their numbers.
#[derive(Default)]
pub(crate) struct Numbered {
    numbers: HashMap<Arc<str>, Number>,
    names: Vec<Arc<str>>,
}

impl Numbered {
    /// The number of a name, a new one if it has none. Beyond the most numbers, names share the
    /// last one: counts are then too high and never too low.
    pub fn number(&mut self, name: &str) -> Number {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = Number::try_from(self.names.len()).unwrap_or(NAMES_MAX).min(NAMES_MAX);
        if number < NAMES_MAX {
            let name: Arc<str> = name.into();
            self.names.push(Arc::clone(&name));
            self.numbers.insert(name, number);
        }
        number
    }

    /// The name of a number; none of one that was not given.
    pub fn name(&self, number: Number) -> Option<&Arc<str>> {
        self.names.get(usize::from(number))
    }

    /// Every name, in the order of the numbers.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }
}

/// A panic elsewhere cannot leave a count half written, so a poisoned lock is still good.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of one kind that can be told apart.
pub(crate) const NAMES_MAX: Number = Number::MAX - 2;
