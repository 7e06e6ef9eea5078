//! Both servers as a whole, over sockets. The raw client stands here for the other tests.

use std::net::SocketAddr;
use std::time::Duration;

use jiff::civil::{Date, date};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

pub(crate) const TODAY: Date = date(2026, 5, 12);

/// What a client without any HTTP library sees until the connection ends.
pub(crate) struct Seen {
    pub head: String,
    pub body: Vec<u8>,
    /// How the connection ended, if not by a close.
    pub broken: Option<std::io::ErrorKind>,
}

impl Seen {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the test asks for a UTF-8 body")
    }

    pub fn status(&self) -> &str {
        self.head.get(9..12).unwrap_or("none")
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let prefix = format!("{name}: ");
        self.head.lines().find_map(|line| line.strip_prefix(&prefix))
    }
}

pub(crate) async fn exchange(address: SocketAddr, request: &str) -> Seen {
    let stream = TcpStream::connect(address).await.expect("the server listens");
    converse(stream, request).await
}

async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> Seen {
    stream.write_all(request.as_bytes()).await.expect("the server reads");
    let mut bytes = Vec::new();
    let mut block = vec![0; 256 * 1024];
    let broken = loop {
        match stream.read(&mut block).await {
            Ok(0) => break None,
            Ok(count) => bytes.extend_from_slice(&block[..count]),
            Err(error) => break Some(error.kind()),
        }
    };
    let end =
        bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let body = bytes.split_off(end);
    Seen { head: String::from_utf8(bytes).expect("a head is ASCII"), body, broken }
}

/// An envelope around the query for an identifier.
pub(crate) fn envelope(header: &str, kind: &str, identifier: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\">{header}<s:Body>\
         <QueryPerson xmlns=\"urn:civil-registry:person:2\">\
         <Identifier type=\"{kind}\">{identifier}</Identifier><View>full</View>\
         </QueryPerson></s:Body></s:Envelope>"
    )
}

/// A whole SOAP request after which the server closes the connection.
pub(crate) fn soap(kind: &str, identifier: &str) -> String {
    let body = envelope("", kind, identifier);
    format!(
        "POST /PersonQuery HTTP/1.1\r\nhost: registry\r\nconnection: close\r\n\
         content-type: text/xml; charset=utf-8\r\n\
         soapaction: \"urn:civil-registry:person:2/QueryPerson\"\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: department\r\nconnection: close\r\n\r\n")
}

pub(crate) async fn departments() -> Departments {
    Departments::start(Options { people: 40, ..Options::new(7, TODAY) }).await.expect("starts")
}

/// Waits for what another task is about to do.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it comes to pass");
}

#[tokio::test]
async fn both_servers_answer_over_http() {
    let departments = departments().await;
    let passport = Special::MovedRecently.passport();
    let civil = departments.civil_registry.address();
    let seen = exchange(civil, &soap("passport", passport)).await;
    assert_eq!((seen.status(), seen.broken), ("200", None));
    assert_eq!(seen.header("content-type"), Some("text/xml; charset=utf-8"));
    assert!(seen.text().contains("<p:RegisteredSince>2026-04-22</p:RegisteredSince>"));
    let social = departments.social_insurance.address();
    let seen = exchange(social, &get(&format!("/v2/persons/passport/{passport}"))).await;
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert!(seen.text().contains("\"status\":\"active\""));
}

#[tokio::test]
async fn the_same_seed_sends_the_same_bytes() {
    let (first, second) = (departments().await, departments().await);
    let other = Departments::start(Options { people: 40, ..Options::new(8, TODAY) });
    let other = other.await.expect("starts");
    let body =
        async |server: &Server, request: &str| exchange(server.address(), request).await.body;
    for special in Special::ALL {
        let passport = special.passport();
        let request = soap("passport", passport);
        let bytes = body(&first.civil_registry, &request).await;
        assert_eq!(bytes, body(&second.civil_registry, &request).await);
        assert_ne!(bytes, body(&other.civil_registry, &request).await);
        let request = get(&format!("/v2/persons/passport/{passport}"));
        let bytes = body(&first.social_insurance, &request).await;
        assert_eq!(bytes, body(&second.social_insurance, &request).await);
    }
}

#[tokio::test]
async fn a_connection_is_kept_and_counted() {
    let departments = departments().await;
    let registry = &departments.civil_registry;
    let one = soap("passport", "E00000001").replace("connection: close\r\n", "");
    let three = format!("{one}{one}{}", soap("passport", "E00000002"));
    let seen = exchange(registry.address(), &three).await;
    let bodies = String::from_utf8_lossy(&seen.body).matches("</soapenv:Envelope>").count();
    assert_eq!(bodies, 3);
    let requests = registry.requests();
    assert_eq!((requests.count, requests.connections, requests.in_flight_peak), (3, 1, 1));
}

