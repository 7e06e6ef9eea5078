//! Where callers connect: sockets, TLS, HTTP/1.1 and HTTP/2, and the limits of a connection.
//!
//! Owns connections and nothing of what is asked on them. hyper, tower and TLS are named here; the
//! path behind `answer` sees a [`Caller`] and bytes.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use jumpgate_admission::QuotaReading;
use jumpgate_catalogue::{CallerId, Digest, Refusal, RefusalCode};
use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower::{ServiceBuilder, ServiceExt};

use crate::answer::answer_to_the_end;
use crate::caller::{Caller, NotACaller, Session};
use crate::config::ListenerSettings;
use crate::gateway::Gateway;
use crate::live::Live;
use crate::operator::Tokens;
use crate::resource::Unread;
use crate::{resource, respond, tiles, wire};

/// Bound sockets, ready to serve.
pub struct Listener {
    live: Arc<Live>,
    settings: Arc<ListenerSettings>,
    socket: TcpListener,
    clear: Option<(TcpListener, CallerId)>,
}

/// The listener cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenFault {
    /// The address cannot be bound.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The clear listener's caller is not an id.
    #[error("listener.dangerous_clear.caller is not a caller id")]
    ClearCaller,
}

/// Who is at the other end of a connection.
enum Peer {
    Session(Session),
    Clear(Caller),
    Stranger(NotACaller),
}

impl Listener {
    /// Binds the sockets.
    ///
    /// # Errors
    /// An address is taken.
    pub async fn bind(live: Arc<Live>) -> Result<Self, ListenFault> {
        let settings = Arc::new(live.gateway().settings.listener.clone());
        let bind = |address: SocketAddr| async move {
            TcpListener::bind(address).await.map_err(|error| ListenFault::Bind(address, error))
        };
        let socket = bind(settings.bind).await?;
        let clear = match &settings.dangerous_clear {
            None => None,
            Some(clear) => {
                let caller = CallerId::from_str(&clear.caller);
                let caller = caller.map_err(|_| ListenFault::ClearCaller)?;
                tracing::warn!(bind = %clear.bind, %caller, "DANGEROUS: a listener without TLS");
                Some((bind(clear.bind).await?, caller))
            }
        };
        Ok(Self { live, settings, socket, clear })
    }

    /// Where callers connect.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Where the benchmark connects in clear, if it does.
    pub fn clear_address(&self) -> Option<SocketAddr> {
        self.clear.as_ref().and_then(|(socket, _)| socket.local_addr().ok())
    }

    /// Serves until `stop` says true, then lets every admitted query end, for at most the
    /// configured time.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(self.settings.connections_max));
        let requests = Arc::new(Semaphore::new(self.settings.requests_max));
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            // A connection beyond the maximum waits in the kernel's queue.
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let (stream, clear) = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.socket.accept() => (accepted, None),
                (accepted, caller) = accept_clear(self.clear.as_ref()) => (accepted, Some(caller)),
            };
            let Ok((stream, _)) = stream else {
                // Out of file descriptors: those in use must close first.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let connection = Connection {
                live: self.live.clone(),
                settings: self.settings.clone(),
                requests: requests.clone(),
                stop: stop.clone(),
            };
            connections.spawn(async move {
                let _place = place;
                let telemetry = connection.live.gateway().telemetry.clone();
                telemetry.connections.inc();
                match clear {
                    Some(caller) => connection.serve_clear(stream, caller).await,
                    None => connection.serve_tls(stream).await,
                }
                telemetry.connections.dec();
            });
        }
        // Closed now, so that whoever connects during the drain is refused and does not wait.
        drop((self.socket, self.clear));
        // One for every generation of the gateway.
        let drain = self.live.gateway().drain.clone();
        drain.begin();
        let drain_max = Duration::from_secs(self.settings.drain_s_max);
        let drained = timeout(drain_max, async {
            drain.ended().await;
            while connections.join_next().await.is_some() {}
        });
        if drained.await.is_err() {
            let running = drain.running();
            tracing::warn!(running, "queries or connections outlived drain_s_max");
        }
    }
}

/// Long enough for a connection to close, short enough not to be felt.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

async fn accept_clear(
    clear: Option<&(TcpListener, CallerId)>,
) -> (io::Result<(TcpStream, SocketAddr)>, CallerId) {
    match clear {
        Some((socket, caller)) => (socket.accept().await, caller.clone()),
        None => std::future::pending().await,
    }
}

// --- one connection --------------------------------------------------------------------------

struct Connection {
    live: Arc<Live>,
    settings: Arc<ListenerSettings>,
    requests: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn serve_clear(&self, stream: TcpStream, caller: CallerId) {
        let _ = stream.set_nodelay(true);
        self.serve(stream, Peer::Clear(Caller::dangerous_clear(caller))).await;
    }

