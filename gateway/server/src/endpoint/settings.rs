//! An endpoint's part of the configuration: its keys, its defaults and what is wrong with it. Holds
//! no secret, only the names of the files that do. Reads no file.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use jumpgate_runtime::contract;
use serde::Deserialize;

/// One target of a department, as configured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSettings {
    /// `http` or `https`, host, optional port and path: what every request's path is appended to.
    pub base_url: String,
    /// Longest time for one request, from the wait for a connection to the last byte of the reply.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// Longest time to open a connection: name, TCP and TLS together.
    #[serde(default = "connect_timeout_ms")]
    pub connect_timeout_ms: u64,
    /// Largest reply body.
    #[serde(default = "reply_bytes_max")]
    pub reply_bytes_max: usize,
    /// Largest request: path, header values and body together, before a credential is added.
    #[serde(default = "request_bytes_max")]
    pub request_bytes_max: usize,
    /// Most connections kept open while nothing is asked.
    #[serde(default = "connections_idle_max")]
    pub connections_idle_max: usize,
    /// Longest time a connection is kept open while nothing is asked.
    #[serde(default = "idle_s_max")]
    pub idle_s_max: u64,
    /// The requests the department allows. Everything else is denied.
    pub allow: Vec<AllowSettings>,
    /// How an `https` department is recognised and the gateway with it.
    pub tls: Option<TlsSettings>,
    /// What the gateway shows to be let in.
    pub credential: Option<CredentialSettings>,
}

/// One kind of request the department allows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowSettings {
    /// The method.
    pub method: Method,
    /// Path below the base URL that a request's path equals or continues after a `/`.
    pub path_prefix: String,
    /// Every SOAP action the request names, in SOAPAction, Content-Type or WS-Addressing, is this
    /// one, and it names one. Without it, actions are not looked at.
    pub soap_action: Option<String>,
    /// The only child of the SOAP Body, as `{namespace}local`. Without it, the body is not looked
    /// at.
    pub body_root: Option<String>,
}

/// A method that an adapter may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET, without a body.
    Get,
    /// POST.
    Post,
}

/// TLS towards the department.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM certificates, one of which the department's chain ends in. The system's roots are never
    /// used: a department's authority is a choice.
    pub roots_file: PathBuf,
    /// PEM certificate chain the gateway shows, its own first.
    pub client_certificate_file: Option<PathBuf>,
    /// PEM private key of that certificate. Mode 0600.
    pub client_key_file: Option<PathBuf>,
    /// The name in the department's certificate, where it is not the base URL's host.
    pub server_name: Option<String>,
}

/// What the gateway shows to be let in. Secrets stand in files of mode 0600, nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CredentialSettings {
    /// HTTP Basic, RFC 7617, in UTF-8.
    Basic {
        /// User name without a colon.
        user: String,
        /// File with the password.
        password_file: PathBuf,
    },
    /// Bearer token, RFC 6750.
    Bearer {
        /// File with the token.
        token_file: PathBuf,
    },
    /// A header of the department's own, an API key for one.
    Header {
        /// Header name.
        name: String,
        /// File with the header's value.
        value_file: PathBuf,
    },
    /// OASIS WSS UsernameToken Profile 1.1 in the SOAP Header. Every request is then an envelope.
    WsSecurity {
        /// User name.
        user: String,
        /// File with the password.
        password_file: PathBuf,
        /// True for PasswordDigest, false for PasswordText.
        digest: bool,
    },
}

/// What a file that an endpoint names is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileUse {
    /// It decides who is believed to be the department.
    Trust,
    /// It shows who the gateway is, to the department.
    Certificate,
    /// It is a secret.
    Secret,
}

impl EndpointSettings {
    /// Every file that it names, by its key.
    pub fn files(&self) -> Vec<(&'static str, &Path, FileUse)> {
        let mut files = Vec::new();
        if let Some(tls) = &self.tls {
            files.push(("tls.roots_file", tls.roots_file.as_path(), FileUse::Trust));
            let shown = tls.client_certificate_file.as_deref();
            let key = tls.client_key_file.as_deref();
            let shown = shown.map(|it| ("tls.client_certificate_file", it, FileUse::Certificate));
            files.extend(shown);
            files.extend(key.map(|it| ("tls.client_key_file", it, FileUse::Secret)));
        }
        files.extend(self.credential.as_ref().map(|credential| match credential {
            CredentialSettings::Basic { password_file, .. }
            | CredentialSettings::WsSecurity { password_file, .. } => {
                ("credential.password_file", password_file.as_path(), FileUse::Secret)
            }
            CredentialSettings::Bearer { token_file } => {
                ("credential.token_file", token_file.as_path(), FileUse::Secret)
            }
            CredentialSettings::Header { value_file, .. } => {
                ("credential.value_file", value_file.as_path(), FileUse::Secret)
            }
        }));
        files
    }
}

