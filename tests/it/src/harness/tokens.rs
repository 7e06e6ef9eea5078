//! An issuer of operators' tokens: its keys, its tokens, and a server for its JWK set. Makes JWTs
//! by hand, with nothing of the gateway's code and of the library that it checks them with.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jumpgate::development::{Authority, Identity, LONG, Use};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, Signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub const ISSUER: &str = "https://idp.district.example";
pub const AUDIENCE: &str = "https://gateway.district.example";

/// A configuration whose caller `one-window` sends operators' tokens, and the other one none.
pub const ISSUER_OF_WINDOW: &str = r#"
    [operator_issuers.idp]
    issuer = "https://idp.district.example"
    audience = "https://gateway.district.example"
    algorithms = ["ES256"]
    keys_file = "idp.json"
    roles = ["clerk", "chief"]
    [[callers]]
    id = "one-window"
    san_uri = "urn:example:district:one-window"
    operators = "idp"
    [[callers]]
    id = "other-window"
    san_uri = "urn:example:district:other-window"
"#;

/// A key that tokens are signed with.
pub struct SigningKey {
    pub kid: String,
    pair: Pair,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl SigningKey {
    /// A key for ES256.
    pub fn es256(kid: &str) -> Self {
        let random = SystemRandom::new();
        let of = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let secret = EcdsaKeyPair::generate_pkcs8(of, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(of, secret.as_ref(), &random).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::Ec(pair) }
    }

    /// A key for EdDSA.
    pub fn eddsa(kid: &str) -> Self {
        let secret = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(secret.as_ref()).unwrap();
        Self { kid: kid.to_owned(), pair: Pair::Ed(pair) }
    }

    fn algorithm(&self) -> &'static str {
        match &self.pair {
            Pair::Ec(_) => "ES256",
            Pair::Ed(_) => "EdDSA",
        }
    }

    /// The public key as a JWK.
    pub fn jwk(&self) -> Value {
        match &self.pair {
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let (x, y) = (encoded(x), encoded(y));
                let kid = &self.kid;
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "x": x, "y": y })
            }
            Pair::Ed(pair) => {
                let x = encoded(pair.public_key().as_ref());
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": x })
            }
        }
    }

    /// A token with this header and these claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!(
            "{}.{}",
            encoded(header.to_string().as_bytes()),
            encoded(claims.to_string().as_bytes())
        );
        let signature: Signature = match &self.pair {
            Pair::Ec(pair) => pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap(),
            Pair::Ed(pair) => pair.sign(text.as_bytes()),
        };
        format!("{text}.{}", encoded(signature.as_ref()))
    }

    /// A token as the issuer makes them.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": self.algorithm(), "kid": self.kid, "typ": "JWT" }), claims)
    }
}

/// What a good token claims for who connects with this certificate.
pub fn claims(now_s: i64, shown: &Identity) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "clerk-4711",
        "iat": now_s,
        "exp": now_s + 600,
        "cnf": { "x5t#S256": thumbprint(shown) },
    })
}

/// RFC 8705 §3.1.
pub fn thumbprint(shown: &Identity) -> String {
    let der = CertificateDer::from_pem_slice(shown.certificate.as_bytes()).unwrap();
    encoded(ring::digest::digest(&ring::digest::SHA256, &der).as_ref())
}

pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A JWK set.
pub fn jwk_set(keys: &[&SigningKey]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// An `https` server that gives one text, or breaks off each connection.
pub struct KeyServer {
    pub address: SocketAddr,
    text: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicU64>,
}

impl KeyServer {
    /// Starts it, with a certificate of this authority for `localhost`.
    pub async fn start(authority: &Authority) -> Self {
        let identity = authority.issue("keys", Use::Server(&["localhost"]), LONG).unwrap();
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            text: Arc::default(),
            asked: Arc::default(),
        };
        let (text, asked) = (server.text.clone(), server.asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                asked.fetch_add(1, Ordering::SeqCst);
                let Some(text) = text.lock().unwrap().clone() else { continue };
                let Ok(mut stream) = tls.accept(stream).await else { continue };
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let length = text.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n");
                let reply = format!("{head}connection: close\r\n\r\n{text}");
                let _ = stream.write_all(reply.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        server
    }

    /// From now on it gives this text, or nothing.
    pub fn give(&self, text: Option<String>) {
        *self.text.lock().unwrap() = text;
    }

    /// How often it was asked.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }
}
