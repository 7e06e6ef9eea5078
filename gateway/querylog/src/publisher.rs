//! The thread that takes durable entries into the tree.
//!
//! It comes after the writer and never delays it: it reads what is durable, as often as
//! `publish_interval` says. A fault in it stops the log like one of the writer.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::disk::DiskFault;
use crate::queue::locked;
use crate::shared::Shared;
use crate::tree::{Tree, TreeFault};
use crate::watch::Reason;

/// What the log and its publisher tell each other.
pub(crate) struct Publishing {
    orders: Mutex<Orders>,
    told: Condvar,
    published: watch::Sender<Published>,
}

/// What the thread is told to do.
#[derive(Default)]
struct Orders {
    must_hurry: bool,
    must_end: bool,
}

/// What is published.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Published {
    /// Entries in the tree.
    pub size: u64,
    /// True after a fault: the tree grows no more.
    pub has_failed: bool,
}

impl Publishing {
    pub fn new(size: u64) -> Self {
        let published = watch::Sender::new(Published { size, has_failed: false });
        Self { orders: Mutex::default(), told: Condvar::new(), published }
    }

    /// What is published, now and later.
    pub fn published(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Publishes what is durable now, not after the interval.
    pub fn hurry(&self) {
        locked(&self.orders).must_hurry = true;
        self.told.notify_one();
    }

    /// Publishes what is durable and ends the thread.
    pub fn end(&self) {
        locked(&self.orders).must_end = true;
        self.told.notify_one();
    }
}

pub(crate) fn spawn(shared: Arc<Shared>, mut tree: Tree) -> Result<JoinHandle<()>, io::Error> {
    let thread = std::thread::Builder::new().name("querylog-tree".to_owned());
    thread.spawn(move || {
        let reason = match catch_unwind(AssertUnwindSafe(|| run(&shared, &mut tree))) {
            Ok(Ok(())) => return,
            // Where a file is lost, that is why the tree cannot be made.
            Ok(Err(fault)) => shared.watch.check().err().unwrap_or(fault.0),
            Err(_) => "the thread of the tree panicked".into(),
        };
        tracing::error!(
            reason = &*reason,
            "the query log has stopped; nothing is answered until restart"
        );
        shared.queue.poison(&reason);
        shared.publishing.published.send_modify(|published| published.has_failed = true);
        shared.watch.keep_vigil();
    })
}

/// The least time from one publishing to the next.
const HURRY_DISTANCE: Duration = Duration::from_millis(5);

/// Why the thread ends before its time.
struct Stopped(Reason);

impl From<TreeFault> for Stopped {
    fn from(fault: TreeFault) -> Self {
        Self(match fault {
            TreeFault::Disk(fault) => fault.in_full().into(),
            fault => fault.to_string().into(),
        })
    }
}

impl From<DiskFault> for Stopped {
    fn from(fault: DiskFault) -> Self {
        TreeFault::Disk(fault).into()
    }
}

fn run(shared: &Shared, tree: &mut Tree) -> Result<(), Stopped> {
    let publishing = &shared.publishing;
    let mut orders = locked(&publishing.orders);
    loop {
        let (is_last, began) = (orders.must_end, Instant::now());
        orders.must_hurry = false;
        drop(orders);
        shared.headroom.look()?;
        shared.watch.check_segments(|| shared.finder.firsts()).map_err(Stopped)?;
        tree.integrate(shared.progress.durable_entries.load(Ordering::Acquire))?;
        publishing.published.send_if_modified(|published| {
            std::mem::replace(&mut published.size, tree.size()) != tree.size()
        });
        if is_last {
            return Ok(());
        }
        orders = locked(&publishing.orders);
        if !orders.must_end && !orders.must_hurry {
            let interval = shared.options.publish_interval;
            let waited = publishing.told.wait_timeout(orders, interval);
            orders = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        // Those who hurry are taken together: to publish costs the same for one entry and for ten.
        while !orders.must_end && began.elapsed() < HURRY_DISTANCE {
            let left = HURRY_DISTANCE.saturating_sub(began.elapsed());
            let waited = publishing.told.wait_timeout(orders, left);
            orders = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
