//! The one place where a department is touched.
//!
//! Owns a department's configured target: its address, its credential, the requests it allows, its
//! connections and its time. It turns the request an adapter describes into a real one and hands
//! back the reply. It never lets an address or a credential out, never follows a redirect, never
//! sends what the allow-list does not hold, and never puts a byte of a record or of a subject
//! identifier into an error, a trace or a metric. What a reply means is the adapter's business: a
//! 401 or a 500 is a reply.

mod allow;
mod assemble;
mod connections;
mod content_type;
mod credential;
mod exchange;
mod secret;
mod settings;
mod soap;
mod target;
#[cfg(test)]
mod tests;
mod username_token;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_TYPE, HOST, HeaderMap, HeaderName,
    HeaderValue, USER_AGENT,
};
use http::{Request, Uri};
use http_body_util::Full;
use jumpgate_catalogue::{Fault, FaultCode};
use jumpgate_runtime::contract::{HttpReply, HttpRequest};
use tokio::time::Instant;

pub use assemble::{PlainRequest, assemble_plain};
pub use settings::{
    AllowSettings, CredentialSettings, EndpointMistake, EndpointSettings, FileUse, Method,
    TlsSettings,
};

use allow::{AllowList, Permitted};
use assemble::{Denied, assemble};
use connections::Connections;
use credential::Credential;
use exchange::{Broken, Wire};
use settings::Mistakes;
use target::Target;

/// Where an endpoint gets the time and its nonces from. Tests bring their own.
#[derive(Clone)]
pub struct Ambient {
    /// The time of day, for the age of a WS-Security token.
    pub now: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>,
    /// Fills a nonce with unpredictable bytes.
    pub fill: Arc<Fill>,
}

/// Fills its argument with random bytes, or fails because there are none.
pub type Fill = dyn Fn(&mut [u8]) -> Result<(), ring::error::Unspecified> + Send + Sync;

/// One configured target of a department.
pub struct Endpoint {
    base_path: String,
    host: HeaderValue,
    request_bytes_max: usize,
    reply_bytes_max: usize,
    timeout: Duration,
    allow: AllowList,
    credential: Credential,
    connections: Connections,
    ambient: Ambient,
    counters: Arc<Counters>,
}

/// What an endpoint has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// Requests that adapters wanted and the allow-list held, repeats not counted.
    pub requests: u64,
    /// Requests denied before the department was touched.
    pub requests_denied: u64,
    /// Requests made a second time.
    pub retries: u64,
    /// Connections opened, TLS included.
    pub connections_opened: u64,
    /// Bytes of request bodies handed to a connection.
    pub sent_bytes: u64,
    /// Bytes of reply bodies taken from a connection.
    pub received_bytes: u64,
}

impl Ambient {
    /// The system's clock and random source.
    pub fn system() -> Self {
        let random = ring::rand::SystemRandom::new();
        Self {
            now: Arc::new(jiff::Timestamp::now),
            fill: Arc::new(move |nonce| ring::rand::SecureRandom::fill(&random, nonce)),
        }
    }
}

impl Endpoint {
    /// Reads the credential and certificate files. Binds and connects nothing.
    ///
    /// # Errors
    /// Every mistake in the settings and the files, at once.
    pub fn new(settings: &EndpointSettings) -> Result<Self, Vec<EndpointMistake>> {
        Self::with_ambient(settings, Ambient::system())
    }

    /// Like `new`, with a clock and a random source of the caller's.
    ///
    /// # Errors
    /// As `new`.
    pub fn with_ambient(
        settings: &EndpointSettings,
        ambient: Ambient,
    ) -> Result<Self, Vec<EndpointMistake>> {
        let mut mistakes = Mistakes::default();
        settings.check_limits(&mut mistakes);
        let target = Target::new(settings, &mut mistakes);
        let credential = Credential::read(settings.credential.as_ref(), &mut mistakes);
        let wants_token = matches!(credential, Some(Credential::Token(_)));
        let allow = AllowList::new(&settings.allow, wants_token, &mut mistakes);
        let mistakes = mistakes.into_vec();
        let (Some(target), Some(credential), true) = (target, credential, mistakes.is_empty())
        else {
            return Err(mistakes);
        };
        let counters = Arc::new(Counters::default());
        Ok(Self {
            base_path: target.base_path.clone(),
            host: target.host_header.clone(),
            request_bytes_max: settings.request_bytes_max,
            reply_bytes_max: settings.reply_bytes_max,
            timeout: Duration::from_millis(settings.timeout_ms),
            allow,
            credential,
            connections: Connections::new(target, settings, Arc::clone(&counters)),
            ambient,
            counters,
        })
    }

