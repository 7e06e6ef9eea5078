//! First steps that are kept: what `begin` asks for follows from what it is given and from nothing
//! else, so a question that differs from an earlier one in its subject alone begins as it did.
//!
//! Owns the bounds of what is kept. What a first step is given stands in here, so nothing of it may
//! be about a person. Replies, and what follows from them, never stand in here.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::contract::{Chunk, FetchItem, Request};
use crate::evaluation::Given;

/// The first steps of one adapter.
#[derive(Default)]
pub(crate) struct Begun(RwLock<HashMap<Given, Arc<First>>>);

/// What a first step asked for.
pub(crate) struct First {
    pub(crate) requests: Arc<[FetchItem]>,
    pub(crate) state: Vec<u8>,
}

impl Begun {
    pub(crate) fn get(&self, given: &Given) -> Option<Arc<First>> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.get(given).map(Arc::clone)
    }

    /// How many are kept.
    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Keeps a first step, unless it is much larger than any that an author would write.
    pub(crate) fn keep(&self, given: &Given, first: First) {
        if first.bytes() > FIRST_BYTES_MAX {
            return;
        }
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Most of it is of a day that is over.
        if kept.len() >= FIRSTS_MAX {
            kept.clear();
        }
        kept.insert(given.clone(), Arc::new(first));
    }
}

impl First {
    /// Bytes of the state, of what the requests say and of the pieces that they say it in.
    fn bytes(&self) -> usize {
        let items = self.requests.iter().map(|item| match &item.request {
            Request::Http(http) => {
                let headers = http.headers.iter().map(|it| it.name.len() + bytes_of(&it.value));
                let headers = size_of_val(&http.headers[..]) + headers.sum::<usize>();
                item.endpoint.len() + bytes_of(&http.path) + headers + bytes_of(&http.body)
            }
            // No endpoint runs one.
            Request::Sql(_) => FIRST_BYTES_MAX + 1,
        });
        self.state.len() + items.sum::<usize>()
    }
}

fn bytes_of(chunks: &[Chunk]) -> usize {
    let literals = chunks.iter().map(|chunk| match chunk {
        Chunk::Literal(bytes) => bytes.len(),
        Chunk::Subject(_) => 0,
    });
    size_of_val(chunks) + literals.sum::<usize>()
}

/// Predicates, thresholds and identifier kinds of a department, on the dates it is asked about.
const FIRSTS_MAX: usize = 256;
/// A SOAP envelope with its headers has one kilobyte, in some ten pieces.
const FIRST_BYTES_MAX: usize = 4 << 10;