    async fn serve_tls(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let handshake_max = Duration::from_millis(self.settings.handshake_timeout_ms);
        // What is read anew during the handshake has another generation, and the first request
        // looks at it again.
        let gateway = self.live.gateway();
        let tls = TlsAcceptor::from(gateway.trust.tls().clone());
        // Both in boxes: a connection's task is as large as the largest of what it ever holds, for
        // as long as it lives.
        let stream = match timeout(handshake_max, Box::pin(tls.accept(stream))).await {
            Ok(Ok(stream)) => Box::new(stream),
            Ok(Err(error)) => return note_stranger(&gateway, &error.to_string()),
            Err(_) => return note_stranger(&gateway, "the TLS handshake took too long"),
        };
        let shown = stream.get_ref().1.peer_certificates();
        let now = since_epoch(&gateway);
        let peer = match Session::new(shown, &gateway.trust) {
            Ok(session) => {
                if let Err(unknown) = session.caller(&gateway.trust, now) {
                    note_stranger(&gateway, &unknown.to_string());
                }
                Peer::Session(session)
            }
            Err(unknown) => {
                note_stranger(&gateway, &unknown.to_string());
                Peer::Stranger(unknown)
            }
        };
        drop(gateway);
        self.serve(stream, peer).await;
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: Peer,
    ) {
        let exchange =
            Arc::new(Exchange { live: self.live.clone(), settings: self.settings.clone(), peer });
        let bounded = ServiceBuilder::new()
            .load_shed()
            .layer(GlobalConcurrencyLimitLayer::with_semaphore(self.requests.clone()))
            .service_fn(move |request| {
                let exchange = exchange.clone();
                // In a box, and only for as long as it lasts: most connections are idle.
                async move { Ok::<_, Infallible>(Box::pin(exchange.handle(request)).await) }
            });
        let live = self.live.clone();
        let service = service_fn(move |request| {
            let (bounded, live) = (bounded.clone(), live.clone());
            async move {
                let said = bounded.oneshot(request).await;
                Ok::<_, Infallible>(said.unwrap_or_else(|_| busy(&live.gateway())))
            }
        });
        let builder = self.http();
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let mut stop = self.stop.clone();
        let age_max = Duration::from_secs(self.settings.connection_age_s_max);
        // A connection's own errors are its peer's doing and end with it.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = stop.wait_for(|stop| *stop) => {}
            () = tokio::time::sleep(age_max) => {}
        }
        connection.as_mut().graceful_shutdown();
        // A peer that reads nothing does not keep its place for longer than a drain lasts.
        let drain_max = Duration::from_secs(self.settings.drain_s_max);
        let _ = timeout(drain_max, connection).await;
    }

    fn http(&self) -> auto::Builder<TokioExecutor> {
        let settings = &self.settings;
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(settings.head_timeout_ms))
            .max_buf_size(settings.head_bytes_max.max(HEAD_BYTES_MIN))
            .max_headers(HEADERS_MAX);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.streams_max)
            .max_header_list_size(u32::try_from(settings.head_bytes_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(settings.resets_max)
            .max_local_error_reset_streams(settings.resets_max)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .max_frame_size(FRAME_BYTES_MAX);
        builder
    }
}

/// hyper's own floor for its read buffer.
const HEAD_BYTES_MIN: usize = 8192;
/// A request of this interface carries about 10 headers.
const HEADERS_MAX: usize = 64;
/// HTTP/2's smallest and default frame size.
const FRAME_BYTES_MAX: u32 = 16 << 10;
/// A peer that answers no ping for this long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

type Said = Response<Full<Bytes>>;

fn since_epoch(gateway: &Gateway) -> UnixTime {
    let now = u64::try_from(gateway.now().as_second()).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_secs(now))
}

/// A clear line for the operator, a count in the query log.
fn note_stranger(gateway: &Gateway, why: &str) {
    tracing::warn!(why, "connection refused: no caller");
    gateway.telemetry.handshakes_failed.inc();
    gateway.record.log().coalesce(None, RefusalCode::Unauthenticated);
}

fn busy(gateway: &Gateway) -> Said {
    let refusal = Refusal::new(RefusalCode::GatewayBusy, "come back after Retry-After");
    full(respond::query(Ok(gateway.record.count(None, refusal.after(BUSY_RETRY))), None))
}

/// Requests end within seconds, so room comes soon.
const BUSY_RETRY: Duration = Duration::from_secs(1);

fn full(reply: respond::Reply) -> Said {
    reply.map(|body| Full::new(Bytes::from(body)))
}

