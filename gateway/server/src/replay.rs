//! The memory behind `query_id`: a repeat with the same body gets the first outcome.
//!
//! Kept for 24 hours and for a bounded number of outcomes, bound to the caller and to a keyed
//! digest of the question. Refusals and abandoned queries are not kept: they may be asked again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jumpgate_catalogue::{CallerId, QueryId, Refusal, RefusalCode};

use crate::record::Kept;

/// How long an outcome is kept.
pub const KEPT: Duration = Duration::from_secs(24 * 3600);
/// A query in flight lasts a second or two at worst.
const IN_FLIGHT_RETRY: Duration = Duration::from_secs(1);

/// The kept outcomes.
pub struct Replays {
    table: Mutex<Table>,
    replays_max: usize,
}

struct Table {
    slots: HashMap<Key, Slot>,
    /// Finished keys in the order they ended, with the time they are forgotten.
    ends: VecDeque<(u64, Key)>,
}

type Key = (CallerId, QueryId);

struct Slot {
    token: [u8; 32],
    /// None while the first query runs.
    kept: Option<Arc<Kept>>,
}

/// What a `query_id` means now.
pub enum Claim {
    /// Nobody asked under it: answer, then `keep` or drop.
    Fresh(Claimed),
    /// It was answered: this is the outcome.
    Done(Arc<Kept>),
}

/// The right to answer under a `query_id`. Dropped without `keep`, the id is free again.
pub struct Claimed {
    slot: Option<(Arc<Replays>, Key)>,
}

impl Replays {
    /// A memory for at most `replays_max` outcomes.
    pub fn new(replays_max: usize) -> Arc<Self> {
        let table = Mutex::new(Table { slots: HashMap::new(), ends: VecDeque::new() });
        Arc::new(Self { table, replays_max })
    }

    /// Claims the id for a question whose keyed digest is `token`.
    ///
    /// # Errors
    /// The id is in flight, or was used for another question.
    pub fn claim(
        self: &Arc<Self>,
        caller: &CallerId,
        id: QueryId,
        token: [u8; 32],
        now_ms: u64,
    ) -> Result<Claim, Refusal> {
        let key = (caller.clone(), id);
        let mut table = self.lock();
        table.forget_until(now_ms);
        match table.slots.get(&key) {
            None => {}
            Some(slot) if slot.token != token => {
                let mend = "this query_id belongs to another question: draw a new one";
                return Err(Refusal::new(RefusalCode::QueryIdReused, mend).at("/query_id"));
            }
            Some(Slot { kept: Some(kept), .. }) => return Ok(Claim::Done(kept.clone())),
            Some(Slot { kept: None, .. }) => {
                let mend = "the same query is being answered: repeat it after Retry-After";
                let refusal = Refusal::new(RefusalCode::QueryInFlight, mend).at("/query_id");
                return Err(refusal.after(IN_FLIGHT_RETRY));
            }
        }
        table.slots.insert(key.clone(), Slot { token, kept: None });
        Ok(Claim::Fresh(Claimed { slot: Some((self.clone(), key)) }))
    }

    /// Puts back an outcome that the log remembers from before a restart.
    pub fn restore(&self, caller: CallerId, id: QueryId, token: [u8; 32], kept: Kept) {
        let key = (caller, id);
        let forget_ms = kept.time_ms().saturating_add(KEPT.as_millis() as u64);
        let mut table = self.lock();
        table.slots.insert(key.clone(), Slot { token, kept: Some(Arc::new(kept)) });
        table.ended(key, forget_ms, self.replays_max);
    }

    /// Outcomes kept now.
    pub fn len(&self) -> usize {
        self.lock().ends.len()
    }

    /// True if none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Claimed {
    /// The claim of an id that nobody else knows: there is nothing to keep.
    pub fn unshared() -> Self {
        Self { slot: None }
    }

    /// Keeps the outcome for repeats; without one, the id is free again.
    pub fn keep(mut self, kept: Option<&Kept>) {
        let Some(kept) = kept else { return };
        let Some((replays, key)) = self.slot.take() else { return };
        let forget_ms = kept.time_ms().saturating_add(KEPT.as_millis() as u64);
        let mut table = replays.lock();
        if let Some(slot) = table.slots.get_mut(&key) {
            slot.kept = Some(Arc::new(kept.clone()));
        }
        table.ended(key, forget_ms, replays.replays_max);
    }
}

impl Drop for Claimed {
    fn drop(&mut self) {
        if let Some((replays, key)) = self.slot.take() {
            replays.lock().slots.remove(&key);
        }
    }
}

impl Table {
    fn ended(&mut self, key: Key, forget_ms: u64, replays_max: usize) {
        self.ends.push_back((forget_ms, key));
        while self.ends.len() > replays_max {
            self.forget_first();
        }
    }

    fn forget_until(&mut self, now_ms: u64) {
        while self.ends.front().is_some_and(|(forget_ms, _)| *forget_ms <= now_ms) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, key)) = self.ends.pop_front() {
            self.slots.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
