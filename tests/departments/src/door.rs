//! A listener and its connections: HTTP/1.1 with keep-alive, plain or over TLS. Carries out what a
//! fault makes of a reply; never decides what a reply says.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::faults::{Cut, Delivery, Department, Faults, distort};
use payload::Payload;

pub(crate) use requests::Counters;
pub use requests::Requests;

mod payload;
mod requests;

/// Whoever answers behind a door.
pub(crate) trait Desk: Send + Sync + 'static {
    fn answer(&self, request: &Request<Bytes>) -> Answer;
}

/// An ordinary reply.
pub(crate) struct Answer {
    pub response: Response<Bytes>,
    /// Whom the request is about, if it says so.
    pub identifier: Option<String>,
    /// True for the operations that faults meet.
    pub is_operation: bool,
}

impl Answer {
    /// A reply that faults leave alone.
    pub fn aside(response: Response<Bytes>) -> Self {
        Self { response, identifier: None, is_operation: false }
    }
}

/// The faults of a department, for its door.
pub(crate) struct Troubled {
    pub department: Department,
    pub faults: Arc<Faults>,
}

/// A door that is bound but not yet open: its address is known, nobody answers.
pub(crate) struct Bound {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    address: SocketAddr,
    base_url: String,
}

impl Bound {
    /// Binds a port that the system chooses.
    pub async fn new(host: IpAddr, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let address = listener.local_addr()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        Ok(Self { listener, tls, address, base_url: format!("{scheme}://{address}") })
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Lets callers in.
    pub fn open(self, desk: impl Desk, troubled: Option<Troubled>) -> Door {
        let counters = Arc::new(Counters::default());
        let closing = watch::Sender::new(());
        let room = Arc::new(Room {
            desk: Box::new(desk),
            troubled,
            counters: counters.clone(),
            base_url: self.base_url.clone(),
        });
        let door = Door { address: self.address, base_url: self.base_url, counters, closing };
        tokio::spawn(admit(self.listener, self.tls, room, door.closing.subscribe()));
        door
    }
}

/// An open door; it closes when it is dropped.
#[derive(Debug)]
pub(crate) struct Door {
    pub address: SocketAddr,
    pub base_url: String,
    pub counters: Arc<Counters>,
    closing: watch::Sender<()>,
}

impl Door {
    /// Closes the listener and every connection, and returns when they are closed.
    pub async fn close(&self) {
        self.closing.send_replace(());
        self.closing.closed().await;
    }
}

struct Room {
    desk: Box<dyn Desk>,
    troubled: Option<Troubled>,
    counters: Arc<Counters>,
    base_url: String,
}

async fn admit(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    room: Arc<Room>,
    mut closing: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() < CONNECTIONS_MAX => {
                    room.counters.connection();
                    connections.spawn(receive(stream, tls.clone(), room.clone()));
                }
                Ok(_) => {}
                // Out of descriptors: some close soon, and asking at once would only spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            // Told to close, or the door was dropped.
            _ = closing.changed() => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

async fn receive(stream: TcpStream, tls: Option<TlsAcceptor>, room: Arc<Room>) {
    // Without this a reply in two writes can wait 40 ms for an acknowledgement. A socket that
    // refuses the option is served all the same.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return converse(stream, |stream| stream, room).await };
    let handshake = tokio::time::timeout(HANDSHAKE_TIME_MAX, tls.accept(stream));
    // A failed handshake is the caller's to report; there is no HTTP to tell it in.
    if let Ok(Ok(stream)) = handshake.await {
        converse(stream, |stream| stream.get_ref().0, room).await;
    }
}

/// Serves one connection until the caller leaves or a fault cuts it off.
async fn converse<S>(stream: S, socket: impl Fn(&S) -> &TcpStream, room: Arc<Room>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (cutter, mut cuts) = mpsc::channel(1);
    let service = service_fn(move |request| serve(room.clone(), cutter.clone(), request));
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let cut = tokio::select! {
        // A caller that breaks off is no error of a department.
        _ = &mut connection => return,
        Some(cut) = cuts.recv() => cut,
    };
    let mut stream = connection.into_parts().io.into_inner();
    // The caller may be gone; then there is nobody to send the rest to.
    let _ = stream.write_all(&cut.bytes).await;
    let _ = stream.flush().await;
    if cut.is_reset {
        // Makes the kernel send RST instead of FIN when the socket is dropped.
        let _ = socket(&stream).set_zero_linger();
    } else {
        let _ = stream.shutdown().await;
    }
}

async fn serve(
    room: Arc<Room>,
    cutter: mpsc::Sender<Cut>,
    request: Request<Incoming>,
) -> Result<Response<Payload>, Infallible> {
    let _mark = room.counters.request();
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, REQUEST_BYTES_MAX).collect().await else {
        let mut refusal = Response::new(Payload::whole(Bytes::new()));
        *refusal.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
        return Ok(refusal);
    };
    let answer = room.desk.answer(&Request::from_parts(head, body.to_bytes()));
    let response = answer.response;
    let troubled = room.troubled.as_ref().filter(|_| answer.is_operation);
    let strike = troubled.and_then(|troubled| {
        let strike = troubled.faults.strike(answer.identifier.as_deref())?;
        Some((troubled.department, strike))
    });
    let Some((department, mut strike)) = strike else { return Ok(response.map(Payload::whole)) };
    let reply = match distort(&strike.fault, department, &room.base_url, response) {
        Delivery::Whole(response) => response.map(Payload::whole),
        Delivery::Delayed(pause, response) => {
            tokio::time::sleep(pause).await;
            response.map(Payload::whole)
        }
        Delivery::Held(response) => {
            // The sender lives in the room, so the only news is a clearing.
            let _ = strike.cleared.changed().await;
            response.map(Payload::whole)
        }
        Delivery::Trickled(pause, response) => response.map(|body| Payload::trickle(body, pause)),
        Delivery::Padded { response, offset, padding_bytes, is_chunked } => {
            response.map(|body| Payload::padded(body, offset, padding_bytes, is_chunked))
        }
        Delivery::Cut(cut) => {
            // The connection's own task takes the stream over and drops this one.
            let _ = cutter.send(cut).await;
            std::future::pending().await
        }
    };
    Ok(reply)
}

/// More than any gateway opens to one department; each costs two descriptors in one process.
const CONNECTIONS_MAX: usize = 4_096;
/// A SOAP request with a security header has 2 kB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Long for a loaded machine, short for a test.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(5);
