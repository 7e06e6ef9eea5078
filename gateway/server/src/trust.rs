//! What certificates are checked against, and the certificate that the gateway shows itself.
//!
//! Owns trust anchors, revocation lists and the gateway's identity, each with the digest of its
//! files, and the TLS settings made of them. A `Trust` never changes: what is read anew makes
//! another one, with a higher generation.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jumpgate_catalogue::Digest;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::caller::Callers;
use crate::config::{CallerName, ListenerSettings};

/// Who may connect, and what decides that.
pub struct Trust {
    generation: u64,
    callers: Arc<Callers>,
    anchors: Arc<Anchors>,
    identity: Arc<Identity>,
    lists: Lists,
    verifier: Arc<dyn ClientCertVerifier>,
    tls: Arc<ServerConfig>,
}

struct Anchors {
    roots: Arc<RootCertStore>,
    file: PathBuf,
    digest: Digest,
}

struct Identity {
    key: Arc<CertifiedKey>,
    digest: Digest,
    not_after_s: i64,
}

struct Lists {
    files: Vec<PathBuf>,
    digest: Digest,
    ages: ListAges,
}

/// The number (RFC 5280 §5.2.3) and the time of each issuer's list.
type ListAges = BTreeMap<Vec<u8>, (Vec<u8>, i64)>;

/// A certificate, key or revocation list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustFault {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// The file holds nothing of the kind.
    #[error("{0} holds no {1} in PEM or DER")]
    Empty(PathBuf, &'static str),
    /// The parts do not make a verifier or an identity.
    #[error("{0}: {1}")]
    Unusable(PathBuf, String),
}

impl TrustFault {
    /// The file at fault.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable(path, _) | Self::Empty(path, _) | Self::Unusable(path, _) => path,
        }
    }
}

impl Trust {
    /// Reads everything a listener names.
    ///
    /// # Errors
    /// The first file that cannot be read or used.
    pub fn read(names: &[CallerName], listener: &ListenerSettings) -> Result<Self, TrustFault> {
        let anchors = Arc::new(Anchors::read(&listener.client_trust_file)?);
        let identity = Identity::read(&listener.certificate_file, &listener.key_file)?;
        let callers = Arc::new(Callers::new(names));
        Self::make(0, callers, anchors, Arc::new(identity), &listener.crl_files)
    }

    /// Every mistake of the files a listener names.
    pub fn faults(listener: &ListenerSettings) -> Vec<TrustFault> {
        let anchors = Anchors::read(&listener.client_trust_file).err();
        let identity = Identity::read(&listener.certificate_file, &listener.key_file).err();
        let lists = read_lists(&listener.crl_files).err();
        let faults: Vec<_> = [anchors, identity, lists].into_iter().flatten().collect();
        if !faults.is_empty() {
            return faults;
        }
        Self::read(&[], listener).err().into_iter().collect()
    }

    fn make(
        generation: u64,
        callers: Arc<Callers>,
        anchors: Arc<Anchors>,
        identity: Arc<Identity>,
        files: &[PathBuf],
    ) -> Result<Self, TrustFault> {
        let ReadLists { lists, digest, ages } = read_lists(files)?;
        let lists_are_checked = !lists.is_empty();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::clone(&anchors.roots);
        let mut builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .with_crls(lists);
        if lists_are_checked {
            // A list past its nextUpdate may hide a revocation: refuse rather than believe it.
            builder = builder.enforce_revocation_expiration();
        }
        let unusable = |error: &dyn std::error::Error| {
            TrustFault::Unusable(anchors.file.clone(), error.to_string())
        };
        let verifier = builder.build().map_err(|error| unusable(&error))?;
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(&error))?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.key))));
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // A resumed session would skip the certificate: every connection shows it anew.
        tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        tls.send_tls13_tickets = 0;
        let lists = Lists { files: files.to_vec(), digest, ages };
        Ok(Self { generation, callers, anchors, identity, lists, verifier, tls: Arc::new(tls) })
    }

    /// The same with the revocation lists as they are now, to take the place of `past`.
    ///
    /// # Errors
    /// A list cannot be read or used.
    pub fn after(&self, past: &Self) -> Result<Self, TrustFault> {
        Self::make(
            past.generation + 1,
            Arc::clone(&self.callers),
            Arc::clone(&self.anchors),
            Arc::clone(&self.identity),
            &self.lists.files,
        )
    }

    /// Who may connect.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Counts changes, so that an open connection knows that it must be checked again.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The settings of every handshake.
    pub fn tls(&self) -> &Arc<ServerConfig> {
        &self.tls
    }

    /// SHA-256 of the trust anchors' file.
    pub fn anchors(&self) -> Digest {
        self.anchors.digest
    }

    /// SHA-256 of the revocation lists' files, one after the other.
    pub fn revocation_lists(&self) -> Digest {
        self.lists.digest
    }

    /// True if an issuer's list is gone or older than in `past`: who is revoked there may be let in
    /// again.
    pub fn may_let_in_again(&self, past: &Self) -> bool {
        let older = |(issuer, age): (&Vec<u8>, &(Vec<u8>, i64))| {
            self.lists.ages.get(issuer).is_none_or(|now| now < age)
        };
        past.lists.ages.iter().any(older)
    }

    /// SHA-256 of the file of the gateway's own certificate.
    pub fn certificate(&self) -> Digest {
        self.identity.digest
    }

    /// When the gateway's own certificate expires, Unix seconds.
    pub fn certificate_not_after_s(&self) -> i64 {
        self.identity.not_after_s
    }

    /// Checks a client's chain again.
    ///
    /// # Errors
    /// It is expired, revoked or not trusted.
    pub fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verifier.verify_client_cert(end_entity, intermediates, now)
    }
}

