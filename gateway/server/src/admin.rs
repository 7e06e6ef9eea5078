//! Where the operator looks and acts.
//!
//! Health and metrics are served on a TCP address without TLS, for loopback or a management
//! network; they hold nothing of a query. Acts come through a Unix socket of mode 0600: whoever may
//! open it is the operator. Every act has its entry in the query log.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jumpgate_catalogue::DepartmentId;
use jumpgate_querylog::{Act, Details};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::watch;

use crate::gateway::{Gateway, SwitchFault};
use crate::{resource, respond};

/// The bound admin listeners.
pub struct Admin {
    gateway: Arc<Gateway>,
    metrics: TcpListener,
    acts: UnixListener,
}

/// A head of one line: nobody but a scraper and the command line connects.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

impl Admin {
    /// Binds both. A socket file that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// The address or the path is taken.
    pub async fn bind(gateway: Arc<Gateway>) -> io::Result<Self> {
        let settings = &gateway.settings.admin;
        let metrics = TcpListener::bind(settings.bind).await?;
        let acts = bind_socket(&settings.socket).await?;
        Ok(Self { gateway, metrics, acts })
    }

    /// Where health and metrics are.
    ///
    /// # Errors
    /// The socket is gone.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.metrics.local_addr()
    }

    /// Serves until `stop` says true; reads the revocation lists again at their interval.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) {
        let reload_s = self.gateway.settings.listener.crl_reload_s.max(1);
        let mut reload = tokio::time::interval(Duration::from_secs(reload_s));
        reload.tick().await;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                _ = reload.tick() => reload_trust(&self.gateway),
                Ok((stream, _)) = self.metrics.accept() => {
                    tokio::spawn(serve(stream, self.gateway.clone(), false));
                }
                Ok((stream, _)) = self.acts.accept() => {
                    tokio::spawn(serve(stream, self.gateway.clone(), true));
                }
            }
        }
    }
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
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Reads trust anchors and revocation lists again; the old ones stay in force if they cannot be
/// used.
fn reload_trust(gateway: &Gateway) {
    if let Err(fault) = gateway.callers.reload() {
        tracing::error!(%fault, "trust files cannot be read again; the old ones stay in force");
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, gateway: Arc<Gateway>, may_act: bool) {
    let service = service_fn(|request: Request<Incoming>| {
        let gateway = gateway.clone();
        async move {
            let reply = if may_act && request.method() == Method::POST {
                act(&gateway, request.uri().path()).await
            } else {
                look(&gateway, &request)
            };
            let reply: Response<Full<Bytes>> = reply.map(|body| Full::new(Bytes::from(body)));
            Ok::<_, Infallible>(reply)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // A connection's own errors are its peer's doing and end with it.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

fn look(gateway: &Gateway, request: &Request<Incoming>) -> respond::Reply {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => metrics(gateway),
        (&Method::GET, "/healthz") => resource::health(),
        (&Method::GET, "/readyz") => resource::readiness(gateway),
        _ => respond::document(StatusCode::NOT_FOUND, &json!({ "error": "no such path" })),
    }
}

fn metrics(gateway: &Gateway) -> respond::Reply {
    let log = gateway.record.log();
    let departments = gateway.admission.departments();
    let text = gateway.telemetry.render(&departments, &log.health(), &log.metrics());
    let mut reply = Response::new(text.into_bytes());
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let content_type = http::HeaderValue::from_static(openmetrics);
    reply.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
    reply
}

async fn act(gateway: &Gateway, path: &str) -> respond::Reply {
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("departments"), Some(department), Some(switch @ ("kill" | "revive")), None) => {
            let Ok(id) = DepartmentId::from_str(department) else {
                return said(StatusCode::NOT_FOUND, "no such department");
            };
            match gateway.switch(&id, switch == "revive").await {
                Ok(true) => said(StatusCode::OK, "done"),
                Ok(false) => said(StatusCode::OK, "it was so already"),
                Err(SwitchFault::Unknown(_)) => said(StatusCode::NOT_FOUND, "no such department"),
                Err(SwitchFault::Log) => {
                    said(StatusCode::SERVICE_UNAVAILABLE, "the query log cannot be written")
                }
            }
        }
        (Some("trust"), Some("reload"), None, None) => reload(gateway).await,
        _ => said(StatusCode::NOT_FOUND, "no such act"),
    }
}

async fn reload(gateway: &Gateway) -> respond::Reply {
    if let Err(fault) = gateway.callers.reload() {
        return said(StatusCode::CONFLICT, &format!("{fault}; the old files stay in force"));
    }
    let details = Details::new().with("reloaded", "trust");
    match gateway.record.log().act(Act::Config, &details).await {
        Ok(_) => said(StatusCode::OK, "done"),
        Err(_) => said(StatusCode::SERVICE_UNAVAILABLE, "the query log cannot be written"),
    }
}

fn said(status: StatusCode, text: &str) -> respond::Reply {
    respond::document(status, &json!({ "said": text }))
}

/// Sends an act to the running gateway behind `socket` and returns the status and what it said.
///
/// # Errors
/// Nobody listens there, or the connection broke.
pub async fn send_act(socket: &Path, path: &str) -> io::Result<(StatusCode, String)> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let request = Request::post(path)
        .header(http::header::HOST, "admin")
        .body(Full::<Bytes>::default())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    drop(sender);
    let _ = connection.await;
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    Ok((status, said["said"].as_str().unwrap_or_default().to_owned()))
}
