//! A set of calendar months, small enough for the adapter's state.

use jumpgate_adapter::{Month, Reason};
use serde::{Deserialize, Serialize};

/// January 1950 as [`Month::ordinal`] counts: labour insurance began in 1951.
const FIRST_ORDINAL: u32 = 1950 * 12;
/// Months that the set can hold: up to December 2099.
const MONTHS_MAX: u32 = 150 * 12;
const WORD_BITS: u32 = u64::BITS;

/// Months from January 1950 to December 2099, one bit each: at most 29 words, 610 bytes of state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Months {
    words: Vec<u64>,
}

impl Months {
    /// Adds a month; a month added twice is there once. A month outside the set's range is an
    /// unusable field.
    pub(crate) fn insert(&mut self, month: Month) -> Result<(), Reason> {
        let index = Self::index(month).ok_or(Reason::UnusableField)?;
        let word = (index / WORD_BITS) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (index % WORD_BITS);
        Ok(())
    }

    /// How many months lie before `month`. The month itself is not complete on any day of it.
    pub(crate) fn count_before(&self, month: Month) -> u32 {
        let end = Self::index(month).unwrap_or(MONTHS_MAX);
        (0..end).filter(|&index| self.contains(index)).count() as u32
    }

    /// Length of the unbroken run that ends with the month before `month`.
    pub(crate) fn run_before(&self, month: Month) -> u32 {
        let end = Self::index(month).unwrap_or(MONTHS_MAX);
        (0..end).rev().take_while(|&index| self.contains(index)).count() as u32
    }

    fn contains(&self, index: u32) -> bool {
        let word = self.words.get((index / WORD_BITS) as usize);
        word.is_some_and(|word| word >> (index % WORD_BITS) & 1 == 1)
    }

    fn index(month: Month) -> Option<u32> {
        month.ordinal().checked_sub(FIRST_ORDINAL).filter(|&index| index < MONTHS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn month(text: &str) -> Month {
        text.parse().unwrap()
    }

    fn set(months: &[&str]) -> Months {
        let mut set = Months::default();
        months.iter().for_each(|text| set.insert(month(text)).unwrap());
        set
    }

    #[test]
    fn counts_each_complete_month_once() {
        let set = set(&["2026-10", "2026-09", "2026-09", "2026-07", "2026-11", "1950-01"]);
        assert_eq!(set.count_before(month("2026-11")), 4);
        assert_eq!(set.count_before(month("2026-12")), 5);
        assert_eq!(set.count_before(month("1950-01")), 0);
    }

    #[test]
    fn a_run_ends_with_the_month_before() {
        let set = set(&["2026-10", "2026-09", "2026-07", "2025-12", "2026-01"]);
        assert_eq!(set.run_before(month("2026-11")), 2);
        assert_eq!(set.run_before(month("2026-10")), 1);
        assert_eq!(set.run_before(month("2026-09")), 0);
        assert_eq!(set.run_before(month("2026-02")), 2);
        assert_eq!(set.run_before(month("2026-12")), 0);
    }

    #[test]
    fn holds_a_century_and_a_half_in_the_states_bytes() {
        let mut all = Months::default();
        for year in 1950..2100 {
            for number in 1..=12 {
                all.insert(month(&format!("{year}-{number:02}"))).unwrap();
            }
        }
        assert_eq!(all.count_before(month("2100-01")), MONTHS_MAX);
        assert_eq!(all.run_before(month("2100-01")), MONTHS_MAX);
        assert_eq!(all.insert(month("1949-12")), Err(Reason::UnusableField));
        assert_eq!(all.insert(month("2100-01")), Err(Reason::UnusableField));
        assert!(serde_json::to_vec(&all).unwrap().len() <= 640);
    }
}