/// A mistake in the configuration of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {mend}")]
pub struct EndpointMistake {
    /// The key, with its tables: `credential.password_file`, `allow[2].body_root`.
    pub field: String,
    /// What is wrong or missing and what to write instead, in one sentence.
    pub mend: String,
}

/// The mistakes found so far, so that all are reported at once.
#[derive(Default)]
pub(super) struct Mistakes(Vec<EndpointMistake>);

impl Mistakes {
    pub(super) fn add(&mut self, field: impl Into<String>, mend: impl Into<String>) {
        self.0.push(EndpointMistake { field: field.into(), mend: mend.into() });
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn into_vec(self) -> Vec<EndpointMistake> {
        self.0
    }
}

impl EndpointSettings {
    /// Reads relative file names as below `folder`, that of the configuration file.
    pub fn resolve_paths(&mut self, folder: &Path) {
        let tls = self.tls.iter_mut().flat_map(|tls| {
            let identity = [&mut tls.client_certificate_file, &mut tls.client_key_file];
            identity.into_iter().flatten().chain([&mut tls.roots_file])
        });
        let secret = self.credential.as_mut().map(|credential| match credential {
            CredentialSettings::Basic { password_file, .. }
            | CredentialSettings::WsSecurity { password_file, .. } => password_file,
            CredentialSettings::Bearer { token_file } => token_file,
            CredentialSettings::Header { value_file, .. } => value_file,
        });
        tls.chain(secret).for_each(|path| *path = folder.join(&path));
    }

    /// Notes each number outside its range.
    pub(super) fn check_limits(&self, mistakes: &mut Mistakes) {
        let mut check = |field: &str, value: u64, range: RangeInclusive<u64>| {
            if !range.contains(&value) {
                let (low, high) = range.into_inner();
                mistakes.add(field, format!("must be {low} to {high}"));
            }
        };
        check("timeout_ms", self.timeout_ms, 1..=TIMEOUT_MS_MAX);
        check("connect_timeout_ms", self.connect_timeout_ms, 1..=TIMEOUT_MS_MAX);
        check("reply_bytes_max", self.reply_bytes_max as u64, 1..=REPLY_BYTES_MAX_MAX);
        check("request_bytes_max", self.request_bytes_max as u64, 1..=REQUEST_BYTES_MAX_MAX);
        let idle = self.connections_idle_max as u64;
        check("connections_idle_max", idle, 0..=CONNECTIONS_IDLE_MAX_MAX);
        check("idle_s_max", self.idle_s_max, 1..=IDLE_S_MAX_MAX);
    }
}

impl Method {
    /// The method's name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

impl From<contract::Method> for Method {
    fn from(method: contract::Method) -> Self {
        match method {
            contract::Method::Get => Self::Get,
            contract::Method::Post => Self::Post,
        }
    }
}

impl From<Method> for http::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::GET,
            Method::Post => Self::POST,
        }
    }
}

/// A counter's visitor waits; a register that needs longer is broken.
const TIMEOUT_MS: u64 = 5_000;
/// A handshake within a country takes well under 100 ms; one lost packet costs a second.
const CONNECT_TIMEOUT_MS: u64 = 2_000;
/// A person's whole record, photograph included, is smaller.
const REPLY_BYTES_MAX: usize = 1 << 20;
/// A SOAP envelope with every header a department asks for has a few kilobytes.
pub(super) const REQUEST_BYTES_MAX: usize = 64 << 10;
/// As many as a bulkhead usually lets in at once.
const CONNECTIONS_IDLE_MAX: usize = 16;
/// Shorter than the shortest keep-alive in common use, the 5 s of Apache httpd, so that the gateway
/// closes first and no request meets a connection the department has just closed.
const IDLE_S_MAX: u64 = 4;

/// Ten minutes: nobody waits longer for a yes or a no.
const TIMEOUT_MS_MAX: u64 = 600_000;
/// What a step's memory can hold beside its parsed form.
const REPLY_BYTES_MAX_MAX: u64 = 16 << 20;
/// Above what a runtime lets an adapter return in one step.
const REQUEST_BYTES_MAX_MAX: u64 = 1 << 20;
/// One department is given a fraction of a process's usual 1024 file descriptors.
const CONNECTIONS_IDLE_MAX_MAX: u64 = 256;
/// Firewalls forget a silent connection after a few minutes without telling either side.
const IDLE_S_MAX_MAX: u64 = 300;

fn timeout_ms() -> u64 {
    TIMEOUT_MS
}

fn connect_timeout_ms() -> u64 {
    CONNECT_TIMEOUT_MS
}

fn reply_bytes_max() -> usize {
    REPLY_BYTES_MAX
}

fn request_bytes_max() -> usize {
    REQUEST_BYTES_MAX
}

fn connections_idle_max() -> usize {
    CONNECTIONS_IDLE_MAX
}

fn idle_s_max() -> u64 {
    IDLE_S_MAX
}
