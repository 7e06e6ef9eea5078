//! Refusals that are counted instead of written one by one.
//!
//! Owns a small map that anyone may add to without waiting. A flood of refused requests must not
//! fill the disk; a count lost with the process is at most one window's.

use std::collections::HashMap;
use std::sync::Mutex;

use jumpgate_catalogue::{CallerId, RefusalCode};

use crate::queue::locked;

/// The caller in a `coalesced` entry that stands for all callers beyond the map's limit. It holds a
/// space, which no caller id can.
pub const OTHER_CALLERS: &str = "other callers";

/// Pairs of caller and code in one window: more callers than a district configures, and at most
/// 200 KB of entries a second.
const PAIRS_MAX: usize = 1024;

#[derive(Default)]
pub(crate) struct Coalesced {
    state: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    by_pair: HashMap<(Option<CallerId>, RefusalCode), u64>,
    /// At most one count for each code.
    others: HashMap<RefusalCode, u64>,
}

impl Coalesced {
    pub fn count(&self, caller: Option<&CallerId>, code: RefusalCode) {
        let mut counts = locked(&self.state);
        let full = counts.by_pair.len() >= PAIRS_MAX;
        let pair = (caller.cloned(), code);
        let count = match counts.by_pair.get_mut(&pair) {
            Some(count) => count,
            None if full => counts.others.entry(code).or_default(),
            None => counts.by_pair.entry(pair).or_default(),
        };
        *count += 1;
    }

    /// Everything counted since the last call.
    pub fn take(&self) -> Vec<(Option<String>, RefusalCode, u64)> {
        let counts = std::mem::take(&mut *locked(&self.state));
        let text = |caller: Option<CallerId>| caller.map(|caller| caller.as_str().to_owned());
        let pairs = counts.by_pair.into_iter();
        let mut taken: Vec<_> =
            pairs.map(|((caller, code), count)| (text(caller), code, count)).collect();
        let others = counts.others.into_iter();
        taken.extend(others.map(|(code, count)| (Some(OTHER_CALLERS.to_owned()), code, count)));
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_caller_and_code_and_taken_once() {
        let counts = Coalesced::default();
        let caller: CallerId = "one-window".parse().unwrap();
        counts.count(Some(&caller), RefusalCode::CallerQuota);
        counts.count(Some(&caller), RefusalCode::CallerQuota);
        counts.count(None, RefusalCode::Unauthenticated);
        let mut taken = counts.take();
        taken.sort();
        assert_eq!(
            taken,
            [
                (None, RefusalCode::Unauthenticated, 1),
                (Some("one-window".to_owned()), RefusalCode::CallerQuota, 2),
            ]
        );
        assert!(counts.take().is_empty());
    }

    #[test]
    fn beyond_the_limit_callers_are_counted_together() {
        let counts = Coalesced::default();
        for number in 0..PAIRS_MAX + 5 {
            let caller: CallerId = format!("caller-{number}").parse().unwrap();
            counts.count(Some(&caller), RefusalCode::CallerQuota);
        }
        let taken = counts.take();
        assert_eq!(taken.len(), PAIRS_MAX + 1);
        assert!(taken.contains(&(Some(OTHER_CALLERS.to_owned()), RefusalCode::CallerQuota, 5)));
    }
}
