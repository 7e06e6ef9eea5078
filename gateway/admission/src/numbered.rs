//! Small numbers for names that many counts repeat, and how both stand in a snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use minicbor::{Decoder, Encode, Encoder, decode, encode};

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

impl<C> Encode<C> for Numbered {
    fn encode<W: encode::Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        encoder.array(self.names.len() as u64)?;
        self.names.iter().try_for_each(|name| encoder.str(name).map(drop))
    }
}

/// The numbers here for those of a snapshot, which were given in another order.
pub(crate) struct Renumbered(Vec<Number>);

impl Renumbered {
    /// Reads names as [`Numbered`] writes them, and gives each its number here.
    pub fn read(from: &mut Decoder<'_>, here: &mut Numbered) -> Result<Self, decode::Error> {
        let names: Vec<String> = from.decode()?;
        Ok(Self(names.iter().map(|name| here.number(name)).collect()))
    }

    /// The number here; none for one without a name.
    pub fn of(&self, number: Number) -> Option<Number> {
        if number >= NAMES_MAX {
            return Some(number);
        }
        self.0.get(usize::from(number)).copied()
    }
}

/// A panic elsewhere cannot leave a count half written, so a poisoned lock is still good.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names of one kind that can be told apart.
pub(crate) const NAMES_MAX: Number = Number::MAX - 2;