    /// Makes the request `request` describes, with `subject` in the places it names, and reads the
    /// whole reply: any status from 200 to 599 but 300 to 399, at most `reply_bytes_max` of body.
    ///
    /// `deadline` is the query's. `safe_to_retry` says that making the request twice does no harm
    /// at the department. The request is made a second time, once, if the connection broke, a
    /// repeat does no harm (or nothing of the first was sent), time is left and `may_retry` agrees.
    ///
    /// # Errors
    /// The request is outside the allow-list or larger than its limit (nothing was sent), or the
    /// department was not reached, too slow, broke off, redirected, or sent too much or no HTTP.
    pub async fn fetch(
        &self,
        request: &HttpRequest,
        safe_to_retry: bool,
        subject: &str,
        deadline: Instant,
        may_retry: &(dyn Fn() -> bool + Sync),
    ) -> Result<HttpReply, Fault> {
        let permitted = self.permit(request, subject).map_err(|denied| {
            self.counters.requests_denied.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%denied, "an adapter's request is denied");
            Fault::before_effect(denied.code())
        })?;
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let broken = match self.exchange(&permitted, deadline).await {
            Ok(reply) => return Ok(reply),
            Err(broken) => broken,
        };
        let is_worth_it = broken.may_be_repeated(safe_to_retry) && Instant::now() < deadline;
        if !is_worth_it || !may_retry() {
            return Err(broken.fault(safe_to_retry));
        }
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        // Of a request that is not safe to repeat nothing was sent the first time, so what the
        // second attempt says of retry-safety holds for both.
        let again = self.exchange(&permitted, deadline).await;
        again.map_err(|broken| broken.fault(safe_to_retry))
    }

    /// What the endpoint has done so far.
    pub fn counts(&self) -> EndpointCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EndpointCounts {
            requests: read(&self.counters.requests),
            requests_denied: read(&self.counters.requests_denied),
            retries: read(&self.counters.retries),
            connections_opened: read(&self.counters.connections_opened),
            sent_bytes: read(&self.counters.sent_bytes),
            received_bytes: read(&self.counters.received_bytes),
        }
    }

    fn permit(&self, request: &HttpRequest, subject: &str) -> Result<Permitted, Denied> {
        let assembled = assemble(request, subject, &self.base_path, self.request_bytes_max)?;
        self.allow.permit(assembled)
    }

    async fn exchange(&self, permitted: &Permitted, query: Instant) -> Result<HttpReply, Broken> {
        let now = Instant::now();
        if query <= now {
            return Err(Broken::Unsent(FaultCode::DepartmentTimeout));
        }
        let deadline = query.min(now + self.timeout);
        let taken = tokio::time::timeout_at(deadline, self.connections.take()).await;
        let connection = taken.unwrap_or(Err(Broken::Unsent(FaultCode::DepartmentTimeout)))?;
        let wire = Wire {
            request: self.request(permitted)?,
            reply_bytes_max: self.reply_bytes_max,
            counters: &self.counters,
        };
        let (connection, reply) = tokio::time::timeout_at(deadline, wire.send(connection))
            .await
            .unwrap_or(Err(Broken::Final(FaultCode::DepartmentTimeout)))?;
        self.connections.give_back(connection);
        Ok(reply)
    }

    /// The request as it is sent. Built anew for each attempt: a token's nonce is good for one.
    fn request(&self, permitted: &Permitted) -> Result<Request<Full<bytes::Bytes>>, Broken> {
        let body = match (&self.credential, &permitted.token_place) {
            (Credential::Token(token), Some(place)) => token
                .insert(&permitted.body, place, &self.ambient)
                .map_err(|_| Broken::Unsent(FaultCode::GatewayInternal))?,
            (Credential::Token(_) | Credential::Header { .. } | Credential::None, _) => {
                permitted.body.clone()
            }
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = permitted.method.into();
        *request.uri_mut() = Uri::from(permitted.target.clone());
        let headers = request.headers_mut();
        headers.reserve(HEADERS_SENT_MAX);
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static("jumpgate"));
        // Compressed replies are refused, so that a small reply cannot grow past its limit.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Credential::Header { name, value } = &self.credential {
            headers.insert(name.clone(), value.clone());
        }
        let wanted = &permitted.headers;
        insert(headers, CONTENT_TYPE, &wanted.content_type);
        insert(headers, ACCEPT, &wanted.accept);
        insert(headers, ACCEPT_LANGUAGE, &wanted.accept_language);
        insert(headers, HeaderName::from_static("soapaction"), &wanted.soap_action);
        Ok(request)
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value.clone());
    }
}

/// The gateway's three, the credential, the adapter's four and hyper's Content-Length.
const HEADERS_SENT_MAX: usize = 9;

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    requests_denied: AtomicU64,
    retries: AtomicU64,
    connections_opened: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}
