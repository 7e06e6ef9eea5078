//! One department's server as a test holds it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::door::{Bound, Desk, Door, Requests, Troubled};
use crate::faults::{Department, Faults};

/// A running server; it stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    door: Door,
    faults: Arc<Faults>,
}

impl Server {
    pub(crate) fn open(bound: Bound, department: Department, desk: impl Desk) -> Self {
        let faults = Arc::new(Faults::new(department));
        let door = bound.open(desk, Some(Troubled { department, faults: faults.clone() }));
        Self { door, faults }
    }

    /// `http://127.0.0.1:PORT`, or `https://` with TLS; no slash at the end.
    pub fn base_url(&self) -> &str {
        &self.door.base_url
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.door.address
    }

    /// The faults its requests meet.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What came so far.
    pub fn requests(&self) -> Requests {
        self.door.counters.read()
    }

    /// Stops listening and closes every connection; a new connection is refused from then on.
    pub async fn stop(&self) {
        self.door.close().await;
    }

    pub(crate) fn observe(&self) -> Observed {
        Observed { faults: self.faults.clone(), counters: self.door.counters.clone() }
    }
}

/// What the control listener sees and sets of a server.
pub(crate) struct Observed {
    pub faults: Arc<Faults>,
    pub counters: Arc<crate::door::Counters>,
}