// --- one request -----------------------------------------------------------------------------

/// What every request of one connection shares.
struct Exchange {
    live: Arc<Live>,
    settings: Arc<ListenerSettings>,
    peer: Peer,
}

impl Exchange {
    async fn handle(&self, request: Request<Incoming>) -> Said {
        // The whole request meets what is in force at its beginning.
        let gateway = self.live.gateway();
        let certificate = match &self.peer {
            Peer::Session(session) => Some(session.fingerprint()),
            Peer::Clear(_) | Peer::Stranger(_) => None,
        };
        let turn = Turn { settings: &self.settings, gateway, certificate };
        full(match self.caller(&turn.gateway) {
            Ok(caller) => turn.route(caller, request).await,
            Err(refusal) => turn.refuse(None, refusal, None),
        })
    }

    fn caller(&self, gateway: &Gateway) -> Result<Caller, Refusal> {
        let named = match &self.peer {
            Peer::Clear(caller) => Ok(caller.clone()),
            Peer::Stranger(why) => Err(why.clone()),
            Peer::Session(session) => session.caller(&gateway.trust, since_epoch(gateway)),
        };
        named.map_err(|why| {
            tracing::warn!(%why, "request refused: no caller");
            let mend = format!("{why}: connect with the certificate of a configured caller");
            Refusal::new(RefusalCode::Unauthenticated, mend)
        })
    }
}

/// One request and what is in force for it.
struct Turn<'a> {
    settings: &'a ListenerSettings,
    gateway: Arc<Gateway>,
    /// Fingerprint of what the connection showed.
    certificate: Option<Digest>,
}

