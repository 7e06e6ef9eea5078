//! Counts queries that must end before the process does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Shared by all connections.
#[derive(Clone, Default)]
pub struct Drain {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    running: AtomicUsize,
    is_draining: AtomicBool,
    ended: Notify,
}

/// One running query; gone when dropped.
pub struct Running {
    inner: Arc<Inner>,
}

impl Drain {
    /// Marks a query as running.
    pub fn enter(&self) -> Running {
        self.inner.running.fetch_add(1, Ordering::SeqCst);
        Running { inner: self.inner.clone() }
    }

    /// From now on new questions are refused.
    pub fn begin(&self) {
        self.inner.is_draining.store(true, Ordering::SeqCst);
    }

    /// True once `begin` was called.
    pub fn is_draining(&self) -> bool {
        self.inner.is_draining.load(Ordering::SeqCst)
    }

    /// Queries running now.
    pub fn running(&self) -> usize {
        self.inner.running.load(Ordering::SeqCst)
    }

    /// Returns when no query runs.
    pub async fn ended(&self) {
        loop {
            let ended = self.inner.ended.notified();
            if self.running() == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.inner.running.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.inner.ended.notify_waiters();
        }
    }
}
