//! A one-window system: hyper's own client over rustls, and nothing of the gateway's code.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use jumpgate::development::Identity;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;

/// A TLS connection to the gateway.
pub type Tls = tokio_rustls::client::TlsStream<TcpStream>;
/// A connection that could not be made or broke.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// A connection of one caller. It closes when the last handle on it is dropped.
pub struct Client {
    sender: Sender,
    tasks: Tasks,
}

/// The tasks that drive a connection; HTTP/2 has several.
#[derive(Clone, Default)]
pub struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A response.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// The body, if it is JSON; else null.
    pub json: Value,
}

impl Client {
    /// Speaks HTTP over a TLS connection.
    pub async fn over(stream: Tls, protocol: Protocol) -> Result<Self, Broken> {
        let io = TokioIo::new(stream);
        let tasks = Tasks::default();
        // How a connection ends is what its requests tell.
        let sender = match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(io).await?;
                tasks.execute(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(tasks.clone(), io).await?;
                tasks.execute(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Self { sender, tasks })
    }

    /// Another handle on the same HTTP/2 connection.
    pub fn stream(&self) -> Self {
        match &self.sender {
            Sender::Http2(sender) => {
                Self { sender: Sender::Http2(sender.clone()), tasks: self.tasks.clone() }
            }
            Sender::Http1(_) => panic!("HTTP/1.1 has one request at a time"),
        }
    }

    /// Asks one question.
    pub async fn ask(&mut self, question: &Value) -> Reply {
        self.post("/v1/queries", question).await
    }

    /// Asks several questions in one call.
    pub async fn ask_batch(&mut self, questions: impl IntoIterator<Item = Value>) -> Reply {
        self.post("/v1/batches", &super::questions::batch(questions)).await
    }

    /// Posts JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Reply {
        let json = [("content-type", "application/json")];
        self.send(Method::POST, path, &json, body.to_string()).await.unwrap()
    }

    /// Gets a path.
    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], "").await.unwrap()
    }

    /// Sends any request.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, hyper::Error> {
        let uri = match &self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("https://localhost{path}"),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self.sender, Sender::Http1(_)) {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body, json })
    }

    /// True once the connection has closed.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// What breaks the connection off while it is in use, as a caller does that hangs up.
    pub fn line(&self) -> Tasks {
        self.tasks.clone()
    }
}

impl Tasks {
    /// Closes the socket, whatever was going on.
    pub fn cut(self) {
        self.0.lock().unwrap().iter().for_each(AbortHandle::abort);
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let task = tokio::spawn(async { drop(future.await) });
        self.0.lock().unwrap().push(task.abort_handle());
    }
}

impl Reply {
    /// The verdict of an answer; the code of a problem.
    pub fn says(&self) -> &str {
        says(&self.json)
    }

    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Leaf index of the receipt.
    pub fn index(&self) -> u64 {
        self.json["receipt"]["index"].as_u64().unwrap_or_else(|| panic!("no receipt: {self:?}"))
    }

    /// Leaf hash of the receipt, hexadecimal.
    pub fn leaf_hash(&self) -> &str {
        self.json["receipt"]["leaf_hash"].as_str().unwrap()
    }

    /// What each question of a batch came to: status and verdict or code.
    pub fn items(&self) -> Vec<(u64, &str)> {
        let answers = self.json["answers"].as_array().unwrap();
        answers.iter().map(|item| (item["status"].as_u64().unwrap(), says(&item["body"]))).collect()
    }
}

fn says(body: &Value) -> &str {
    body["verdict"].as_str().or(body["code"].as_str()).unwrap_or_default()
}

/// Connects, showing a certificate or none.
pub async fn tls(
    address: SocketAddr,
    anchor: &str,
    shown: Option<&Identity>,
    protocol: Protocol,
) -> Result<Tls, Broken> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(anchor.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match shown {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
            builder.with_client_auth_cert(vec![chain], key)?
        }
    };
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(TlsConnector::from(Arc::new(config)).connect("localhost".try_into()?, stream).await?)
}

/// Gets a page without TLS.
pub async fn get_in_clear(address: SocketAddr, path: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let driver = tokio::spawn(connection);
    let request = Request::get(path).header("host", "admin").body(Full::<Bytes>::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    driver.abort();
    String::from_utf8(body.to_vec()).unwrap()
}