#[tokio::test]
async fn a_stopped_server_refuses_connections_and_ends_those_it_has() {
    let departments = departments().await;
    let registry = &departments.civil_registry;
    registry.faults().set(Fault::Hang).expect("a fault of this department");
    let waiting = tokio::spawn({
        let address = registry.address();
        async move { exchange(address, &soap("passport", "E00000001")).await }
    });
    until(|| registry.requests().in_flight == 1).await;
    registry.stop().await;
    assert_eq!(waiting.await.expect("no panic").head, "");
    assert_eq!(registry.requests().in_flight, 0);
    let refused = TcpStream::connect(registry.address()).await.expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn control_sets_and_clears_faults_and_counts() {
    let departments = departments().await;
    let control = departments.control().await.expect("loopback has a port");
    let send = async |method: &str, path: &str, body: &str| {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: control\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        exchange(control.door.address, &request).await
    };
    let order = r#"{"server":"civil-registry","fault":"status:418","requests":1}"#;
    assert_eq!(send("POST", "/faults", order).await.status(), "204");
    let civil = departments.civil_registry.address();
    assert_eq!(exchange(civil, &soap("passport", "E00000001")).await.status(), "418");
    assert_eq!(exchange(civil, &soap("passport", "E00000001")).await.status(), "200");

    let order = r#"{"server":"social-insurance","fault":"empty-body","identifier":"E00000003"}"#;
    assert_eq!(send("POST", "/faults", order).await.status(), "204");
    let social = departments.social_insurance.address();
    let path = |passport: &str| get(&format!("/v2/persons/passport/{passport}"));
    assert!(exchange(social, &path("E00000003")).await.body.is_empty());
    assert!(!exchange(social, &path("E00000001")).await.body.is_empty());
    assert_eq!(send("DELETE", "/faults/social-insurance", "").await.status(), "204");
    assert!(!exchange(social, &path("E00000003")).await.body.is_empty());
    assert_eq!(send("DELETE", "/faults", "").await.status(), "204");

    for (order, status) in [
        (r#"{"server":"civil-registry","fault":"fire"}"#, "400"),
        (r#"{"server":"civil-registry","fault":"wrong-types"}"#, "400"),
        (r#"{"server":"civil-registry","fault":"hang","request":1}"#, "400"),
        (r#"{"server":"treasury","fault":"hang"}"#, "404"),
        ("{", "400"),
    ] {
        assert_eq!(send("POST", "/faults", order).await.status(), status, "{order}");
    }
    assert_eq!(send("DELETE", "/faults/treasury", "").await.status(), "404");
    assert_eq!(send("GET", "/faults", "").await.status(), "404");
    let counted = send("GET", "/requests", "").await;
    let counted: serde_json::Value = serde_json::from_slice(&counted.body).expect("JSON");
    assert_eq!(counted["civil_registry"]["count"], 2);
    assert_eq!(counted["social_insurance"]["connections"], 3);
}

#[tokio::test]
async fn social_insurance_has_no_place_for_a_username_token() {
    let social_auth = "username-token-text:a:b".parse().expect("a demand");
    let options = Options { social_auth, ..Options::new(7, TODAY) };
    let failure = Departments::start(options).await.expect_err("does not start");
    assert!(matches!(failure, StartFailure::SoapAuth));
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signs itself").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn issue(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signs");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        (vec![certificate.der().clone()], key)
    }
}

#[tokio::test]
async fn tls_demands_a_certificate_of_the_right_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let (certificates, key) = authority.issue("127.0.0.1");
    let tls = Tls { certificates, key, client_roots: Some(vec![authority.certificate.clone()]) };
    let options = Options { people: 20, tls: Some(tls), ..Options::new(7, TODAY) };
    let departments = Departments::start(options).await.expect("starts");
    let registry = &departments.civil_registry;
    assert!(registry.base_url().starts_with("https://127.0.0.1:"));
    registry.faults().set(FaultRule::from(Fault::CloseMidBody).times(1)).expect("a fault");

    let ask = async |own: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>| {
        let mut roots = RootCertStore::empty();
        roots.add(authority.certificate.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has them")
            .with_root_certificates(roots);
        let config = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("they fit"),
            None => builder.with_no_client_auth(),
        };
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(registry.address()).await.expect("the server listens");
        let name = ServerName::try_from("127.0.0.1").expect("an address");
        match connector.connect(name, stream).await {
            Ok(stream) => converse(stream, &soap("passport", "E00000001")).await,
            Err(_) => Seen { head: String::new(), body: Vec::new(), broken: None },
        }
    };
    let cut = ask(Some(authority.issue("gateway"))).await;
    let length: usize = cut.header("content-length").expect("a length").parse().expect("a number");
    assert_eq!((cut.body.len(), cut.broken), (length / 2, None));
    assert!(ask(Some(authority.issue("gateway"))).await.text().contains("<p:Code>OK</p:Code>"));
    assert_eq!(ask(Some(stranger.issue("gateway"))).await.head, "");
    assert_eq!(ask(None).await.head, "");
    assert_eq!(registry.requests().count, 2);
}
