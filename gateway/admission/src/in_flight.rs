//! How many queries one caller has between body and response.
//!
//! Owns a count a caller. A query runs on when its caller hangs up, so quotas alone do not bound
//! what a caller keeps busy; this does. It never waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use jumpgate_catalogue::{CallerId, Refusal};

use crate::denied;

/// Marks of queries in flight, with a maximum a caller.
pub struct InFlight {
    caller_max: u32,
    callers: BTreeMap<CallerId, Arc<AtomicU32>>,
}

/// One query in flight; its drop takes the mark away. Moves into the task that answers the query.
#[derive(Debug)]
#[must_use = "a dropped guard takes its mark away"]
pub struct InFlightGuard {
    count: Arc<AtomicU32>,
}

impl InFlight {
    /// Marks for these callers. Those that `past` knows keep what they have in flight.
    pub(crate) fn new<'a>(
        callers: impl IntoIterator<Item = &'a CallerId>,
        caller_max: u32,
        past: Option<&Self>,
    ) -> Self {
        let kept = |id| past.and_then(|past| past.callers.get(id)).map(Arc::clone);
        let callers =
            callers.into_iter().map(|id| (id.clone(), kept(id).unwrap_or_default())).collect();
        Self { caller_max, callers }
    }

    /// Marks one more query of `caller`.
    ///
    /// # Errors
    /// `InFlight` at the maximum; `Unauthenticated` for a caller nobody configured.
    pub fn enter(&self, caller: &CallerId) -> Result<InFlightGuard, Refusal> {
        let count = self.callers.get(caller).ok_or_else(denied::unknown_caller)?;
        let caller_max = self.caller_max;
        let more = |queries| (queries < caller_max).then_some(queries + 1);
        match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(InFlightGuard { count: Arc::clone(count) }),
            Err(_) => Err(denied::in_flight(caller_max)),
        }
    }

    /// Queries in flight of each caller, in the order of their ids.
    pub fn callers(&self) -> impl Iterator<Item = (&CallerId, u32)> {
        self.callers.iter().map(|(caller, count)| (caller, count.load(Ordering::Relaxed)))
    }

    /// Queries in flight of all callers.
    pub fn total(&self) -> u64 {
        self.callers().map(|(_, queries)| u64::from(queries)).sum()
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use jumpgate_catalogue::RefusalCode;

    use super::*;

    #[test]
    fn a_caller_has_at_most_its_maximum_and_no_caller_takes_anothers() {
        let [one, two, stranger] = ["one", "two", "stranger"].map(|id| id.parse().unwrap());
        let in_flight = InFlight::new([&one, &two], 2, None);
        let first = in_flight.enter(&one).unwrap();
        let second = in_flight.enter(&one).unwrap();
        let refusal = in_flight.enter(&one).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::InFlight);
        assert!(refusal.mend.contains("at most 2"), "{}", refusal.mend);
        let other = in_flight.enter(&two).unwrap();
        assert_eq!(in_flight.total(), 3);
        drop(first);
        let third = in_flight.enter(&one).unwrap();
        drop((second, third, other));
        assert_eq!(in_flight.callers().collect::<Vec<_>>(), [(&one, 0), (&two, 0)]);
        let refusal = in_flight.enter(&stranger).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Unauthenticated);
    }
}