impl Turn<'_> {
    async fn route(&self, caller: Caller, request: Request<Incoming>) -> respond::Reply {
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        match (method, path.as_str()) {
            (Method::POST, "/v1/queries") => self.query(caller, request).await,
            (Method::POST, "/v1/batches") => self.batch(caller, request).await,
            (Method::GET, "/healthz") => resource::health(),
            (Method::GET, "/readyz") => resource::readiness(&self.gateway),
            (Method::GET, path) if path == CATALOGUE || is_reading(path) => {
                self.read(&caller, path).await
            }
            (_, path) if KNOWN.contains(&path) || is_reading(path) => {
                let mend = "see Allow for the methods of this path";
                let refusal = Refusal::new(RefusalCode::MethodNotAllowed, mend);
                let mut reply = self.refuse(Some(&caller), refusal, None);
                let is_question = path == "/v1/queries" || path == "/v1/batches";
                let allow =
                    http::HeaderValue::from_static(if is_question { "POST" } else { "GET" });
                reply.headers_mut().insert(http::header::ALLOW, allow);
                reply
            }
            _ => {
                let mend = "the paths are in spec/openapi.yaml";
                self.refuse(Some(&caller), Refusal::new(RefusalCode::NotFound, mend), None)
            }
        }
    }

    /// What is read costs quota like a question: it reads files and is long.
    async fn read(&self, caller: &Caller, path: &str) -> respond::Reply {
        if let Err(refused) = self.gateway.admission.check_caller(caller.id()) {
            return self.refuse(Some(caller), refused.refusal, refused.reading.as_ref());
        }
        let read = if let Some(index) = path.strip_prefix(RECEIPTS) {
            resource::receipt(&self.gateway, caller, index).await
        } else if let Some(file) = path.strip_prefix(tiles::PREFIX) {
            tiles::read(&self.gateway, caller, file).await
        } else {
            Ok(resource::catalogue(&self.gateway.catalogue))
        };
        read.unwrap_or_else(|why| match why {
            Unread::Refused(refusal) => respond::refusal(&refusal, None),
            Unread::Unavailable(unavailable) => respond::query(Err(unavailable), None),
        })
    }

    async fn query(&self, caller: Caller, request: Request<Incoming>) -> respond::Reply {
        let (caller, quota, body) = match self.take(caller, request).await {
            Ok(taken) => taken,
            Err(reply) => return *reply,
        };
        match wire::question(&body) {
            Ok(asked) => {
                let logged = answer_to_the_end(self.gateway.clone(), caller, asked).await;
                respond::query(logged, Some(&quota))
            }
            Err(refusal) => self.refuse(Some(&caller), refusal, Some(&quota)),
        }
    }

    async fn batch(&self, caller: Caller, request: Request<Incoming>) -> respond::Reply {
        let (caller, quota, body) = match self.take(caller, request).await {
            Ok(taken) => taken,
            Err(reply) => return *reply,
        };
        let questions = match wire::batch(&body) {
            Ok(questions) => questions,
            Err(refusal) => return self.refuse(Some(&caller), refusal, Some(&quota)),
        };
        // The first question is paid for; the others are paid for together or not at all.
        let others = NonZeroU32::new(u32::try_from(questions.len() - 1).unwrap_or(u32::MAX));
        let admission = &self.gateway.admission;
        let quota = match others.map(|others| admission.check_caller_batch(caller.id(), others)) {
            None => quota,
            Some(Ok(allowance)) => allowance.reading,
            Some(Err(refused)) => {
                return self.refuse(Some(&caller), refused.refusal, refused.reading.as_ref());
            }
        };
        let mut running = Vec::with_capacity(questions.len());
        for question in questions {
            let (gateway, caller) = (self.gateway.clone(), caller.clone());
            running.push(match question {
                Ok(asked) => Ok(tokio::spawn(answer_to_the_end(gateway, caller, asked))),
                Err(refusal) => Err(self.gateway.record.count(Some(&caller), refusal)),
            });
        }
        let mut answers = Vec::with_capacity(running.len());
        for running in running {
            answers.push(match running {
                Ok(task) => task.await.unwrap_or(Err(crate::record::LogUnavailable::Panicked)),
                Err(counted) => Ok(counted),
            });
        }
        respond::batch(answers, Some(&quota))
    }

    /// What every question pays before its body is read: the drain, the quota, the media type, the
    /// operator's token.
    async fn take(
        &self,
        caller: Caller,
        request: Request<Incoming>,
    ) -> Result<(Caller, QuotaReading, Bytes), Box<respond::Reply>> {
        let refuse = |refusal, quota: Option<&QuotaReading>| {
            Box::new(self.refuse(Some(&caller), refusal, quota))
        };
        if self.gateway.drain.is_draining() {
            let refusal = Refusal::new(RefusalCode::Draining, "connect again after Retry-After");
            return Err(refuse(refusal.after(BUSY_RETRY), None));
        }
        let allowed = self.gateway.admission.check_caller(caller.id());
        let quota = match allowed {
            Ok(allowance) => allowance.reading,
            Err(refused) => return Err(refuse(refused.refusal, refused.reading.as_ref())),
        };
        if !is_json(request.headers()) {
            let mend = "send Content-Type: application/json";
            let refusal = Refusal::new(RefusalCode::UnsupportedMediaType, mend);
            return Err(refuse(refusal, Some(&quota)));
        }
        let tokens = Tokens::of(request.headers());
        let proven = match tokens {
            Ok(tokens) => {
                let caller = caller.clone();
                self.gateway.with_operators(caller, tokens, self.certificate).await
            }
            Err(refusal) => Err(refusal),
        };
        let proven = proven.map_err(|refusal| refuse(refusal, Some(&quota)))?;
        let body = self.body(request.into_body()).await;
        match body.and_then(|body| proven.agrees_to(&body).map(|()| body)) {
            Ok(body) => Ok((proven, quota, body)),
            Err(refusal) => Err(refuse(refusal, Some(&quota))),
        }
    }

    async fn body(&self, body: Incoming) -> Result<Bytes, Refusal> {
        let body_bytes_max = self.settings.body_bytes_max;
        let body_max = Duration::from_millis(self.settings.body_timeout_ms);
        let collected = Limited::new(body, body_bytes_max).collect();
        match timeout(body_max, collected).await {
            Ok(Ok(whole)) => Ok(whole.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                let mend = format!("send at most {body_bytes_max} bytes");
                Err(Refusal::new(RefusalCode::BodyTooLarge, mend))
            }
            Ok(Err(_)) => {
                let mend = "the body broke off: send it whole";
                Err(Refusal::new(RefusalCode::MalformedRequest, mend))
            }
            Err(_) => {
                let mend = format!("send the body within {} ms", self.settings.body_timeout_ms);
                Err(Refusal::new(RefusalCode::BodyTimeout, mend))
            }
        }
    }

    fn refuse(
        &self,
        caller: Option<&Caller>,
        refusal: Refusal,
        quota: Option<&QuotaReading>,
    ) -> respond::Reply {
        let logged = self.gateway.record.count(caller, refusal);
        respond::query(Ok(logged), quota)
    }
}

const CATALOGUE: &str = "/v1/catalogue";
fn is_reading(path: &str) -> bool {
    path.starts_with(RECEIPTS) || path.starts_with(tiles::PREFIX)
}

const RECEIPTS: &str = "/v1/receipts/";
const KNOWN: [&str; 5] = ["/v1/queries", "/v1/batches", CATALOGUE, "/healthz", "/readyz"];

fn is_json(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    essence.is_some_and(|essence| essence.eq_ignore_ascii_case("application/json"))
}
