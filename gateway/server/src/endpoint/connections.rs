//! The connections to one department: HTTP/1.1, one request at a time on each. A connection is
//! opened only if none is idle, so there are never more than requests in flight at their peak. It
//! knows nothing of what is asked.
//!
//! A connection has no task of its own: whoever waits for a reply reads and writes meanwhile, so
//! that a reply wakes the one task that wants it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use jumpgate_catalogue::FaultCode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::unconstrained;
use tokio::time::Instant;

use super::Counters;
use super::exchange::Broken;
use super::settings::EndpointSettings;
use super::target::Target;

/// The connections to one department.
pub(super) struct Connections {
    target: Target,
    connect_timeout: Duration,
    idle_max: usize,
    idle_time_max: Duration,
    idle: Arc<Mutex<Idle>>,
    counters: Arc<Counters>,
}

/// A connection that carries one request at a time. Dropping it closes the socket at once, whatever
/// the department is doing.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) traffic: Traffic,
    idle_since: Instant,
}

/// What reads and writes on a connection; none once it has ended.
pub(super) struct Traffic(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

#[derive(Default)]
struct Idle {
    /// The longest idle first.
    connections: Vec<Connection>,
    /// True while a task closes those that have been idle for too long.
    is_swept: bool,
}

impl Connections {
    pub(super) fn new(
        target: Target,
        settings: &EndpointSettings,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            target,
            connect_timeout: Duration::from_millis(settings.connect_timeout_ms),
            idle_max: settings.connections_idle_max,
            idle_time_max: Duration::from_secs(settings.idle_s_max),
            idle: Arc::default(),
            counters,
        }
    }

    /// An idle connection, the last used first, or a new one.
    pub(super) async fn take(&self) -> Result<Connection, Broken> {
        while let Some(mut connection) = self.pop_idle() {
            if connection.is_free() {
                return Ok(connection);
            }
        }
        let opened = tokio::time::timeout(self.connect_timeout, self.open()).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|error| {
            let (host, port) = (&self.target.host, self.target.port);
            tracing::warn!(%host, port, %error, "no connection to a department");
            Broken::Unsent(FaultCode::DepartmentUnreachable)
        })
    }

    /// Keeps `connection`, whose last reply was read to its end, for the next request.
    pub(super) fn give_back(&self, mut connection: Connection) {
        if !connection.is_free() {
            return;
        }
        connection.idle_since = Instant::now();
        let mut idle = lock(&self.idle);
        if idle.connections.len() >= self.idle_max {
            return;
        }
        idle.connections.push(connection);
        if !idle.is_swept {
            idle.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(&self.idle), self.idle_time_max));
        }
    }

    fn pop_idle(&self) -> Option<Connection> {
        let mut idle = lock(&self.idle);
        let connection = idle.connections.pop()?;
        if connection.idle_since.elapsed() < self.idle_time_max {
            return Some(connection);
        }
        // The others have been idle for even longer.
        idle.connections.clear();
        None
    }

    /// What the sweep does.
    #[cfg(test)]
    pub(super) fn close_stale(&self) {
        lock(&self.idle).close_stale(self.idle_time_max);
    }

    /// Connections idle now.
    #[cfg(test)]
    pub(super) fn idle_count(&self) -> usize {
        lock(&self.idle).connections.len()
    }

    async fn open(&self) -> io::Result<Connection> {
        let socket = self.dial().await?;
        socket.set_nodelay(true)?;
        let connection = match &self.target.tls {
            None => start(socket).await?,
            Some(tls) => {
                start(tls.connector.connect(tls.server_name.clone(), socket).await?).await?
            }
        };
        self.counters.connections_opened.fetch_add(1, Ordering::Relaxed);
        Ok(connection)
    }

    /// Tries the host's addresses in the resolver's order, each with an equal share of the time
    /// left, so that one dead address does not cost the others theirs.
    async fn dial(&self) -> io::Result<TcpStream> {
        let deadline = Instant::now() + self.connect_timeout;
        let found = tokio::net::lookup_host((self.target.host.as_str(), self.target.port)).await?;
        let addresses: Vec<_> = found.take(ADDRESSES_MAX).collect();
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (index, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            last = match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(error)) => error,
                Err(_) => io::ErrorKind::TimedOut.into(),
            };
        }
        Err(last)
    }
}

impl Idle {
    /// Closes connections that have been idle for `time_max`, and those that the department has
    /// closed.
    fn close_stale(&mut self, time_max: Duration) {
        self.connections.retain_mut(|connection| {
            connection.idle_since.elapsed() < time_max && connection.is_free()
        });
    }
}

impl Connection {
    /// True if it can carry a request: its last exchange is over, and the department has neither
    /// closed it nor sent what nobody asked for. Afterwards nobody is woken by it.
    pub(super) fn is_free(&mut self) -> bool {
        // Also where the task has used up what it may do at a time: then nothing would be read, and
        // a connection that is closed would seem to be free.
        let look = unconstrained(poll_fn(|context| {
            self.traffic.poll(context);
            Poll::Ready(())
        }));
        let _ = pin!(look).poll(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready()
    }
}

impl Traffic {
    /// Waits for `work`, which wants something of the connection, and reads and writes meanwhile.
    pub(super) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(done);
            }
            self.poll(context);
            // What was just read may be all that it waits for.
            work.as_mut().poll(context)
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        if self.0.as_mut().is_some_and(|running| running.as_mut().poll(context).is_ready()) {
            self.0 = None;
        }
    }
}

/// Speaks HTTP/1.1 on `socket`.
pub(super) async fn start(
    socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> io::Result<Connection> {
    let (sender, connection) = Builder::new()
        .max_headers(REPLY_HEADERS_MAX)
        .max_header_size(REPLY_HEAD_BYTES_MAX)
        .max_buf_size(REPLY_HEAD_BYTES_MAX)
        // Systems older than RFC 7230 look for `Content-Length` in just this case.
        .title_case_headers(true)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(io::Error::other)?;
    // What ends the connection shows in the exchange it ends, or as a closed sender.
    let traffic = Traffic(Some(Box::pin(async move { drop(connection.await) })));
    Ok(Connection { sender, traffic, idle_since: Instant::now() })
}

/// Closes what is stale every `time_max`, until none is idle or the endpoint is gone.
async fn sweep(idle: Weak<Mutex<Idle>>, time_max: Duration) {
    loop {
        tokio::time::sleep(time_max).await;
        let Some(idle) = idle.upgrade() else { return };
        let mut idle = lock(&idle);
        idle.close_stale(time_max);
        if idle.connections.is_empty() {
            idle.is_swept = false;
            return;
        }
    }
}

/// A panic elsewhere leaves a list of connections, which is as good as any other.
fn lock(idle: &Mutex<Idle>) -> MutexGuard<'_, Idle> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More than a department has, fewer than a hostile name server can list.
const ADDRESSES_MAX: usize = 8;
/// An application server sends about a dozen.
const REPLY_HEADERS_MAX: usize = 64;
/// A head with several cookies has a few kilobytes.
const REPLY_HEAD_BYTES_MAX: usize = 64 << 10;
