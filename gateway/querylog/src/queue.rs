//! The bounded queue between the tasks and the writer thread.
//!
//! Owns the places: whoever submits holds one, so the queue can never hold more than
//! `queue_entries_max`, and a closing entry's place is taken together with that of its `ask`.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::compose::{Asked, Composed};
use crate::shared::{LogUnavailable, Shared};
use crate::ticket::{AskTicket, Recorded};

/// One or several places in the queue, given back when dropped.
pub(crate) struct Slot(OwnedSemaphorePermit);

impl Slot {
    pub fn split_one(&mut self) -> Slot {
        Slot(self.0.split(1).expect("a slot is split only while it holds two places"))
    }
}

/// An entry on its way to the writer.
pub(crate) struct Submission {
    pub composed: Composed,
    pub waiter: Waiter,
    /// Given back when the entry is durable. None for the log's own entries.
    _slot: Option<Slot>,
}

impl Submission {
    pub fn new(composed: Composed, waiter: Waiter, slot: Option<Slot>) -> Self {
        Self { composed, waiter, _slot: slot }
    }
}

/// Who waits for an entry.
pub(crate) enum Waiter {
    /// A question: gets its ticket.
    Ask {
        sender: oneshot::Sender<Result<AskTicket, LogUnavailable>>,
        asked: Box<Asked>,
        closing_slot: Slot,
        shared: Arc<Shared>,
    },
    /// Any other entry: gets the proof that it is durable.
    Entry(oneshot::Sender<Result<Recorded, LogUnavailable>>),
    /// Nobody, or no longer.
    Nobody,
}

impl Waiter {
    pub fn is_ask(&self) -> bool {
        match self {
            Self::Ask { .. } => true,
            Self::Entry(_) | Self::Nobody => false,
        }
    }

    /// True if somebody waits who may show the entry's promise to a caller.
    pub fn wants_promise(&self) -> bool {
        match self {
            Self::Entry(_) => true,
            Self::Ask { .. } | Self::Nobody => false,
        }
    }

    /// Tells the waiter that its entry is on record. A ticket that nobody receives any more is
    /// dropped here or with its channel, and so closes its question itself.
    pub fn succeed(self, recorded: Recorded) {
        match self {
            Self::Ask { sender, asked, closing_slot, shared } => {
                let ticket = AskTicket::new(asked, recorded.index(), closing_slot, shared);
                drop(sender.send(Ok(ticket)));
            }
            Self::Entry(sender) => drop(sender.send(Ok(recorded))),
            Self::Nobody => {}
        }
    }

    pub fn fail(self, why: LogUnavailable) {
        match self {
            Self::Ask { sender, .. } => drop(sender.send(Err(why))),
            Self::Entry(sender) => drop(sender.send(Err(why))),
            Self::Nobody => {}
        }
    }
}

pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    places: Arc<Semaphore>,
    places_max: u32,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Submission>,
    closed: bool,
    fault: Option<Arc<str>>,
    /// True while the writer waits for the condition, so that it is woken once a batch.
    asleep: bool,
}

impl Queue {
    /// `places_max` is at most 2^20, see `LogOptions::check`.
    pub fn new(places_max: usize) -> Self {
        let places = Arc::new(Semaphore::new(places_max));
        let places_max = u32::try_from(places_max).unwrap_or(u32::MAX);
        Self { state: Mutex::default(), filled: Condvar::new(), places, places_max }
    }

    /// Waits for `places` places at once; several are never taken one by one, so that two tasks
    /// cannot hold one each and wait for ever.
    pub async fn reserve(&self, places: u32) -> Result<Slot, LogUnavailable> {
        match Arc::clone(&self.places).acquire_many_owned(places).await {
            Ok(permit) => Ok(Slot(permit)),
            Err(_) => Err(self.why_unavailable()),
        }
    }

    /// Waits until no entry is queued and no question open, and keeps it so.
    pub async fn reserve_all(&self) -> Result<Slot, LogUnavailable> {
        self.reserve(self.places_max).await
    }

    pub fn push(&self, submission: Submission) -> Result<(), LogUnavailable> {
        self.push_and(submission, false)
    }

    /// Pushes the last entry of all.
    pub fn push_last(&self, submission: Submission) -> Result<(), LogUnavailable> {
        self.push_and(submission, true)
    }

    fn push_and(&self, submission: Submission, last: bool) -> Result<(), LogUnavailable> {
        let mut state = locked(&self.state);
        if let Some(why) = state.why_unavailable() {
            drop(state);
            // Dropped outside the lock: a submission may hold a place of the queue.
            drop(submission);
            return Err(why);
        }
        state.waiting.push_back(submission);
        state.closed = last;
        let wake = std::mem::take(&mut state.asleep);
        drop(state);
        if last {
            self.places.close();
        }
        if wake {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Moves everything queued to `into`, waiting at most `wait` for something. False when nothing
    /// will follow.
    pub fn take(&self, into: &mut VecDeque<Submission>, wait: Duration) -> bool {
        let mut state = locked(&self.state);
        if state.waiting.is_empty() && !state.closed {
            state.asleep = true;
            let waited = self.filled.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.asleep = false;
        }
        into.append(&mut state.waiting);
        !state.closed
    }

    /// Takes no more entries; what is queued is still written.
    pub fn close(&self) {
        locked(&self.state).closed = true;
        self.places.close();
        self.filled.notify_one();
    }

    /// Stops for good and fails everything queued.
    pub fn poison(&self, reason: &Arc<str>) {
        let mut state = locked(&self.state);
        state.fault.get_or_insert_with(|| Arc::clone(reason));
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.places.close();
        for submission in waiting {
            submission.waiter.fail(LogUnavailable::Poisoned { reason: Arc::clone(reason) });
        }
    }

    /// Why a place or an answer was not given.
    pub fn why_unavailable(&self) -> LogUnavailable {
        locked(&self.state).why_unavailable().unwrap_or(LogUnavailable::Closed)
    }

    /// Fails once the queue takes nothing any more.
    pub fn check(&self) -> Result<(), LogUnavailable> {
        locked(&self.state).why_unavailable().map_or(Ok(()), Err)
    }

    /// Why the log has stopped, if it has.
    pub fn fault(&self) -> Option<Arc<str>> {
        locked(&self.state).fault.clone()
    }

    /// Entries queued, places free, and why the log has stopped.
    pub fn state(&self) -> (usize, usize, Option<Arc<str>>) {
        let state = locked(&self.state);
        (state.waiting.len(), self.places.available_permits(), state.fault.clone())
    }
}

impl State {
    fn why_unavailable(&self) -> Option<LogUnavailable> {
        match &self.fault {
            Some(reason) => Some(LogUnavailable::Poisoned { reason: Arc::clone(reason) }),
            None if self.closed => Some(LogUnavailable::Closed),
            None => None,
        }
    }
}

/// Locks, also after a panic elsewhere: every state behind these locks is changed by statements
/// that leave it whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
