//! Where a department is and how its TLS is checked. Reads certificate files; connects nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use http::header::HeaderValue;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::TlsConnector;

use super::assemble::plain_path;
use super::secret;
use super::settings::{EndpointSettings, Mistakes, TlsSettings};

/// A department's address.
pub(super) struct Target {
    /// Host name or address, an IPv6 one without its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) host_header: HeaderValue,
    /// Path that each request's path is appended to; empty, or begins and does not end with `/`.
    pub(super) base_path: String,
    pub(super) tls: Option<Tls>,
}

/// How TLS is spoken to it.
pub(super) struct Tls {
    pub(super) connector: TlsConnector,
    pub(super) server_name: ServerName<'static>,
}

impl Target {
    /// Notes what is wrong with `base_url` and `tls`.
    pub(super) fn new(settings: &EndpointSettings, mistakes: &mut Mistakes) -> Option<Self> {
        let address = Self::parse(&settings.base_url);
        if address.is_none() {
            let mend = "must be http:// or https://, a host, and at most a port and a plain path";
            mistakes.add("base_url", mend);
        }
        let is_https = settings.base_url.starts_with("https://");
        let tls = match (&settings.tls, is_https) {
            (Some(tls), true) => {
                let host = address.as_ref().map_or("", |target| &target.host);
                Some(Tls::new(tls, host, mistakes)?)
            }
            (None, true) => {
                mistakes.add("tls", "name the roots_file of an https department");
                return None;
            }
            (Some(_), false) => {
                mistakes.add("tls", "leave it out, or write https:// in base_url");
                return None;
            }
            (None, false) => None,
        };
        Some(Self { tls, ..address? })
    }

    /// The address alone.
    fn parse(base_url: &str) -> Option<Self> {
        let uri: Uri = base_url.parse().ok()?;
        let port_default = match uri.scheme_str()? {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let authority = uri.authority()?;
        let port = match authority.port() {
            Some(port) => port.as_str().parse().ok().filter(|&port| port != 0)?,
            None => port_default,
        };
        let host = authority.host();
        // A colon without a port, and a user before the host, are in the authority but in neither.
        let is_whole = [host.to_owned(), format!("{host}:{port}")]
            .iter()
            .any(|text| text == authority.as_str());
        let base_path = uri.path().trim_end_matches('/');
        let path_stands = base_path.is_empty() || plain_path(base_path.as_bytes()).is_some();
        if !is_whole || !path_stands || uri.query().is_some() || base_url.contains('#') {
            return None;
        }
        let header = if port == port_default { host.to_owned() } else { format!("{host}:{port}") };
        let name = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self {
            host: name.to_owned(),
            port,
            host_header: HeaderValue::try_from(header).ok()?,
            base_path: base_path.to_owned(),
            tls: None,
        })
    }
}

impl Tls {
    fn new(settings: &TlsSettings, host: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let (field, name) = match &settings.server_name {
            Some(name) => ("tls.server_name", name.as_str()),
            None => ("base_url", host),
        };
        let server_name = ServerName::try_from(name.to_owned()).ok();
        if server_name.is_none() {
            mistakes.add(field, "the host must be a DNS name or an IP address to be checked");
        }
        let roots = roots(&settings.roots_file, mistakes);
        let identity = match (&settings.client_certificate_file, &settings.client_key_file) {
            (None, None) => Some(None),
            (Some(certificate), Some(key)) => identity(certificate, key, mistakes).map(Some),
            (Some(_), None) | (None, Some(_)) => {
                let mend = "name both client_certificate_file and client_key_file, or neither";
                mistakes.add("tls", mend);
                None
            }
        };
        let (server_name, roots, identity) = (server_name?, roots?, identity?);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the ring provider has suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        let config = match identity {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key),
        };
        let mut config = match config {
            Ok(config) => config,
            Err(error) => {
                let mend = format!("certificate and key do not fit each other ({error})");
                mistakes.add("tls.client_key_file", mend);
                return None;
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Some(Self { connector: TlsConnector::from(Arc::new(config)), server_name })
    }
}

fn roots(path: &Path, mistakes: &mut Mistakes) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "tls.roots_file", mistakes)? {
        if let Err(error) = roots.add(certificate) {
            mistakes.add("tls.roots_file", format!("{}: {error}", path.display()));
            return None;
        }
    }
    Some(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(certificate: &Path, key: &Path, mistakes: &mut Mistakes) -> Option<Identity> {
    let chain = certificates(certificate, "tls.client_certificate_file", mistakes);
    let pem = secret::read(key, "tls.client_key_file", mistakes)?;
    let key_der = PrivateKeyDer::from_pem_slice(&pem).ok();
    if key_der.is_none() {
        mistakes.add("tls.client_key_file", format!("{}: no PEM private key", key.display()));
    }
    Some((chain?, key_der?))
}

fn certificates(
    path: &Path,
    field: &str,
    mistakes: &mut Mistakes,
) -> Option<Vec<CertificateDer<'static>>> {
    let mut pem = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(CERTIFICATES_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| format!("cannot be read ({error})"));
    let parsed = read.and_then(|_| {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        all.ok().filter(|all| !all.is_empty()).ok_or("holds no PEM certificate".to_owned())
    });
    parsed.inspect_err(|mend| mistakes.add(field, format!("{}: {mend}", path.display()))).ok()
}

/// All the roots of a browser fit four times.
const CERTIFICATES_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests;
