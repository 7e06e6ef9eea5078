//! The demonstration's one-window system: the HTTPS client that departments are asked with, turned
//! towards the gateway.

use std::path::Path;
use std::time::Duration;

use jumpgate_runtime::contract::{Chunk, Header, HttpRequest, Method};
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::Failure;
use crate::endpoint::{Endpoint, EndpointSettings};

/// A client of one server.
pub(super) struct Client {
    endpoint: Endpoint,
}

/// A reply.
pub(super) struct Said {
    pub status: u16,
    pub body: Vec<u8>,
}

const WAIT: Duration = Duration::from_secs(20);

impl Client {
    /// A client that shows the certificate `name` from `folder`.
    pub fn with_certificate(folder: &Path, base_url: &str, name: &str) -> Result<Self, Failure> {
        let file = |name: String| folder.join(name).display().to_string();
        let tls = format!(
            "tls = {{ roots_file = {:?}, client_certificate_file = {:?}, client_key_file = {:?} }}",
            file("authority.crt".to_owned()),
            file(format!("{name}.crt")),
            file(format!("{name}.key")),
        );
        Self::new(base_url, &tls)
    }

    /// A client in clear.
    pub fn in_clear(base_url: &str) -> Result<Self, Failure> {
        Self::new(base_url, "")
    }

    fn new(base_url: &str, tls: &str) -> Result<Self, Failure> {
        let settings: EndpointSettings = toml::from_str(&format!(
            "base_url = {base_url:?}\ntimeout_ms = 10000\n{tls}\n\
             allow = [{{ method = \"GET\", path_prefix = \"/\" }}, \
             {{ method = \"POST\", path_prefix = \"/\" }}]\n"
        ))?;
        let endpoint = Endpoint::new(&settings).map_err(|mistakes| {
            mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        })?;
        Ok(Self { endpoint })
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Said, Failure> {
        self.send(Method::Post, path, "application/json", None, body.to_string().into_bytes()).await
    }

    /// Gets a resource.
    pub async fn get(&self, path: &str) -> Result<Said, Failure> {
        self.send(Method::Get, path, "application/json", None, Vec::new()).await
    }

    /// Posts a SOAP envelope.
    pub async fn soap(&self, path: &str, action: &str, body: String) -> Result<Said, Failure> {
        let kind = "text/xml; charset=utf-8";
        self.send(Method::Post, path, kind, Some(action), body.into_bytes()).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        soap_action: Option<&str>,
        body: Vec<u8>,
    ) -> Result<Said, Failure> {
        let literal = |text: &str| vec![Chunk::Literal(text.as_bytes().to_vec())];
        let header =
            |name: &str, value: &str| Header { name: name.to_owned(), value: literal(value) };
        let mut headers = vec![header("content-type", content_type)];
        headers.extend(soap_action.map(|action| header("soapaction", action)));
        let body = if body.is_empty() { Vec::new() } else { vec![Chunk::Literal(body)] };
        let request = HttpRequest { method, path: literal(path), headers, body };
        let deadline = Instant::now() + WAIT;
        let fetched = self.endpoint.fetch(&request, false, "", deadline, &|| false).await;
        let reply = fetched.map_err(|fault| format!("{path}: {}", fault.code))?;
        Ok(Said { status: reply.status, body: reply.body })
    }
}

impl Said {
    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}