impl Anchors {
    fn read(file: &Path) -> Result<Self, TrustFault> {
        let bytes = read(file)?;
        let mut roots = RootCertStore::empty();
        for anchor in certificates(file, &bytes)? {
            let added = roots.add(anchor);
            added.map_err(|error| TrustFault::Unusable(file.to_owned(), error.to_string()))?;
        }
        Ok(Self { roots: Arc::new(roots), file: file.to_owned(), digest: Digest::of(&bytes) })
    }
}

impl Identity {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TrustFault> {
        let bytes = read(certificate)?;
        let chain = certificates(certificate, &bytes)?;
        let not_after_s = chain.first().and_then(|end_entity| {
            let (_, parsed) = X509Certificate::from_der(end_entity).ok()?;
            Some(parsed.validity().not_after.timestamp())
        });
        let private = PrivateKeyDer::from_pem_file(key)
            .map_err(|_| TrustFault::Empty(key.to_owned(), "private key"))?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, private, &provider)
            .map_err(|error| TrustFault::Unusable(key.to_owned(), error.to_string()))?;
        let (key, digest) = (Arc::new(certified), Digest::of(&bytes));
        Ok(Self { key, digest, not_after_s: not_after_s.unwrap_or(0) })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TrustFault> {
    fs::read(path).map_err(|error| TrustFault::Unreadable(path.to_owned(), error))
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TrustFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(TrustFault::Empty(path.to_owned(), "certificate")),
    }
}

struct ReadLists {
    lists: Vec<CertificateRevocationListDer<'static>>,
    digest: Digest,
    ages: ListAges,
}

fn read_lists(files: &[PathBuf]) -> Result<ReadLists, TrustFault> {
    let (mut lists, mut all) = (Vec::new(), Vec::new());
    for path in files {
        let bytes = read(path)?;
        let found: Result<Vec<_>, _> =
            CertificateRevocationListDer::pem_slice_iter(&bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => lists.extend(found),
            Ok(_) if bytes.first() == Some(&DER_SEQUENCE) => lists.push(bytes.clone().into()),
            _ => return Err(TrustFault::Empty(path.clone(), "revocation list")),
        }
        all.extend_from_slice(&bytes);
    }
    let mut ages = ListAges::new();
    for list in &lists {
        // What cannot be parsed here the verifier refuses with its own words.
        let Ok((_, parsed)) = CertificateRevocationList::from_der(list) else { continue };
        let number = parsed.crl_number().map(|it| it.to_bytes_be()).unwrap_or_default();
        let age = (by_length(number), parsed.last_update().timestamp());
        let newest = ages.entry(parsed.tbs_cert_list.issuer.as_raw().to_vec()).or_default();
        *newest = age.max(std::mem::take(newest));
    }
    Ok(ReadLists { lists, digest: Digest::of(&all), ages })
}

/// A number's bytes so that they compare as numbers do: RFC 5280 bounds them to 20.
fn by_length(number: Vec<u8>) -> Vec<u8> {
    [vec![0; 20_usize.saturating_sub(number.len())], number].concat()
}

/// First byte of every DER-encoded list.
const DER_SEQUENCE: u8 = 0x30;
