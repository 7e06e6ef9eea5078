//! Where people who run the gateway look and act.
//!
//! Health and metrics are served on a TCP address without TLS, for loopback or a management
//! network; they hold nothing of a query. Looking closer and acting go through a Unix socket to
//! which any local process may connect: whose process it is, the kernel says, and what he may do,
//! the configuration. Every act has its entry in the query log.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jumpgate_admission::NoticeSettings;
use jumpgate_catalogue::{DepartmentId, Notice};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::counts::keep_snapshots;
use crate::gateway::Gateway;
use crate::live::{ActFault, Live, Person, Said};
use crate::{resource, respond};

mod pages;

/// The bound admin listeners.
pub struct Admin {
    live: Arc<Live>,
    metrics: TcpListener,
    acts: UnixListener,
}

/// A head of one line: nobody but a scraper and the command line connects.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at once, for each kind of peer of its own; a further one is closed. So neither
/// scrapers nor strangers keep anybody from the switch.
const CONNECTIONS_MAX: usize = 64;

impl Admin {
    /// Binds both. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The address or the path is taken.
    pub async fn bind(live: Arc<Live>) -> io::Result<Self> {
        let settings = live.gateway().settings.admin.clone();
        let metrics = TcpListener::bind(settings.bind).await?;
        let acts = bind_socket(&settings.socket).await?;
        Ok(Self { live, metrics, acts })
    }

    /// Where health and metrics are.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.metrics.local_addr()
    }

    /// Serves until `stop` says true; reads the revocation lists again at their interval, and keeps
    /// a snapshot of the counts now and then.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) {
        let places = || Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (scrapers, people, strangers) = (places(), places(), places());
        let reading = tokio::spawn(read_lists_again(self.live.clone()));
        let keeping = tokio::spawn(keep_snapshots(self.live.clone(), self.live.counted_from()));
        loop {
            let live = self.live.clone();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Ok((stream, _)) = self.metrics.accept() => {
                    serve(stream, live, Peer::Metrics, &scrapers);
                }
                Ok((stream, _)) = self.acts.accept() => {
                    let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
                    match uid.and_then(|uid| live.person(uid)) {
                        Some(person) => serve(stream, live, Peer::Person(person), &people),
                        None => serve(stream, live, Peer::Stranger(uid), &strangers),
                    }
                }
            }
        }
        reading.abort();
        keeping.abort();
    }
}

/// Who is at the other end.
#[derive(Clone)]
enum Peer {
    /// Somebody at the address of health and metrics.
    Metrics,
    /// A process of somebody with an account.
    Person(Person),
    /// A process of somebody else, by his user id.
    Stranger(Option<u32>),
}

async fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).await.is_err() {
        // Nobody listens; what lies there is left from a process that ended.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(path)?;
    // Anybody may connect; each is asked who he is.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Reads the revocation lists again at their interval. What cannot be used leaves what was.
async fn read_lists_again(live: Arc<Live>) {
    let every_s = live.gateway().settings.listener.crl_reload_s.max(1);
    let mut ticks = tokio::time::interval(Duration::from_secs(every_s));
    ticks.tick().await;
    loop {
        ticks.tick().await;
        if let Err(fault) = live.read_lists_again().await {
            tracing::error!(%fault, "revocation lists cannot be read again; the old ones stay");
        }
    }
}

/// Serves a connection if there is a place for it.
fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    live: Arc<Live>,
    peer: Peer,
    places: &Arc<Semaphore>,
) {
    let Ok(place) = places.clone().try_acquire_owned() else { return };
    tokio::spawn(async move {
        let _place = place;
        let is_scraper = matches!(peer, Peer::Metrics);
        let service = service_fn(|request: Request<Incoming>| {
            let (live, peer) = (live.clone(), peer.clone());
            async move {
                let (head, body) = request.into_parts();
                let path = head.uri.path();
                let reply = match peer {
                    Peer::Metrics => look(&live.gateway(), &head.method, path),
                    Peer::Stranger(uid) => turned_away(uid),
                    Peer::Person(person) if head.method == Method::POST => {
                        acted(live, person, path, body).await
                    }
                    Peer::Person(_) => at_socket(&live, &head.method, path),
                };
                let reply: Response<Full<Bytes>> = reply.map(|body| Full::new(Bytes::from(body)));
                Ok::<_, Infallible>(reply)
            }
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(is_scraper);
        // A connection's own errors are its peer's doing and end with it.
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    });
}

fn look(gateway: &Gateway, method: &Method, path: &str) -> respond::Reply {
    match (method, path) {
        (&Method::GET, "/metrics") => metrics(gateway),
        (&Method::GET, "/healthz") => resource::health(),
        (&Method::GET, "/readyz") => resource::readiness(gateway),
        _ => respond::document(StatusCode::NOT_FOUND, &json!({ "error": "no such path" })),
    }
}

fn turned_away(uid: Option<u32>) -> respond::Reply {
    tracing::warn!(uid, "somebody without an account is at the admin socket");
    let uid = uid.map_or_else(|| "none".to_owned(), |uid| uid.to_string());
    let text = format!("no account in [[admin.accounts]] has your user id, {uid}");
    said(StatusCode::FORBIDDEN, &text, &[])
}

fn at_socket(live: &Live, method: &Method, path: &str) -> respond::Reply {
    match (method, path) {
        (&Method::GET, "/status") => {
            let page = pages::status(&live.gateway(), live.since(), &live.waiting());
            respond::document(StatusCode::OK, &page)
        }
        (&Method::GET, "/departments") => {
            respond::document(StatusCode::OK, &pages::departments(&live.gateway()))
        }
        (method, path) => look(&live.gateway(), method, path),
    }
}

/// Does an act in a task of its own: whoever hangs up leaves none half done.
async fn acted(live: Arc<Live>, person: Person, path: &str, body: Incoming) -> respond::Reply {
    let body = Limited::new(body, ACT_BYTES_MAX).collect();
    let body = match timeout(HEAD_TIMEOUT, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        // What cannot be read is no message, and no reason not to act.
        Ok(Err(_)) | Err(_) => Bytes::from_static(b"?"),
    };
    let path = path.to_owned();
    let acting = tokio::spawn(async move { act(&live, &person, &path, &body).await });
    let panicked = |_| said(StatusCode::INTERNAL_SERVER_ERROR, "the act panicked", &[]);
    acting.await.unwrap_or_else(panicked)
}

/// A notice has two texts of 200 characters.
const ACT_BYTES_MAX: usize = 8 << 10;

/// Switches off whatever the message is: one that cannot be shown is left out.
async fn kill(
    live: &Live,
    person: &Person,
    id: &DepartmentId,
    body: &[u8],
) -> Result<Said, ActFault> {
    let (notice, fault) = match notice(body) {
        Ok(notice) => (notice, None),
        Err(fault) => (None, Some(fault)),
    };
    let said = live.switch_off(person, id, notice).await?;
    match fault {
        None => Ok(said),
        Some(fault) => Err(ActFault::Conflict(format!("it IS off, without the message: {fault}"))),
    }
}

/// What people are to be shown, if the act says so.
fn notice(body: &[u8]) -> Result<Option<Notice>, ActFault> {
    if body.is_empty() {
        return Ok(None);
    }
    let message: NoticeSettings = serde_json::from_slice(body)
        .map_err(|_| ActFault::Conflict("write both texts, en and zh".to_owned()))?;
    message.notice().map(Some).map_err(ActFault::Conflict)
}

fn metrics(gateway: &Gateway) -> respond::Reply {
    let log = gateway.record.log();
    let departments = gateway.admission.departments();
    let subjects = gateway.admission.ledger().subject_counts();
    let text = gateway.telemetry.render(&departments, subjects, &log.health(), &log.metrics());
    let mut reply = Response::new(text.into_bytes());
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let content_type = http::HeaderValue::from_static(openmetrics);
    reply.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    reply
}

async fn act(live: &Arc<Live>, person: &Person, path: &str, body: &[u8]) -> respond::Reply {
    let mut parts = path.trim_start_matches('/').split('/');
    let acted = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("departments"), Some(department), Some(switch @ ("kill" | "revive")), None) => {
            match DepartmentId::from_str(department) {
                Ok(id) if switch == "kill" => kill(live, person, &id, body).await,
                Ok(id) => live.revive(person, &id).await,
                Err(_) => Err(ActFault::Unknown("no such department".to_owned())),
            }
        }
        (Some("reload"), None, None, None) => live.reload(person).await,
        (Some("persons"), Some(act), None, None) => match (act, serde_json::from_slice(body)) {
            ("disclosure", Ok(named)) => live.show(person, named).await,
            ("rectified", Ok(named)) => live.rectify(person, named).await,
            ("erase", Ok(named)) => live.erase(person, named).await,
            (_, Ok(_)) => Err(ActFault::Unknown("no such act".to_owned())),
            (_, Err(_)) => Err(ActFault::Conflict("send kind and value of a person".to_owned())),
        },
        (Some("approvals"), Some(id), None, None) => live.approve(person, id).await,
        _ => Err(ActFault::Unknown("no such act".to_owned())),
    };
    match acted {
        Ok(Said { is_done: true, text, lines }) => said(StatusCode::OK, &text, &lines),
        Ok(Said { is_done: false, text, lines }) => said(StatusCode::ACCEPTED, &text, &lines),
        Err(fault) => {
            let status = match &fault {
                ActFault::NotYours(_) => StatusCode::FORBIDDEN,
                ActFault::Unknown(_) => StatusCode::NOT_FOUND,
                ActFault::Conflict(_) => StatusCode::CONFLICT,
                ActFault::Log(_) => StatusCode::SERVICE_UNAVAILABLE,
            };
            said(status, &fault.to_string(), &[])
        }
    }
}

fn said(status: StatusCode, text: &str, lines: &[String]) -> respond::Reply {
    respond::document(status, &json!({ "said": text, "changes": lines }))
}

/// Asks the running gateway behind `socket` for a page, or sends it an act, and returns the status
/// and what it said.
///
/// # Errors
/// Nobody listens there, or the connection broke.
pub async fn send(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
) -> io::Result<(StatusCode, Value)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "admin")
        .body(Full::new(Bytes::from(body)))
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    drop(sender);
    let _ = connection.await;
    Ok((status, serde_json::from_slice(&body).unwrap_or_default()))
}
